/* relay_append: the queue's entries go to Redis in batches, several of which are under way at a time. */
#include "parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

/* One call of the append script takes at most so much, and so many calls are under way at a time. */
#define BATCH_ENTRIES 200
#define BATCH_BYTES 262144
#define BATCHES_IN_FLIGHT 16

struct batch { /* one call of the append script */
	struct relay *relay;
	uint64_t generation;
	size_t n;
	struct event_id last;
	lsn_t end; /* 0: none of its entries has one */
};

/* What is with Redis may have been appended or not. */
void relay_append_forget(struct relay *r)
{
	r->w.generation++;
	r->w.tail_known = false;
	r->w.sent = r->w.first;
}

static void appended(struct relay *r, const struct batch *b)
{
	struct relay_writer *w = &r->w;

	for (size_t i = 0; i < b->n; i++)
		relay_queue_drop_first(r);
	r->appended += b->n;
	w->tail = b->last;
	if (b->end)
		w->tail_end = b->end;
	w->words[0] = '\0';
	relay_writer_safe(r, w->tail_end);
	relay_queue_flow(r);
}

/* Another has appended meanwhile, or Redis cannot take it: then a second's rest. */
static void refused(struct relay *r, const redisReply *reply)
{
	r->refused++;
	relay_append_forget(r);
	r->w.tail_resting = relay_error(reply) != NULL;
	if (relay_error(reply))
		relay_refused(r, RELAY_ASKS_APPEND, relay_error(reply), r->w.words);
}

static void on_appended(void *ctx, const redisReply *reply)
{
	struct batch *b = ctx;
	struct relay *r = b->relay;
	bool current = b->generation == r->w.generation;

	r->w.n_in_flight--;
	if (reply && current && reply->type == REDIS_REPLY_INTEGER)
		appended(r, b);
	else if (reply && current)
		refused(r, reply);
	free(b);
	if (reply && !r->w.tail_known)
		relay_writer_ask_tail(r);
	event_active(r->w.flush, EV_TIMEOUT, 0);
}

struct arguments { /* of the append script, in an array that grows */
	struct slice *at;
	size_t n, cap;
	struct buf numbers; /* reserved before, so that it does not move */
};

static void argument(struct arguments *a, struct slice s)
{
	if (a->n == a->cap) {
		a->cap = a->cap ? a->cap * 2 : 64;
		a->at = mem_resize(a->at, a->cap, sizeof(*a->at));
	}
	a->at[a->n++] = s;
}

static void argument_number(struct arguments *a, uint64_t n)
{
	size_t at = a->numbers.len;

	buf_add_u64(&a->numbers, n);
	argument(a, (struct slice){ a->numbers.data + at, a->numbers.len - at });
}

static void argument_id(struct arguments *a, struct event_id id)
{
	size_t at = a->numbers.len, n = relay_id_format(a->numbers.data + at, id);

	a->numbers.len += n;
	argument(a, (struct slice){ a->numbers.data + at, n });
}

static void argument_entry(struct arguments *a, const struct queued *q, struct event_id before)
{
	const char *bytes = q->bytes;

	argument_id(a, q->id);
	argument_number(a, q->n_fields + 2);
	for (size_t i = 0; i < q->n_fields; i++) {
		argument(a, (struct slice){ bytes, q->lengths[i] });
		bytes += q->lengths[i];
	}
	argument(a, SLICE("p"));
	argument_id(a, before);
}

static void send_batch(struct relay *r)
{
	struct relay_writer *w = &r->w;
	struct batch *b = mem_new(sizeof(*b));
	struct arguments a = { 0 };
	size_t bytes = 0;

	b->relay = r;
	b->generation = w->generation;
	b->last = w->n_in_flight ? w->sent_last : w->tail;
	buf_reserve(&a.numbers, (BATCH_ENTRIES + 1) * 3 * RELAY_ID_MAX);
	argument(&a, SLICE("EVAL"));
	argument(&a, relay_append_script());
	argument(&a, SLICE("1"));
	argument(&a, slice_of(r->key));
	argument_id(&a, b->last);
	for (; w->sent && b->n < BATCH_ENTRIES && bytes < BATCH_BYTES; w->sent = w->sent->next) {
		argument_entry(&a, w->sent, b->last);
		bytes += w->sent->size;
		b->last = w->sent->id;
		b->end = w->sent->end ? w->sent->end : b->end;
		b->n++;
	}
	w->sent_last = b->last;
	w->n_in_flight++;
	redislink_ask(w->link, a.n, a.at, on_appended, b);
	buf_fini(&a.numbers);
	free(a.at);
}

/* What is refused is tried again with one batch. */
static unsigned most_in_flight(const struct relay_writer *w)
{
	return w->words[0] ? 1 : BATCHES_IN_FLIGHT;
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;
	struct relay_writer *w = &r->w;

	(void)fd;
	(void)what;
	while (w->leads && w->tail_known && w->settled && w->sent && w->n_in_flight < most_in_flight(w) &&
	       redislink_is_up(w->link))
		send_batch(r);
}

/* --- life -------------------------------------------------------------------------------------------------------- */

void relay_append_init(struct relay *r)
{
	r->w.flush = event_new(r->loop, -1, 0, on_flush, r);
	if (!r->w.flush)
		fail_never("libevent makes no timer for appends to the relay");
}

void relay_append_fini(struct relay *r)
{
	event_free(r->w.flush);
}
