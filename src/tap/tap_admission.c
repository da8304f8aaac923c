/* tap_admission: what admit needs from the tap: the clock, the state of the logs, mails to hubs, queries, and turns of the loop. */
#include <stdlib.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/mem.h"

/* How long a client may be ahead of the Redis stream: replicas are milliseconds apart, not seconds. */
#define AHEAD_LIMIT 2000000 /* µs */

struct admit_events { /* one event for each enum admit_wake */
	struct event *soon, *when_read, *tick;
};

static int64_t clock_of(void *ctx)
{
	(void)ctx;
	return clock_us();
}

static bool is_fed(void *ctx)
{
	return tap_is_fed(ctx);
}

/* A replica that only reads the Redis stream does not know how far the server is, so it waits for up to AHEAD_LIMIT. */
static bool may_come(void *ctx, lsn_t commit, int64_t waited)
{
	struct tap *t = ctx;

	return commit <= source_server_end(t->source) || (t->way->is_shared && waited < AHEAD_LIMIT);
}

static lsn_t before(void *ctx, int64_t at)
{
	struct tap *t = ctx;

	return window_before(&t->window, at);
}

static void post(void *ctx, unsigned hub, struct mail *mail)
{
	struct tap *t = ctx;

	if (mail->kind == MAIL_LIMIT)
		mail->committed = t->committed;
	hub_post(t->hubs[hub], mail);
}

static void hear(void *ctx, struct topic *topic, unsigned hub)
{
	tap_feed_hear(ctx, topic, hub);
}

static void wake(void *ctx, enum admit_wake when)
{
	struct tap *t = ctx;

	switch (when) {
	case ADMIT_SOON:
		event_active(t->admit_events->soon, EV_TIMEOUT, 0);
		return;
	case ADMIT_WHEN_READ:
		event_add(t->admit_events->when_read, &(struct timeval){ 0, 0 });
		return;
	case ADMIT_AFTER_A_TICK:
		if (!event_pending(t->admit_events->tick, EV_TIMEOUT, NULL))
			event_add(t->admit_events->tick, &(struct timeval){ 0, ADMIT_TICK });
		return;
	}
}

static const struct admit_calls calls = { clock_of,       is_fed,         may_come,         before,
					  post,           hear,           tap_lanes_ask,    tap_lanes_let_go,
					  tap_lanes_drop, tap_lanes_open, tap_lanes_cancel, wake };

static void on_soon(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;

	(void)fd;
	(void)what;
	admissions_soon(t->admissions);
}

static void on_read(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;

	(void)fd;
	(void)what;
	admissions_read(t->admissions);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;

	(void)fd;
	(void)what;
	admissions_tick(t->admissions);
}

void tap_admission_init(struct tap *t)
{
	t->admit_events = mem_new(sizeof(*t->admit_events));
	t->admit_events->soon = event_new(t->loop, -1, 0, on_soon, t);
	t->admit_events->when_read = event_new(t->loop, -1, 0, on_read, t);
	t->admit_events->tick = event_new(t->loop, -1, 0, on_tick, t);
	if (!t->admit_events->soon || !t->admit_events->when_read || !t->admit_events->tick)
		fail_never("libevent makes no timers for admissions");
	tap_lanes_init(t);
	t->admissions = admissions_new(&t->now, &calls, t);
}

void tap_admission_fini(struct tap *t)
{
	admissions_free(t->admissions);
	tap_lanes_fini(t);
	event_free(t->admit_events->soon);
	event_free(t->admit_events->when_read);
	event_free(t->admit_events->tick);
	free(t->admit_events);
}
