/*
 * progress: for how long something has waited and nothing has moved.
 *
 * Connections that are up say nothing: a stream may die again and again at the same record, or hang. Pure; times are passed in, in µs of a
 * clock that does not go back.
 */
#ifndef WALPUSH_PROGRESS_H
#define WALPUSH_PROGRESS_H

#include <stdbool.h>

#include "walpush/base/event_id.h"

struct progress {
	lsn_t handled, furthest; /* as they were last seen */
	int64_t since;           /* µs: when something moved last, or nothing waited */
};

struct progress_facts {
	bool waits;     /* there is WAL that is not handled */
	lsn_t handled;  /* everything that commits before it is */
	lsn_t furthest; /* of all that has come on any connection: what comes again is no progress */
	bool at_work;   /* the server is seen to decode what it has not tried before */
	bool owes;      /* a transaction is there to its end and not handled: whatever comes behind it is no progress */
};

static inline void progress_look(struct progress *p, const struct progress_facts *f, int64_t now)
{
	bool comes = !f->owes && (f->at_work || f->furthest > p->furthest);

	if (!p->since || !f->waits || comes || f->handled > p->handled)
		p->since = now;
	p->handled = f->handled;
	p->furthest = f->furthest > p->furthest ? f->furthest : p->furthest;
}

/* µs; 0: all is well. */
static inline int64_t progress_stalled(const struct progress *p, int64_t now)
{
	return p->since ? now - p->since : 0;
}

#endif
