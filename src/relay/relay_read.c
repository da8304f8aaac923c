/* relay_read: from the Redis stream to the logs of this replica. */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/clock.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

#define READ_ENTRIES "500"
#define BLOCK_MS "1000"
/* Beyond the time that XREAD blocks. */
#define LINK_PATIENCE 6000000 /* µs */

struct asked { /* a question about one stream */
	struct relay *relay;
	uint64_t generation;
};

static struct asked *asked_new(struct relay *r)
{
	struct asked *a = mem_new(sizeof(*a));

	a->relay = r;
	a->generation = r->r.generation;
	return a;
}

/* NULL: it was about a stream that is not being read any more. Frees the question. */
static struct relay *asked_end(struct asked *a)
{
	struct relay *r = a->generation == a->relay->r.generation ? a->relay : NULL;

	free(a);
	return r;
}

/* --- entries ----------------------------------------------------------------------------------------------------- */

/* What begins behind `floor` is complete, what stood before is not. */
static void begin(struct relay *r, lsn_t floor, enum relay_hole hole)
{
	r->r.is_synced = true;
	r->r.position = floor;
	r->calls->begin(r->ctx, floor, hole);
}

static enum relay_hole hole_of(const struct relay_entry *e)
{
	if (e->reason.len == 0)
		return RELAY_HOLE_NONE;
	return e->everything ? RELAY_HOLE_UNKNOWN : RELAY_HOLE_KNOWN;
}

/* The first transactions of a stream may have been trimmed in part, so it is read from the first end on. */
static void take_unsynced(struct relay *r, const struct relay_entry *e)
{
	if (e->end)
		begin(r, e->end, RELAY_HOLE_NONE);
}

static bool take_entry(struct relay *r, const struct relay_entry *e)
{
	struct relay_reader *reader = &r->r;
	bool hole = reader->is_synced && event_id_compare(e->before, reader->at) > 0;

	r->read++;
	if (hole) {
		log_warn("the Redis stream was trimmed past what this replica had read; what it holds cannot be "
			 "continued",
			 log_lsn("read", reader->at.lsn), log_lsn("next", e->id.lsn));
		reader->is_synced = false;
	}
	reader->at = e->id;
	relay_writer_saw(r, e);
	if (e->kind == RELAY_BEGIN) {
		if (!reader->is_synced || e->end > reader->position)
			begin(r, e->end, hole_of(e));
	} else if (!reader->is_synced) {
		take_unsynced(r, e);
	} else {
		if (e->end > reader->position)
			reader->position = e->end;
		return r->calls->entry(r->ctx, e);
	}
	return true;
}

/* An entry of the answer: [id, [name, value, …]]. */
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
static bool take_entries(struct relay *r, const redisReply *reply, struct fail *why)
{
	const redisReply *stream, *entries;
	struct relay_entry e = { 0 };

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1 || reply->element[0]->type != REDIS_REPLY_ARRAY ||
	    reply->element[0]->elements != 2)
		return fail_set(why, "%s",
				reply->type == REDIS_REPLY_ERROR ? reply->str : "Redis answered XREAD strangely");
	stream = reply->element[0];
	entries = stream->element[1];
	for (size_t i = 0; i < entries->elements; i++) {
		if (!decode(entries->element[i], &e, why))
			return false;
		if (!take_entry(r, &e))
			return fail_set(why, "an entry speaks of what this configuration has not");
	}
	return true;
}

/* --- asking ------------------------------------------------------------------------------------------------------ */

static void read_on(struct relay *r);

static void is_current(struct relay *r)
{
	struct relay_reader *reader = &r->r;

	if (reader->is_current || event_id_compare(reader->at, reader->goal) < 0)
		return;
	reader->is_current = true;
	log_debug("the stream has been read to its end", log_lsn("position", reader->position));
	r->calls->changed(r->ctx);
}

/* It is tried again from relay_reader_second. */
static void unreadable(struct relay *r, enum relay_question q, const char *error)
{
	relay_refused(r, q, error, r->r.words);
	if (!r->r.refused_at)
		r->r.refused_at = clock_us();
}

static void on_entries(void *ctx, const redisReply *reply)
{
	struct relay *r = asked_end(ctx);
	struct fail why;

	if (!r)
		return;
	r->r.asked = false;
	if (!reply)
		return;
	if (reply->type != REDIS_REPLY_NIL && !take_entries(r, reply, &why)) {
		unreadable(r, RELAY_ASKS_READ, why.text);
		return;
	}
	r->r.refused_at = 0;
	is_current(r);
	read_on(r);
}

static void read_on(struct relay *r)
{
	struct relay_reader *reader = &r->r;
	char at[RELAY_ID_MAX];
	struct slice arguments[] = {
		SLICE("XREAD"),  SLICE("COUNT"),   SLICE(READ_ENTRIES), SLICE("BLOCK"),
		SLICE(BLOCK_MS), SLICE("STREAMS"), slice_of(r->key),    { 0 },
	};

	if (reader->asked || !redislink_is_up(reader->link))
		return;
	reader->asked = true;
	arguments[7] = (struct slice){ at, relay_id_format(at, reader->at) };
	redislink_ask(reader->link, 8, arguments, on_entries, asked_new(r));
}

static void on_goal(void *ctx, const redisReply *reply)
{
	struct relay *r = asked_end(ctx);
	lsn_t end;

	if (!r)
		return;
	r->r.asked = false;
	if (!reply)
		return;
	if (!relay_take_tail(reply, &r->r.goal, &end)) {
		unreadable(r, RELAY_ASKS_GOAL, relay_tail_error(reply));
		return;
	}
	r->r.refused_at = 0;
	r->r.has_goal = true;
	is_current(r);
	read_on(r);
}

static void go_on(struct relay *r)
{
	struct relay_reader *reader = &r->r;

	if (!r->key || reader->asked || !redislink_is_up(reader->link))
		return;
	if (reader->has_goal) {
		read_on(r);
		return;
	}
	reader->asked = true;
	relay_ask_tail(reader->link, r->key, on_goal, asked_new(r));
}

/* --- who leads --------------------------------------------------------------------------------------------------- */

static void on_leader(void *ctx, const redisReply *reply)
{
	struct relay *r = asked_end(ctx);
	bool led;

	if (!r || !reply)
		return;
	relay_look_for_error(r, RELAY_ASKS_LEADER, reply);
	if (relay_error(reply))
		return;
	led = reply->type == REDIS_REPLY_STRING;
	if (led) {
		r->led_at = clock_us();
		if (!r->leader || strcmp(r->leader, reply->str) != 0) {
			free(r->leader);
			r->leader = mem_text(reply->str);
			log_info("the stream is fed", log_s("by", r->leader));
		}
	}
	if (led == r->is_led)
		return;
	r->is_led = led;
	r->calls->changed(r->ctx);
}

static void on_length(void *ctx, const redisReply *reply)
{
	struct relay *r = asked_end(ctx);

	if (!r)
		return;
	r->length = reply && reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
	relay_look_for_error(r, RELAY_ASKS_LENGTH, reply);
}

void relay_reader_second(struct relay *r)
{
	struct slice arguments[] = { SLICE("GET"), slice_of(r->leader_key) };
	struct slice length[] = { SLICE("XLEN"), slice_of(r->key) };

	if (!redislink_is_up(r->r.link))
		return;
	go_on(r);
	redislink_ask(r->r.link, 2, arguments, on_leader, asked_new(r));
	redislink_ask(r->r.link, 2, length, on_length, asked_new(r));
}

/* --- life -------------------------------------------------------------------------------------------------------- */

void relay_reader_reopen(struct relay *r)
{
	struct redislink *link = r->r.link;

	r->r = (struct relay_reader){ .link = link, .generation = r->r.generation + 1 };
	go_on(r);
}

static void on_link(void *ctx, bool up)
{
	struct relay *r = ctx;

	r->led_at = clock_us(); /* what happened meanwhile is not known */
	if (up)
		go_on(r);
	else
		relay_lost(r->r.link, r->w.link);
	r->calls->changed(r->ctx);
}

void relay_reader_init(struct relay *r)
{
	r->r.link = redislink_new(r->loop, r->names, "read", r->conf->url, LINK_PATIENCE, on_link, r);
}

void relay_reader_fini(struct relay *r)
{
	redislink_free(r->r.link);
}
