#include "relay_append.h"

#include <stdlib.h>

#include "relay_script.h"
#include "relay_trouble.h"
#include "walpush/base/mem.h"

/* Answers come in the order of the batches. An answer of an earlier `generation` says nothing about the queue any
 * more. */
struct relay_append {
	struct relay_queue *queue;
	struct redislink *link;
	relay_append_done *done;
	void *ctx;
	uint64_t generation;
	unsigned n_in_flight;
	struct event_id sent_last; /* id of the newest entry that was sent, while a batch is under way */
};

struct batch { /* one call of the append script */
	struct relay_append *append;
	uint64_t generation;
	size_t n;
	struct event_id last;
	lsn_t end; /* 0: none of its entries has an `end` */
};

void relay_append_forget(struct relay_append *a)
{
	a->generation++;
	relay_queue_unsent(a->queue);
}

bool relay_append_is_busy(const struct relay_append *a)
{
	return a->n_in_flight > 0;
}

/* --- the answer -------------------------------------------------------------------------------------------------- */

static struct relay_verdict verdict(const struct batch *b, const redisReply *reply)
{
	struct relay_verdict v = { .lost = !reply };

	if (!reply || b->generation != b->append->generation)
		return v;
	if (reply->type == REDIS_REPLY_INTEGER)
		return (struct relay_verdict){ .kind = RELAY_APPENDED, .n = b->n, .tail = b->last, .end = b->end };
	v.error = relay_trouble_of(reply);
	v.kind = v.error ? RELAY_ERROR : RELAY_ELSEWHERE;
	return v;
}

static void on_appended(void *ctx, const redisReply *reply)
{
	struct batch *b = ctx;
	struct relay_append *a = b->append;
	struct relay_verdict v = verdict(b, reply);

	a->n_in_flight--;
	free(b);
	if (v.kind == RELAY_APPENDED)
		relay_queue_drop(a->queue, v.n);
	else if (v.kind != RELAY_VOID)
		relay_append_forget(a);
	a->done(a->ctx, &v);
}

/* --- the batch --------------------------------------------------------------------------------------------------- */

struct arguments { /* of the append script, in an array that grows */
	struct slice *at;
	size_t n, cap;
	struct buf numbers; /* reserved in advance, so that the bytes do not move */
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

static void argument_entry(struct arguments *a, const struct relay_queued *q, struct event_id before)
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

static void argument_head(struct arguments *a, const char *key, struct event_id tail)
{
	buf_reserve(&a->numbers, (RELAY_BATCH_ENTRIES + 1) * 3 * RELAY_ID_MAX);
	argument(a, SLICE("EVAL"));
	argument(a, relay_script_append());
	argument(a, SLICE("1"));
	argument(a, slice_of(key));
	argument_id(a, tail);
}

static void fill_batch(struct batch *b, struct arguments *arguments, struct relay_queue *queue)
{
	const struct relay_queued *e;
	size_t bytes = 0;

	while ((e = relay_queue_next(queue)) && b->n < RELAY_BATCH_ENTRIES && bytes < RELAY_BATCH_BYTES) {
		argument_entry(arguments, e, b->last);
		bytes += e->size;
		b->last = e->id;
		b->end = e->end ? e->end : b->end;
		b->n++;
		relay_queue_sent(queue);
	}
}

static void send_batch(struct relay_append *a, const char *key, struct event_id tail)
{
	struct batch *b = mem_new(sizeof(*b));
	struct arguments arguments = { 0 };

	b->append = a;
	b->generation = a->generation;
	b->last = a->n_in_flight ? a->sent_last : tail;
	argument_head(&arguments, key, b->last);
	fill_batch(b, &arguments, a->queue);
	a->sent_last = b->last;
	a->n_in_flight++;
	redislink_ask(a->link, arguments.n, arguments.at, on_appended, b);
	buf_fini(&arguments.numbers);
	free(arguments.at);
}

void relay_append_send(struct relay_append *a, const char *key, struct event_id tail, unsigned most)
{
	while (relay_queue_next(a->queue) && a->n_in_flight < most && redislink_is_up(a->link))
		send_batch(a, key, tail);
}

/* --- life -------------------------------------------------------------------------------------------------------- */

struct relay_append *relay_append_new(struct relay_queue *queue, struct redislink *link, relay_append_done *done,
				      void *ctx)
{
	struct relay_append *a = mem_new(sizeof(*a));

	a->queue = queue;
	a->link = link;
	a->done = done;
	a->ctx = ctx;
	return a;
}

void relay_append_free(struct relay_append *a)
{
	if (a && a->n_in_flight)
		fail_never("relay append: it is freed before its connection");
	free(a);
}
