/* relay_queue: entries on their way to Redis, in order. */
#include "parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/base/resync.h"

/* Positions without a transaction are gathered for so long. */
#define GATHER_US 20000

/* --- the queue --------------------------------------------------------------------------------------------------- */

void relay_queue_flow(struct relay *r)
{
	bool paused = r->w.bytes > (r->w.paused ? RELAY_BYTES / 2 : RELAY_BYTES);

	if (paused == r->w.paused)
		return;
	r->w.paused = paused;
	r->calls->pause(r->ctx, paused);
}

void relay_queue_drop_first(struct relay *r)
{
	struct relay_writer *w = &r->w;
	struct queued *q = w->first;

	w->first = q->next;
	if (!w->first)
		w->last = &w->first;
	if (w->sent == q)
		w->sent = q->next;
	w->bytes -= q->size;
	free(q);
}

static struct queued *queued_new(const struct relay_entry *e)
{
	struct slice fields[RELAY_FIELDS_MAX];
	struct buf scratch = { 0 };
	size_t n = relay_entry_encode(e, fields, &scratch), size = 0, at = 0;
	struct queued *q;

	for (size_t i = 0; i < n; i++)
		size += fields[i].len;
	q = mem_resize(NULL, 1, sizeof(*q) + size);
	*q = (struct queued){
		.id = e->id, .end = e->end, .size = sizeof(*q) + size, .came = clock_us(), .n_fields = n
	};
	for (size_t i = 0; i < n; i++) {
		q->lengths[i] = (uint32_t)fields[i].len;
		memcpy(q->bytes + at, fields[i].at, fields[i].len);
		at += fields[i].len;
	}
	buf_fini(&scratch);
	return q;
}

static void counted(struct relay_writer *w, const struct queued *q)
{
	w->bytes += q->size;
	event_active(w->flush, EV_TIMEOUT, 0);
}

static void enqueue(struct relay_writer *w, struct queued *q)
{
	*w->last = q;
	w->last = &q->next;
	if (!w->sent)
		w->sent = q;
	w->queued_last = q->id;
	if (q->end)
		w->queued_end = q->end;
	counted(w, q);
}

/* --- entries ----------------------------------------------------------------------------------------------------- */

static void add_position(struct relay *r)
{
	struct relay_writer *w = &r->w;
	struct relay_entry e = { .kind = RELAY_POSITION, .end = w->position };

	event_del(w->gather);
	w->position = 0;
	e.id = (struct event_id){ e.end - 1, RELAY_INDEX_POSITION };
	if (e.end > w->queued_end && event_id_compare(e.id, w->queued_last) > 0)
		enqueue(w, queued_new(&e));
}

void relay_position(struct relay *r, lsn_t end, bool urgent)
{
	struct relay_writer *w = &r->w;

	if (end > w->end)
		w->end = end;
	if (end > w->position)
		w->position = end;
	if (urgent)
		add_position(r);
	else if (!event_pending(w->gather, EV_TIMEOUT, NULL))
		event_add(w->gather, &(struct timeval){ 0, GATHER_US });
}

static void on_gather(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;

	(void)fd;
	(void)what;
	if (r->w.position)
		add_position(r);
}

void relay_add(struct relay *r, const struct relay_entry *e)
{
	struct relay_writer *w = &r->w;

	if (event_id_compare(e->id, w->queued_last) > 0) {
		w->position = 0; /* the transaction's end is further */
		enqueue(w, queued_new(e));
		if (e->end > w->end)
			w->end = e->end;
	} else if (e->end) {
		/* An earlier holder of the slot appended it, perhaps without saying that the transaction ends with it. */
		relay_position(r, e->end, false);
	}
	relay_queue_flow(r);
}

/* What stands in the stream cannot be continued with what the slot still has: whoever reads it must know. */
void relay_queue_begin(struct relay *r)
{
	struct relay_writer *w = &r->w;
	struct relay_entry e = { .kind = RELAY_BEGIN, .id = { w->from - 1, RELAY_INDEX_BEGIN }, .end = w->from };
	struct queued *q;

	if (w->hole)
		e.reason = slice_of(resync_name(RESYNC_SKIPPED));
	e.everything = w->hole != RELAY_HOLE_NONE && w->hole != RELAY_HOLE_KNOWN;
	if (w->tail.lsn >= w->from) { /* a transaction that nobody finished; it is left at that */
		e.id.lsn = w->tail.lsn;
		e.end = w->tail.lsn + 1;
	}
	if (w->tail.lsn == 0)
		log_info("the stream begins", log_lsn("slot", w->from));
	else if (!w->hole)
		log_warn("the slot does not reach back to where the stream ends; it begins anew",
			 log_lsn("stream", w->tail_end), log_lsn("slot", w->from));
	q = queued_new(&e);
	q->next = w->first;
	w->first = w->sent = q;
	if (!q->next) {
		w->last = &q->next;
		w->queued_last = q->id;
	}
	if (e.end > w->queued_end)
		w->queued_end = e.end;
	if (e.end > w->end)
		w->end = e.end;
	counted(w, q);
}

void relay_queue_empty(struct relay *r)
{
	struct relay_writer *w = &r->w;

	while (w->first)
		relay_queue_drop_first(r);
	w->position = 0;
	event_del(w->gather);
	if (w->n_in_flight)
		relay_append_forget(r);
	relay_queue_flow(r);
}

/* --- life -------------------------------------------------------------------------------------------------------- */

void relay_queue_init(struct relay *r)
{
	struct relay_writer *w = &r->w;

	w->last = &w->first;
	w->gather = event_new(r->loop, -1, 0, on_gather, r);
	if (!w->gather)
		fail_never("libevent makes no timer for the queue of the relay");
}

void relay_queue_fini(struct relay *r)
{
	while (r->w.first)
		relay_queue_drop_first(r);
	event_free(r->w.gather);
}
