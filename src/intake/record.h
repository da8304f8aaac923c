/*
 * record: an entry of the intake's queue, and the transaction that it belongs to. Private to the intake. Tap thread.
 *
 * intake.c makes both, and frees transactions; queue.c frees the records of the queue. Another file changes only the members whose comment names it.
 */
#ifndef WALPUSH_RECORD_H
#define WALPUSH_RECORD_H

#include "answers.h"
#include "walpush/change/relation.h"
#include "walpush/base/event_id.h"

struct sight {         /* of a transaction, by the snapshots of one session; visible.c */
	bool wanted;   /* a snapshot must see the transaction */
	bool visible;  /* a snapshot has seen it */
	bool missed;   /* a snapshot that was asked for after its receipt has not seen it */
	int64_t since; /* µs: when it was wanted */
};

struct transaction { /* from its BEGIN's receipt until its COMMIT is handled */
	struct transaction *prev, *next;
	uint64_t number; /* in the order of receipt */
	uint32_t xid;
	lsn_t lsn, next_lsn; /* next_lsn: 0 until the COMMIT was received, if the plugin does not say it with BEGIN */
	bool repeated;       /* handled before a reconnect */
	bool is_ddl;         /* a message says that DDL is a part of it */
	bool is_large;       /* skip.c: it has a record over INTAKE_LARGE */
	struct sight sights[OUTSIDE_SESSIONS];
	uint64_t asking; /* answers.c: how many times a section of its rows has wanted a lookup or data */
};

struct transactions { /* all that are not handled yet, in the order of commits; zeroed: none */
	struct transaction *first;
	uint64_t n; /* so far: the number of the last one */
};

/* Do other sessions see the transaction? Only then may a row of it be sent. */
static inline bool transaction_is_visible(const struct transaction *t)
{
	return t->sights[OUTSIDE_ROWS].visible;
}

/* Has a snapshot in the session for questions seen the transaction? */
static inline bool transaction_is_known(const struct transaction *t)
{
	return t->sights[OUTSIDE_QUESTIONS].visible;
}

struct record {
	struct record *next; /* queue.c */
	char *bytes;         /* libpq's; NULL: freed, because the record is_skipped */
	struct slice text;
	struct relation *relation; /* of a row of pgoutput: the table as it was on receipt; NULL: another record */
	size_t relation_bytes;     /* of the relation, if this record counts for it */
	uint64_t number;
	char kind;       /* plugin_kind: B C I U D T, or 0 */
	bool asked;      /* emit.c, ahead.c: the questions of its sections are in `answers` */
	bool given_up;   /* intake.c: limits.answer was over; only what `answers` holds counts */
	bool is_skipped; /* skip.c: only `names` is left */
	char *names;     /* skip.c: schema and table, each ended by a zero; NULL: not known */
	struct transaction *transaction;
	struct answers answers;
};

/* Takes over `bytes` and the reference to `relation`; `text` points into `bytes`. */
struct record *record_new(char *bytes, struct slice text, struct relation *relation, uint64_t number);
void record_free(struct record *r);
/* Bytes for which the record counts in the queue. */
size_t record_cost(const struct record *r);
/* Frees the bytes, keeps the names. */
void record_drop_text(struct record *r);
/* Is it a BEGIN or a COMMIT? */
static inline bool record_is_frame(const struct record *r)
{
	return r->kind == 'B' || r->kind == 'C';
}

#endif
