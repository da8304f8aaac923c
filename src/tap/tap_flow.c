/*
 * tap_flow: when the stream runs, when it pauses, and when it is given up.
 *
 * It pauses while the intake or the way to the logs is full. A server that wants to stop waits for us as long as we hold on, so a stream that cannot
 * go on within STOP_LIMIT is given up: what was not published comes again.
 */
#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"

/* What is not published by then comes again from the slot. */
#define STOP_LIMIT 2000000

/* What may never be emptied: then the stream is given up, because a server that wants to stop would wait for us without end. */
static bool is_stuck(const struct tap *t)
{
	bool queue_full = t->way->is_full(t);

	return ((intake_is_full(t->intake) || queue_full) && !sqlpipe_is_up(t->sql)) ||
	       (queue_full && !t->way->is_up(t));
}

/* A replica that cannot reach Redis leaves the slot to one that can. */
void tap_flow_go(struct tap *t)
{
	if (t->now.rules && !t->stopping && !tap_skip_asks(t) && t->way->is_up(t))
		source_go(t->source);
}

void tap_flow_pause(struct tap *t)
{
	source_pause(t->source, intake_is_full(t->intake) || t->way->is_full(t));
	if (is_stuck(t))
		tap_flow_limit(t);
}

/* What a stream brought and is not handled yet: it comes again. */
void tap_flow_forget(struct tap *t)
{
	intake_clear(t->intake);
	t->way->lost(t);
}

void tap_flow_limit(struct tap *t)
{
	struct timeval limit = clock_timeval(STOP_LIMIT);

	if (!event_pending(t->stop_limit, EV_TIMEOUT, NULL))
		event_add(t->stop_limit, &limit);
}

/* Another replica may reach Redis. This one streams again when it does too. */
static void give_slot_up(struct tap *t)
{
	log_warn("Redis is away and no more can be kept: the slot is left to a replica that reaches it");
	source_stop(t->source);
	tap_flow_forget(t);
}

/* Still something unpublished: it comes again, because the connection ends without confirming it. */
static void on_stop_limit(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;

	(void)fd;
	(void)what;
	if (!source_is_streaming(t->source))
		return;
	if (t->server_stops)
		source_restart(t->source, "the server is stopping");
	else if (!t->way->is_up(t))
		give_slot_up(t);
	else if (is_stuck(t))
		source_restart(t->source, "nothing can be looked up, and no more can be kept");
}

void tap_flow_init(struct tap *t)
{
	window_init(&t->window, t->now.conf->replay.seconds * 1000, (uint64_t)t->now.conf->replay.bytes);
	t->stop_limit = event_new(t->loop, -1, 0, on_stop_limit, t);
	if (!t->stop_limit)
		fail_never("libevent makes no timer for the stream");
}

void tap_flow_fini(struct tap *t)
{
	event_free(t->stop_limit);
}
