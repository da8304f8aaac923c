/*
 * visible: which of the transactions that are not handled yet a snapshot has seen ("visible first"). Private to the intake. Tap thread.
 *
 * A walsender hands out a commit before other sessions see it. So a transaction that has rows waits until pg_current_snapshot() sees it.
 *
 *   BEGIN ─add▶ in the list ─first row: want▶ unseen ──a snapshot sees it──▶ visible
 *                                │                                             ▲
 *                                └─ the last snapshot saw it already ──────────┘
 *
 * One question for all that wait, and never two at a time. The rows' own questions follow on the same connection without waiting for the
 * answer: the server takes them in order, so they see at least what the snapshot sees, and are good if that turns out to be enough.
 *
 * The list is in the order of commits. Whether a transaction is visible has nothing to do with that order. The caller owns the
 * transactions; a transaction stays in the list until visible_remove.
 */
#ifndef WALPUSH_VISIBLE_H
#define WALPUSH_VISIBLE_H

#include "outside.h"
#include "record.h"

struct visible;

struct visible_calls {
	/* A snapshot is asked for. What was asked before may see less than it will, and must not be shared any more. */
	void (*asked)(void *ctx);
	/* A transaction was not visible to a snapshot that was asked after its receipt, or nobody can tell. What the rows of transactions
	 * that are not visible asked behind that snapshot is void: ask it again. */
	void (*again)(void *ctx);
	/* More may be visible, or another snapshot is on its way. */
	void (*told)(void *ctx);
};

/* `outside` and `calls` must outlive it. */
struct visible *visible_new(const struct outside *outside, const struct visible_calls *calls, void *ctx);
void visible_free(struct visible *v);

/* At its BEGIN. */
void visible_add(struct visible *v, struct transaction *t);
void visible_remove(struct visible *v, struct transaction *t);
/* The oldest; NULL: there is none. */
struct transaction *visible_first(const struct visible *v);
/* The transaction has a row: sees to it that a snapshot tells when it may be handled. */
void visible_want(struct visible *v, struct transaction *t);
/* Is it visible, or will the snapshot that is on its way tell? */
bool visible_may_ask(const struct visible *v, const struct transaction *t);
/* Also what was seen: the next stream may be another server's, with other xids. */
void visible_forget(struct visible *v);

#endif
