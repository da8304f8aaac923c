#include "relay_queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/base/resync.h"

/* Positions without a transaction are gathered for this long. */
#define GATHER_US 20000

/*
 *   the Redis stream, up to its tail │ first … with Redis … │ sent … not yet sent … │ last
 *
 * Ids grow from the first entry to the last, and no entry that the owner added is missing between two others. The queue
 * begins after the Redis stream's tail, or with a beginning (relay_queue_begin). The entries [first, sent) are with
 * Redis. `sent` is NULL if all entries are with Redis.
 */
struct relay_queue {
	const struct relay_env *env;
	const struct relay_queue_calls *calls;
	void *ctx;
	struct relay_queued *first, **last, *sent;
	size_t bytes;
	struct event_id last_id; /* of the newest entry, or of the Redis stream's tail */
	lsn_t last_end;          /* the last `end` in the queue, or in the Redis stream */
	lsn_t end;               /* see relay_queue_end */
	lsn_t position;          /* not an entry yet; 0: none */
	bool paused;
	struct event *gather;
};

void relay_queue_flow(struct relay_queue *q)
{
	bool paused = q->bytes > (q->paused ? RELAY_BYTES / 2 : RELAY_BYTES);

	if (paused == q->paused)
		return;
	q->paused = paused;
	q->calls->pause(q->ctx, paused);
}

/* --- adding ---------------------------------------------------------------------------------------------------------- */

static struct relay_queued *queued_new(const struct relay_entry *e, int64_t now)
{
	struct slice fields[RELAY_FIELDS_MAX];
	struct buf scratch = { 0 };
	size_t n = relay_entry_encode(e, fields, &scratch), size = 0, at = 0;
	struct relay_queued *q;

	for (size_t i = 0; i < n; i++)
		size += fields[i].len;
	q = mem_resize(NULL, 1, sizeof(*q) + size);
	*q = (struct relay_queued){ .id = e->id, .end = e->end, .size = sizeof(*q) + size, .came = now, .n_fields = n };
	for (size_t i = 0; i < n; i++) {
		q->lengths[i] = (uint32_t)fields[i].len;
		if (fields[i].len) /* an empty one may have no place */
			memcpy(q->bytes + at, fields[i].at, fields[i].len);
		at += fields[i].len;
	}
	buf_fini(&scratch);
	return q;
}

static void counted(struct relay_queue *q, const struct relay_queued *e)
{
	q->bytes += e->size;
	q->calls->filled(q->ctx);
}

static void enqueue(struct relay_queue *q, const struct relay_entry *entry)
{
	struct relay_queued *e = queued_new(entry, q->env->clock());

	assert(event_id_compare(e->id, q->last_id) > 0);
	*q->last = e;
	q->last = &e->next;
	if (!q->sent)
		q->sent = e;
	q->last_id = e->id;
	if (e->end)
		q->last_end = e->end;
	counted(q, e);
}

static void add_position(struct relay_queue *q)
{
	struct relay_entry e = { .kind = RELAY_POSITION, .end = q->position };

	event_del(q->gather);
	q->position = 0;
	e.id = (struct event_id){ e.end - 1, RELAY_INDEX_POSITION };
	if (e.end > q->last_end && event_id_compare(e.id, q->last_id) > 0)
		enqueue(q, &e);
}

void relay_queue_position(struct relay_queue *q, lsn_t end, bool urgent)
{
	relay_queue_note_end(q, end);
	if (end > q->position)
		q->position = end;
	if (urgent)
		add_position(q);
	else if (!event_pending(q->gather, EV_TIMEOUT, NULL))
		event_add(q->gather, &(struct timeval){ 0, GATHER_US });
}

static void on_gather(evutil_socket_t fd, short what, void *arg)
{
	struct relay_queue *q = arg;

	(void)fd;
	(void)what;
	if (q->position)
		add_position(q);
}

void relay_queue_add(struct relay_queue *q, const struct relay_entry *e)
{
	if (event_id_compare(e->id, q->last_id) > 0) {
		q->position = 0; /* the transaction's end is further */
		enqueue(q, e);
		relay_queue_note_end(q, e->end);
	} else if (e->end) {
		/* An earlier holder of the slot appended this entry, perhaps without the mark that the transaction ends
		 * here. */
		relay_queue_position(q, e->end, false);
	}
	relay_queue_flow(q);
}

static void log_beginning(const struct relay_queue_beginning *b)
{
	if (b->tail.lsn == 0)
		log_info("the stream begins", log_lsn("slot", b->from));
	else if (!b->hole)
		log_warn("the slot does not reach back to where the stream ends; it begins anew",
			 log_lsn("stream", b->tail_end), log_lsn("slot", b->from));
}

static void enqueue_first(struct relay_queue *q, const struct relay_entry *entry)
{
	struct relay_queued *e = queued_new(entry, q->env->clock());

	assert(q->sent == q->first);
	e->next = q->first;
	q->first = q->sent = e;
	if (!e->next) {
		q->last = &e->next;
		q->last_id = e->id;
	}
	if (e->end > q->last_end)
		q->last_end = e->end;
	relay_queue_note_end(q, e->end);
	counted(q, e);
}

void relay_queue_begin(struct relay_queue *q, const struct relay_queue_beginning *b)
{
	struct relay_entry e = { .kind = RELAY_BEGIN, .id = { b->from - 1, RELAY_INDEX_BEGIN }, .end = b->from };

	if (b->hole)
		e.reason = slice_of(resync_name(RESYNC_SKIPPED));
	e.everything = b->hole != RELAY_HOLE_NONE && b->hole != RELAY_HOLE_KNOWN;
	if (b->tail.lsn >= b->from) { /* a transaction that nobody finishes: the beginning comes after it */
		e.id.lsn = b->tail.lsn;
		e.end = b->tail.lsn + 1;
	}
	log_beginning(b);
	enqueue_first(q, &e);
}

void relay_queue_note_end(struct relay_queue *q, lsn_t end)
{
	if (end > q->end)
		q->end = end;
}

lsn_t relay_queue_end(const struct relay_queue *q)
{
	return q->end;
}

void relay_queue_start(struct relay_queue *q, struct event_id last, lsn_t last_end, lsn_t from)
{
	assert(!q->first && !q->position);
	q->last_id = last;
	q->last_end = last_end;
	q->end = from;
}

/* --- sending --------------------------------------------------------------------------------------------------------- */

const struct relay_queued *relay_queue_next(const struct relay_queue *q)
{
	return q->sent;
}

void relay_queue_sent(struct relay_queue *q)
{
	q->sent = q->sent->next;
}

void relay_queue_unsent(struct relay_queue *q)
{
	q->sent = q->first;
}

static void drop_first(struct relay_queue *q)
{
	struct relay_queued *e = q->first;

	q->first = e->next;
	if (!q->first)
		q->last = &q->first;
	if (q->sent == e)
		q->sent = e->next;
	q->bytes -= e->size;
	free(e);
}

void relay_queue_drop(struct relay_queue *q, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (q->first == q->sent)
			fail_never("relay queue: Redis acknowledged an entry that was not sent");
		drop_first(q);
	}
}

void relay_queue_drop_known(struct relay_queue *q, struct event_id tail, lsn_t end)
{
	while (q->first && event_id_compare(q->first->id, tail) <= 0)
		drop_first(q);
	relay_queue_unsent(q);
	if (event_id_compare(q->last_id, tail) < 0)
		q->last_id = tail;
	if (q->last_end < end)
		q->last_end = end;
	relay_queue_flow(q);
}

void relay_queue_clear(struct relay_queue *q)
{
	while (q->first)
		drop_first(q);
	q->position = 0;
	event_del(q->gather);
}

size_t relay_queue_bytes(const struct relay_queue *q)
{
	return q->bytes;
}

bool relay_queue_is_full(const struct relay_queue *q)
{
	return q->paused;
}

int64_t relay_queue_lag(const struct relay_queue *q, int64_t now)
{
	return q->first ? now - q->first->came : 0;
}

/* --- life -------------------------------------------------------------------------------------------------------- */

struct relay_queue *relay_queue_new(const struct relay_env *env, const struct relay_queue_calls *calls, void *ctx)
{
	struct relay_queue *q = mem_new(sizeof(*q));

	q->env = env;
	q->calls = calls;
	q->ctx = ctx;
	q->last = &q->first;
	q->gather = event_new(env->loop, -1, 0, on_gather, q);
	if (!q->gather)
		fail_never("libevent makes no timer for the queue of the relay");
	return q;
}

void relay_queue_free(struct relay_queue *q)
{
	relay_queue_clear(q);
	event_free(q->gather);
	free(q);
}
