/*
 * tap_flow: when the replication stream runs, when it pauses, and when it is given up.
 *
 * The replication stream pauses while the intake or the way to the logs is full. A server that wants to stop waits until the replication stream
 * ends. So a replication stream that cannot go on within STOP_LIMIT is given up: what is not published comes again.
 */
#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"

/* µs. What is not published by then comes again from the slot. */
#define STOP_LIMIT 2000000

/* The intake or the way is full and may never be emptied. Then the replication stream is given up, because a server that wants to stop would wait
 * for ever. */
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
	source_pause(t->source, intake_is_full(t->intake) || t->way->is_full(t) || t->asked.restart);
	if (is_stuck(t))
		tap_flow_limit(t);
}

/* What the replication stream has brought and what is not handled yet comes again. */
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

/* Another replica may get the slot next, and does not know what this one has missed. So the Redis stream says it first; if it cannot within
 * STOP_LIMIT, this replica says it when it has the slot again. */
void tap_flow_restart(struct tap *t, const char *why)
{
	if (t->asked.restart)
		return;
	if (!t->asked.missed || !t->way->miss(t)) {
		source_restart(t->source, why);
		return;
	}
	t->asked.restart = why;
	tap_flow_pause(t);
	tap_flow_limit(t);
}

void tap_flow_told(struct tap *t)
{
	const char *why = t->asked.restart;

	if (!why)
		return;
	t->asked.restart = NULL;
	tap_flow_pause(t);
	if (source_is_streaming(t->source))
		source_restart(t->source, why);
}

/* Another replica may reach Redis. This replica streams again when it reaches Redis too. */
static void give_slot_up(struct tap *t)
{
	log_warn("Redis is away and no more can be kept: the slot is left to a replica that reaches it");
	source_stop(t->source);
	tap_flow_told(t);
	tap_flow_forget(t);
}

/* What is still not published comes again, because the connection ends without confirming it. */
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
	else if (t->asked.restart)
		tap_flow_told(t);
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
