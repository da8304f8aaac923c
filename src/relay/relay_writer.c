#include "relay_writer.h"

#include <stdlib.h>

#include "redislink.h"
#include "relay_append.h"
#include "relay_queue.h"
#include "relay_script.h"
#include "relay_stall.h"
#include "relay_trouble.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

/* The leader's key is written every second, and expires this long after the last write. */
#define LEADER_MS "6000"
/* How long WAIT waits for the replicas of Redis. */
#define WAIT_MS "1000"
#define LINK_PATIENCE 5000000 /* µs */
#define BATCHES_IN_FLIGHT 16

/*
 *   unknown ──link up: ask──▶ tail known ──leads──▶ settled ──append accepted──▶ the tail moves
 *      ▲                          │                    │
 *      └─────── link lost, append refused ─────────────┘
 *
 * While the tail is known, each batch under way continues from it: the writer asks for the tail only when no batch is
 * under way, and the tail becomes unknown when batches are forgotten. `settled` holds for one start: it says that the
 * queue begins where the Redis stream ends, or with a beginning. `safe` grows until the next start.
 */
struct relay_writer {
	const struct relay_env *env;
	const struct relay_writer_calls *calls;
	void *ctx;
	const char *name, *key, *leader_key; /* the keys: NULL until relay_writer_reopen */
	struct redislink *link;
	struct relay_queue *queue;
	struct relay_append *append;
	struct event *flush;
	struct relay_trouble trouble;
	bool leads, tail_known, settled;
	bool tail_asked, tail_moot; /* moot: the open question is about an earlier Redis stream */
	bool tail_resting;          /* Redis answered with an error: wait until the next second to ask again */
	struct event_id tail;       /* the last entry of the Redis stream */
	lsn_t tail_end;             /* the last `end` in it */
	bool tail_is_own;           /* Redis has acknowledged that the tail was appended here, since this start */
	lsn_t from;                 /* where decoding began */
	uint32_t decoding;          /* a random number for it */
	enum relay_hole hole;       /* the reason, if `from` is after the tail */
	lsn_t safe, waited_end;     /* waited_end: the LSN that the open WAIT is for; 0: an earlier Redis stream */
	bool waiting;               /* a WAIT is open */
	lsn_t trim;
	int64_t up_at; /* µs: when the link last came up */
	uint64_t appended, refused, failovers;
};

/* --- safe -------------------------------------------------------------------------------------------------------- */

static void ask_wait(struct relay_writer *w);

static void on_waited(void *ctx, const redisReply *reply)
{
	struct relay_writer *w = ctx;

	w->waiting = false;
	relay_trouble_look(&w->trouble, RELAY_ASKS_WAIT, reply, w->env->clock());
	if (!reply || reply->type != REDIS_REPLY_INTEGER || reply->integer < w->env->conf->wait)
		return; /* asked again every second, and with the next entries */
	if (w->waited_end > w->safe)
		w->safe = w->waited_end;
	if (w->tail_end > w->safe)
		ask_wait(w);
}

static void ask_wait(struct relay_writer *w)
{
	struct slice arguments[] = { SLICE("WAIT"), { 0 }, SLICE(WAIT_MS) };
	struct buf n = { 0 };

	if (w->waiting || w->tail_end <= w->safe || !redislink_is_up(w->link))
		return;
	buf_add_u64(&n, (uint64_t)w->env->conf->wait);
	arguments[1] = buf_slice(&n);
	w->waiting = true;
	w->waited_end = w->tail_end;
	redislink_ask(w->link, 3, arguments, on_waited, w);
	buf_fini(&n);
}

/* Everything that commits before tail_end was appended. */
static void make_safe(struct relay_writer *w)
{
	if (w->env->conf->wait > 0)
		ask_wait(w);
	else if (w->tail_end > w->safe)
		w->safe = w->tail_end;
}

/* --- the tail ---------------------------------------------------------------------------------------------------- */

static void forget(struct relay_writer *w)
{
	relay_append_forget(w->append);
	w->tail_known = false;
}

/* Once for each start, as soon as the slot is held and the tail is known: does the slot reach back to the tail? */
static void settle(struct relay_writer *w)
{
	if (!w->leads || !w->tail_known || w->settled)
		return;
	w->settled = true;
	if (w->hole == RELAY_HOLE_HERE && w->from <= w->tail_end)
		w->from = w->tail_end + 1;
	if (w->tail_end < w->from)
		relay_queue_begin(w->queue, &(struct relay_queue_beginning){ w->from, w->hole, w->tail, w->tail_end });
	else
		relay_queue_note_end(w->queue, w->tail_end);
}

/* The tail has no `end`, and another decoding may have appended it. */
lsn_t relay_writer_half_told(const struct relay_writer *w)
{
	return w->tail_known && !w->tail_is_own && w->tail.lsn >= w->tail_end ? w->tail.lsn : 0;
}

/* The rest of that commit is in the queue, made as if nothing had been told of it. */
static bool is_queued_as_whole(const struct relay_writer *w)
{
	lsn_t half = relay_writer_half_told(w);

	return w->leads && half && relay_queue_end(w->queue) > half;
}

static void tail_found(struct relay_writer *w, struct event_id tail, lsn_t end)
{
	int moved = event_id_compare(tail, w->tail);
	bool lost = moved < 0;

	w->tail_is_own = w->tail_is_own && moved == 0;
	w->tail = tail;
	w->tail_end = end;
	w->tail_known = true;
	if (w->leads && w->settled && lost) {
		/* The lost entries are no longer in the queue, but are in the slot's window if it reaches back that
		 * far. */
		log_warn("Redis lost the end of the stream; it is filled again from the slot", log_lsn("stream", end));
		w->calls->refill(w->ctx, "the end of the Redis stream is lost");
		return;
	}
	if (is_queued_as_whole(w)) {
		w->calls->refill(w->ctx, "the Redis stream ends inside a transaction");
		return;
	}
	relay_queue_drop_known(w->queue, tail, end);
	settle(w);
	event_active(w->flush, EV_TIMEOUT, 0);
}

static void ask_tail(struct relay_writer *w);

void relay_writer_saw(struct relay_writer *w, const struct relay_entry *e)
{
	if (!w->tail_known || relay_append_is_busy(w->append) || event_id_compare(e->id, w->tail) <= 0)
		return;
	w->tail = e->id;
	w->tail_is_own = false;
	if (e->end)
		w->tail_end = e->end;
	if (is_queued_as_whole(w)) { /* the end may have been appended meanwhile */
		w->tail_known = false;
		ask_tail(w);
		return;
	}
	relay_queue_drop_known(w->queue, w->tail, w->tail_end);
}

static void on_tail(void *ctx, const redisReply *reply)
{
	struct relay_writer *w = ctx;
	bool moot = w->tail_moot;
	struct event_id tail;
	lsn_t end;

	w->tail_asked = w->tail_moot = false;
	if (!reply || relay_append_is_busy(w->append))
		return;
	if (moot)
		ask_tail(w);
	else if (relay_script_take_tail(reply, &tail, &end))
		tail_found(w, tail, end);
	else
		relay_trouble_stops(&w->trouble, RELAY_ASKS_TAIL, relay_script_tail_error(reply), w->env->clock());
}

static void ask_tail(struct relay_writer *w)
{
	if (!w->key || w->tail_asked || w->tail_resting || relay_append_is_busy(w->append) || !redislink_is_up(w->link))
		return;
	w->tail_asked = true;
	relay_script_ask_tail(w->link, w->key, on_tail, w);
}

/* --- appending --------------------------------------------------------------------------------------------------- */

static void appended(struct relay_writer *w, const struct relay_verdict *v)
{
	w->appended += v->n;
	w->tail = v->tail;
	w->tail_is_own = true;
	if (v->end)
		w->tail_end = v->end;
	w->trouble.words[0] = '\0';
	make_safe(w);
	relay_queue_flow(w->queue);
}

/* Another replica has appended meanwhile, or Redis cannot take the batch. After an error the writer rests for up to a
 * second. */
static void refused(struct relay_writer *w, const struct relay_verdict *v)
{
	w->refused++;
	w->tail_known = false;
	w->tail_resting = v->kind == RELAY_ERROR;
	if (v->kind == RELAY_ERROR)
		relay_trouble_stops(&w->trouble, RELAY_ASKS_APPEND, v->error, w->env->clock());
}

static void on_verdict(void *ctx, const struct relay_verdict *v)
{
	struct relay_writer *w = ctx;

	if (v->kind == RELAY_APPENDED)
		appended(w, v);
	else if (v->kind != RELAY_VOID)
		refused(w, v);
	if (!v->lost && !w->tail_known)
		ask_tail(w);
	event_active(w->flush, EV_TIMEOUT, 0);
}

/* After a refusal it tries again with one batch at a time. */
static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct relay_writer *w = arg;

	(void)fd;
	(void)what;
	if (w->leads && w->tail_known && w->settled)
		relay_append_send(w->append, w->key, w->tail, w->trouble.words[0] ? 1 : BATCHES_IN_FLIGHT);
}

/* --- the owner's side -------------------------------------------------------------------------------------------- */

uint32_t relay_writer_decoding(const struct relay_writer *w)
{
	return w->decoding;
}

lsn_t relay_writer_tail_end(const struct relay_writer *w)
{
	return w->tail_known ? w->tail_end : 0;
}

static void empty(struct relay_writer *w)
{
	relay_queue_clear(w->queue);
	if (relay_append_is_busy(w->append))
		forget(w);
	relay_queue_flow(w->queue);
}

lsn_t relay_writer_start(struct relay_writer *w, lsn_t from, enum relay_hole hole)
{
	empty(w);
	w->settled = w->tail_is_own = false;
	evutil_secure_rng_get_bytes(&w->decoding, sizeof(w->decoding));
	w->decoding |= 1;
	w->safe = 0;
	w->hole = hole;
	w->from = w->tail_known && w->tail_end > from ? w->tail_end : from;
	if (hole == RELAY_HOLE_HERE && w->tail_known && w->from == w->tail_end)
		w->from++; /* a beginning comes after everything that the Redis stream has */
	if (w->tail_known)
		relay_queue_start(w->queue, w->tail, w->tail_end, w->from);
	else
		relay_queue_start(w->queue, (struct event_id){ 0 }, 0, w->from);
	return w->from;
}

bool relay_writer_miss(struct relay_writer *w)
{
	if (!w->leads || !redislink_is_up(w->link))
		return false;
	relay_writer_start(w, relay_queue_end(w->queue), RELAY_HOLE_HERE);
	settle(w);
	event_active(w->flush, EV_TIMEOUT, 0);
	return true;
}

static void on_led(void *ctx, const redisReply *reply)
{
	struct relay_writer *w = ctx;

	relay_trouble_look(&w->trouble, RELAY_ASKS_LEAD, reply, w->env->clock());
}

static void say_leader(struct relay_writer *w)
{
	struct slice arguments[] = { SLICE("SET"), slice_of(w->leader_key), slice_of(w->name), SLICE("PX"),
				     SLICE(LEADER_MS) };

	redislink_ask(w->link, 5, arguments, on_led, w);
}

void relay_writer_lead(struct relay_writer *w, bool leads)
{
	if (w->leads == leads)
		return;
	w->leads = leads;
	if (!leads) {
		empty(w);
		return;
	}
	w->failovers++;
	if (redislink_is_up(w->link))
		say_leader(w);
	settle(w);
	event_active(w->flush, EV_TIMEOUT, 0);
}

void relay_writer_add(struct relay_writer *w, const struct relay_entry *e)
{
	relay_queue_add(w->queue, e);
}

void relay_writer_position(struct relay_writer *w, lsn_t end, bool urgent)
{
	relay_queue_position(w->queue, end, urgent);
}

lsn_t relay_writer_end(const struct relay_writer *w)
{
	return relay_queue_end(w->queue);
}

lsn_t relay_writer_safe(const struct relay_writer *w)
{
	return w->safe;
}

bool relay_writer_is_full(const struct relay_writer *w)
{
	return relay_queue_is_full(w->queue);
}

static void on_trimmed(void *ctx, const redisReply *reply)
{
	struct relay_writer *w = ctx;

	relay_trouble_look(&w->trouble, RELAY_ASKS_TRIM, reply, w->env->clock());
}

/* Never trims the last entry: it tells where the Redis stream ends. */
void relay_writer_trim(struct relay_writer *w, lsn_t confirmed)
{
	lsn_t lsn = confirmed < w->tail.lsn ? confirmed : w->tail.lsn;
	char id[RELAY_ID_MAX];
	struct slice arguments[] = { SLICE("XTRIM"), { 0 }, SLICE("MINID"), SLICE("~"), { 0 } };

	if (!w->key || !w->leads || !w->tail_known || lsn <= w->trim || !redislink_is_up(w->link))
		return;
	w->trim = lsn;
	arguments[1] = slice_of(w->key);
	arguments[4] = (struct slice){ id, relay_id_format(id, (struct event_id){ lsn, 0 }) };
	redislink_ask(w->link, 5, arguments, on_trimmed, w);
}

/* --- questions of relay.c ---------------------------------------------------------------------------------------- */

bool relay_writer_is_up(const struct relay_writer *w)
{
	return redislink_is_up(w->link);
}

bool relay_writer_leads(const struct relay_writer *w)
{
	return w->leads;
}

bool relay_writer_is_stuck(const struct relay_writer *w, int64_t now)
{
	return redislink_is_up(w->link) && relay_queue_lag(w->queue, now) > RELAY_STALL && now - w->up_at > RELAY_STALL;
}

const char *relay_writer_trouble(const struct relay_writer *w)
{
	return redislink_trouble(w->link);
}

const char *relay_writer_words(const struct relay_writer *w)
{
	return w->trouble.words;
}

int64_t relay_writer_lag(const struct relay_writer *w, int64_t now)
{
	return relay_queue_lag(w->queue, now);
}

void relay_writer_numbers(const struct relay_writer *w, int64_t now, struct relay_numbers *out)
{
	out->leads = w->leads;
	out->queued_bytes = relay_queue_bytes(w->queue);
	out->appended = w->appended;
	out->refused = w->refused;
	out->failovers = w->failovers;
	out->append_lag = relay_queue_lag(w->queue, now);
}

/* --- life -------------------------------------------------------------------------------------------------------- */

void relay_writer_second(struct relay_writer *w)
{
	if (!redislink_is_up(w->link))
		return;
	w->tail_resting = false;
	if (!w->tail_known)
		ask_tail(w);
	if (w->leads) {
		say_leader(w);
		make_safe(w);
	}
}

void relay_writer_reopen(struct relay_writer *w, const char *key, const char *leader_key)
{
	w->key = key;
	w->leader_key = leader_key;
	empty(w);
	forget(w);
	w->tail = (struct event_id){ 0 };
	w->tail_is_own = false;
	w->tail_end = w->trim = w->waited_end = 0;
	w->tail_moot = w->tail_asked;
	ask_tail(w);
}

void relay_writer_drop(struct relay_writer *w, const char *why)
{
	redislink_drop(w->link, why);
}

static void on_link(void *ctx, bool up)
{
	struct relay_writer *w = ctx;

	forget(w);
	if (up) {
		w->up_at = w->env->clock();
		ask_tail(w);
	} else if (redislink_is_refused(w->link)) {
		w->calls->refused(w->ctx, redislink_trouble(w->link));
	}
	w->calls->changed(w->ctx);
}

static void on_filled(void *ctx)
{
	struct relay_writer *w = ctx;

	event_active(w->flush, EV_TIMEOUT, 0);
}

static void on_pause(void *ctx, bool paused)
{
	struct relay_writer *w = ctx;

	w->calls->pause(w->ctx, paused);
}

static const struct relay_queue_calls queue_calls = { on_filled, on_pause };

struct relay_writer *relay_writer_new(const struct relay_env *env, const char *name,
				      const struct relay_writer_calls *calls, void *ctx)
{
	struct relay_writer *w = mem_new(sizeof(*w));

	w->env = env;
	w->name = name;
	w->calls = calls;
	w->ctx = ctx;
	w->queue = relay_queue_new(env, &queue_calls, w);
	w->link = redislink_new(env->loop, env->names, "append", env->conf->url, LINK_PATIENCE, on_link, w);
	w->append = relay_append_new(w->queue, w->link, on_verdict, w);
	w->flush = event_new(env->loop, -1, 0, on_flush, w);
	if (!w->flush)
		fail_never("libevent makes no timer for appends to the relay");
	return w;
}

void relay_writer_free(struct relay_writer *w)
{
	redislink_free(w->link);
	relay_append_free(w->append);
	relay_queue_free(w->queue);
	event_free(w->flush);
	free(w);
}
