/*
 * emit: makes messages of its transaction from the row at the head of the queue. Private to the intake. Tap thread.
 *
 * A row is handled when its transaction is visible, and the questions of its sections are answered or given up.
 */
#ifndef WALPUSH_EMIT_H
#define WALPUSH_EMIT_H

#include "skip.h"

struct emit { /* all pointers are borrowed */
	struct bind *bind;
	const struct asker *asker;
	struct skip *skip;
	struct txn *txn;
	const char *said_missing; /* the missing column that was logged last */
};

enum emit_says {
	EMIT_OVER,  /* the row is handled */
	EMIT_WAITS, /* the row waits for a snapshot or for answers; it may just have asked */
	EMIT_STALE, /* the catalog does not fit the row */
	EMIT_BROKEN /* the row is unreadable; `why` is filled */
};

/* `is_fresh`: the catalog was read after the row's receipt. If the catalog still does not fit, the table was changed again in between: the row
 * is sent with the columns that fit. */
enum emit_says emit_row(struct emit *e, struct record *r, bool is_fresh, struct fail *why);

#endif
