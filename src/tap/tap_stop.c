/*
 * tap_stop: the end of the process, in this order:
 *   1. the ports are closed, so that a successor can listen;
 *   2. what was committed by now is published, as far as the database answers within PUBLISH_LIMIT;
 *   3. the position that the replay window holds is confirmed;
 *   4. the slot is released, so that a successor can stream;
 *   5. the connections are closed, at the pace of drain.h, and the clients find the successor listening and streaming.
 * Each step has a limit of its own. A second signal ends the process at once.
 */
#include <stdlib.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

/* µs. What is not published by then comes again, from the slot, at the successor. */
#define PUBLISH_LIMIT 1000000
/* µs for the server's answer to the end of the replication stream. In the middle of a long transaction the server gives none. */
#define RELEASE_LIMIT 500000
/* µs beyond limits.drain, for the last answers to close frames. */
#define DRAIN_GRACE 2000000

#define END_SQL "SELECT " TAP_FLUSHED_SQL

struct stop {
	enum stop_step { STOP_NOT, STOP_PUBLISHING, STOP_RELEASING, STOP_CLOSING } step;
	int64_t began;               /* µs */
	lsn_t end;                   /* what was committed when the stop began; 0: not known yet */
	struct sqlpipe_query *query; /* asks for `end` */
	struct event *event;         /* the step is done, or has taken too long */
};

static void stop_to(struct tap *t, enum stop_step next, int64_t limit)
{
	struct timeval wait = clock_timeval(limit > 0 ? limit : 0);

	t->stop->step = next;
	event_add(t->stop->event, &wait);
}

void tap_close_all(struct tap *t, bool final)
{
	int64_t spent = final ? clock_us() - t->stop->began : 0;
	struct mail mail = { .kind = MAIL_CLOSE, .close = { t->now.conf->limits.drain * 1000 - spent, final } };

	tap_tell_hubs(t, &mail);
}

/* Posts MAIL_DIRTY for the last messages first. */
static void close_clients(struct tap *t)
{
	t->way->lost(t);
	tap_feed_flush(t);
	stop_to(t, STOP_CLOSING, t->now.conf->limits.drain * 1000 + DRAIN_GRACE - (clock_us() - t->stop->began));
	tap_close_all(t, true);
}

void tap_stop_released(struct tap *t)
{
	log_info("the slot is released", log_ms("after_ms", clock_us() - t->stop->began));
	close_clients(t);
}

static bool is_published(const struct tap *t)
{
	return t->stop->end && t->window.handled >= t->stop->end;
}

/* What the intake still holds is not confirmed, so it comes again. */
static void release(struct tap *t)
{
	if (source_is_streaming(t->source))
		log_info("leaving the stream", log_lsn("handled", t->window.handled),
			 log_s("published", is_published(t) ? "all" : "as far as the database answered in time"));
	if (t->stop->query)
		sqlpipe_forget(t->sql, t->stop->query);
	t->stop->query = NULL;
	intake_clear(t->intake);
	stop_to(t, STOP_RELEASING, RELEASE_LIMIT);
	source_end(t->source);
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;

	(void)fd;
	(void)what;
	switch (t->stop->step) {
	case STOP_PUBLISHING:
		release(t);
		return;
	case STOP_RELEASING:
		source_stop(t->source);
		tap_stop_released(t);
		return;
	case STOP_CLOSING:
	default:
		log_warn("some clients did not take their leave in time");
		event_base_loopbreak(t->loop);
	}
}

void tap_stop_reached(struct tap *t)
{
	if (t->stop->step == STOP_PUBLISHING && (is_published(t) || !source_is_streaming(t->source)))
		event_active(t->stop->event, EV_TIMEOUT, 0);
}

/* The replication stream reaches `end` even if nothing more is written, because a walsender that has read all WAL sends its position. After an error
 * the limit ends this step. */
static void on_end(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct tap *t = ctx;
	const char *end = rows && rows->n_rows == 1 ? sqlrows_get(rows, 0, 0) : NULL;

	t->stop->query = NULL;
	if (!end || !lsn_parse(slice_of(end), &t->stop->end))
		log_warn("cannot tell how far the WAL is", log_s("error", why ? why->text : "a strange answer"));
	sqlrows_free(rows);
	tap_stop_reached(t);
}

void tap_stop(struct tap *t)
{
	t->stopping = true;
	t->stop->began = clock_us();
	log_info("stopping", log_ms("drain_ms", t->now.conf->limits.drain * 1000),
		 log_lsn("handled", t->window.handled));
	tap_reload_fini(t);
	tap_findings_stop(t);
	tap_stop_listening(t);
	admin_stop_listening(t->admin);
	stop_to(t, STOP_PUBLISHING, PUBLISH_LIMIT);
	if (source_is_streaming(t->source))
		t->stop->query = sqlpipe_ask(t->sql, "end", END_SQL, 0, NULL, on_end, t);
	else
		release(t);
}

void tap_stop_init(struct tap *t)
{
	t->stop = mem_new(sizeof(*t->stop));
	t->stop->event = event_new(t->loop, -1, 0, on_stop, t);
	if (!t->stop->event)
		fail_never("libevent makes no timer for the steps of a stop");
}

void tap_stop_fini(struct tap *t)
{
	event_free(t->stop->event);
	free(t->stop);
}
