/*
 * emit: makes messages of its transaction from the row at the head of the queue. Private to the intake. Tap thread.
 *
 * A row is handled when its transaction is visible, the questions of its sections are answered or given up, and the log has brought what the
 * answers may know, or was waited for in vain. Then content that a query made is left out if it may be newer than a permission (later.h).
 */
#ifndef WALPUSH_EMIT_H
#define WALPUSH_EMIT_H

#include "heard.h"
#include "later.h"
#include "skip.h"

struct emit { /* all pointers are borrowed */
	struct bind *bind;
	const struct asker *asker;
	struct skip *skip;
	struct queue *queue;
	struct later *later;
	struct heard *heard; /* for content, and for receivers that depend on the row */
	struct heard *soon;  /* for other receivers */
	struct metrics_counts *counts;
	const bool *is_full; /* the source has paused for the intake */
	struct txn *txn;
	const char *said_missing; /* the missing column that was logged last */
};

enum emit_says {
	EMIT_OVER,  /* the row is handled */
	EMIT_WAITS, /* the row waits for a snapshot or for answers; it may just have asked */
	EMIT_HEARS, /* it waits for the log to bring what the answers may know */
	EMIT_STALE, /* the catalog does not fit the row */
	EMIT_BROKEN /* the row is unreadable; `why` is filled */
};

/* `is_fresh`: the catalog was read after the row's receipt. If the catalog still does not fit, the table was changed again in between: the row
 * is sent with the columns that fit. */
enum emit_says emit_row(struct emit *e, struct record *r, bool is_fresh, struct fail *why);

#endif
