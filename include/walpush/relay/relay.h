/*
 * relay: the Redis stream between the replica that holds the slot and all replicas.
 *
 *   holder of the slot:  publish ─▶ queue ─▶ append script ─▶ Redis stream ─▶ every replica: entry ─▶ topic logs
 *
 * The holder of the slot appends. All replicas, the holder included, read the Redis stream and fill their logs only
 * from what they read. The append script appends only if the last entry is the one that its caller expects. So two
 * writers (one that has just lost the slot, one that has just got it) cannot interleave, no entry is doubled, and no
 * hole can form. Entry ids are the ids of the events, so entries that a new holder decodes again are recognised and
 * left out.
 *
 * There are two connections: one appends, one waits in XREAD. If Redis is away, the queue fills up to RELAY_BYTES and
 * one transaction, then the owner must pause. Nothing is lost, because the slot is confirmed only up to what Redis has
 * acknowledged. If Redis lost its tail, its last id shows this; the owner must then decode again from there (`refill`).
 *
 * Both connections belong to one server, the master. If an error of Redis ends one connection, the other one ends too,
 * and both look the name up again. They also do this every 10 s while Redis acknowledges nothing, whatever it says.
 *
 * Tap thread.
 */
#ifndef WALPUSH_RELAY_H
#define WALPUSH_RELAY_H

#include <event2/event.h>

#include "walpush/base/resolve.h"
#include "walpush/conf/conf.h"
#include "walpush/relay/relay_entry.h"

#define RELAY_BYTES (8u << 20) /* the size of the queue */

struct relay;

enum relay_hole {                     /* why a history begins */
		  RELAY_HOLE_NONE,    /* the slot does not reach back far enough */
		  RELAY_HOLE_KNOWN,   /* a transaction was skipped */
		  RELAY_HOLE_UNKNOWN, /* the same, and nothing is known about the transaction */
		  RELAY_HOLE_HERE /* the same, at the end of the Redis stream, wherever that is: readers get RELAY_HOLE_UNKNOWN */
};

struct relay_calls {
	/* Reading: a history begins at `floor`. Anything before it cannot be continued: it was trimmed, or there was a
	 * hole. */
	void (*begin)(void *ctx, lsn_t floor, enum relay_hole hole);
	/* Reading: the next entry, in order. An entry with `end` completes what it says. False: the entry makes no
	 * sense. */
	bool (*entry)(void *ctx, const struct relay_entry *e);
	/* Writing: the queue does not hold what the Redis stream needs next: decode again, from relay_start's answer on. `why` is a literal. */
	void (*refill)(void *ctx, const char *why);
	/* Writing: the queue is full, or half empty again. */
	void (*pause)(void *ctx, bool paused);
	/* A connection came up or went down, or a leader appeared or was lost. */
	void (*changed)(void *ctx);
};

struct relay *relay_new(struct event_base *loop, struct resolve *names, const struct conf_relay *conf, const char *slot,
			const struct relay_calls *calls, void *ctx);
void relay_free(struct relay *r);

/* --- the Redis stream: one for each slot and epoch ----------------------------------------------------------------- */

/* Reads the Redis stream of this epoch from its beginning. Does nothing if it is being read already. */
void relay_open(struct relay *r, const char *epoch);
/* Everything that the Redis stream held when it was opened has been read, and Redis answers. */
bool relay_is_current(const struct relay *r);
/* Both connections are up. */
bool relay_is_up(const struct relay *r);
/* Why nothing goes through Redis: a connection is down, or there is no progress for 10 s (relay_stall.h). A sentence
 * with Redis' own words, valid until the next call. NULL: nothing is wrong. */
const char *relay_unready(struct relay *r, int64_t now);
/* What to do about it; a literal. NULL: nothing is wrong, or Redis said nothing that tells. */
const char *relay_fix(const struct relay *r, int64_t now);
/* µs of clock_us since when no leader is known; 0: a replica leads, or Redis cannot be asked. */
int64_t relay_leaderless_since(const struct relay *r);

/* --- the holder of the slot ------------------------------------------------------------------------------------------ */

/* Where the Redis stream ends; 0: unknown, or it is empty. */
lsn_t relay_tail_end(const struct relay *r);
/* Call it before START_REPLICATION. Empties the queue. Returns where to start: where the Redis stream ends, but not
 * before `from`. `hole`: the reason, if this leaves a hole. */
lsn_t relay_start(struct relay *r, lsn_t from, enum relay_hole hole);
/* Rows were missed: a history begins at the end of the Redis stream, and readers get RELAY_HOLE_UNKNOWN. Call it while this
 * replica still has the slot, because the next holder does not know. Empties the queue; what it held is decoded again
 * after the next start. False: this replica does not lead, or Redis is away. */
bool relay_miss(struct relay *r);
/* This replica streams from the slot, or stops. */
void relay_lead(struct relay *r, bool leads);
/* Everything that commits before this LSN is in the Redis stream or in the queue. */
lsn_t relay_end(const struct relay *r);
/* A number for what is decoded since the last relay_start; not 0. */
uint32_t relay_decoding(const struct relay *r);
/* The commit of which another holder of the slot has appended a part, and nobody the end; 0: none. */
lsn_t relay_half_told(const struct relay *r);
/* The next entry of a transaction, in order. The entry is copied. The last entry of a transaction has `end`; `before`
 * is ignored. */
void relay_add(struct relay *r, const struct relay_entry *e);
/* A position without a transaction. It waits for a while for later positions, unless it is urgent. */
void relay_position(struct relay *r, lsn_t end, bool urgent);
/* Redis has acknowledged everything before this LSN and, with relay.wait, so have that many of its replicas: the slot
 * may be confirmed up to here. */
lsn_t relay_safe(const struct relay *r);
/* The slot's confirmed position: older entries may be trimmed. */
void relay_trim(struct relay *r, lsn_t confirmed);
bool relay_is_full(const struct relay *r);

struct relay_numbers { /* for status and metrics */
	bool leads;
	size_t queued_bytes;
	uint64_t appended, read, refused, failovers;
	int64_t append_lag;     /* µs: age of the oldest entry in the queue */
	int64_t stream_entries; /* -1: unknown */
	lsn_t position;         /* the last `end` that was read */
};

void relay_numbers(const struct relay *r, struct relay_numbers *out);

#endif
