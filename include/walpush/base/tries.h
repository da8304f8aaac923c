/*
 * tries: how often, and since when, the same place of the stream has failed.
 *
 * What fails may pass by itself: a full disk, a machine without memory, a server in trouble. So it is tried TRIES_MOST times, and over some
 * time, before it is taken for what it is. Pure; times are passed in, in µs of a clock that does not go back.
 */
#ifndef WALPUSH_TRIES_H
#define WALPUSH_TRIES_H

#include <stdbool.h>

#include "walpush/base/event_id.h"

#define TRIES_MOST 3

struct tries {
	lsn_t place; /* 0: none has failed */
	unsigned n;
	int64_t since; /* µs: the first time */
};

/* It has failed at `place` once more, which is not 0. True: TRIES_MOST times by now, and for at least so many µs. */
static inline bool tries_failed(struct tries *t, lsn_t place, int64_t now, int64_t least)
{
	if (t->place != place)
		*t = (struct tries){ .place = place, .since = now };
	t->n++;
	return t->n >= TRIES_MOST && now - t->since >= least;
}

#endif
