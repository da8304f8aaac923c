/*
 * relay_reader: from the Redis stream to the logs of this replica.
 *
 * Owns the connection "read". It reports entries in order and without a hole, or reports that a history begins. Every
 * second it also asks who leads and how long the Redis stream is. Tap thread.
 */
#ifndef WALPUSH_RELAY_READER_H
#define WALPUSH_RELAY_READER_H

#include "relay_env.h"
#include "walpush/relay/relay.h"

struct relay_reader;

struct relay_reader_calls {
	void (*begin)(void *ctx, lsn_t floor, enum relay_hole hole); /* as in struct relay_calls */
	bool (*entry)(void *ctx, const struct relay_entry *e);       /* as in struct relay_calls */
	void (*changed)(void *ctx);                                  /* the same, for this connection */
	void (*saw)(void *ctx, const struct relay_entry *e);         /* each entry, before it is handled */
	void (*refused)(void *ctx, const char *words);               /* as in struct relay_writer_calls */
};

struct relay_reader *relay_reader_new(const struct relay_env *env, const struct relay_reader_calls *calls, void *ctx);
void relay_reader_free(struct relay_reader *r);

/* Reads this Redis stream from its beginning. The keys are borrowed. */
void relay_reader_reopen(struct relay_reader *r, const char *key, const char *leader_key);
/* Once a second, as soon as there is a Redis stream. */
void relay_reader_second(struct relay_reader *r);
/* The connection is made again. */
void relay_reader_drop(struct relay_reader *r, const char *why);

/* Everything that the Redis stream held when it was opened has been read, and Redis answers. */
bool relay_reader_is_current(const struct relay_reader *r);
bool relay_reader_is_up(const struct relay_reader *r);
/* Why the connection is not up; NULL: it is up, or was not tried yet. */
const char *relay_reader_trouble(const struct relay_reader *r);
/* What Redis said when it last refused a read of this Redis stream; "": nothing. */
const char *relay_reader_words(const struct relay_reader *r);
/* µs: for how long every read has been refused; 0: the last was not. */
int64_t relay_reader_lag(const struct relay_reader *r, int64_t now);
/* µs of the clock since when no leader is known; 0: a replica leads, or Redis cannot be asked. */
int64_t relay_reader_leaderless_since(const struct relay_reader *r);
/* Fills the reader's share of the numbers. */
void relay_reader_numbers(const struct relay_reader *r, struct relay_numbers *out);

#endif
