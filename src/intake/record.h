/*
 * record: what the queue of the intake holds, and the transaction that a record belongs to. Private to the intake. Tap thread.
 *
 * intake.c makes and frees both; the other files change only what the comment of a member says.
 */
#ifndef WALPUSH_RECORD_H
#define WALPUSH_RECORD_H

#include "answers.h"
#include "walpush/base/event_id.h"

struct transaction { /* from its BEGIN's receipt until its COMMIT is handled */
	struct transaction *prev, *next;
	uint64_t number; /* visible.c */
	uint32_t xid;
	lsn_t lsn, next_lsn;
	bool repeated;     /* handled before a reconnect */
	bool wanted;       /* visible.c: it has rows, so it must be visible before they are handled */
	bool visible;      /* visible.c */
	bool is_ddl;       /* it says that DDL is a part of it */
	int64_t wanted_at; /* visible.c; µs */
	uint64_t asking;   /* emit.c, ahead.c: sections of its rows that asked something */
};

struct record {
	struct record *next; /* queue.c */
	char *bytes;         /* libpq's; NULL: they are gone, as `is_skipped` says */
	struct slice text;
	uint64_t number;
	char kind;       /* of wal2json's action: B C I U D T, or 0 */
	bool asked;      /* emit.c, ahead.c: `answers` is what its sections want */
	bool is_skipped; /* skip.c: of schema and table, where they are known, `names` is all that is left */
	char *names;     /* skip.c: each ended by a zero; NULL: not known */
	struct transaction *transaction;
	struct answers answers;
};

/* wal2json's action, which it prints first; 0: anything else, which is found out when the record is decoded. */
char record_kind(struct slice text);
/* Takes over `bytes`, which `text` points into. */
struct record *record_new(char *bytes, struct slice text, uint64_t number);
void record_free(struct record *r);
/* Bytes that it counts for while it is queued. */
size_t record_cost(const struct record *r);
/* The bytes go, the names stay. */
void record_drop_text(struct record *r);
/* Is it of a BEGIN or a COMMIT? */
static inline bool record_is_frame(const struct record *r)
{
	return r->kind == 'B' || r->kind == 'C';
}

#endif
