/*
 * tries: how often, and since when, the same place of the replication stream has failed.
 *
 * A failure may end by itself: a full disk, a machine without memory, a server in trouble. So the place is tried TRIES_MOST times, and over
 * some time, before the failure counts as permanent. Pure; times are passed in, in µs of a clock that does not go back.
 */
#ifndef WALPUSH_TRIES_H
#define WALPUSH_TRIES_H

#include <stdbool.h>

#include "walpush/base/event_id.h"

#define TRIES_MOST 3

struct tries {
	lsn_t place; /* 0: no place has failed */
	unsigned n;
	int64_t since; /* µs: the first failure there */
};

/* `place` has failed once more; it is not 0. True: it has failed TRIES_MOST times or more, for `least` µs or longer. */
static inline bool tries_failed(struct tries *t, lsn_t place, int64_t now, int64_t least)
{
	if (t->place != place)
		*t = (struct tries){ .place = place, .since = now };
	t->n++;
	return t->n >= TRIES_MOST && now - t->since >= least;
}

#endif
