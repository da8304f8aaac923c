/*
 * rounds: when everybody is asked about again, and how many at a time.
 *
 * A change that names no user concerns everybody. Asking everybody at each one would cost as many queries as there are connections, times
 * the changes; so changes are gathered into rounds. The first begins at once. A change during a round waits for the next,
 * however many there are, and rounds begin at least ROUNDS_APART after each other. An answer counts up to the first change behind it
 * (verdict.h), so a round costs nobody a refetch if one change alone made it. Whose answer is void is asked again in the same round,
 * behind the others, and by the third void one waits for the next round.
 *
 * A round, and what is asked again because time passes (recheck), go to the server in shares: the next share when all of the one before are
 * answered. A connection that comes meanwhile waits behind one share at most, so a share grows while it takes less than
 * SHARE_US, and shrinks beyond. That keeps the time between question and position short too, in which a change makes an answer void.
 *
 * Pure; times are passed in, in µs of a clock that does not go back.
 */
#ifndef WALPUSH_ROUNDS_H
#define WALPUSH_ROUNDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROUNDS_APART 5000000 /* µs */
#define ROUND_TRIES 3        /* questions for one connection */
#define SHARE_MOST 16        /* questions */
#define SHARE_US 20000
/* No share is sent while so many other questions are with the server: who comes is first. */
#define SHARE_BEHIND 64

struct rounds {
	uint64_t n;    /* begun so far */
	int64_t begun; /* µs: the last */
	size_t left;   /* connections whose answer it waits for */
};

struct round_tries {    /* of one connection */
	uint32_t round; /* its number, as far as that goes */
	uint32_t n;
};

bool rounds_may_begin(const struct rounds *r, int64_t now);
/* With so many connections; none is no round. */
void rounds_begin(struct rounds *r, size_t waiting, int64_t now);
/* One of them was answered, or is gone. */
void rounds_left(struct rounds *r);
/* One that the round has just begun with. */
struct round_tries rounds_tried(const struct rounds *r);
/* Its answer was void. True: it is asked again, and the round waits for it. */
bool rounds_again(struct rounds *r, struct round_tries *tries);

struct share {
	unsigned size; /* of the next one; 0 as SHARE_MOST */
	size_t left;   /* questions of this one that are not answered yet */
	int64_t sent;  /* µs */
	int64_t moved; /* µs: when something was queued first, or a share was answered */
};

/* How many questions may be sent now; `others` are with the server. */
size_t share_room(const struct share *s, size_t others);
void share_sent(struct share *s, size_t n, int64_t now);
/* One question of it was answered. True: the share is done. */
bool share_answered(struct share *s, int64_t now);
/* No share was answered for so long that nobody can be left to wait for it. `limit`: limits.admit-timeout, µs. */
bool share_stands(const struct share *s, int64_t now, int64_t limit);

/* What of a stream is asked again as time passes: the longest unasked first, evenly over the interval. */
struct recheck {
	int64_t at;     /* µs: of the last look; 0: none */
	int64_t credit; /* connections × µs */
};

/* How many of `n` are to be asked now, so that all are within `interval` µs. Who was last asked an interval ago is so in any case. */
size_t recheck_due(struct recheck *r, size_t n, int64_t interval, int64_t now);

#endif
