/*
 * source_start: the questions before a stream, from a new connection to START_REPLICATION. Private to the source.
 *
 * The walsender uses the simple query protocol: the next question is sent after the answer to the one before.
 *
 *   first ─ask▶ SETTINGS ─ask▶ IDENTITY ─ask▶ SLOT ─place▶ (the owner says where) ─▶ STREAM ─stream▶
 *                   └────────────┴────────────┴──── any error, and what does not fit: fail ─┘
 *
 * Pure: it makes commands and reads results. The caller sends `command`, and acts on the step.
 */
#ifndef WALPUSH_SOURCE_START_H
#define WALPUSH_SOURCE_START_H

#include <libpq-fe.h>

#include "walpush/base/buf.h"
#include "walpush/pg/anchor.h"
#include "walpush/pg/source.h"

enum source_question {
	SOURCE_ASKS_SETTINGS, /* the timeouts that an administrator may have set */
	SOURCE_ASKS_IDENTITY,
	SOURCE_ASKS_SLOT,
	SOURCE_ASKS_STREAM
};

enum source_step {
	SOURCE_STEP_ASK,    /* send `command` */
	SOURCE_STEP_PLACE,  /* the slot is good: source_start_place, then send `command` */
	SOURCE_STEP_STREAM, /* the server streams */
	SOURCE_STEP_FAIL,   /* `why` is filled; the caller may try again */
	SOURCE_STEP_FIX     /* `why` is filled; a person must act first */
};

struct source_options {        /* of the replication stream */
	const char *prefix;    /* of the logical messages that are wanted; NULL: none are */
	const char *no_prefix; /* one that no logical message has */
	const char *add;       /* wal2json's add-tables and filter-tables; empty: no such option */
	const char *filter;
	int server; /* version, as PQserverVersion has it */
};

struct source_starting {
	const struct conf_database *conf;
	enum source_question asked;
	struct buf command;
	char *system_id, *timeline; /* of the last answer, on any connection */
	lsn_t server_end;
	lsn_t confirmed;          /* of the slot */
	bool is_pgoutput;         /* the slot's plugin; else it is wal2json */
	const char *plugin;       /* its name, as the slot was last seen; NULL: there was no slot of these two */
	char server[ANCHOR_TEXT]; /* on this connection */
	char *zone;               /* struct source_start's */
};

/* Called on each new connection: makes the first command. The caller frees the content of the struct with source_start_fini. */
void source_start_first(struct source_starting *s);
enum source_step source_start_take(struct source_starting *s, const PGresult *result, struct fail *why);
/* Called after SOURCE_STEP_PLACE: makes the command that starts the replication stream after `from`. */
void source_start_place(struct source_starting *s, lsn_t from, const struct source_options *options);
void source_start_fini(struct source_starting *s);

#endif
