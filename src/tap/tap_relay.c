/*
 * tap_relay: with `relay`, the tap's two halves meet in a Redis stream: what this replica decodes goes there, and what any replica's
 * logs are fed with comes from there.
 *
 *   intake ─▶ tap_relay_publish ─▶ relay ═══ Redis ═══▶ on_entry ─▶ tap_feed ─▶ topic logs
 *
 * The slot is confirmed behind what was read back.
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

/* --- into the stream --------------------------------------------------------------------------------------------- */

struct sequence { /* the entries of a transaction; the last one waits, because it says that it is the last */
	struct tap *tap;
	struct relay_entry waiting;
	bool has_waiting;
	struct buf wordings[2]; /* of the one that waits, and of the next */
	unsigned turn;
};

static void next_entry(struct sequence *s, const struct relay_entry *e)
{
	if (s->has_waiting)
		relay_add(s->tap->relay, &s->waiting);
	s->waiting = *e;
	s->has_waiting = true;
}

static void next_members(struct sequence *s, const struct txn *txn, struct buf *users)
{
	struct relay_entry e = { .kind = RELAY_MEMBERS, .id = { txn_lsn(txn), 0 } };
	struct txn_skipped skipped;

	if (txn_n_members(txn) == 0)
		return;
	for (size_t i = 0; i < txn_n_members(txn); i++)
		if (txn_member(txn, i)) /* NULL, everybody, is the only one */
			buf_add(users, txn_member(txn, i), strlen(txn_member(txn, i)) + 1);
	e.users = buf_slice(users);
	/* An earlier holder of the slot may have published those that it could read. */
	if (txn_skipped(txn, &skipped))
		e.id.index = skipped.id.index - 1;
	next_entry(s, &e);
}

static void add_wording(struct sequence *s, struct relay_entry *e, const struct txn_message *m)
{
	if (e->n_groups == 0) {
		e->payload.at = m->payload.at;
		e->groups.at = m->groups;
	}
	/* The transaction has its messages one behind the other. */
	assert(m->payload.at == e->payload.at + e->payload.len && m->groups == e->groups.at + e->groups.len);
	e->payload.len += m->payload.len;
	for (size_t g = 0; g < m->n_groups; g++)
		e->groups.len += strlen(e->groups.at + e->groups.len) + 1;
	e->n_groups += m->n_groups;
	buf_addf(&s->wordings[s->turn], "%zu,%zu;", m->n_groups, m->payload.len);
}

/* All of one id are one entry, whose id must grow. Returns how many messages that were. */
static size_t next_message(struct sequence *s, const struct txn *txn, size_t i)
{
	struct txn_message m = txn_message(txn, i);
	struct relay_entry e = { .kind = RELAY_MESSAGE, .id = m.id, .close = (uint16_t)m.close, .bulk = m.is_bulk };
	size_t n = 0;

	e.about = m.about;
	s->turn = !s->turn;
	buf_clear(&s->wordings[s->turn]);
	do {
		add_wording(s, &e, &m);
		n++;
		if (i + n < txn_n_messages(txn))
			m = txn_message(txn, i + n);
	} while (i + n < txn_n_messages(txn) && event_id_compare(m.id, e.id) == 0);
	if (n > 1)
		e.wordings = buf_slice(&s->wordings[s->turn]);
	next_entry(s, &e);
	return n;
}

static void next_mark(struct sequence *s, const struct txn *txn, size_t i)
{
	struct txn_marked m = txn_marked(txn, i);
	struct relay_entry e = { .kind = RELAY_MARK, .id = m.id };

	e.section = slice_of(m.section->conf->name);
	e.reason = slice_of(m.reason);
	e.lookup_only = m.lookup_only;
	next_entry(s, &e);
}

static bool next_skipped(struct sequence *s, const struct txn *txn, struct buf *sections)
{
	struct relay_entry e = { .kind = RELAY_SKIPPED };
	struct txn_skipped skipped;

	if (!txn_skipped(txn, &skipped))
		return false;
	e.id = skipped.id;
	e.everything = skipped.everything;
	e.closes = skipped.groups;
	txn_skipped_names(&skipped, sections);
	e.sections = buf_slice(sections);
	next_entry(s, &e);
	return true;
}

void tap_relay_publish(struct tap *t, const struct txn *txn, lsn_t next_lsn)
{
	struct sequence s = { .tap = t };
	size_t n_marks = txn_n_marks(txn), mark = 0;
	struct buf users = { 0 }, sections = { 0 };
	bool skipped;

	next_members(&s, txn, &users);
	for (size_t i = 0; i < txn_n_messages(txn);) {
		while (mark < n_marks && event_id_compare(txn_marked(txn, mark).id, txn_message(txn, i).id) < 0)
			next_mark(&s, txn, mark++);
		i += next_message(&s, txn, i);
	}
	while (mark < n_marks)
		next_mark(&s, txn, mark++);
	skipped = next_skipped(&s, txn, &sections);
	s.waiting.end = next_lsn;
	s.waiting.when = txn_n_messages(txn) || n_marks || skipped ? (uint64_t)txn_commit_us(txn) : 0;
	relay_add(t->relay, &s.waiting);
	buf_fini(&users);
	buf_fini(&sections);
	buf_fini(&s.wordings[0]);
	buf_fini(&s.wordings[1]);
}

/* --- out of the stream ------------------------------------------------------------------------------------------- */

static void on_begin(void *ctx, lsn_t floor, enum relay_hole hole)
{
	struct tap *t = ctx;
	bool same = strcmp(t->relay_epoch, t->epoch) == 0;

	tap_window_begins(t, floor);
	tap_feed_anew(t, t->relay_epoch, floor, !same ? "epoch" : hole ? resync_name(RESYNC_SKIPPED) : "gap");
	tap_stream_reached(t, floor);
	t->asked.missed = t->asked.missed && !hole;
	if (hole && source_is_streaming(t->source))
		source_ask(t->source); /* which confirms: nobody may meet it again */
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

/* To its groups, and on to where the next wording and its groups begin. */
static void feed_wording(struct tap *t, struct feed_message *m)
{
	char header[FRAME_HEADER_MAX];

	m->header = (struct slice){ header, frame_header(header, m->payload.len) };
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
	while (relay_wording(&wordings, &m.n_groups, &m.payload.len)) /* they were checked to fit */
		feed_wording(t, &m);
	t->has_event = true;
}

/* False: such a section or reason this configuration has not. Equal rules are part of the epoch, and so of the stream's key. */
static bool feed_mark(struct tap *t, const struct relay_entry *e)
{
	char *section = mem_text_of(e->section), *reason = mem_text_of(e->reason);
	struct feed_mark m = { .id = e->id, .section = section, .reason = reason, .lookup_only = e->lookup_only };
	bool known = rules_section(t->now.plain, section) && resync_is_reason(reason);

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
		window_event(&t->window, tap_committed_at(t, e->id.lsn, (int64_t)e->when));
	t->has_event = false;
	if (e->when)
		tap_count_transaction(t, e->id.lsn, (int64_t)e->when);
	tap_stream_reached(t, e->end);
	if (t->server_stops) /* it waits for this */
		source_send_status(t->source);
	return true;
}

/* --- the relay's other wishes ------------------------------------------------------------------------------------ */

static void on_refill(void *ctx)
{
	struct tap *t = ctx;

	source_restart(t->source, "the end of the Redis stream is lost");
}

static void on_pause(void *ctx, bool paused)
{
	struct tap *t = ctx;

	log_debug(paused ? "the relay's queue is full, reading stops"
			 : "the relay's queue is half empty, reading goes on",
		  log_lsn("end", relay_end(t->relay)));
	tap_pause_source(t);
}

static void on_changed(void *ctx)
{
	struct tap *t = ctx;

	if (!t->source || t->stopping)
		return;
	tap_stream_go(t);
	tap_pause_source(t);
	admit_reached(t->admissions);
}

static const struct relay_calls calls = { on_begin, on_entry, on_refill, on_pause, on_changed };

void tap_relay_start(struct tap *t)
{
	if (t->now.conf->relay.url)
		t->relay = relay_new(t->loop, t->names, &t->now.conf->relay, t->now.conf->database.slot, &calls, t);
}
