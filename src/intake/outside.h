/*
 * outside: everything that the intake uses from outside: SQL, the time, timers, memory. Private to the intake.
 *
 * A struct of functions, so that a test controls the answers, the clock and the timers. outside_new makes the struct for the program. No
 * function is called for a small row without questions, unless it is the first row of its transaction. Tap thread.
 */
#ifndef WALPUSH_OUTSIDE_H
#define WALPUSH_OUTSIDE_H

#include <event2/event.h>

#include "walpush/pg/sqlpipe.h"

/* Sessions of the database. Their queries do not wait for each other. */
enum outside_session {
	OUTSIDE_ROWS,                    /* snapshots alone: when rows may be sent */
	OUTSIDE_QUESTIONS,               /* queries of rows, and snapshots between them */
	OUTSIDE_SESSIONS,                /* how many have snapshots */
	OUTSIDE_SPARE = OUTSIDE_SESSIONS /* takes the place of OUTSIDE_QUESTIONS; probes */
};

enum outside_timer {
	OUTSIDE_TIMER_ROWS,
	OUTSIDE_TIMER_QUESTIONS,
	OUTSIDE_TIMER_ANSWER, /* limits.answer of the head */
	OUTSIDE_TIMER_PROBE,
	OUTSIDE_TIMER_HEARD,   /* the head waits for the log to reach its horizon */
	OUTSIDE_TIMER_SETTLED, /* a position that was not flushed is read again */
	OUTSIDE_TIMERS
};

struct outside {
	void *at; /* the first argument of each function */
	/* As sqlpipe_ask and sqlpipe_forget: `done` is never called from within. */
	struct sqlpipe_query *(*ask)(void *at, enum outside_session session, const char *statement, const char *sql,
				     size_t n_values, const char *const *values, sqlpipe_done *done, void *ctx);
	void (*forget)(void *at, enum outside_session session, struct sqlpipe_query *q);
	/* The query that runs in this session is not needed any more: ends it, as far as that is possible. All queries of the session are
	 * forgotten before. */
	void (*cancel)(void *at, enum outside_session session);
	/* OUTSIDE_SPARE becomes OUTSIDE_QUESTIONS. The session before it is closed, its running query cancelled, and a new spare is opened. All
	 * queries of both are forgotten before. */
	void (*replace)(void *at);
	int64_t (*now)(void *at); /* µs, as clock_us */
	/* Calls `due` once after so many µs, never from within. A timer that runs already begins again. */
	void (*wake)(void *at, enum outside_timer timer, int64_t us, void (*due)(void *ctx), void *ctx);
	/* Could so many bytes be allocated now? */
	bool (*has_memory)(void *at, size_t bytes);
};

struct outside_pipes {
	struct sqlpipe *rows;
	struct sqlpipe *questions[2]; /* one of them is the spare */
};

/* The loop and the connections must outlive the struct. */
struct outside *outside_new(struct event_base *loop, const struct outside_pipes *pipes);
void outside_free(struct outside *o);
/* Is this pipe OUTSIDE_QUESTIONS at present? For the struct of outside_new alone. */
bool outside_questions_on(const struct outside *o, const struct sqlpipe *pipe);

#endif
