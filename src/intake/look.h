/*
 * look: a transaction that says that DDL is a part of it waits until the owner has looked again at what decides permission. Private to the
 * intake; pure. Tap thread.
 *
 * A look sees what is visible when it begins. So it covers all transactions behind the one that waits, as far as they are visible by then.
 */
#ifndef WALPUSH_LOOK_H
#define WALPUSH_LOOK_H

#include "record.h"

struct look {
	bool held;   /* nothing is handled until the owner has looked */
	bool wanted; /* the owner was told that the transaction at the head wants a look */
	lsn_t upto;  /* what the look that is under way covers: DDL of commits up to this one */
	lsn_t seen;  /* what earlier looks cover */
};

enum look_says {
	LOOK_GO_ON,
	LOOK_WAIT,
	LOOK_ASK /* the owner is to be told, this once */
};

/* At the COMMIT of the head. */
enum look_says look_at_commit(struct look *l, const struct transaction *t);
/* `transactions`: the list of all; `receiving`: the one that may have more to say, NULL: none. */
void look_begin(struct look *l, const struct transaction *transactions, const struct transaction *receiving, bool held);
void look_end(struct look *l);
/* The transactions are forgotten, and come again. What a look saw stays seen. */
void look_clear(struct look *l);
/* The positions to come are those of another history. */
void look_forget(struct look *l);

#endif
