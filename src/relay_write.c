/* relay_write: from the holder of the slot to the Redis stream. */
#include "relay_impl.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/clock.h"
#include "walpush/log.h"
#include "walpush/mem.h"

/* One call of the append script takes at most so much, and so many calls are under way at a time. */
#define BATCH_ENTRIES 200
#define BATCH_BYTES 262144
#define BATCHES_IN_FLIGHT 16
/* Positions without a transaction are gathered for so long. */
#define GATHER_US 20000
/* The leader's key is written every second, and outlives its writer by this. */
#define LEADER_MS "6000"
/* How long WAIT waits for Redis' own replicas. */
#define WAIT_MS "1000"
#define LINK_PATIENCE 5000000 /* µs */

struct batch { /* one call of the append script */
	struct relay *relay;
	uint64_t generation;
	size_t n;
	struct event_id last;
	lsn_t end; /* 0: none of its entries has one */
};

/* --- the queue --------------------------------------------------------------------------------------------------- */

static void control_flow(struct relay *r)
{
	bool paused = r->w.bytes > (r->w.paused ? RELAY_BYTES / 2 : RELAY_BYTES);

	if (paused == r->w.paused)
		return;
	r->w.paused = paused;
	r->calls->pause(r->ctx, paused);
}

static void drop_first(struct relay *r)
{
	struct relay_writer *w = &r->w;
	struct queued *q = w->first;

	w->first = q->next;
	if (!w->first)
		w->last = &w->first;
	if (w->sent == q)
		w->sent = q->next;
	w->bytes -= q->size;
	w->n_queued--;
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
	w->n_queued++;
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
	control_flow(r);
}

/* What stands in the stream cannot be continued with what the slot still has: whoever reads it must know. */
static void add_beginning(struct relay *r)
{
	struct relay_writer *w = &r->w;
	struct relay_entry e = { .kind = RELAY_BEGIN, .id = { w->from - 1, RELAY_INDEX_BEGIN }, .end = w->from };
	struct queued *q;

	if (w->tail.lsn >= w->from) { /* a transaction that nobody finished; it is left at that */
		e.id.lsn = w->tail.lsn;
		e.end = w->tail.lsn + 1;
	}
	if (w->tail.lsn == 0)
		log_info("the stream begins", log_lsn("slot", w->from));
	else
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

/* --- appending --------------------------------------------------------------------------------------------------- */

static void ask_tail(struct relay *r);

/* What is with Redis may have been appended or not. */
static void forget_tail(struct relay *r)
{
	r->w.generation++;
	r->w.tail_known = false;
	r->w.sent = r->w.first;
}

static void take_safe(struct relay *r, lsn_t end);

static void appended(struct relay *r, const struct batch *b)
{
	struct relay_writer *w = &r->w;

	for (size_t i = 0; i < b->n; i++)
		drop_first(r);
	r->appended += b->n;
	w->tail = b->last;
	if (b->end)
		w->tail_end = b->end;
	take_safe(r, w->tail_end);
	control_flow(r);
}

static void on_appended(void *ctx, const redisReply *reply)
{
	struct batch *b = ctx;
	struct relay *r = b->relay;
	bool current = b->generation == r->w.generation;

	r->w.n_in_flight--;
	if (reply && current && reply->type == REDIS_REPLY_INTEGER) {
		appended(r, b);
	} else if (reply && current) {
		r->refused++;
		/* Another has appended meanwhile, or Redis cannot take it: then a second's rest. */
		if (reply->type == REDIS_REPLY_ERROR)
			log_error("Redis refuses to append; trying again", log_s("error", reply->str),
				  log_s("mend", "see `walpush check`: memory, maxmemory-policy, ACL, version"));
		forget_tail(r);
		r->w.tail_resting = reply->type == REDIS_REPLY_ERROR;
	}
	free(b);
	if (reply && !r->w.tail_known)
		ask_tail(r);
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

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;
	struct relay_writer *w = &r->w;

	(void)fd;
	(void)what;
	while (w->leads && w->tail_known && w->settled && w->sent && w->n_in_flight < BATCHES_IN_FLIGHT &&
	       redislink_is_up(w->link))
		send_batch(r);
}

/* --- safe -------------------------------------------------------------------------------------------------------- */

static void ask_wait(struct relay *r);

static void on_waited(void *ctx, const redisReply *reply)
{
	struct relay *r = ctx;
	struct relay_writer *w = &r->w;

	w->waiting = false;
	if (!reply || reply->type != REDIS_REPLY_INTEGER || reply->integer < r->conf->wait)
		return; /* asked again every second, and with the next entries */
	if (w->waited_end > w->safe)
		w->safe = w->waited_end;
	if (w->tail_end > w->safe)
		ask_wait(r);
}

static void ask_wait(struct relay *r)
{
	struct relay_writer *w = &r->w;
	struct slice arguments[] = { SLICE("WAIT"), { 0 }, SLICE(WAIT_MS) };
	struct buf n = { 0 };

	if (w->waiting || w->tail_end <= w->safe || !redislink_is_up(w->link))
		return;
	buf_add_u64(&n, (uint64_t)r->conf->wait);
	arguments[1] = buf_slice(&n);
	w->waiting = true;
	w->waited_end = w->tail_end;
	redislink_ask(w->link, 3, arguments, on_waited, r);
	buf_fini(&n);
}

static void take_safe(struct relay *r, lsn_t end)
{
	if (r->conf->wait > 0)
		ask_wait(r);
	else if (end > r->w.safe)
		r->w.safe = end;
}

/* --- the tail ---------------------------------------------------------------------------------------------------- */

/* Once for each start, as soon as the slot is held and the tail is known: does the one reach back to the other? */
static void settle(struct relay *r)
{
	struct relay_writer *w = &r->w;

	if (!w->leads || !w->tail_known || w->settled)
		return;
	w->settled = true;
	if (w->tail_end < w->from) {
		add_beginning(r);
		return;
	}
	if (w->tail_end > w->end)
		w->end = w->tail_end;
}

/* Entries that Redis has, whoever appended them. */
static void drop_known(struct relay *r)
{
	struct relay_writer *w = &r->w;

	while (w->first && event_id_compare(w->first->id, w->tail) <= 0)
		drop_first(r);
	w->sent = w->first;
	if (event_id_compare(w->queued_last, w->tail) < 0)
		w->queued_last = w->tail;
	if (w->queued_end < w->tail_end)
		w->queued_end = w->tail_end;
	control_flow(r);
}

static void tail_found(struct relay *r, struct event_id tail, lsn_t end)
{
	struct relay_writer *w = &r->w;
	bool lost = event_id_compare(tail, w->tail) < 0;

	w->tail = tail;
	w->tail_end = end;
	w->tail_known = true;
	if (w->leads && w->settled && lost) {
		/* What lies between is not in the queue any more, but in the slot's window, if that reaches back so far. */
		log_warn("Redis lost the end of the stream; it is filled again from the slot", log_lsn("stream", end));
		r->calls->refill(r->ctx);
		return;
	}
	drop_known(r);
	settle(r);
	event_active(w->flush, EV_TIMEOUT, 0);
}

static void on_tail(void *ctx, const redisReply *reply)
{
	struct relay *r = ctx;
	struct event_id tail;
	lsn_t end;

	r->w.tail_asked = false;
	if (!reply || r->w.n_in_flight)
		return;
	if (relay_take_tail(reply, &tail, &end))
		tail_found(r, tail, end);
	else
		log_error(
			"the end of the Redis stream cannot be read; trying again",
			log_s("error", reply->type == REDIS_REPLY_ERROR ? reply->str : "it is no stream of walpush's"),
			log_s("mend", "see `walpush check`: version 6.2 or later, ACL, the key's type"));
}

static void ask_tail(struct relay *r)
{
	struct relay_writer *w = &r->w;

	if (!r->key || w->tail_asked || w->tail_resting || w->n_in_flight || !redislink_is_up(w->link))
		return;
	w->tail_asked = true;
	relay_ask_tail(w->link, r->key, on_tail, r);
}

/* --- the owner's side -------------------------------------------------------------------------------------------- */

static void empty_queue(struct relay *r)
{
	struct relay_writer *w = &r->w;

	while (w->first)
		drop_first(r);
	w->position = 0;
	event_del(w->gather);
	if (w->n_in_flight)
		forget_tail(r);
	control_flow(r);
}

lsn_t relay_start(struct relay *r, lsn_t confirmed)
{
	struct relay_writer *w = &r->w;

	empty_queue(r);
	w->settled = false;
	w->safe = 0;
	w->from = w->tail_known && w->tail_end > confirmed ? w->tail_end : confirmed;
	w->queued_last = w->tail_known ? w->tail : (struct event_id){ 0 };
	w->queued_end = w->tail_known ? w->tail_end : 0;
	w->end = w->from;
	return w->from;
}

static void say_leader(struct relay *r)
{
	struct slice arguments[] = { SLICE("SET"), slice_of(r->leader_key), slice_of(r->name), SLICE("PX"),
				     SLICE(LEADER_MS) };

	redislink_ask(r->w.link, 5, arguments, NULL, NULL);
}

void relay_lead(struct relay *r, bool leads)
{
	struct relay_writer *w = &r->w;

	if (w->leads == leads)
		return;
	w->leads = leads;
	if (!leads) {
		empty_queue(r);
		return;
	}
	r->failovers++;
	if (redislink_is_up(w->link))
		say_leader(r);
	settle(r);
	event_active(w->flush, EV_TIMEOUT, 0);
}

lsn_t relay_end(const struct relay *r)
{
	return r->w.end;
}

lsn_t relay_safe(const struct relay *r)
{
	return r->w.safe;
}

bool relay_is_full(const struct relay *r)
{
	return r->w.paused;
}

/* Never the last entry: it tells where the stream ends. */
void relay_trim(struct relay *r, lsn_t confirmed)
{
	struct relay_writer *w = &r->w;
	struct slice arguments[] = {
		SLICE("XTRIM"), slice_of(r->key ? r->key : ""), SLICE("MINID"), SLICE("~"), { 0 }
	};
	lsn_t lsn = confirmed < w->tail.lsn ? confirmed : w->tail.lsn;
	char id[RELAY_ID_MAX];

	if (!r->key || !w->leads || !w->tail_known || lsn <= w->trim || !redislink_is_up(w->link))
		return;
	w->trim = lsn;
	arguments[4] = (struct slice){ id, relay_id_format(id, (struct event_id){ lsn, 0 }) };
	redislink_ask(w->link, 5, arguments, NULL, NULL);
}

/* --- life -------------------------------------------------------------------------------------------------------- */

void relay_writer_second(struct relay *r)
{
	struct relay_writer *w = &r->w;

	if (!redislink_is_up(w->link))
		return;
	w->tail_resting = false;
	if (!w->tail_known)
		ask_tail(r);
	if (w->leads) {
		say_leader(r);
		take_safe(r, w->tail_end);
	}
}

void relay_writer_reopen(struct relay *r)
{
	empty_queue(r);
	forget_tail(r);
	r->w.tail = (struct event_id){ 0 };
	r->w.tail_end = r->w.trim = 0;
	ask_tail(r);
}

static void on_link(void *ctx, bool up)
{
	struct relay *r = ctx;

	forget_tail(r);
	if (up)
		ask_tail(r);
	r->calls->changed(r->ctx);
}

void relay_writer_init(struct relay *r)
{
	struct relay_writer *w = &r->w;

	w->last = &w->first;
	w->gather = event_new(r->loop, -1, 0, on_gather, r);
	w->flush = event_new(r->loop, -1, 0, on_flush, r);
	if (!w->gather || !w->flush)
		abort();
	w->link = redislink_new(r->loop, "append", r->conf->url, LINK_PATIENCE, on_link, r);
}

void relay_writer_fini(struct relay *r)
{
	struct relay_writer *w = &r->w;

	redislink_free(w->link);
	while (w->first)
		drop_first(r);
	event_free(w->gather);
	event_free(w->flush);
}
