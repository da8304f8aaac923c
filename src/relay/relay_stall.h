/*
 * relay_stall: when the relay makes no progress, and the sentence for it. Pure.
 *
 * Connections to Redis may be up while Redis takes nothing (memory, disk, rights). So the age of what waits decides.
 */
#ifndef WALPUSH_RELAY_STALL_H
#define WALPUSH_RELAY_STALL_H

#include <stddef.h>
#include <stdint.h>

#include "walpush/relay/redisrefusal.h"

#define RELAY_STALL 10000000                       /* µs */
#define RELAY_STALL_TEXT (REDISREFUSAL_WORDS + 64) /* bytes */

struct relay_stall {
	int64_t append_lag;       /* µs: age of the oldest entry that Redis has not acknowledged; 0: there is none */
	const char *append_words; /* what Redis last said instead; "": nothing */
	int64_t read_lag;         /* µs: for how long Redis has refused every read; 0: it has not */
	const char *read_words;
};

/* What Redis said; NULL: there is progress, it is too early to tell, or it said nothing. */
const char *relay_stall_words(const struct relay_stall *s);
/* Writes the sentence to `out`. NULL: there is progress, or it is too early to tell. */
const char *relay_stall_say(const struct relay_stall *s, char out[RELAY_STALL_TEXT]);
/* The sentence for a missing connection. `trouble`: the reason; NULL: it was not tried yet. Returns `trouble` itself,
 * or the sentence in `out`. */
const char *relay_stall_away(const char *trouble, char out[RELAY_STALL_TEXT]);

#endif
