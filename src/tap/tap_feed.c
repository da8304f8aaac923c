/*
 * tap_feed: the only way into the logs.
 *
 * The functions take plain data, so it does not matter which replica decoded a transaction. For each transaction, call in this order:
 *   1. tap_feed_membership  for each user whose permission it changed,
 *   2. tap_feed_message and tap_feed_mark, in the order of their ids, or tap_feed_skipped,
 *   3. tap_feed_position    which makes the whole transaction readable at once.
 * The hubs are sent MAIL_DIRTY once for all that one turn of the loop published.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/flood.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/change/render.h"
#include "walpush/base/resync.h"

struct feed {
	struct event *flush; /* posts MAIL_DIRTY, once for all that one turn of the loop published */
	struct topic **news; /* logs with messages for which no MAIL_DIRTY was posted yet */
	size_t n, cap;
};

void tap_tell_hubs(struct tap *t, const struct mail *mail)
{
	for (unsigned i = 0; i < t->n_hubs; i++)
		hub_post(t->hubs[i], mail);
}

/* --- new messages ----------------------------------------------------------------------------------------------- */

static void tell(const struct tap *t, struct mail *mail)
{
	for (unsigned h = 0; h < t->n_hubs; h++)
		if (topic_heard_by(mail->topic, h))
			hub_post(t->hubs[h], mail);
}

/* The relay may give a transaction in parts: a log that has parts which are not published yet stays in `news`. */
void tap_feed_flush(struct tap *t)
{
	struct mail mail = { .kind = MAIL_DIRTY,
			     .published = topiclog_published(t->now.log),
			     .committed = t->committed };
	size_t kept = 0;

	for (size_t i = 0; i < t->feed->n; i++) {
		mail.topic = t->feed->news[i];
		tell(t, &mail);
		if (topic_has_unpublished(t->now.log, mail.topic))
			t->feed->news[kept++] = mail.topic;
		else
			topic_clean(t->now.log, mail.topic);
	}
	t->feed->n = kept;
	t->committed = 0;
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tap_feed_flush(arg);
}

static void note_news(struct tap *t, struct topic *topic)
{
	if (!topic_mark_dirty(topic))
		return;
	if (t->feed->n == t->feed->cap) {
		t->feed->cap = t->feed->cap ? t->feed->cap * 2 : 64;
		t->feed->news = mem_resize(t->feed->news, t->feed->cap, sizeof(struct topic *));
	}
	t->feed->news[t->feed->n++] = topic;
}

void tap_feed_hear(struct tap *t, struct topic *topic, unsigned hub)
{
	topic_subscribe(t->now.log, topic, hub);
	if (topic_has_unpublished(t->now.log, topic))
		note_news(t, topic);
}

/* --- what a transaction holds ------------------------------------------------------------------------------------ */

void tap_feed_membership(struct tap *t, lsn_t commit, const char *user)
{
	admit_changed(t->admissions, commit, user);
}

static void note(struct tap *t, const struct feed_message *m, uint64_t receivers)
{
	const char *section = m->about.at, *action = section + strlen(section) + 1;
	struct audit_change change = {
		.id = m->id,
		.table = section,
		.action = action,
		.key = slice_of(action + strlen(action) + 1),
		.groups = m->groups,
		.n_groups = m->n_groups,
		.receivers = receivers,
	};

	int64_t at = clock_wall_us();

	metrics_event(t->metrics, section, action);
	trail_event(t->trail, at, &change);
	tap_explain_note(t, at, &change);
	audit_change(t->shared.audit, &change);
}

struct entry_tag tap_feed_tag(uint16_t close, bool bulk)
{
	struct entry_tag tag = { .close = close };

	if (bulk) {
		tag.kind = ENTRY_REFETCH;
		tag.reason = RESYNC_BULK;
	}
	return tag;
}

void tap_feed_message(struct tap *t, const struct feed_message *m, int64_t now)
{
	const char *group = m->groups;
	uint64_t receivers = 0;

	for (size_t i = 0; i < m->n_groups; i++) {
		struct slice name = slice_of(group);
		struct topic *topic = topiclog_topic(t->now.log, name);

		if (m->tag.kind || m->tag.close)
			topic_append_tagged(t->now.log, topic, m->id, m->tag, m->header, m->payload, now);
		else
			topic_append(t->now.log, topic, m->id, m->header, m->payload, now);
		note_news(t, topic);
		receivers += topic_listeners(topic);
		group += name.len + 1;
	}
	note(t, m, receivers);
}

struct marking {
	struct tap *tap;
	const struct rules_section *section;
	const char *schema; /* of the tables that are meant; NULL: of any */
	struct event_id id;
	bool lookup_only;
	struct entry_tag tag;
	int64_t now;
};

/* The text of a resync is written for each connection (notice.c). */
static void append_resync(const struct marking *m, struct topic *topic)
{
	topic_append_tagged(m->tap->now.log, topic, m->id, m->tag, SLICE(""), SLICE(""), m->now);
	note_news(m->tap, topic);
}

static void mark_one(void *ctx, struct topic *topic)
{
	const struct marking *m = ctx;

	for (size_t i = 0; i < m->section->n_groups; i++) {
		if (m->lookup_only && !m->section->group_uses_lookup[i])
			continue;
		if (!tmpl_could_spell(&m->section->groups[i], topic_name(topic), m->schema))
			continue;
		append_resync(m, topic);
		return;
	}
}

/* `resync` is in the logs like any message, so it keeps its place in the order. */
void tap_feed_mark(struct tap *t, const struct feed_mark *mark, int64_t now)
{
	struct marking m = { .tap = t, .id = mark->id, .lookup_only = mark->lookup_only, .now = now };

	m.tag = (struct entry_tag){ .kind = ENTRY_REFETCH, .reason = (uint8_t)resync_reason(mark->reason) };
	m.section = rules_labelled(t->now.plain, mark->section, &m.schema);
	if (!m.section)
		fail_never("a mark names section %s, which the configuration of its epoch lacks",
			   mark->section); /* another configuration is another epoch */
	metrics_count(t->counts, METRICS_GROUP_RESYNCS, mark->reason);
	flood_info("groups are told to refetch", log_s("table", mark->section), log_s("reason", mark->reason),
		   log_lsn("commit", mark->id.lsn));
	topiclog_each(t->now.log, mark_one, &m);
	topiclog_mark(t->now.log, mark->id);
}

/* --- a row that was skipped --------------------------------------------------------------------------------------- */

static void skip_in(struct marking *m, struct topic *topic, uint16_t close)
{
	if (event_id_compare(topic_last(topic), m->id) >= 0)
		return; /* the log has it already */
	m->tag.close = close;
	append_resync(m, topic);
}

static void skip_any(void *ctx, struct topic *topic)
{
	skip_in(ctx, topic, 0);
}

static void skip_of_section(void *ctx, struct topic *topic)
{
	struct marking *m = ctx;

	for (size_t i = 0; i < m->section->n_groups; i++)
		if (tmpl_could_spell(&m->section->groups[i], topic_name(topic), m->schema))
			skip_in(m, topic, 0);
}

/* A group without a log has no subscriptions, and a log that is made later does not reach back so far. */
static void skip_groups(struct marking *m, struct slice closes)
{
	while (closes.len) {
		struct slice name = slice_of(closes.at + strlen(closes.at) + 1);
		struct topic *topic = topiclog_find(m->tap->now.log, name);

		if (topic)
			skip_in(m, topic, (uint16_t)strtoul(closes.at, NULL, 10));
		closes.len -= (size_t)(name.at + name.len + 1 - closes.at);
		closes.at = name.at + name.len + 1;
	}
}

static bool knows_sections(const struct tap *t, struct slice sections)
{
	const char *schema;

	for (size_t at = 0; at < sections.len; at += strlen(sections.at + at) + 1)
		if (!rules_labelled(t->now.plain, sections.at + at, &schema))
			return false;
	return true;
}

bool tap_feed_skipped(struct tap *t, const struct feed_skipped *skipped, int64_t now)
{
	struct marking m = { .tap = t, .id = skipped->id, .now = now };

	if (!knows_sections(t, skipped->sections))
		return false;
	m.tag = (struct entry_tag){ .kind = ENTRY_REFETCH, .reason = RESYNC_SKIPPED };
	metrics_count(t->counts, METRICS_GROUP_RESYNCS, resync_name(RESYNC_SKIPPED));
	flood_info("groups are told to refetch", log_s("reason", resync_name(RESYNC_SKIPPED)),
		   log_lsn("commit", skipped->id.lsn));
	skip_groups(&m, skipped->closes); /* first, because these entries may close connections */
	for (size_t at = 0; at < skipped->sections.len; at += strlen(skipped->sections.at + at) + 1) {
		m.section = rules_labelled(t->now.plain, skipped->sections.at + at, &m.schema);
		topiclog_each(t->now.log, skip_of_section, &m);
	}
	if (skipped->everything)
		topiclog_each(t->now.log, skip_any, &m);
	topiclog_mark(t->now.log, skipped->id);
	return true;
}

void tap_feed_position(struct tap *t, lsn_t upto)
{
	if (upto > topiclog_published(t->now.log))
		topiclog_publish(t->now.log, upto);
	if (t->feed->n)
		event_active(t->feed->flush, EV_TIMEOUT, 0);
	admit_reached(t->admissions);
}

/* --- another history ---------------------------------------------------------------------------------------------- */

void tap_feed_anew(struct tap *t, const char *epoch, lsn_t floor, const char *reason)
{
	bool first = t->epoch[0] == '\0';
	struct mail mail = { .kind = MAIL_EPOCH };

	mem_copy_text(t->epoch, sizeof(t->epoch), epoch);
	topiclog_reset(t->now.log, floor);
	mem_copy_text(mail.epoch, sizeof(mail.epoch), t->epoch);
	tap_tell_hubs(t, &mail);
	if (!first)
		log_warn("the stream cannot be continued; everybody is told to refetch", log_s("reason", reason),
			 log_lsn("from", floor));
	mail = (struct mail){ .kind = MAIL_EMPTIED, .published = floor };
	tap_tell_hubs(t, &mail);
	admit_anew(t->admissions, floor, reason);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

/* µs. Younger messages are not dropped for their age: a hub that the scheduler delays, or a connection that waits for an answer, still
 * needs them. */
#define LIVE_AGE 10000000

void tap_feed_init(struct tap *t)
{
	int64_t age = t->now.conf->replay.seconds * 1000;
	struct topic_limits limits = {
		.group_bytes = (size_t)t->now.conf->limits.group_bytes,
		.log_bytes = (size_t)t->now.conf->limits.log_bytes,
		.age = age > LIVE_AGE ? age : LIVE_AGE,
	};

	t->feed = mem_new(sizeof(*t->feed));
	t->now.log = topiclog_new(&limits);
	t->feed->flush = event_new(t->loop, -1, 0, on_flush, t);
	if (!t->feed->flush)
		fail_never("libevent makes no timer for the feed");
}

void tap_feed_fini(struct tap *t)
{
	topiclog_free(t->now.log);
	event_free(t->feed->flush);
	free(t->feed->news);
	free(t->feed);
}
