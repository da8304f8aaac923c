/*
 * later: what the queue has of later commits that an answer must not show. Private to the intake. Tap thread.
 *
 * A message of commit L goes to those who may have it at L. Content that a query made knows the database at a later moment S. If a permission
 * changed between the two, or the row was deleted, moved to other groups or taken out of `when`, somebody may receive a message who may not know
 * what is in it. So such content is left out. The same where the row gave away the values with which the query asks: another row may have them. A
 * row may be changed again in its own transaction, so changes of rows count from the next record on, those of permission from the next transaction. Receivers that a lookup named are those of S: if the row was changed at all between the two, they may
 * be those who may see it since, and the message still shows what was edited away. So such receivers are not used either.
 *
 * The records of the queue are read once, as far as somebody needs it, into an index: for each row, the last record that changed it, and the
 * last that took it away from somebody; for each table, the last transaction that changed it; and the last one that changed a permission. What cannot be told counts as taken away from somebody.
 * Only the last one is kept, so something may be left out for a change after S that an answer of a later row has seen.
 *
 * Bound: the records of the queue.
 */
#ifndef WALPUSH_LATER_H
#define WALPUSH_LATER_H

#include "bind.h"
#include "queue.h"

struct later_row;

struct later {            /* 0: none */
	struct bind bind; /* of its own: the head is bound in another one */
	struct later_row *rows;
	uint64_t member;     /* number of the last transaction that changed a permission */
	uint64_t everything; /* number of the last record that nobody can tell about */
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
	bool content; /* a later transaction changed a permission, or a later record took the row away from somebody */
	bool receivers; /* a later record changed the row */
	bool since;     /* a later transaction did */
};

/* As far as it was read. `row` is that of the record, bound. */
struct later_says later_changed(struct later *l, const struct record *r, const struct rules_table *table,
				const struct row *row);
/* False: later_table is false for every table. */
bool later_any(const struct later *l);
/* Did a later transaction than `t` change a row of the table? */
bool later_table(struct later *l, const struct transaction *t, const struct rules_table *table);

#endif
