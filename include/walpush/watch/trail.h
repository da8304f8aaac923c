/*
 * trail: the last few minutes, for a person who looks now: one sample a second, and the keys of the last events.
 *
 * Rings of fixed size, about 50 KiB. No row data: at most TRAIL_TEXT bytes of a key and of a group's name. One thread.
 * Times are passed in.
 */
#ifndef WALPUSH_TRAIL_H
#define WALPUSH_TRAIL_H

#include "walpush/watch/audit.h"
#include "walpush/watch/metrics.h"

#define TRAIL_SAMPLES 300
#define TRAIL_EVENTS 20
#define TRAIL_TEXT 64

struct trail_sample {                       /* of one second, or of its end */
	double messages, deliveries, bytes; /* in that second */
	double written_ms,
		written_p99_ms; /* commit to written: the mean, and the bound of the bucket that 99 % are within; -1: nothing was written */
	double behind_bytes; /* of WAL between the published position and the server's end */
	double connections;
};

struct trail_event {
	int64_t at; /* µs since 1970 */
	struct event_id id;
	char table[TRAIL_TEXT], action[TRAIL_TEXT], key[TRAIL_TEXT];
	char group[TRAIL_TEXT]; /* the first of n_groups */
	size_t n_groups;
	uint64_t receivers;
};

struct trail;

struct trail *trail_new(void);
void trail_free(struct trail *t);
/* Once a second: stores what the metrics gained since the last call. */
void trail_tick(struct trail *t, const struct metrics *m, double behind_bytes);
/* Longer texts are cut to TRAIL_TEXT bytes. */
void trail_event(struct trail *t, int64_t at, const struct audit_change *change);
/* 0 is the newest. NULL: there are not so many. */
const struct trail_event *trail_last(const struct trail *t, size_t i);
/* Samples: index 0 is the oldest. */
size_t trail_n_samples(const struct trail *t);
const struct trail_sample *trail_sample(const struct trail *t, size_t i);

#endif
