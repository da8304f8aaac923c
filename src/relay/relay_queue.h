/*
 * relay_queue: entries on their way to Redis, in the order of their ids.
 *
 * Bounded by RELAY_BYTES and one transaction: above RELAY_BYTES the owner must pause, at half of it the owner goes on.
 * No entry is refused.
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
	lsn_t end;    /* 0: inside a transaction */
	size_t size;  /* bytes of RELAY_BYTES that it takes */
	int64_t came; /* µs: when it was added */
	size_t n_fields;
	uint32_t lengths[RELAY_FIELDS_MAX];
	char bytes[]; /* the fields, one after the other */
};

struct relay_queue_calls {
	/* An entry was added. Nothing may be sent before this returns. */
	void (*filled)(void *ctx);
	/* The queue is full, or half empty again. */
	void (*pause)(void *ctx, bool paused);
};

struct relay_queue *relay_queue_new(const struct relay_env *env, const struct relay_queue_calls *calls, void *ctx);
void relay_queue_free(struct relay_queue *q);

/* --- adding ---------------------------------------------------------------------------------------------------------- */

/* The queue is empty and continues after `last`, whose `end` is last_end; decoding begins at `from`. */
void relay_queue_start(struct relay_queue *q, struct event_id last, lsn_t last_end, lsn_t from);
/* Copies the entry. Does nothing if its id shows that the entry is already in the Redis stream or in the queue. */
void relay_queue_add(struct relay_queue *q, const struct relay_entry *e);
/* Only a position. It is gathered for 20 ms, unless it is urgent. */
void relay_queue_position(struct relay_queue *q, lsn_t end, bool urgent);

struct relay_queue_beginning {
	lsn_t from;
	enum relay_hole hole;
	struct event_id tail; /* where the Redis stream ends; LSN 0: it is empty */
	lsn_t tail_end;       /* the last `end` in it */
};

/* Adds an entry before all others: the Redis stream cannot be continued with what the slot still has, and its readers
 * must know this. */
void relay_queue_begin(struct relay_queue *q, const struct relay_queue_beginning *b);
/* The Redis stream holds everything that commits before `end`. */
void relay_queue_note_end(struct relay_queue *q, lsn_t end);
/* Everything that commits before this LSN was added, or is known to be in the Redis stream. */
lsn_t relay_queue_end(const struct relay_queue *q);

/* --- sending --------------------------------------------------------------------------------------------------------- */

/* The first entry that was not sent; NULL: there is none. */
const struct relay_queued *relay_queue_next(const struct relay_queue *q);
/* The next entry was sent. */
void relay_queue_sent(struct relay_queue *q);
/* No entry is known to be with Redis: all are sent again. */
void relay_queue_unsent(struct relay_queue *q);
/* The first n entries are in the Redis stream. They were sent. */
void relay_queue_drop(struct relay_queue *q, size_t n);
/* The Redis stream ends with `tail`, and its last `end` is `end`: entries up to there are in the Redis stream, no
 * matter who appended them. */
void relay_queue_drop_known(struct relay_queue *q, struct event_id tail, lsn_t end);
/* Does not call `pause`: call relay_queue_flow afterwards. */
void relay_queue_clear(struct relay_queue *q);
/* After entries left or were added: the owner must pause, or may go on. */
void relay_queue_flow(struct relay_queue *q);

size_t relay_queue_bytes(const struct relay_queue *q);
bool relay_queue_is_full(const struct relay_queue *q);
/* µs: the age of the oldest entry; 0: there is none. */
int64_t relay_queue_lag(const struct relay_queue *q, int64_t now);

#endif
