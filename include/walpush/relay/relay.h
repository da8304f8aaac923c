/*
 * relay: the Redis stream between the replica that holds the slot and all replicas.
 *
 *   holder of the slot:  publish ─▶ queue ─▶ append script ─▶ Redis stream ─▶ every replica: entry ─▶ topic logs
 *
 * Whoever holds the slot appends; all, the holder included, read, and fill their logs from what they read and from nothing else. The
 * append script adds only behind the entry that its caller expects to be the last: so two writers (one that has just lost the slot,
 * one that has just got it) cannot interleave, nothing is doubled, and no hole can form. Ids are the events' own, so what a new holder
 * decodes again is recognised and left out.
 *
 * Both connections belong to one server, the master: what Redis says to end the one ends the other, and both look the name up again. So
 * they do every 10 s while Redis acknowledges nothing, whatever it says.
 *
 * Two connections: one appends, one waits in XREAD. Redis away: the queue fills up to RELAY_BYTES and one transaction, then the owner
 * is told to pause; nothing is lost, because the slot is confirmed only behind what Redis has acknowledged. Redis that lost its tail
 * is found out by its last id; the owner is then asked to decode again from there (`refill`).
 *
 * Tap thread.
 */
#ifndef WALPUSH_RELAY_H
#define WALPUSH_RELAY_H

#include <event2/event.h>

#include "walpush/base/resolve.h"
#include "walpush/conf/conf.h"
#include "walpush/relay/relay_entry.h"

#define RELAY_BYTES (8u << 20) /* of the queue */

struct relay;

enum relay_hole {                     /* what makes a history begin */
		  RELAY_HOLE_NONE,    /* the slot does not reach back so far */
		  RELAY_HOLE_KNOWN,   /* a transaction was passed over, */
		  RELAY_HOLE_UNKNOWN, /* of which nothing is known */
		  RELAY_HOLE_HERE     /* the same, wherever the stream ends: readers get RELAY_HOLE_UNKNOWN */
};

struct relay_calls {
	/* Reading: what stood before `floor`, if anything, cannot be continued (it was trimmed, or a hole was met). */
	void (*begin)(void *ctx, lsn_t floor, enum relay_hole hole);
	/* Reading: the next entry, in order. One with `end` completes what it says. False: it makes no sense. */
	bool (*entry)(void *ctx, const struct relay_entry *e);
	/* Writing: Redis lost entries that the queue does not hold: decode again, from relay_start's answer on. */
	void (*refill)(void *ctx);
	/* Writing: the queue is full, or half empty again. */
	void (*pause)(void *ctx, bool paused);
	/* Either connection came or went, or somebody leads now who did not. */
	void (*changed)(void *ctx);
};

struct relay *relay_new(struct event_base *loop, struct resolve *names, const struct conf_relay *conf, const char *slot,
			const struct relay_calls *calls, void *ctx);
void relay_free(struct relay *r);

/* --- the stream: one for each slot and epoch ----------------------------------------------------------------------- */

/* Reads the stream of this epoch from its beginning, if it is not being read already. */
void relay_open(struct relay *r, const char *epoch);
/* What the stream held when it was opened has been read, and Redis answers. */
bool relay_is_current(const struct relay *r);
/* Both connections are up. */
bool relay_is_up(const struct relay *r);
/* Why nothing goes through Redis: it is not up, or makes no progress for 10 s (relay_stall.h). With Redis' own words, in a sentence that
 * stands until the next call. NULL: nothing is wrong. */
const char *relay_unready(struct relay *r, int64_t now);
/* What to do about it; a literal. NULL: nothing is wrong, or nothing that Redis said. */
const char *relay_fix(const struct relay *r, int64_t now);
/* µs of clock_us since when nobody is known to lead; 0: somebody does, or Redis cannot be asked. */
int64_t relay_leaderless_since(const struct relay *r);

/* --- the holder of the slot ------------------------------------------------------------------------------------------ */

/* Where the stream ends, as far as is known; 0: it is not, or the stream is empty. */
lsn_t relay_reached(const struct relay *r);
/* Before START_REPLICATION: the queue is emptied. Where to start: where the stream ends, but not before `from`; why, if that leaves a
 * hole. */
lsn_t relay_start(struct relay *r, lsn_t from, enum relay_hole hole);
/* This replica streams from the slot, or does no more. */
void relay_lead(struct relay *r, bool leads);
/* Everything that commits before it stands in the stream or in the queue. */
lsn_t relay_end(const struct relay *r);
/* The next entry of a transaction, in order. It is copied. The last of a transaction has `end`; `before` is not looked at. */
void relay_add(struct relay *r, const struct relay_entry *e);
/* Nothing but a position. Gathered for a while, unless it is urgent. */
void relay_position(struct relay *r, lsn_t end, bool urgent);
/* Acknowledged by Redis and, with relay.wait, by so many of its replicas: up to here the slot may be confirmed. */
lsn_t relay_safe(const struct relay *r);
/* The slot's confirmed position: older entries may be trimmed. */
void relay_trim(struct relay *r, lsn_t confirmed);
bool relay_is_full(const struct relay *r);

struct relay_numbers { /* for status and metrics */
	bool leads;
	size_t queued_bytes;
	uint64_t appended, read, refused, failovers;
	int64_t append_lag;     /* µs: age of the oldest in the queue */
	int64_t stream_entries; /* -1: not known */
	lsn_t position;         /* read up to */
};

void relay_numbers(const struct relay *r, struct relay_numbers *out);

#endif
