/*
 * later: what the queue has of later commits that an answer must not show. Private to the intake. Tap thread.
 *
 * A message of commit L goes to those who may have it at L. Content that a query made knows the database at a later moment S. If a permission
 * changed between the two, or the row was deleted, moved to other groups or taken out of `when`, somebody may receive a message who may not know
 * what is in it. So such content is left out. Receivers that a lookup named are those of S: if the row was changed at all between the two, they may
 * be those who may see it since, and the message still shows what was edited away. So such receivers are not used either.
 *
 * The records of the queue are read once, as far as somebody needs it, into an index: for each row, the last transaction that changed it, and the
 * last that took it away from somebody; and the last transaction that changed a permission. What cannot be told counts as taken away from somebody.
 * Only the last one is kept, so something may be left out for a change after S that an answer of a later row has seen.
 *
 * Bound: the records of the queue.
 */
#ifndef WALPUSH_LATER_H
#define WALPUSH_LATER_H

#include "bind.h"
#include "queue.h"

struct later_row;

struct later {            /* numbers of transactions; 0: none */
	struct bind bind; /* of its own: the head is bound in another one */
	struct later_row *rows;
	uint64_t member;     /* the last that changed a permission */
	uint64_t everything; /* the last that nobody can tell about */
	size_t swept;        /* how many rows the last sweep left */
	struct buf key;      /* scratch */
};

void later_init(struct later *l);
void later_fini(struct later *l);
/* The rules are others now, or NULL: the queue is read again. */
void later_rules(struct later *l, struct queue *q, const struct rules *rules);
/* Reads on, up to the transactions that commit at `upto` or above. */
void later_read(struct later *l, struct queue *q, lsn_t upto);

struct later_says {
	bool content;   /* a later transaction changed a permission, or took the row away from somebody */
	bool receivers; /* a later transaction changed the row */
};

/* As far as it was read, of transactions later than `t`. `row` is bound. */
struct later_says later_changed(struct later *l, const struct transaction *t, const struct rules_table *table,
				const struct row *row);

#endif
