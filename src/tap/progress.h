/*
 * progress: for how long something has waited and nothing has moved.
 *
 * An open connection proves nothing: the replication stream may die again and again at the same record, or hang. Pure; times are passed in, in
 * µs of a clock that does not go back.
 */
#ifndef WALPUSH_PROGRESS_H
#define WALPUSH_PROGRESS_H

#include <stdbool.h>

#include "walpush/base/event_id.h"

struct progress {
	lsn_t handled, furthest; /* as they were last seen */
	int64_t since;           /* µs: when something last moved, or nothing waited */
};

struct progress_facts {
	bool waits;     /* there is WAL that is not handled */
	lsn_t handled;  /* everything that commits below it is handled */
	lsn_t furthest; /* the furthest record of all connections: a record that comes again is no progress */
	bool at_work;   /* the server was seen to decode what it has not tried before */
	bool owes;      /* a transaction has come to its end and is not handled: a record after it is no progress */
};

static inline void progress_look(struct progress *p, const struct progress_facts *f, int64_t now)
{
	bool comes = !f->owes && (f->at_work || f->furthest > p->furthest);

	if (!p->since || !f->waits || comes || f->handled > p->handled)
		p->since = now;
	p->handled = f->handled;
	p->furthest = f->furthest > p->furthest ? f->furthest : p->furthest;
}

/* µs since something last moved, or nothing waited; 0: all is well. */
static inline int64_t progress_stalled(const struct progress *p, int64_t now)
{
	return p->since ? now - p->since : 0;
}

#endif
