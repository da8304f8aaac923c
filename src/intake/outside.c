#include "outside.h"

#include <stdlib.h>

#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/mem.h"

struct world {
	struct outside outside; /* `at` points to this struct */
	struct sqlpipe *sql;
	struct event *timer;
	void (*due)(void *ctx);
	void *ctx;
};

static struct sqlpipe_query *ask(void *at, const char *statement, const char *sql, size_t n_values,
				 const char *const *values, sqlpipe_done *done, void *ctx)
{
	struct world *w = at;

	return sqlpipe_ask(w->sql, statement, sql, n_values, values, done, ctx);
}

static void forget(void *at, struct sqlpipe_query *q)
{
	struct world *w = at;

	sqlpipe_forget(w->sql, q);
}

static int64_t now(void *at)
{
	(void)at;
	return clock_us();
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct world *w = arg;

	(void)fd;
	(void)what;
	w->due(w->ctx);
}

static void wake(void *at, int64_t us, void (*due)(void *ctx), void *ctx)
{
	struct world *w = at;
	struct timeval wait = clock_timeval(us);

	w->due = due;
	w->ctx = ctx;
	event_add(w->timer, &wait);
}

static bool has_memory(void *at, size_t bytes)
{
	(void)at;
	return mem_is_there(bytes);
}

struct outside *outside_new(struct event_base *loop, struct sqlpipe *sql)
{
	struct world *w = mem_new(sizeof(*w));

	w->outside = (struct outside){ w, ask, forget, now, wake, has_memory };
	w->sql = sql;
	w->timer = event_new(loop, -1, 0, on_timer, w);
	if (!w->timer)
		fail_never("intake: libevent makes no timer for snapshots");
	return &w->outside;
}

void outside_free(struct outside *o)
{
	struct world *w;

	if (!o)
		return;
	w = o->at;
	event_free(w->timer);
	free(w);
}
