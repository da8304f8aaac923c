/*
 * minute: how many of all were bad in the last minute, from two counters that only rise. Pure.
 */
#ifndef WALPUSH_MINUTE_H
#define WALPUSH_MINUTE_H

#include <stdint.h>

#define MINUTE_SECONDS 60

struct minute {
	struct minute_sample {
		uint64_t bad, all;
	} at[MINUTE_SECONDS]; /* the counters, a second apart; a ring */
	unsigned next;
	struct minute_sample now;
};

/* Once a second, with the counters as they are. */
void minute_take(struct minute *m, uint64_t bad, uint64_t all);
/* In the last minute, or since the start if that is less. */
struct minute_sample minute_sum(const struct minute *m);

#endif
