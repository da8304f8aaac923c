/*
 * intake: received records, until they have become published transactions.
 *
 * A queue in commit order. Its head is handled as soon as
 *   1. a snapshot sees its transaction as done ("visible first"), and
 *   2. the SQL that its rules want (lookups, the actor's name) has been answered.
 * A head that waits holds back the records behind it, so order is never lost. Questions of later records are asked meanwhile, up to
 * INTAKE_ASKED of them, and behind the question for a snapshot, on the same connection, rather than behind its answer. Rows without
 * questions are decoded once and never copied.
 *
 *   intake_record ─▶ [BEGIN][row][row][COMMIT][BEGIN][row] …
 *                      ▲                ▲
 *                     head             asked: questions are out up to here
 *
 * Bound: INTAKE_BYTES of records; beyond it the source stops reading until half of it is gone. One transaction of any size passes
 * through, because its rows leave the queue while it is still arriving.
 *
 * Three kinds of records cannot be handled.
 *   - A message, or an action that is not known, is passed over: any role may send messages.
 *     A message that tells of DDL (decode_is_ddl) marks its transaction. Everybody is a member of that transaction, and it is published
 *     after the owner has looked again at what decides permission, because the DDL decides how the records behind it are judged.
 *   - A row that is larger than limits.record-bytes, or for which there is no memory, is stepped over: its transaction becomes a mark
 *     (txn_skip). Where the row decides about permission, or its table is unknown, everybody is a member of the transaction.
 *   - A record that is unreadable or out of place ends the stream (`broken`): it comes again, and the owner decides for how long.
 * Tap thread.
 */
#ifndef WALPUSH_INTAKE_H
#define WALPUSH_INTAKE_H

#include <event2/event.h>

#include "walpush/watch/metrics.h"
#include "walpush/rules/rules.h"
#include "walpush/pg/sqlpipe.h"
#include "walpush/change/txn.h"

/* Of records; and of the answers to data queries, beyond which no more are asked. */
#define INTAKE_BYTES (8u << 20)
#define INTAKE_ASKED 256
/* The connection that brought such a record keeps a buffer of its size. */
#define INTAKE_LARGE (16u << 20)

/* Memory may come back: a row for which there is none is asked for again TRIES_MOST times, and for so long. */
#define INTAKE_PATIENCE 30000000 /* µs */

struct intake;

struct intake_place { /* where the stream broke: in the transaction whose BEGIN came and whose COMMIT is not handled */
	lsn_t commit; /* 0: in none */
	uint32_t xid;
	bool is_first; /* nothing before it waits to be handled */
};

enum intake_broken { INTAKE_UNREADABLE, INTAKE_NO_MEMORY };

struct intake_calls {
	/* A transaction is complete; its memberships, messages and marks are to be published. Everything that commits before next_lsn is handled then. */
	void (*publish)(void *ctx, const struct txn *t, lsn_t next_lsn);
	/* A transaction without listed rows, or a keepalive: only the position moves, forward if at all. */
	void (*handled)(void *ctx, lsn_t next_lsn);
	void (*pause)(void *ctx, bool paused);
	/* A row has a column that the catalog does not know. Nothing is handled until intake_rules is called. */
	void (*stale_catalog)(void *ctx);
	/* DDL is to be published: intake_looks, at once or later, and then intake_looked. Nothing is handled until then. */
	void (*look)(void *ctx);
	/* Reconnect, and what was not handled comes again. The intake may be cleared from within. */
	void (*broken)(void *ctx, enum intake_broken kind, const struct intake_place *place, const struct fail *why);
};

/* `counts`: the tap's. */
struct intake *intake_new(struct event_base *loop, const struct conf_limits *limits, struct sqlpipe *sql,
			  struct metrics_counts *counts, const struct intake_calls *calls, void *ctx);
void intake_free(struct intake *in);

/* Bound rules; they must outlive the intake or the next call. */
void intake_rules(struct intake *in, const struct rules *rules);
/* A look at what decides permission begins: it will see what is visible now. `held`: nothing at all is handled until it is over. */
void intake_looks(struct intake *in, bool held);
/* It is over. Also behind an intake_clear what it saw is not looked at again. */
void intake_looked(struct intake *in);
/* The positions to come are those of another history. */
void intake_forget_looks(struct intake *in);
/* From the next transaction on; behind intake_clear. */
void intake_limits(struct intake *in, const struct conf_limits *limits);
/* limits.record-bytes alone: from the next record on, at any time. */
void intake_record_limit(struct intake *in, const struct conf_limits *limits);
/* Takes over `bytes`, which `text` points into. Commits below `handled` are repetitions and skipped. */
void intake_record(struct intake *in, char *bytes, struct slice text, lsn_t handled);
/* Everything that commits before `end` was received, so that it is handled as soon as all that is queued is. Inside of a transaction this
 * says nothing, and is passed over. */
void intake_position(struct intake *in, lsn_t end);
/* Where the stream is: the transaction that is being received. */
struct intake_place intake_place(const struct intake *in);
/* µs of clock_us since when the next transaction waits to become visible; 0: it does not. */
int64_t intake_blind_since(const struct intake *in);
/* Rows that were stepped over. */
uint64_t intake_skipped(const struct intake *in);
/* A transaction has come to its end and is not handled. */
bool intake_owes(const struct intake *in);
/* Everything that commits before this is to be handled until a record over INTAKE_LARGE is gone; 0: none came since the last clear. */
lsn_t intake_large(const struct intake *in);
/* Forget everything that is not published. */
void intake_clear(struct intake *in);
/* Nothing is queued and no transaction is open. */
bool intake_is_idle(const struct intake *in);
size_t intake_bytes(const struct intake *in);
/* The source was told to pause. */
bool intake_is_full(const struct intake *in);

#endif
