/*
 * visible: finds out which waiting transactions the snapshots of one session have seen ("visible first"). Private to the intake. Tap thread.
 *
 * A walsender sends a commit before other sessions see it. So a transaction with rows waits until pg_current_snapshot() sees it.
 *
 *   BEGIN ─▶ in the list ─want▶ unseen ──a snapshot sees it──▶ visible
 *                          │                                     ▲
 *                          └─ the last snapshot saw it already ──┘
 *
 * One query serves all waiting transactions, and only one runs at a time. Other queries follow on the same session without waiting for the
 * snapshot. The server runs them in order, so they see at least what the snapshot sees. They are valid if the snapshot sees the transaction.
 *
 * The intake has two of them. That of the session OUTSIDE_ROWS decides when rows may be sent; no query of a row runs there, so none delays it.
 * That of OUTSIDE_QUESTIONS decides which answers count.
 *
 * The list is in the order of commits, and the caller's. Transactions may become visible in another order.
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
	/* The snapshot is of a primary, and the stream began on a standby: nothing is visible any more. */
	void (*promoted)(void *ctx);
};

/* `outside`, `all` and `calls` must outlive the struct. */
struct visible *visible_new(const struct outside *outside, enum outside_session session, struct transactions *all,
			    const struct visible_calls *calls, void *ctx);
void visible_free(struct visible *v);

/* Of the stream that begins: does it come from a standby? */
void visible_of(struct visible *v, bool is_standby);
/* A snapshot must see the transaction. */
void visible_want(struct visible *v, struct transaction *t);
/* Call it before the transaction leaves the list. */
void visible_leave(struct visible *v, const struct transaction *t);
/* Is the transaction visible, or is the query for the first snapshot under way that may see it? */
bool visible_may_ask(const struct visible *v, const struct transaction *t);
/* Drops the snapshots too: the next stream may be of another server, with other xids. The list must be empty. */
void visible_forget(struct visible *v);
/* The session is about to be replaced: what it saw does not count for the next one, and its query is forgotten. */
void visible_withdraw(struct visible *v);
/* Another session has taken its place. */
void visible_replaced(struct visible *v);

#endif
