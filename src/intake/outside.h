/*
 * outside: what the intake needs of the world: SQL, the time, one timer, memory. Private to the intake.
 *
 * A struct of functions, so that a test holds the answers, the clock and the timer in its hands. outside_new makes the one of the program.
 * None of it is called for a row that asks nothing and belongs to a transaction whose earlier rows were received. Tap thread.
 */
#ifndef WALPUSH_OUTSIDE_H
#define WALPUSH_OUTSIDE_H

#include <event2/event.h>

#include "walpush/pg/sqlpipe.h"

struct outside {
	void *at; /* the first argument of each function */
	/* As sqlpipe_ask and sqlpipe_forget: `done` is never called from within. */
	struct sqlpipe_query *(*ask)(void *at, const char *statement, const char *sql, size_t n_values,
				     const char *const *values, sqlpipe_done *done, void *ctx);
	void (*forget)(void *at, struct sqlpipe_query *q);
	int64_t (*now)(void *at); /* µs, as clock_us */
	/* `due` is called after so many µs, once, never from within. There is one timer: not while it runs. */
	void (*wake)(void *at, int64_t us, void (*due)(void *ctx), void *ctx);
	/* Could so many bytes be had at this moment? */
	bool (*has_memory)(void *at, size_t bytes);
};

/* The loop and the connection must outlive it. */
struct outside *outside_new(struct event_base *loop, struct sqlpipe *sql);
void outside_free(struct outside *o);

#endif
