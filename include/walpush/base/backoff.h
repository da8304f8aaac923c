/*
 * backoff: how long to wait before the next try. Capped exponential growth with full jitter, so that many clients that lost the same server
 * do not come back together. Pure except for the random number. Microseconds.
 */
#ifndef WALPUSH_BACKOFF_H
#define WALPUSH_BACKOFF_H

#include <stdint.h>
#include <sys/random.h>

struct backoff {
	int64_t base; /* µs: the first wait is in (0, base] */
	int64_t cap;  /* µs */
	unsigned tries;
};

static inline void backoff_reset(struct backoff *b)
{
	b->tries = 0;
}

static inline int64_t backoff_next(struct backoff *b)
{
	int64_t most = b->tries < 20 ? b->base << b->tries : b->cap;
	uint64_t random = 0;

	if (most > b->cap)
		most = b->cap;
	b->tries++;
	/* Without entropy the wait is the longest one. This is safe. */
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return most;
	return 1 + (int64_t)(random % (uint64_t)most);
}

#endif
