/*
 * way_relay: with `relay`, the Redis stream connects the two halves of the tap. The holder of the slot writes what it decodes to the Redis stream,
 * and every replica feeds its logs from the Redis stream.
 *
 *   intake ─▶ publish_to_relay ─▶ relay ═══ Redis ═══▶ on_entry ─▶ tap_feed ─▶ logs
 *
 * The slot is confirmed only up to what was read back.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/change/render.h"
#include "walpush/base/resync.h"

/* --- into the Redis stream --------------------------------------------------------------------------------------- */

struct sequence { /* the entries of a transaction; one entry waits, because the last one must be marked as the last */
	struct tap *tap;
	lsn_t commit;
	uint32_t decoding;   /* of relay_entry */
	uint32_t members_at; /* the index of the entry with the users whose membership changed */
	bool has_members;
	struct buf users; /* each ended by a zero; none: every user */
	struct relay_entry waiting;
	bool has_waiting;
	struct buf wordings[2]; /* of the message that waits, and of the next */
	unsigned turn;
	size_t n_wordings; /* of the message that waits */
	struct buf sections;
};

static void next_entry(struct sequence *s, const struct relay_entry *e)
{
	if (s->has_waiting) {
		s->waiting.decoding = s->decoding;
		relay_add(s->tap->relay, &s->waiting);
	}
	s->waiting = *e;
	s->waiting.decoding = s->has_waiting ? s->decoding : 0; /* alone it is not mixed with another */
	s->has_waiting = true;
}

/* The list of users is complete when another kind of entry comes. */
static void end_members(struct sequence *s)
{
	struct relay_entry e = { .kind = RELAY_MEMBERS, .id = { s->commit, s->members_at } };

	if (!s->has_members)
		return;
	s->has_members = false;
	e.users = buf_slice(&s->users);
	next_entry(s, &e);
}

static void next_member(void *ctx, lsn_t commit, const char *user)
{
	struct sequence *s = ctx;

	(void)commit;
	s->has_members = true;
	if (user) /* NULL means every user, and comes alone */
		buf_add(&s->users, user, strlen(user) + 1);
}

static void add_wording(struct sequence *s, const struct txn_message *m)
{
	struct relay_entry *e = &s->waiting;

	/* The transaction holds its messages one after the other in memory. */
	assert(m->payload.at == e->payload.at + e->payload.len && m->groups == e->groups.at + e->groups.len);
	e->payload.len += m->payload.len;
	for (size_t g = 0; g < m->n_groups; g++)
		e->groups.len += strlen(e->groups.at + e->groups.len) + 1;
	e->n_groups += m->n_groups;
	buf_addf(&s->wordings[s->turn], "%zu,%zu;", m->n_groups, m->payload.len);
	if (++s->n_wordings > 1)
		e->wordings = buf_slice(&s->wordings[s->turn]);
}

/* All messages with one id are one entry, because the ids of entries must grow. */
static void next_message(void *ctx, const struct txn_message *m)
{
	struct sequence *s = ctx;
	struct relay_entry e = {
		.kind = RELAY_MESSAGE, .id = m->id, .close = (uint16_t)m->close, .bulk = m->is_bulk, .about = m->about
	};

	end_members(s);
	if (!s->has_waiting || s->waiting.kind != RELAY_MESSAGE || event_id_compare(s->waiting.id, m->id) != 0) {
		e.payload.at = m->payload.at;
		e.groups.at = m->groups;
		next_entry(s, &e);
		s->turn = !s->turn;
		buf_clear(&s->wordings[s->turn]);
		s->n_wordings = 0;
	}
	add_wording(s, m);
}

static void next_mark(void *ctx, const struct txn_marked *m)
{
	struct sequence *s = ctx;
	struct relay_entry e = { .kind = RELAY_MARK, .id = m->id };

	end_members(s);
	e.section = slice_of(m->label);
	e.reason = slice_of(m->reason);
	e.lookup_only = m->lookup_only;
	next_entry(s, &e);
}

static void next_skipped(void *ctx, const struct txn_skipped *skipped)
{
	struct sequence *s = ctx;
	struct relay_entry e = { .kind = RELAY_SKIPPED };

	end_members(s);
	e.id = skipped->id;
	e.everything = skipped->everything;
	e.closes = skipped->groups;
	txn_skipped_labels(skipped, &s->sections);
	e.sections = buf_slice(&s->sections);
	next_entry(s, &e);
}

static const struct txn_calls sequence_calls = { next_member, next_message, next_mark, next_skipped };

/* An earlier holder of the slot may have published the users whose membership changed, as far as it could read the transaction. */
static uint32_t members_at(const struct txn *txn)
{
	struct txn_skipped skipped;

	return txn_skipped(txn, &skipped) ? skipped.id.index - 1 : 0;
}

static bool is_half_told(const struct tap *t, lsn_t commit)
{
	return relay_half_told(t->relay) == commit;
}

static void publish_to_relay(struct tap *t, const struct txn *txn, lsn_t next_lsn)
{
	struct sequence s = { .tap = t, .commit = txn_lsn(txn), .members_at = members_at(txn) };
	bool has_event;

	s.decoding = txn_asks(txn) ? relay_decoding(t->relay) : 0;
	has_event = txn_each(txn, &sequence_calls, &s);
	end_members(&s);
	s.waiting.end = next_lsn;
	s.waiting.when = has_event ? (uint64_t)txn_commit_us(txn) : 0;
	relay_add(t->relay, &s.waiting);
	buf_fini(&s.users);
	buf_fini(&s.sections);
	buf_fini(&s.wordings[0]);
	buf_fini(&s.wordings[1]);
}

/* --- out of the Redis stream ------------------------------------------------------------------------------------- */

static void on_begin(void *ctx, lsn_t floor, enum relay_hole hole)
{
	struct tap *t = ctx;
	bool same = strcmp(t->relay_epoch, t->epoch) == 0;

	tap_reach_begins(t, floor);
	tap_feed_anew(t, t->relay_epoch, floor, !same ? "epoch" : hole ? resync_name(RESYNC_SKIPPED) : "gap");
	tap_reach_upto(t, floor);
	t->asked.missed = t->asked.missed && !hole;
	if (hole && source_is_streaming(t->source))
		source_ask(t->source); /* this confirms: no replica may meet the hole again */
	if (hole)
		tap_flow_told(t);
	if (hole == RELAY_HOLE_UNKNOWN)
		tap_skip_watch(t);
}

static void feed_members(struct tap *t, const struct relay_entry *e)
{
	if (e->users.len == 0)
		tap_feed_membership(t, e->id.lsn, NULL);
	for (size_t at = 0; at < e->users.len; at += strlen(e->users.at + at) + 1)
		tap_feed_membership(t, e->id.lsn, e->users.at + at);
}

/* Feeds one wording to its groups, then moves `m` to where the next wording and its groups begin. */
static void feed_wording(struct tap *t, struct feed_message *m)
{
	char header[FRAME_HEADER_MAX];

	m->header = (struct slice){ header, render_frame_header(header, m->payload.len) };
	tap_feed_message(t, m, clock_us());
	m->header = (struct slice){ 0 };
	m->payload = (struct slice){ m->payload.at + m->payload.len, 0 };
	for (; m->n_groups; m->n_groups--)
		m->groups += strlen(m->groups) + 1;
}

static void feed_message(struct tap *t, const struct relay_entry *e)
{
	struct feed_message m = {
		.id = e->id, .payload = e->payload, .groups = e->groups.at, .n_groups = e->n_groups, .about = e->about
	};
	struct slice wordings = e->wordings;

	m.tag = tap_feed_tag(e->close, e->bulk);
	if (wordings.len == 0)
		feed_wording(t, &m);
	while (relay_wording(&wordings, &m.n_groups, &m.payload.len)) /* the relay has checked that they fit */
		feed_wording(t, &m);
	t->has_event = true;
}

/* False: there is no such section or reason. Equal rules are part of the epoch, and so of the key of the Redis stream. */
static bool feed_mark(struct tap *t, const struct relay_entry *e)
{
	char *section = mem_text_of(e->section), *reason = mem_text_of(e->reason);
	struct feed_mark m = { .id = e->id, .section = section, .reason = reason, .lookup_only = e->lookup_only };
	const char *schema;
	bool known = rules_labelled(t->now.plain, section, &schema) && resync_is_reason(reason);

	if (known) {
		tap_feed_mark(t, &m, clock_us());
		t->has_event = true;
	}
	free(section);
	free(reason);
	return known;
}

static bool feed_skipped(struct tap *t, const struct relay_entry *e)
{
	struct feed_skipped skipped = {
		.id = e->id, .everything = e->everything, .sections = e->sections, .closes = e->closes
	};

	t->has_event = true;
	return tap_feed_skipped(t, &skipped, clock_us());
}

static bool on_entry(void *ctx, const struct relay_entry *e)
{
	struct tap *t = ctx;

	switch (e->kind) {
	case RELAY_MEMBERS:
		feed_members(t, e);
		break;
	case RELAY_MESSAGE:
		feed_message(t, e);
		break;
	case RELAY_MARK:
		if (!feed_mark(t, e))
			return false;
		break;
	case RELAY_SKIPPED:
		if (!feed_skipped(t, e))
			return false;
		break;
	case RELAY_POSITION:
		break;
	case RELAY_BEGIN:
	default:
		fail_never("the relay's reader gave an entry of kind %d",
			   (int)e->kind); /* RELAY_BEGIN goes to on_begin */
	}
	if (!e->end)
		return true;
	if (t->has_event)
		window_event(&t->window, tap_reach_committed_at(t, e->id.lsn, (int64_t)e->when));
	t->has_event = false;
	if (e->when)
		tap_reach_count(t, e->id.lsn, (int64_t)e->when);
	tap_reach_upto(t, e->end);
	if (t->server_stops) /* the server waits for this */
		source_send_status(t->source);
	return true;
}

/* --- the relay's other calls ------------------------------------------------------------------------------------- */

static void on_refill(void *ctx, const char *why)
{
	struct tap *t = ctx;

	source_restart(t->source, why);
}

static void on_pause(void *ctx, bool paused)
{
	struct tap *t = ctx;

	log_debug(paused ? "the relay's queue is full, reading stops"
			 : "the relay's queue is half empty, reading goes on",
		  log_lsn("end", relay_end(t->relay)));
	tap_flow_pause(t);
}

static void on_changed(void *ctx)
{
	struct tap *t = ctx;

	if (!t->source || t->stopping)
		return;
	tap_flow_go(t);
	tap_flow_pause(t);
	admit_reached(t->admissions);
}

static const struct relay_calls calls = { on_begin, on_entry, on_refill, on_pause, on_changed };

/* --- the way -------------------------------------------------------------------------------------------------------- */

static void position(struct tap *t, lsn_t next_lsn)
{
	relay_position(t->relay, next_lsn, t->server_stops || t->stopping);
}

/* What was read of the Redis stream may be lost meanwhile. */
static lsn_t open_epoch(struct tap *t, const char *epoch)
{
	mem_copy_text(t->relay_epoch, sizeof(t->relay_epoch), epoch);
	relay_open(t->relay, epoch);
	return relay_tail_end(t->relay);
}

static lsn_t start(struct tap *t, const struct way_start *s)
{
	enum relay_hole here = t->asked.missed ? RELAY_HOLE_HERE : RELAY_HOLE_NONE;

	return relay_start(t->relay, s->from, s->hole ? s->hole : here);
}

static bool miss(struct tap *t)
{
	return relay_miss(t->relay);
}

static void streaming(struct tap *t)
{
	relay_lead(t->relay, true);
}

static void lost(struct tap *t)
{
	relay_lead(t->relay, false);
}

static lsn_t end(const struct tap *t)
{
	return relay_end(t->relay);
}

static lsn_t safe(const struct tap *t)
{
	return relay_safe(t->relay);
}

static bool is_full(const struct tap *t)
{
	return relay_is_full(t->relay);
}

static bool is_up(const struct tap *t)
{
	return relay_is_up(t->relay);
}

static bool is_empty(const struct tap *t)
{
	struct relay_numbers numbers = { 0 };

	relay_numbers(t->relay, &numbers);
	return !numbers.queued_bytes;
}

static bool is_fed(const struct tap *t)
{
	return t->is_live && relay_is_current(t->relay) && !relay_leaderless_since(t->relay);
}

static int64_t elsewhere_since(const struct tap *t)
{
	return relay_leaderless_since(t->relay);
}

static void tick(struct tap *t, lsn_t confirmed)
{
	relay_trim(t->relay, confirmed);
}

const struct way way_relay = {
	.is_shared = true,
	.is_half_told = is_half_told,
	.publish = publish_to_relay,
	.position = position,
	.open_epoch = open_epoch,
	.start = start,
	.miss = miss,
	.streaming = streaming,
	.lost = lost,
	.end = end,
	.safe = safe,
	.is_full = is_full,
	.is_up = is_up,
	.is_empty = is_empty,
	.is_fed = is_fed,
	.elsewhere_since = elsewhere_since,
	.tick = tick,
};

void way_relay_begin(struct tap *t)
{
	t->way = &way_relay;
	t->relay = relay_new(t->loop, t->names, &t->now.conf->relay, t->now.conf->database.slot, &calls, t);
}
