/*
 * relay_writer: the side of the replica that holds the slot: where the Redis stream ends, what is appended after it,
 * and how much of it is safe.
 *
 * Owns the connection "append", and the queue. It does what relay.h says about the holder of the slot. Tap thread.
 */
#ifndef WALPUSH_RELAY_WRITER_H
#define WALPUSH_RELAY_WRITER_H

#include "relay_env.h"
#include "walpush/relay/relay.h"

struct relay_writer;

struct relay_writer_calls {
	void (*refill)(void *ctx, const char *why); /* as in struct relay_calls */
	void (*pause)(void *ctx, bool paused);      /* the same */
	void (*changed)(void *ctx);                 /* the connection came up or went down */
	/* An error of Redis ended the connection. It concerns the other connection too. */
	void (*refused)(void *ctx, const char *words);
};

/* `name`: of this process, for the leader's key; borrowed. */
struct relay_writer *relay_writer_new(const struct relay_env *env, const char *name,
				      const struct relay_writer_calls *calls, void *ctx);
void relay_writer_free(struct relay_writer *w);

/* Changes to another Redis stream: the queue of the old one is dropped. The keys are borrowed. */
void relay_writer_reopen(struct relay_writer *w, const char *key, const char *leader_key);
/* Once a second, as soon as there is a Redis stream. */
void relay_writer_second(struct relay_writer *w);
/* An entry that was read is in the Redis stream, no matter who appended it: a replica that gets the slot begins where
 * the Redis stream ends. */
void relay_writer_saw(struct relay_writer *w, const struct relay_entry *e);
/* The connection is made again. */
void relay_writer_drop(struct relay_writer *w, const char *why);

lsn_t relay_writer_tail_end(const struct relay_writer *w);
uint32_t relay_writer_decoding(const struct relay_writer *w);
lsn_t relay_writer_half_told(const struct relay_writer *w);
lsn_t relay_writer_start(struct relay_writer *w, lsn_t from, enum relay_hole hole);
bool relay_writer_miss(struct relay_writer *w);
void relay_writer_lead(struct relay_writer *w, bool leads);
void relay_writer_add(struct relay_writer *w, const struct relay_entry *e);
void relay_writer_position(struct relay_writer *w, lsn_t end, bool urgent);
lsn_t relay_writer_end(const struct relay_writer *w);
lsn_t relay_writer_safe(const struct relay_writer *w);
void relay_writer_trim(struct relay_writer *w, lsn_t confirmed);
bool relay_writer_is_full(const struct relay_writer *w);

bool relay_writer_is_up(const struct relay_writer *w);
bool relay_writer_leads(const struct relay_writer *w);
/* The connection is up, and Redis has acknowledged nothing on it for 10 s, although it should. */
bool relay_writer_is_stuck(const struct relay_writer *w, int64_t now);
/* Why the connection is not up; NULL: it is up, or was not tried yet. */
const char *relay_writer_trouble(const struct relay_writer *w);
/* What Redis said since it last acknowledged anything; "": nothing. */
const char *relay_writer_words(const struct relay_writer *w);
/* µs: the age of the oldest entry that Redis has not acknowledged; 0: there is none. */
int64_t relay_writer_lag(const struct relay_writer *w, int64_t now);
/* Fills the writer's share of the numbers. */
void relay_writer_numbers(const struct relay_writer *w, int64_t now, struct relay_numbers *out);

#endif
