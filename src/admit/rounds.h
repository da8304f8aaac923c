/*
 * rounds: when every connection is asked again, and how many queries run at a time.
 *
 * A change that names no user concerns every connection. One query for each connection and each change would be too many, so rounds collect
 * changes. The first round begins at once. All changes during a round wait for the next round, and rounds begin at least ROUNDS_APART after each
 * other. An answer is valid up to the first change after it (verdict.h), so a round that a single change caused costs no client a refetch. A
 * connection with a void answer is asked again in the same round, after the others; after ROUND_TRIES void answers it waits for the next round.
 *
 * The queries of a round, and those that run because time passes (recheck), are sent in shares: the next share is sent when the one before is
 * answered. A new connection waits for one share at most, so a share grows while it takes less than SHARE_US, and shrinks otherwise. This also
 * keeps the time between query and position short, in which a change makes an answer void.
 *
 * Pure; times are passed in, in µs of a clock that does not go back.
 */
#ifndef WALPUSH_ROUNDS_H
#define WALPUSH_ROUNDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUNDS_APART 5000000 /* µs */
#define ROUND_TRIES 3        /* queries for one connection in a round */
#define SHARE_QUERIES 16     /* queries */
#define SHARE_US 20000
/* No share is sent while this many other queries run: new connections go first. */
#define SHARE_BEHIND 64

struct rounds {
	uint64_t n;    /* begun so far */
	int64_t begun; /* µs: the last */
	size_t left;   /* connections whose answer the round waits for */
};

struct round_tries {    /* of one connection */
	uint32_t round; /* its number, modulo 2^32 */
	uint32_t n;
};

bool rounds_may_begin(const struct rounds *r, int64_t now);
/* `waiting`: connections that take part; 0 begins no round. */
void rounds_begin(struct rounds *r, size_t waiting, int64_t now);
/* A connection was answered, or has ended. */
void rounds_left(struct rounds *r);
/* For a connection with which the round begins. */
struct round_tries rounds_tried(const struct rounds *r);
/* Its answer was void. True: it is asked again in this round. */
bool rounds_again(struct rounds *r, struct round_tries *tries);

struct share {
	unsigned size; /* of the next share; 0 means SHARE_QUERIES */
	size_t left;   /* queries of this share without an answer */
	int64_t sent;  /* µs */
	int64_t moved; /* µs: when the queue began, or a query of a share was answered */
};

/* How many queries may be sent now, while `others` run. */
size_t rounds_share_room(const struct share *s, size_t others);
void rounds_share_sent(struct share *s, size_t n, int64_t now);
/* A query of the share was answered. True: it was the last one. */
bool rounds_share_answered(struct share *s, int64_t now);
/* The share does not wait for this query any more. True as above. */
bool rounds_share_left(struct share *s, int64_t now);
/* No query of a share was answered for VERDICT_PATIENCE times `limit` (limits.admit-timeout, µs): the database does not answer. */
bool rounds_share_stands(const struct share *s, int64_t now, int64_t limit);

/* Connections of a stream are asked again as time passes: the least recently asked first, evenly over the interval. */
struct recheck {
	int64_t at;     /* µs: of the last look; 0: none */
	int64_t credit; /* connections × µs */
};

/* How many of `n` connections to ask now, so that each is asked within `interval` µs. One that was last asked an interval ago is due in any case. */
size_t rounds_recheck_due(struct recheck *r, size_t n, int64_t interval, int64_t now);

#endif
