/*
 * intake: makes published transactions of received records.
 *
 * A queue in commit order. The head is handled as soon as
 *   1. a snapshot sees its transaction as finished ("visible first"), and
 *   2. the queries of its rules (lookups, data queries, the actor's name) are answered.
 * A waiting head holds back all later records, so the order is kept. Meanwhile the queries of later records are sent, up to INTAKE_ASKED of
 * them. They are sent after a query for a snapshot in the same session, without waiting for the snapshot: an answer counts only if that snapshot
 * sees the transaction. The snapshots that release rows have a session of their own, so that no query delays them. Rows without queries are
 * decoded once and never copied.
 *
 * An answer may know more than the log has brought. So a row with answers also waits until everything was received that they may know (horizon.h,
 * heard.h). If something of it changed a permission, or took the row away from somebody, content that a query made is left out (later.h).
 *
 * All queries of one row together may take limits.answer, from the moment when the row is the head and its transaction is visible. Then the
 * row is made of its columns: groups that a lookup would name refetch, `data` of a data-query and `updated_by` are null. The query that was
 * the reason is not asked for a while (breaker.h).
 *
 *   intake_record ─▶ [BEGIN][row][row][COMMIT][BEGIN][row] …
 *                      ▲                ▲
 *                     head             asked: queries are sent up to here
 *
 * Bound: INTAKE_BYTES of records. Beyond this bound the source stops reading until the queue holds half of it. A transaction of any size passes
 * through, because its rows leave the queue while later rows still arrive.
 *
 * Three kinds of records cannot be handled.
 *   - A logical message, or an unknown action, is ignored: any role may send messages.
 *     A message about DDL (decode_is_ddl) marks its transaction. Every user is a member of this transaction, and the transaction is published
 *     after the owner has looked again at what decides permission, because the DDL may change how later records are handled.
 *   - A row that is larger than limits.record-bytes, or for which there is no memory, is skipped: its transaction gets a mark (txn_skip). If
 *     the row decides permission, or its table is unknown, every user is a member of the transaction.
 *   - A record that is unreadable or out of place ends the replication stream (`broken`). The record comes again, and the owner decides how often.
 * Tap thread.
 */
#ifndef WALPUSH_INTAKE_H
#define WALPUSH_INTAKE_H

#include <event2/event.h>

#include "walpush/watch/metrics.h"
#include "walpush/rules/rules.h"
#include "walpush/pg/sqlpipe.h"
#include "walpush/change/txn.h"

/* Bytes of records in the queue. The same bound for answers to data queries: above it no further queries are sent. */
#define INTAKE_BYTES (8u << 20)
#define INTAKE_ASKED 256
/* Bytes. A connection that brought a larger record keeps a buffer of the record's size. */
#define INTAKE_LARGE (16u << 20)

/* There may be memory again later: a row without memory is received again TRIES_MOST times, and for at least so long, before it is skipped. */
#define INTAKE_PATIENCE 30000000 /* µs */

struct intake;

struct intake_place { /* where the replication stream broke: a transaction with its BEGIN received and its COMMIT not handled */
	lsn_t commit; /* 0: outside a transaction */
	uint32_t xid;
	bool is_first; /* no earlier transaction waits to be handled */
};

enum intake_broken { INTAKE_UNREADABLE, INTAKE_NO_MEMORY };

struct intake_calls {
	/* Has another decoding published a part of this commit, and is the rest still to come? */
	bool (*is_half_told)(void *ctx, lsn_t commit);
	/* A transaction is complete: publish its memberships, messages and marks. Everything that commits before next_lsn is handled then. */
	void (*publish)(void *ctx, const struct txn *t, lsn_t next_lsn);
	/* A transaction without listed rows, or a keepalive: only the position changes. It may be an old position, which changes nothing. */
	void (*position)(void *ctx, lsn_t next_lsn);
	void (*pause)(void *ctx, bool paused);
	/* The catalog does not fit a row, or does not know its table. Nothing is handled until intake_rules is called. */
	void (*stale_catalog)(void *ctx);
	/* The next transaction has DDL: the owner calls intake_looks, at once or later, and then intake_looked. Nothing is handled until then. */
	void (*look)(void *ctx);
	/* Connect again: records that were not handled come again. The intake may be cleared from within. */
	void (*broken)(void *ctx, enum intake_broken kind, const struct intake_place *place, const struct fail *why);
	/* Ask the server how far it has sent: intake_position is called soon. */
	void (*hear)(void *ctx);
	/* Do two queries of the rules in force read a common table? Indexes of rules_query_at. */
	bool (*overlap)(void *ctx, uint32_t a, uint32_t b);
	/* Does one of them read this table, as far as is known? */
	bool (*reads)(void *ctx, uint32_t query, const struct catalog_table *table);
	/* The standby that the stream comes from has become a primary. What it has committed since belongs to another history, so nothing is
	 * published until the stream begins again. May be called many times. */
	void (*promoted)(void *ctx);
};

/* `rows`: for snapshots alone. `questions`: for the queries of rows; one is used, the other one takes its place. `counts` belong to the tap. */
struct intake *intake_new(struct event_base *loop, const struct conf_limits *limits, struct sqlpipe *rows,
			  struct sqlpipe *const questions[2], struct metrics_counts *counts,
			  const struct intake_calls *calls, void *ctx);
void intake_free(struct intake *in);

/* Bound rules. They must live until the next call or the end of the intake. */
void intake_rules(struct intake *in, const struct rules *rules);
/* The groups of this table's schema, in sections whose pattern matches it, refetch at the end of the next transaction: rows of it were not sent.
 * Names as PostgreSQL knows them. */
void intake_refetch(struct intake *in, const char *schema, const char *table);
/* A look at what decides permission begins. It sees what is visible now. `held`: nothing is handled until the look is over. */
void intake_looks(struct intake *in, bool held);
/* The look is over. The transactions that it covers need no other look, also after intake_clear. */
void intake_looked(struct intake *in);
/* Of a stream of pgoutput, before its first record: as struct source_start has it. False: it is malformed. */
bool intake_zone(struct intake *in, const char *zone);
/* Does the stream come from a standby? Must be called with an empty queue. */
void intake_standby(struct intake *in, bool is_standby);
/* The next positions belong to another history. */
void intake_forget_looks(struct intake *in);
/* Valid from the next transaction on. Must be called with an empty queue, for example after intake_clear. */
void intake_limits(struct intake *in, const struct conf_limits *limits);
/* The configuration was read again. Takes limits.record-bytes, from the next record on, and limits.answer; every query is asked again from now
 * on. At any time. */
void intake_reload(struct intake *in, const struct conf_limits *limits);
/* database.async-commits. At any time. */
void intake_async_commits(struct intake *in, bool is_async);
/* One of `questions` was lost, or is renewed. */
void intake_session_lost(struct intake *in, const struct sqlpipe *lost);
/* The queries that are not asked at present, for people: calls `each` for every one. */
struct intake_left_out {
	uint32_t query;     /* index of rules_query_at */
	uint32_t cause;     /* of the query that failed; UINT32_MAX: none, the session did not answer */
	const char *reason; /* a literal */
	int64_t since;      /* µs */
};
void intake_each_left_out(const struct intake *in, void (*each)(void *ctx, const struct intake_left_out *q), void *ctx);
/* How many these are. */
unsigned intake_n_left_out(const struct intake *in);
/* Takes over `bytes`; `text` points into `bytes`. Transactions that commit below `given` were given to
 * the owner before: they are not published again. */
void intake_record(struct intake *in, char *bytes, struct slice text, lsn_t given);
/* Everything that commits before `end` was received. The position counts as handled as soon as the queue is empty. Inside a transaction the
 * call is ignored. */
void intake_position(struct intake *in, lsn_t end);
/* The transaction that is being received. */
struct intake_place intake_place(const struct intake *in);
/* µs of clock_us: since when the next transaction waits to become visible; 0: it does not wait. */
int64_t intake_blind_since(const struct intake *in);
/* How many rows were skipped. */
uint64_t intake_skipped(const struct intake *in);
/* A transaction is received completely, but not handled. */
bool intake_owes(const struct intake *in);
/* When everything that commits before this position is handled, no record over INTAKE_LARGE is left. 0: none arrived since the last intake_clear. */
lsn_t intake_large(const struct intake *in);
/* Drops everything that is not published. */
void intake_clear(struct intake *in);
/* Nothing is queued, and no transaction is open. */
bool intake_is_idle(const struct intake *in);
size_t intake_bytes(const struct intake *in);
/* The source has paused for this intake. */
bool intake_is_full(const struct intake *in);

#endif
