/*
 * outside: everything that the intake uses from outside: SQL, the time, one timer, memory. Private to the intake.
 *
 * A struct of functions, so that a test controls the answers, the clock and the timer. outside_new makes the struct for the program. No
 * function is called for a small row without questions, unless it is the first row of its transaction. Tap thread.
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
	/* Calls `due` once after so many µs, never from within. There is only one timer; do not call this while it runs. */
	void (*wake)(void *at, int64_t us, void (*due)(void *ctx), void *ctx);
	/* Could so many bytes be allocated now? */
	bool (*has_memory)(void *at, size_t bytes);
};

/* The loop and the connection must outlive the struct. */
struct outside *outside_new(struct event_base *loop, struct sqlpipe *sql);
void outside_free(struct outside *o);

#endif
