/* tap_stream: from the replication connection to the topic logs, and back to what may be confirmed. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tap_impl.h"
#include "walpush/clock.h"
#include "walpush/log.h"
#include "walpush/mem.h"
#include "walpush/render.h"

/* A second demanded reply within this time means that the server waits for us to stop. */
#define DEMAND_TWICE 1000000
/* What is not published by then comes again from the slot. */
#define STOP_LIMIT 2000000

/* --- publishing ------------------------------------------------------------------------------------------------- */

void tap_tell_hubs(struct tap *t, const struct mail *mail)
{
	for (unsigned i = 0; i < t->n_hubs; i++)
		hub_post(t->hubs[i], mail);
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;
	struct mail mail = { .kind = MAIL_DIRTY, .published = topiclog_published(t->log) };

	(void)fd;
	(void)what;
	for (size_t i = 0; i < t->n_news; i++) {
		mail.topic = t->news[i];
		for (unsigned h = 0; h < t->n_hubs; h++)
			if (topic_heard_by(mail.topic, h))
				hub_post(t->hubs[h], &mail);
	}
	t->n_news = 0;
	t->round++;
}

static void is_news(struct tap *t, struct topic *topic)
{
	if (!topic_mark_dirty(topic, t->round))
		return;
	if (t->n_news == t->cap_news) {
		t->cap_news = t->cap_news ? t->cap_news * 2 : 64;
		t->news = mem_resize(t->news, t->cap_news, sizeof(struct topic *));
	}
	t->news[t->n_news++] = topic;
}

static void append(struct tap *t, const struct txn_message *m, int64_t now)
{
	const char *group = m->groups;

	for (size_t i = 0; i < m->n_groups; i++) {
		struct slice name = slice_of(group);
		struct topic *topic = topiclog_topic(t->log, name);

		topic_append(t->log, topic, m->id, m->header, m->payload, now);
		is_news(t, topic);
		group += name.len + 1;
	}
}

struct marking {
	struct tap *tap;
	const struct txn_marked *mark;
	struct slice header, payload;
	int64_t now;
};

static void mark_one(void *ctx, struct topic *topic)
{
	const struct marking *m = ctx;
	const struct rules_section *section = m->mark->section;

	for (size_t i = 0; i < section->n_groups; i++) {
		if (!route_template_matches(&section->groups[i], topic_name(topic)))
			continue;
		topic_append(m->tap->log, topic, m->mark->id, m->header, m->payload, m->now);
		is_news(m->tap, topic);
		return;
	}
}

/* `resync` stands in the logs like any message, so it keeps its place in the order. */
static void append_mark(struct tap *t, struct txn_marked mark, int64_t now)
{
	struct buf payload = { 0 };
	char header[FRAME_HEADER_MAX];
	struct marking m = { .tap = t, .mark = &mark, .now = now };

	log_info("groups are told to refetch", log_s("table", mark.section->conf->name), log_s("reason", mark.reason),
		 log_lsn("commit", mark.id.lsn));
	render_resync(mark.reason, t->epoch, mark.id, &payload);
	m.header = (struct slice){ header, frame_header(header, payload.len) };
	m.payload = buf_slice(&payload);
	topiclog_each(t->log, mark_one, &m);
	topiclog_mark(t->log, mark.id);
	buf_fini(&payload);
}

static void is_handled(struct tap *t, lsn_t upto)
{
	window_handled(&t->window, upto, clock_us());
	if (upto > topiclog_published(t->log))
		topiclog_publish(t->log, upto);
	if (!t->is_live && upto >= t->live) {
		t->is_live = true;
		log_info("live", log_lsn("position", upto));
		tap_admit_waiting(t);
	}
	if (t->admissions)
		tap_admit_reached(t);
}

/* Messages and marks in the order of their ids; then the one position that makes them readable, all at once. */
static void publish(void *ctx, const struct txn *txn, lsn_t next_lsn)
{
	struct tap *t = ctx;
	size_t n_marks = txn_n_marks(txn), mark = 0;
	int64_t now = clock_us();

	for (size_t i = 0; i < txn_n_messages(txn); i++) {
		struct txn_message m = txn_message(txn, i);

		while (mark < n_marks && event_id_compare(txn_marked(txn, mark).id, m.id) < 0)
			append_mark(t, txn_marked(txn, mark++), now);
		append(t, &m, now);
	}
	while (mark < n_marks)
		append_mark(t, txn_marked(txn, mark++), now);
	window_event(&t->window, now);
	is_handled(t, next_lsn);
	event_active(t->flush, EV_TIMEOUT, 0);
}

static void handled(void *ctx, lsn_t next_lsn)
{
	is_handled(ctx, next_lsn);
}

/* --- the intake's other wishes ----------------------------------------------------------------------------------- */

static void pause_source(void *ctx, bool paused)
{
	struct tap *t = ctx;

	log_debug(paused ? "intake full, reading stops" : "intake drained, reading goes on",
		  log_n("bytes", intake_bytes(t->intake)));
	source_pause(t->source, paused);
	if (paused && !sqlpipe_is_up(t->sql))
		tap_limit_stream(t);
}

static void stale_catalog(void *ctx)
{
	log_info("a table has changed; reading the catalog again");
	tap_read_catalog(ctx);
}

static void stream_broken(void *ctx, const struct fail *why)
{
	struct tap *t = ctx;

	log_error("the stream is out of step; starting again behind the last transaction handled",
		  log_s("error", why->text), log_lsn("handled", t->window.handled),
		  log_s("mend", "report it if it comes again"));
	source_restart(t->source, why->text);
}

const struct intake_calls tap_intake_calls = { publish, handled, pause_source, stale_catalog, stream_broken };

/* --- the source's calls ------------------------------------------------------------------------------------------ */

static void make_epoch(const struct tap *t, const struct source_start *s, char out[48])
{
	snprintf(out, 48, "%.20s-%.10s-%08" PRIx32, s->system_id, s->timeline, rules_digest(t->rules));
}

/* Another history, or the same one with a hole: nothing that the logs hold can be continued. */
static void begin_anew(struct tap *t, const struct source_start *s, const char *reason)
{
	bool first = t->epoch[0] == '\0';
	struct mail mail = { .kind = MAIL_EPOCH };

	make_epoch(t, s, t->epoch);
	topiclog_reset(t->log, s->confirmed);
	window_reset(&t->window, s->confirmed, clock_us());
	memcpy(mail.text, t->epoch, sizeof(mail.text));
	tap_tell_hubs(t, &mail);
	if (first)
		return;
	log_warn("the stream cannot be continued; everybody is told to refetch", log_s("reason", reason),
		 log_lsn("from", s->confirmed));
	mail = (struct mail){ .kind = MAIL_RESYNC, .published = s->confirmed };
	mem_copy_text(mail.text, sizeof(mail.text), reason);
	tap_tell_hubs(t, &mail);
}

static lsn_t start(void *ctx, const struct source_start *s)
{
	struct tap *t = ctx;
	char epoch[48];

	make_epoch(t, s, epoch);
	if (strcmp(epoch, t->epoch) != 0)
		begin_anew(t, s, "epoch");
	else if (s->confirmed > t->window.handled || t->window.handled > s->server_end)
		begin_anew(t, s, "gap");
	t->live = s->server_end;
	t->server_stops = false;
	t->demanded_at = 0;
	return t->window.handled;
}

static void streaming(void *ctx)
{
	struct tap *t = ctx;

	sqlpipe_hurry(t->sql);
	sqlpipe_hurry(t->admissions_sql);
	is_handled(t, t->window.handled);
	tap_admit_waiting(t);
}

static void record(void *ctx, char *bytes, struct slice text)
{
	struct tap *t = ctx;

	intake_record(t->intake, bytes, text, t->window.handled);
}

void tap_limit_stream(struct tap *t)
{
	struct timeval limit = clock_timeval(STOP_LIMIT);

	if (!event_pending(t->stop_limit, EV_TIMEOUT, NULL))
		event_add(t->stop_limit, &limit);
}

static void server_stops(struct tap *t)
{
	if (t->server_stops)
		return;
	t->server_stops = true;
	log_info("the server is stopping; the replay window is given up for this stream");
	tap_limit_stream(t);
}

/* Still something unpublished: it comes again, because the connection ends without confirming it. */
static void on_stop_limit(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;

	(void)fd;
	(void)what;
	if (!source_is_streaming(t->source))
		return;
	if (t->server_stops)
		source_restart(t->source, "the server is stopping");
	else if (intake_is_full(t->intake) && !sqlpipe_is_up(t->sql))
		source_restart(t->source, "nothing can be looked up, and no more can be kept");
}

static void keepalive(void *ctx, lsn_t end, bool reply_demanded)
{
	struct tap *t = ctx;
	int64_t now = clock_us();

	if (intake_is_idle(t->intake))
		is_handled(t, end);
	if (!reply_demanded)
		return;
	if (t->demanded_at && now - t->demanded_at < DEMAND_TWICE)
		server_stops(t);
	t->demanded_at = now;
}

static void lost(void *ctx, const struct fail *why)
{
	struct tap *t = ctx;

	(void)why;
	event_del(t->stop_limit);
	intake_clear(t->intake);
}

static const char *add_tables(void *ctx)
{
	struct tap *t = ctx;

	return buf_slice(&t->add_tables).at;
}

static lsn_t confirm(void *ctx)
{
	struct tap *t = ctx;

	return t->server_stops ? t->window.handled : window_confirm(&t->window, clock_us());
}

const struct source_calls tap_source_calls = { start, streaming, record, keepalive, lost, add_tables, confirm };

void tap_stream_init(struct tap *t)
{
	struct topic_limits limits = {
		.group_bytes = (size_t)t->conf->limits.group_bytes,
		.log_bytes = (size_t)t->conf->limits.log_bytes,
		.age = t->conf->replay.seconds * 1000,
	};

	t->log = topiclog_new(&limits);
	t->round = 1;
	window_init(&t->window, t->conf->replay.seconds * 1000, (uint64_t)t->conf->replay.bytes);
	t->flush = event_new(t->loop, -1, 0, on_flush, t);
	t->stop_limit = event_new(t->loop, -1, 0, on_stop_limit, t);
	if (!t->flush || !t->stop_limit)
		abort();
}

void tap_stream_fini(struct tap *t)
{
	topiclog_free(t->log);
	event_free(t->flush);
	event_free(t->stop_limit);
	free(t->news);
}
