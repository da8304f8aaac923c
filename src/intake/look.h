/*
 * look: a transaction with DDL waits until the owner has looked again at what decides permission. Private to the intake; pure. Tap thread.
 *
 * A look sees what is visible when it begins. So it covers the waiting transaction and the following ones, up to the first one that is not
 * visible yet and has, or may still get, DDL.
 */
#ifndef WALPUSH_LOOK_H
#define WALPUSH_LOOK_H

#include "record.h"

struct look {
	bool held;   /* nothing is handled until the owner has looked */
	bool wanted; /* the owner knows that the transaction at the head needs a look */
	lsn_t upto;  /* the current look covers DDL of commits up to this one */
	lsn_t seen;  /* earlier looks cover DDL of commits up to this one */
};

enum look_says {
	LOOK_GO_ON,
	LOOK_WAIT,
	LOOK_ASK /* tell the owner; returned once for each wait */
};

/* At the COMMIT of the head. */
enum look_says look_at_commit(struct look *l, const struct transaction *t);
/* `transactions`: the list of all; `receiving`: the one that is still being received; NULL: none. */
void look_begin(struct look *l, const struct transaction *transactions, const struct transaction *receiving, bool held);
void look_end(struct look *l);
/* The transactions are dropped, and come again. Looks keep what they cover. */
void look_clear(struct look *l);
/* The next positions belong to another history. */
void look_forget(struct look *l);

#endif
