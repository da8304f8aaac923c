/*
 * heard: has the log brought everything that an answer may know? Private to the intake. Tap thread.
 *
 * The head waits for the log to reach its horizon (horizon.h). Usually the log is there: it has brought the row's own commit, and nothing was
 * written since. Otherwise the server is asked how far it has sent, because it does not tell by itself that there was nothing for walpush.
 *
 * Content is waited for as long as HEARD_PATIENCE. Receivers by a lookup that does not read the row are only waited for as long as HEARD_SOON,
 * because they are used all the same (emit.c). So there are two structs: what the one waits for in vain the other may still wait for.
 *
 * Nothing is waited for while the queue is full, because then nothing is received. What was waited for in vain is not waited for again, by any
 * row, until the log has come that far; nor is content asked for that would have to wait (answers.h).
 */
#ifndef WALPUSH_HEARD_H
#define WALPUSH_HEARD_H

#include "walpush/base/event_id.h"
#include "outside.h"

/* µs; with the wait before the last look at most twice as long */
#define HEARD_PATIENCE 1000000
#define HEARD_SOON 10000

struct heard_calls {
	/* Ask the server how far it has sent. The answer comes by heard_moved. */
	void (*ask)(void *ctx);
	/* The head has waited long enough. From the loop. */
	void (*in_vain)(void *ctx);
};

struct heard { /* zeroed, but for the first four */
	const struct outside *outside;
	const struct heard_calls *calls;
	void *ctx;
	int64_t patience; /* µs */
	lsn_t upto;       /* everything that commits below was received */
	lsn_t need;       /* of the head; 0: it does not wait */
	lsn_t vain;       /* was waited for in vain */
	int64_t since;    /* µs: when the head began to wait */
	unsigned asked;   /* how often the server was asked since */
};

enum heard_says { HEARD, HEARD_NOT_YET, HEARD_IN_VAIN };

/* Is everything that commits below `need` received? */
enum heard_says heard_by(struct heard *h, lsn_t need, bool is_full);
/* What is asked now would be waited for in vain, unless the log comes on. */
bool heard_is_vain(const struct heard *h);
/* The head does not wait, or waits by another struct: they share a timer. */
void heard_leave(struct heard *h);
/* Everything that commits below `upto` was received. True: the head need not wait any longer. */
bool heard_moved(struct heard *h, lsn_t upto);
/* Another connection. */
void heard_clear(struct heard *h);

#endif
