/*
 * emit: the row at the head of the queue, from its bytes to the messages of its transaction. Private to the intake. Tap thread.
 *
 * The row has its turn when its transaction is visible and what its sections ask is answered.
 */
#ifndef WALPUSH_EMIT_H
#define WALPUSH_EMIT_H

#include "skip.h"

struct emit { /* what it works with; borrowed */
	struct bind *bind;
	const struct asker *asker;
	struct skip *skip;
	struct txn *txn;
	const char *said_missing; /* the column that the log named last */
};

enum emit_says {
	EMIT_OVER,  /* the row is done with */
	EMIT_WAITS, /* for a snapshot, or for answers; it may just have asked */
	EMIT_STALE, /* the catalog does not fit it */
	EMIT_BROKEN /* it is unreadable, as `why` says */
};

/* `is_fresh`: the catalog was read after the row's receipt. A catalog that does not fit the row even so is that of a table that was changed
 * once more since: the row goes out as far as the two agree. */
enum emit_says emit_row(struct emit *e, struct record *r, bool is_fresh, struct fail *why);

#endif
