/*
 * source_health: what keeps the source from streaming, how often, and how long to wait before the next try. Private to the source.
 *
 * That streaming begins again is no success: the waits grow until something comes that no earlier connection brought. A record that the
 * owner refused comes early enough to be received again, with what is behind it; from then on only a position handled is success.
 * Pure but for the log and the random part of the waits; times are passed in, in µs of clock_us.
 */
#ifndef WALPUSH_SOURCE_HEALTH_H
#define WALPUSH_SOURCE_HEALTH_H

#include "walpush/base/backoff.h"
#include "walpush/base/event_id.h"
#include "walpush/base/fail.h"
#include "walpush/base/repeat.h"

struct source_health {
	struct backoff soon; /* for what passes by itself */
	struct backoff slow; /* for what a person must fix */
	struct repeat trouble;
	const char *fix; /* what to do about it; a literal, NULL: not known */
	bool held_by_other;
	unsigned deaths; /* streams that have ended since the last success */
	lsn_t handled;   /* as the owner told; */
	bool refused;    /* and it has refused what comes next */
};

void source_health_init(struct source_health *h);
/* Says why, and returns µs to wait. `slow`: a person must act first, whatever the error says. */
int64_t source_health_fails(struct source_health *h, const char *slot, const struct fail *why, bool slow, int64_t now);
/* Something came that no earlier connection brought, or there is nothing more to come. */
void source_health_progress(struct source_health *h);
void source_health_refuse(struct source_health *h);
void source_health_handled(struct source_health *h, lsn_t handled);

#endif
