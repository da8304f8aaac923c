/*
 * outage: does the database answer admissions?
 *
 * One user whose query fails says little: the query may fail for that user alone. So it is an outage when none was answered for OUTAGE_TIME while
 * OUTAGE_USERS users or more tried, and one of them not long ago. A no is an answer. Pure; times in µs of one clock.
 */
#ifndef WALPUSH_OUTAGE_H
#define WALPUSH_OUTAGE_H

#include <stdbool.h>
#include <stdint.h>

#define OUTAGE_TIME 60000000 /* µs */
#define OUTAGE_USERS 5

struct outage {
	int64_t since, last; /* the first and the last failure since an answer; 0: none */
	uint64_t users[OUTAGE_USERS];
	unsigned n_users; /* known, at most OUTAGE_USERS */
};

void outage_answered(struct outage *o);
/* A question of this user was not answered. */
void outage_failed(struct outage *o, uint64_t user, int64_t now);
bool outage_is(const struct outage *o, int64_t now);

#endif
