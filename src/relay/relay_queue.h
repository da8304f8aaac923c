/*
 * relay_queue: entries on their way to Redis, in the order of their ids.
 *
 * Bounded by RELAY_BYTES and one transaction: beyond RELAY_BYTES the owner is told to pause, at half of it to go on. Nothing is refused.
 *
 * Tap thread, without I/O. Time comes from relay_env's clock; the loop is for the timer that gathers positions.
 */
#ifndef WALPUSH_RELAY_QUEUE_H
#define WALPUSH_RELAY_QUEUE_H

#include "relay_env.h"
#include "walpush/relay/relay.h"

struct relay_queue;

struct relay_queued {
	struct relay_queued *next;
	struct event_id id;
	lsn_t end;    /* 0: inside of a transaction */
	size_t size;  /* bytes: what it takes of RELAY_BYTES */
	int64_t came; /* µs */
	size_t n_fields;
	uint32_t lengths[RELAY_FIELDS_MAX];
	char bytes[]; /* the fields, one after the other */
};

struct relay_queue_calls {
	/* An entry came. Nothing may be sent before this returns. */
	void (*filled)(void *ctx);
	/* The queue is full, or half empty again. */
	void (*pause)(void *ctx, bool paused);
};

struct relay_queue *relay_queue_new(const struct relay_env *env, const struct relay_queue_calls *calls, void *ctx);
void relay_queue_free(struct relay_queue *q);

/* --- what is added --------------------------------------------------------------------------------------------------- */

/* The queue is empty and goes on behind `last`, whose `end` is last_end; decoding begins at `from`. */
void relay_queue_start(struct relay_queue *q, struct event_id last, lsn_t last_end, lsn_t from);
/* Copies the entry, unless its id says that it is in the stream or in the queue already. */
void relay_queue_add(struct relay_queue *q, const struct relay_entry *e);
/* Nothing but a position. Gathered for 20 ms, unless it is urgent. */
void relay_queue_position(struct relay_queue *q, lsn_t end, bool urgent);

struct relay_queue_beginning {
	lsn_t from;
	enum relay_hole hole;
	struct event_id tail; /* where the stream ends; LSN 0: it is empty */
	lsn_t tail_end;       /* the last `end` in it */
};

/* In front of all others: what is in the stream cannot be continued with what the slot still has. Whoever reads the stream must know. */
void relay_queue_begin(struct relay_queue *q, const struct relay_queue_beginning *b);
/* The stream holds everything that commits before `end`. */
void relay_queue_reached(struct relay_queue *q, lsn_t end);
/* Everything that commits before it was added, or is known to be in the stream. */
lsn_t relay_queue_end(const struct relay_queue *q);

/* --- what is sent ---------------------------------------------------------------------------------------------------- */

/* The first entry that is not with Redis; NULL: there is none. */
const struct relay_queued *relay_queue_next(const struct relay_queue *q);
/* The next one is with Redis. */
void relay_queue_sent(struct relay_queue *q);
/* No entry is with Redis, as far as is known: all are sent again. */
void relay_queue_unsent(struct relay_queue *q);
/* The first n entries are in the stream. They were sent. */
void relay_queue_drop(struct relay_queue *q, size_t n);
/* The stream ends with `tail`, and its last `end` is `end`: entries up to there are in the stream, whoever appended them. */
void relay_queue_drop_known(struct relay_queue *q, struct event_id tail, lsn_t end);
/* Without a call of `pause`: relay_queue_flow follows. */
void relay_queue_clear(struct relay_queue *q);
/* After entries left or came: tells the owner to pause, or to go on. */
void relay_queue_flow(struct relay_queue *q);

size_t relay_queue_bytes(const struct relay_queue *q);
bool relay_queue_is_full(const struct relay_queue *q);
/* µs: the age of the oldest entry; 0: there is none. */
int64_t relay_queue_lag(const struct relay_queue *q, int64_t now);

#endif
