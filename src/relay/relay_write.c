/* relay_write: the holder of the slot and the Redis stream's end: where it is, and what of it is safe. */
#include "parts.h"

#include <stdio.h>

#include "walpush/base/clock.h"
#include "walpush/base/log.h"

/* The leader's key is written every second, and outlives its writer by this. */
#define LEADER_MS "6000"
/* How long WAIT waits for Redis' own replicas. */
#define WAIT_MS "1000"
#define LINK_PATIENCE 5000000 /* µs */

/* --- safe -------------------------------------------------------------------------------------------------------- */

static void ask_wait(struct relay *r);

static void on_waited(void *ctx, const redisReply *reply)
{
	struct relay *r = ctx;
	struct relay_writer *w = &r->w;

	w->waiting = false;
	relay_look_for_error(r, RELAY_ASKS_WAIT, reply);
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

void relay_writer_safe(struct relay *r, lsn_t end)
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
	if (w->hole == RELAY_HOLE_HERE && w->from <= w->tail_end)
		w->from = w->tail_end + 1;
	if (w->tail_end < w->from) {
		relay_queue_begin(r);
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
		relay_queue_drop_first(r);
	w->sent = w->first;
	if (event_id_compare(w->queued_last, w->tail) < 0)
		w->queued_last = w->tail;
	if (w->queued_end < w->tail_end)
		w->queued_end = w->tail_end;
	relay_queue_flow(r);
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

void relay_writer_saw(struct relay *r, const struct relay_entry *e)
{
	struct relay_writer *w = &r->w;

	if (!w->tail_known || w->n_in_flight || event_id_compare(e->id, w->tail) <= 0)
		return;
	w->tail = e->id;
	if (e->end)
		w->tail_end = e->end;
	drop_known(r);
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
		relay_refused(r, RELAY_ASKS_TAIL, relay_tail_error(reply), r->w.words);
}

void relay_writer_ask_tail(struct relay *r)
{
	struct relay_writer *w = &r->w;

	if (!r->key || w->tail_asked || w->tail_resting || w->n_in_flight || !redislink_is_up(w->link))
		return;
	w->tail_asked = true;
	relay_ask_tail(w->link, r->key, on_tail, r);
}

/* --- the owner's side -------------------------------------------------------------------------------------------- */

lsn_t relay_reached(const struct relay *r)
{
	return r->w.tail_known ? r->w.tail_end : 0;
}

lsn_t relay_start(struct relay *r, lsn_t from, enum relay_hole hole)
{
	struct relay_writer *w = &r->w;

	relay_queue_empty(r);
	w->settled = false;
	w->safe = 0;
	w->hole = hole;
	w->from = w->tail_known && w->tail_end > from ? w->tail_end : from;
	if (hole == RELAY_HOLE_HERE && w->tail_known && w->from == w->tail_end)
		w->from++; /* a beginning stands behind what the stream has */
	w->queued_last = w->tail_known ? w->tail : (struct event_id){ 0 };
	w->queued_end = w->tail_known ? w->tail_end : 0;
	w->end = w->from;
	return w->from;
}

static void on_led(void *ctx, const redisReply *reply)
{
	relay_look_for_error(ctx, RELAY_ASKS_LEAD, reply);
}

static void say_leader(struct relay *r)
{
	struct slice arguments[] = { SLICE("SET"), slice_of(r->leader_key), slice_of(r->name), SLICE("PX"),
				     SLICE(LEADER_MS) };

	redislink_ask(r->w.link, 5, arguments, on_led, r);
}

void relay_lead(struct relay *r, bool leads)
{
	struct relay_writer *w = &r->w;

	if (w->leads == leads)
		return;
	w->leads = leads;
	if (!leads) {
		relay_queue_empty(r);
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

static void on_trimmed(void *ctx, const redisReply *reply)
{
	relay_look_for_error(ctx, RELAY_ASKS_TRIM, reply);
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
	redislink_ask(w->link, 5, arguments, on_trimmed, r);
}

/* --- life -------------------------------------------------------------------------------------------------------- */

/* Whatever Redis says, or nothing: the name may lead to another one by now, as when this one was cut off from its replicas. */
static void dial_anew(struct relay *r)
{
	static const char silence[] = "nothing was acknowledged for 10 s; dialling anew";
	char why[REDISREFUSAL_WORDS + sizeof(silence) + 2];

	snprintf(why, sizeof(why), "%s%s%s", r->w.words, r->w.words[0] ? "; " : "", silence);
	redislink_drop(r->w.link, why);
	redislink_drop(r->r.link, why);
}

void relay_writer_second(struct relay *r)
{
	struct relay_writer *w = &r->w;
	int64_t now = clock_us();

	if (!redislink_is_up(w->link))
		return;
	if (relay_append_lag(r, now) > RELAY_STALL && now - w->up_at > RELAY_STALL) {
		dial_anew(r);
		return;
	}
	w->tail_resting = false;
	if (!w->tail_known)
		relay_writer_ask_tail(r);
	if (w->leads) {
		say_leader(r);
		relay_writer_safe(r, w->tail_end);
	}
}

void relay_writer_reopen(struct relay *r)
{
	relay_queue_empty(r);
	relay_append_forget(r);
	r->w.tail = (struct event_id){ 0 };
	r->w.tail_end = r->w.trim = 0;
	relay_writer_ask_tail(r);
}

static void on_link(void *ctx, bool up)
{
	struct relay *r = ctx;

	relay_append_forget(r);
	if (up) {
		r->w.up_at = clock_us();
		relay_writer_ask_tail(r);
	} else {
		relay_lost(r->w.link, r->r.link);
	}
	r->calls->changed(r->ctx);
}

void relay_writer_init(struct relay *r)
{
	relay_queue_init(r);
	relay_append_init(r);
	r->w.link = redislink_new(r->loop, r->names, "append", r->conf->url, LINK_PATIENCE, on_link, r);
}

void relay_writer_fini(struct relay *r)
{
	redislink_free(r->w.link);
	relay_append_fini(r);
	relay_queue_fini(r);
}
