#include "outside.h"

#include <stdlib.h>

#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/mem.h"

struct world {
	struct outside outside; /* `at` points to this struct */
	struct outside_pipes pipes;
	unsigned asked;      /* the index of OUTSIDE_QUESTIONS in pipes.questions */
	bool is_given_up[2]; /* of pipes.questions: `renew` opens another session */
	struct event *renew;
	struct timer {
		struct event *event;
		void (*due)(void *ctx);
		void *ctx;
	} timers[OUTSIDE_TIMERS];
};

static struct sqlpipe *pipe_of(const struct world *w, enum outside_session session)
{
	if (session == OUTSIDE_ROWS)
		return w->pipes.rows;
	return w->pipes.questions[session == OUTSIDE_QUESTIONS ? w->asked : !w->asked];
}

static struct sqlpipe_query *ask(void *at, enum outside_session session, const char *statement, const char *sql,
				 size_t n_values, const char *const *values, sqlpipe_done *done, void *ctx)
{
	return sqlpipe_ask(pipe_of(at, session), statement, sql, n_values, values, done, ctx);
}

static void forget(void *at, enum outside_session session, struct sqlpipe_query *q)
{
	sqlpipe_forget(pipe_of(at, session), q);
}

static void cancel(void *at, enum outside_session session)
{
	/* One that cannot be sent is not sent later: the session is replaced then, or the next probe that waits behind the query cancels it. */
	(void)sqlpipe_cancel(pipe_of(at, session), pipe_of(at, OUTSIDE_ROWS));
}

static void on_renew(evutil_socket_t fd, short what, void *arg)
{
	struct world *w = arg;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < 2; i++) {
		if (w->is_given_up[i])
			sqlpipe_renew(w->pipes.questions[i]);
		w->is_given_up[i] = false;
	}
}

/* The answer of a query may be the reason, and a pipe cannot be renewed from within. The cancel is sent on another session. */
static void replace(void *at)
{
	struct world *w = at;

	cancel(w, OUTSIDE_SPARE); /* a probe */
	cancel(w, OUTSIDE_QUESTIONS);
	w->is_given_up[w->asked] = true;
	w->asked = !w->asked;
	event_active(w->renew, EV_TIMEOUT, 0);
}

static int64_t now(void *at)
{
	(void)at;
	return clock_us();
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct timer *t = arg;

	(void)fd;
	(void)what;
	t->due(t->ctx);
}

static void wake(void *at, enum outside_timer timer, int64_t us, void (*due)(void *ctx), void *ctx)
{
	struct world *w = at;
	struct timer *t = &w->timers[timer];
	struct timeval wait = clock_timeval(us);

	t->due = due;
	t->ctx = ctx;
	event_add(t->event, &wait);
}

static bool has_memory(void *at, size_t bytes)
{
	(void)at;
	return mem_is_there(bytes);
}

bool outside_questions_on(const struct outside *o, const struct sqlpipe *pipe)
{
	return pipe_of(o->at, OUTSIDE_QUESTIONS) == pipe;
}

struct outside *outside_new(struct event_base *loop, const struct outside_pipes *pipes)
{
	struct world *w = mem_new(sizeof(*w));

	w->outside = (struct outside){ w, ask, forget, cancel, replace, now, wake, has_memory };
	w->pipes = *pipes;
	w->renew = event_new(loop, -1, 0, on_renew, w);
	if (!w->renew)
		fail_never("intake: libevent makes no event");
	for (size_t i = 0; i < OUTSIDE_TIMERS; i++) {
		w->timers[i].event = event_new(loop, -1, 0, on_timer, &w->timers[i]);
		if (!w->timers[i].event)
			fail_never("intake: libevent makes no timers");
	}
	return &w->outside;
}

void outside_free(struct outside *o)
{
	struct world *w;

	if (!o)
		return;
	w = o->at;
	for (size_t i = 0; i < OUTSIDE_TIMERS; i++)
		event_free(w->timers[i].event);
	event_free(w->renew);
	free(w);
}
