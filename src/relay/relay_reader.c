#include "relay_reader.h"

#include <stdlib.h>
#include <string.h>

#include "redislink.h"
#include "relay_script.h"
#include "relay_trouble.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

#define READ_ENTRIES "500"
#define BLOCK_MS "1000"
/* More than the time that XREAD blocks. */
#define LINK_PATIENCE 6000000 /* µs */

/*
 *   opened ──▶ goal known ──read, read, …──▶ current
 *
 * `place` is everything known about one Redis stream. `is_synced`: all entries after some beginning were read without a
 * hole. Each entry names the entry before it. If the named entry was not read, `is_synced` ends, and the next `end`
 * begins a new history.
 *
 * At most one question about entries is open. The answer to a question of an earlier `generation` is dropped.
 */
struct relay_reader {
	const struct relay_env *env;
	const struct relay_reader_calls *calls;
	void *ctx;
	const char *key, *leader_key; /* NULL until relay_reader_reopen */
	struct redislink *link;
	uint64_t generation;
	struct {
		bool has_goal, is_current, is_synced, asked;
		struct event_id goal; /* the last entry when the Redis stream was opened */
		struct event_id at;   /* the last entry read */
		lsn_t position;       /* the last `end` read */
		int64_t refused_at;   /* µs: since when every read is refused; 0: the last read was not refused */
		lsn_t commit;         /* of the transaction that is being read, */
		uint32_t decoding;    /* which decoding its first entry came from, */
		bool is_mixed; /* and whether others came from another one: Redis has lost what was read of it before */
	} place;
	struct relay_trouble trouble;
	uint64_t read;
	int64_t led_at; /* µs: when a leader was last seen, or when the reader began to look for one */
	bool is_led;
	char *leader;   /* its name, as last seen */
	int64_t length; /* of the Redis stream; -1: unknown */
};

struct asked { /* a question about one Redis stream */
	struct relay_reader *reader;
	uint64_t generation;
};

static struct asked *asked_new(struct relay_reader *r)
{
	struct asked *a = mem_new(sizeof(*a));

	a->reader = r;
	a->generation = r->generation;
	return a;
}

/* NULL: the question was about a Redis stream that is not read any more. Frees the question. */
static struct relay_reader *asked_end(struct asked *a)
{
	struct relay_reader *r = a->generation == a->reader->generation ? a->reader : NULL;

	free(a);
	return r;
}

/* --- entries ----------------------------------------------------------------------------------------------------- */

/* The history from `floor` on is complete. Anything before it cannot be continued. */
static void begin(struct relay_reader *r, lsn_t floor, enum relay_hole hole)
{
	r->place.is_synced = true;
	r->place.position = floor;
	r->calls->begin(r->ctx, floor, hole);
}

static enum relay_hole hole_of(const struct relay_entry *e)
{
	if (e->reason.len == 0)
		return RELAY_HOLE_NONE;
	return e->everything ? RELAY_HOLE_UNKNOWN : RELAY_HOLE_KNOWN;
}

static void look_for_hole(struct relay_reader *r, const struct relay_entry *e)
{
	if (!r->place.is_synced || event_id_compare(e->before, r->place.at) <= 0)
		return;
	log_warn("the Redis stream was trimmed past what this replica had read; what it holds cannot be "
		 "continued",
		 log_lsn("read", r->place.at.lsn), log_lsn("next", e->id.lsn));
	r->place.is_synced = false;
}

/* The first transactions of a Redis stream may be trimmed in part, so the history begins at the first `end`. */
static void take_unsynced(struct relay_reader *r, const struct relay_entry *e)
{
	if (e->end)
		begin(r, e->end, RELAY_HOLE_NONE);
}

/* One that ends as RELAY_SKIPPED says itself that it is mixed. */
static void look_for_mixture(struct relay_reader *r, const struct relay_entry *e)
{
	if (r->place.commit != e->id.lsn) {
		r->place.commit = e->id.lsn;
		r->place.decoding = e->decoding;
		r->place.is_mixed = false;
	}
	r->place.is_mixed |= r->place.decoding != e->decoding;
	if (!e->end || !r->place.is_mixed || e->kind == RELAY_SKIPPED)
		return;
	log_warn("Redis lost a part of a transaction that this replica had read; what it holds cannot be continued",
		 log_lsn("commit", e->id.lsn));
	r->place.is_synced = false;
}

static bool take_entry(struct relay_reader *r, const struct relay_entry *e)
{
	r->read++;
	look_for_hole(r, e);
	look_for_mixture(r, e);
	r->place.at = e->id;
	r->calls->saw(r->ctx, e);
	if (e->kind == RELAY_BEGIN) {
		if (!r->place.is_synced || e->end > r->place.position)
			begin(r, e->end, hole_of(e));
	} else if (!r->place.is_synced) {
		take_unsynced(r, e);
	} else {
		if (e->end > r->place.position)
			r->place.position = e->end;
		return r->calls->entry(r->ctx, e);
	}
	return true;
}

/* One entry of the answer: [id, [name, value, …]]. */
static bool decode(const redisReply *reply, struct relay_entry *out, struct fail *why)
{
	struct slice fields[64];
	const redisReply *id, *list;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
		return fail_set(why, "Redis answered XREAD strangely");
	id = reply->element[0];
	list = reply->element[1];
	if (id->type != REDIS_REPLY_STRING || list->type != REDIS_REPLY_ARRAY || list->elements > 64)
		return fail_set(why, "an entry of the Redis stream is none of walpush's");
	for (size_t i = 0; i < list->elements; i++) {
		if (list->element[i]->type != REDIS_REPLY_STRING)
			return fail_set(why, "an entry of the Redis stream is none of walpush's");
		fields[i] = (struct slice){ list->element[i]->str, list->element[i]->len };
	}
	return relay_entry_decode((struct slice){ id->str, id->len }, fields, list->elements, out, why);
}

/* [[key, [entry, …]]] */
static const redisReply *entries_in(const redisReply *reply)
{
	const redisReply *stream = reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 ? reply->element[0] : NULL;

	if (!stream || stream->type != REDIS_REPLY_ARRAY || stream->elements != 2)
		return NULL;
	return stream->element[1]->type == REDIS_REPLY_ARRAY ? stream->element[1] : NULL;
}

static bool take_entries(struct relay_reader *r, const redisReply *reply, struct fail *why)
{
	const redisReply *entries = entries_in(reply);
	struct relay_entry e = { 0 };

	if (!entries)
		return fail_set(why, "%s",
				relay_trouble_of(reply) ? relay_trouble_of(reply) : "Redis answered XREAD strangely");
	for (size_t i = 0; i < entries->elements; i++) {
		if (!decode(entries->element[i], &e, why))
			return false;
		if (!take_entry(r, &e))
			return fail_set(why, "an entry speaks of what this configuration has not");
	}
	return true;
}

/* --- asking ------------------------------------------------------------------------------------------------------ */

static void read_on(struct relay_reader *r);

static void look_for_goal(struct relay_reader *r)
{
	if (r->place.is_current || event_id_compare(r->place.at, r->place.goal) < 0)
		return;
	r->place.is_current = true;
	log_debug("the stream has been read to its end", log_lsn("position", r->place.position));
	r->calls->changed(r->ctx);
}

/* relay_reader_second tries again. */
static void unreadable(struct relay_reader *r, enum relay_question q, const char *error)
{
	int64_t now = r->env->clock();

	relay_trouble_stops(&r->trouble, q, error, now);
	if (!r->place.refused_at)
		r->place.refused_at = now;
}

static void on_entries(void *ctx, const redisReply *reply)
{
	struct relay_reader *r = asked_end(ctx);
	struct fail why;

	if (!r)
		return;
	r->place.asked = false;
	if (!reply)
		return;
	if (reply->type != REDIS_REPLY_NIL && !take_entries(r, reply, &why)) {
		unreadable(r, RELAY_ASKS_READ, why.text);
		return;
	}
	r->place.refused_at = 0;
	look_for_goal(r);
	read_on(r);
}

static void read_on(struct relay_reader *r)
{
	char at[RELAY_ID_MAX];
	struct slice arguments[] = {
		SLICE("XREAD"),  SLICE("COUNT"),   SLICE(READ_ENTRIES), SLICE("BLOCK"),
		SLICE(BLOCK_MS), SLICE("STREAMS"), slice_of(r->key),    { 0 },
	};

	if (r->place.asked || !redislink_is_up(r->link))
		return;
	r->place.asked = true;
	arguments[7] = (struct slice){ at, relay_id_format(at, r->place.at) };
	redislink_ask(r->link, 8, arguments, on_entries, asked_new(r));
}

static void on_goal(void *ctx, const redisReply *reply)
{
	struct relay_reader *r = asked_end(ctx);
	lsn_t end;

	if (!r)
		return;
	r->place.asked = false;
	if (!reply)
		return;
	if (!relay_script_take_tail(reply, &r->place.goal, &end)) {
		unreadable(r, RELAY_ASKS_GOAL, relay_script_tail_error(reply));
		return;
	}
	r->place.refused_at = 0;
	r->place.has_goal = true;
	look_for_goal(r);
	read_on(r);
}

static void go_on(struct relay_reader *r)
{
	if (!r->key || r->place.asked || !redislink_is_up(r->link))
		return;
	if (r->place.has_goal) {
		read_on(r);
		return;
	}
	r->place.asked = true;
	relay_script_ask_tail(r->link, r->key, on_goal, asked_new(r));
}

/* --- who leads --------------------------------------------------------------------------------------------------- */

static void saw_leader(struct relay_reader *r, const char *name)
{
	r->led_at = r->env->clock();
	if (r->leader && strcmp(r->leader, name) == 0)
		return;
	free(r->leader);
	r->leader = mem_text(name);
	log_info("the stream is fed", log_s("by", r->leader));
}

static void on_leader(void *ctx, const redisReply *reply)
{
	struct relay_reader *r = asked_end(ctx);
	bool led;

	if (!r || !reply)
		return;
	relay_trouble_look(&r->trouble, RELAY_ASKS_LEADER, reply, r->env->clock());
	if (relay_trouble_of(reply))
		return;
	led = reply->type == REDIS_REPLY_STRING;
	if (led)
		saw_leader(r, reply->str);
	if (led == r->is_led)
		return;
	r->is_led = led;
	r->calls->changed(r->ctx);
}

static void on_length(void *ctx, const redisReply *reply)
{
	struct relay_reader *r = asked_end(ctx);

	if (!r)
		return;
	r->length = reply && reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
	relay_trouble_look(&r->trouble, RELAY_ASKS_LENGTH, reply, r->env->clock());
}

void relay_reader_second(struct relay_reader *r)
{
	struct slice arguments[] = { SLICE("GET"), slice_of(r->leader_key) };
	struct slice length[] = { SLICE("XLEN"), slice_of(r->key) };

	if (!redislink_is_up(r->link))
		return;
	go_on(r);
	redislink_ask(r->link, 2, arguments, on_leader, asked_new(r));
	redislink_ask(r->link, 2, length, on_length, asked_new(r));
}

/* --- questions of relay.c ---------------------------------------------------------------------------------------- */

bool relay_reader_is_current(const struct relay_reader *r)
{
	return r->place.is_current && r->place.is_synced && redislink_is_up(r->link);
}

bool relay_reader_is_up(const struct relay_reader *r)
{
	return redislink_is_up(r->link);
}

const char *relay_reader_trouble(const struct relay_reader *r)
{
	return redislink_trouble(r->link);
}

const char *relay_reader_words(const struct relay_reader *r)
{
	return r->trouble.words;
}

int64_t relay_reader_lag(const struct relay_reader *r, int64_t now)
{
	return r->place.refused_at ? now - r->place.refused_at : 0;
}

int64_t relay_reader_leaderless_since(const struct relay_reader *r)
{
	return r->is_led || !redislink_is_up(r->link) ? 0 : r->led_at;
}

void relay_reader_numbers(const struct relay_reader *r, struct relay_numbers *out)
{
	out->read = r->read;
	out->stream_entries = r->length;
	out->position = r->place.position;
}

/* --- life -------------------------------------------------------------------------------------------------------- */

void relay_reader_reopen(struct relay_reader *r, const char *key, const char *leader_key)
{
	r->key = key;
	r->leader_key = leader_key;
	r->generation++;
	memset(&r->place, 0, sizeof(r->place));
	r->trouble.words[0] = '\0';
	r->led_at = r->env->clock();
	r->is_led = false;
	r->length = -1;
	go_on(r);
}

void relay_reader_drop(struct relay_reader *r, const char *why)
{
	redislink_drop(r->link, why);
}

static void on_link(void *ctx, bool up)
{
	struct relay_reader *r = ctx;

	r->led_at = r->env->clock(); /* nobody knows what happened meanwhile */
	if (up)
		go_on(r);
	else if (redislink_is_refused(r->link))
		r->calls->refused(r->ctx, redislink_trouble(r->link));
	r->calls->changed(r->ctx);
}

struct relay_reader *relay_reader_new(const struct relay_env *env, const struct relay_reader_calls *calls, void *ctx)
{
	struct relay_reader *r = mem_new(sizeof(*r));

	r->env = env;
	r->calls = calls;
	r->ctx = ctx;
	r->link = redislink_new(env->loop, env->names, "read", env->conf->url, LINK_PATIENCE, on_link, r);
	return r;
}

void relay_reader_free(struct relay_reader *r)
{
	redislink_free(r->link);
	free(r->leader);
	free(r);
}
