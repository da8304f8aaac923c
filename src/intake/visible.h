/*
 * visible: finds out which waiting transactions a snapshot has seen ("visible first"). Private to the intake. Tap thread.
 *
 * A walsender sends a commit before other sessions see it. So a transaction with rows waits until pg_current_snapshot() sees it.
 *
 *   BEGIN ─add▶ in the list ─first row: want▶ unseen ──a snapshot sees it──▶ visible
 *                                │                                             ▲
 *                                └─ the last snapshot saw it already ──────────┘
 *
 * One query serves all waiting transactions, and only one runs at a time. The queries of rows follow on the same connection without waiting
 * for the snapshot. The server runs them in order, so they see at least what the snapshot sees. They are valid if the snapshot sees the
 * transaction.
 *
 * The list is in the order of commits. Transactions may become visible in another order. The caller owns the transactions; a transaction
 * stays in the list until visible_remove.
 */
#ifndef WALPUSH_VISIBLE_H
#define WALPUSH_VISIBLE_H

#include "outside.h"
#include "record.h"

struct visible;

struct visible_calls {
	/* The query for a snapshot is sent now. Earlier queries may see less than the snapshot, so their answers must not be shared any more. */
	void (*asked)(void *ctx);
	/* A snapshot that was asked for after the receipt of a transaction did not see the transaction, or the snapshot failed. For transactions
	 * that are not visible, the questions of their rows are void: ask them again. */
	void (*again)(void *ctx);
	/* More transactions may be visible, or the query for another snapshot is sent. */
	void (*told)(void *ctx);
};

/* `outside` and `calls` must outlive the struct. */
struct visible *visible_new(const struct outside *outside, const struct visible_calls *calls, void *ctx);
void visible_free(struct visible *v);

/* At its BEGIN. */
void visible_add(struct visible *v, struct transaction *t);
void visible_remove(struct visible *v, struct transaction *t);
/* The oldest transaction; NULL: there is none. */
struct transaction *visible_first(const struct visible *v);
/* The transaction has a row, so it waits for a snapshot that sees it. */
void visible_want(struct visible *v, struct transaction *t);
/* Is the transaction visible, or does the running query for a snapshot cover it? */
bool visible_may_ask(const struct visible *v, const struct transaction *t);
/* Drops the snapshots too: the next stream may be of another server, with other xids. */
void visible_forget(struct visible *v);

#endif
