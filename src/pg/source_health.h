/*
 * source_health: why the source does not stream, how often that happened, and how long to wait before the next try. Private to the source.
 *
 * A new stream alone is not a success: the waits grow until something arrives that no earlier connection brought. After the owner refused a
 * record, new connections bring this record again, and may bring new ones after it. So after a refusal only a newly handled position is a
 * success. Pure except for the log and the random part of the waits; times are passed in, in µs of clock_us.
 */
#ifndef WALPUSH_SOURCE_HEALTH_H
#define WALPUSH_SOURCE_HEALTH_H

#include "walpush/base/backoff.h"
#include "walpush/base/event_id.h"
#include "walpush/base/fail.h"
#include "walpush/base/repeat.h"

#define SOURCE_HEALTH_FIX 400 /* bytes */

struct source_health {
	struct backoff soon; /* for a trouble that passes by itself */
	struct backoff slow; /* for a trouble that a person must fix */
	struct repeat trouble;
	const char *fix; /* what to do; NULL: not known */
	char refusal[SOURCE_HEALTH_FIX];
	bool held_by_other;
	unsigned deaths; /* streams that have ended since the last success */
	lsn_t handled;   /* as the owner has reported it */
	bool refused;    /* the owner has refused the record after `handled` */
};

void source_health_init(struct source_health *h);
/* Logs the reason, and returns how long to wait, in µs. `slow`: a person must act first, for every error. */
int64_t source_health_fails(struct source_health *h, const char *slot, const struct fail *why, bool slow, int64_t now);
/* The same for a connection that could not be opened. `wait`: how long at least; 0: as long as this trouble needs. */
int64_t source_health_refused(struct source_health *h, const char *slot, const struct fail *why, const char *fix,
			      int64_t wait, int64_t now);
/* Something arrived that no earlier connection brought, or the server has nothing more to send. */
void source_health_progress(struct source_health *h);
void source_health_refuse(struct source_health *h);
void source_health_handled(struct source_health *h, lsn_t handled);

#endif
