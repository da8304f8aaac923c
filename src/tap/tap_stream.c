/* tap_stream: from the replication connection to the feed of the topic logs, and back to what may be confirmed. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/resync.h"

/* A second demanded reply within this time means that the server waits for us to stop. */
#define DEMAND_TWICE 1000000
/* What is not published by then comes again from the slot. */
#define STOP_LIMIT 2000000

/* --- publishing ------------------------------------------------------------------------------------------------- */

/* µs of clock_us: when that was committed. What comes as it is written, comes now; a backlog is as old as its commits say, by the
 * database's clock, and what has no time of its own is as old as what came before it. */
int64_t tap_committed_at(struct tap *t, lsn_t lsn, int64_t committed)
{
	int64_t now = clock_us(), at = t->committed_at, age = clock_wall_us() - committed;

	if (t->is_live && lsn >= t->live)
		at = now;
	else if (committed)
		at = age > 0 ? now - age : now;
	if (at > t->committed_at)
		t->committed_at = at;
	return t->committed_at;
}

void tap_window_begins(struct tap *t, lsn_t lsn)
{
	window_reset(&t->window, lsn);
	t->committed_at = clock_us() - 2 * t->window.age; /* as old as makes no difference */
}

void tap_stream_reached(struct tap *t, lsn_t upto)
{
	window_handled(&t->window, upto, tap_committed_at(t, upto, 0));
	if (t->source)
		source_moved(t->source, upto);
	if (!t->is_live && upto >= t->live) {
		t->is_live = true;
		log_info("live", log_lsn("position", upto));
	}
	tap_feed_position(t, upto);
	tap_stop_reached(t);
}

static void feed_message(struct tap *t, const struct txn *txn, size_t i, int64_t now)
{
	struct txn_message m = txn_message(txn, i);
	struct feed_message fed = { m.id, m.header, m.payload, m.groups, m.n_groups, { 0 }, m.about };

	fed.tag = tap_feed_tag((uint16_t)m.close, m.is_bulk);
	tap_feed_message(t, &fed, now);
}

static void feed_mark(struct tap *t, const struct txn *txn, size_t i, int64_t now)
{
	struct txn_marked m = txn_marked(txn, i);
	struct feed_mark fed = { m.id, m.section->conf->name, m.reason, m.lookup_only };

	tap_feed_mark(t, &fed, now);
}

/* What was written before the stream began says nothing of how long it takes. */
void tap_count_transaction(struct tap *t, lsn_t lsn, int64_t committed)
{
	metrics_add(t->counts, METRICS_TRANSACTIONS, 1);
	if (!committed || !t->is_live || lsn < t->live)
		return;
	metrics_observe(t->counts, METRICS_COMMIT_TO_PUBLISHED, clock_wall_us() - committed, 1);
	if (!t->committed || committed < t->committed)
		t->committed = committed;
}

static bool feed_skipped(struct tap *t, const struct txn *txn, int64_t now)
{
	struct feed_skipped fed = { 0 };
	struct txn_skipped skipped;
	struct buf names = { 0 };

	if (!txn_skipped(txn, &skipped))
		return false;
	txn_skipped_names(&skipped, &names);
	fed = (struct feed_skipped){ skipped.id, skipped.everything, buf_slice(&names), skipped.groups };
	if (!tap_feed_skipped(t, &fed, now))
		fail_never("a transaction names a section that its configuration lacks");
	buf_fini(&names);
	return true;
}

/* The memberships first, then messages and marks in the order of their ids, or what stands for them all, then the position. */
static void publish(void *ctx, const struct txn *txn, lsn_t next_lsn)
{
	struct tap *t = ctx;
	size_t n_messages = txn_n_messages(txn), n_marks = txn_n_marks(txn), mark = 0;
	int64_t now = clock_us();
	bool skipped;

	if (t->relay) {
		tap_relay_publish(t, txn, next_lsn);
		return;
	}
	for (size_t i = 0; i < txn_n_members(txn); i++)
		tap_feed_membership(t, txn_lsn(txn), txn_member(txn, i));
	for (size_t i = 0; i < n_messages; i++) {
		while (mark < n_marks && event_id_compare(txn_marked(txn, mark).id, txn_message(txn, i).id) < 0)
			feed_mark(t, txn, mark++, now);
		feed_message(t, txn, i, now);
	}
	while (mark < n_marks)
		feed_mark(t, txn, mark++, now);
	skipped = feed_skipped(t, txn, now);
	if (n_messages || n_marks || skipped) {
		window_event(&t->window, tap_committed_at(t, txn_lsn(txn), txn_commit_us(txn)));
		tap_count_transaction(t, txn_lsn(txn), txn_commit_us(txn));
	}
	tap_stream_reached(t, next_lsn);
}

static void handled(void *ctx, lsn_t next_lsn)
{
	struct tap *t = ctx;

	if (t->relay)
		relay_position(t->relay, next_lsn, t->server_stops || t->stopping);
	else
		tap_stream_reached(t, next_lsn);
}

/* --- the intake's other wishes ----------------------------------------------------------------------------------- */

/* What may never be emptied: then the stream is given up, because a server that wants to stop would wait for us without end. */
static bool is_stuck(const struct tap *t)
{
	bool queue_full = t->relay && relay_is_full(t->relay);

	return ((intake_is_full(t->intake) || queue_full) && !sqlpipe_is_up(t->sql)) ||
	       (queue_full && !relay_is_up(t->relay));
}

/* A replica that cannot reach Redis leaves the slot to one that can. */
void tap_stream_go(struct tap *t)
{
	if (t->now.rules && !t->stopping && !tap_skip_asks(t) && (!t->relay || relay_is_up(t->relay)))
		source_go(t->source);
}

void tap_pause_source(struct tap *t)
{
	source_pause(t->source, intake_is_full(t->intake) || (t->relay && relay_is_full(t->relay)));
	if (is_stuck(t))
		tap_limit_stream(t);
}

static void pause_source(void *ctx, bool paused)
{
	struct tap *t = ctx;

	log_debug(paused ? "intake full, reading stops" : "intake drained, reading goes on",
		  log_n("bytes", intake_bytes(t->intake)));
	tap_pause_source(t);
}

static void stale_catalog(void *ctx)
{
	log_info("a table has changed; reading the catalog again");
	tap_read_catalog(ctx);
}

static void stream_broken(void *ctx, enum intake_broken kind, const struct intake_place *place, const struct fail *why)
{
	struct tap *t = ctx;

	if (kind == INTAKE_NO_MEMORY) {
		source_restart(t->source, why->text);
		return;
	}
	tap_skip_at(t, place);
	source_refuse(t->source, why);
}

static void look(void *ctx)
{
	tap_ddl_look(ctx);
}

const struct intake_calls tap_intake_calls = { publish, handled, pause_source, stale_catalog, look, stream_broken };

/* --- the source's calls ------------------------------------------------------------------------------------------ */

static void make_epoch(const struct tap *t, const struct source_start *s, char out[EPOCH_MAX])
{
	snprintf(out, EPOCH_MAX, "%.20s-%.10s-%08" PRIx32, s->system_id, s->timeline, rules_digest(t->now.rules));
}

/* Another history, or the same one with a hole: nothing that the logs hold can be continued. */
static void begin_anew(struct tap *t, lsn_t at, const char *epoch, const char *reason)
{
	tap_window_begins(t, at);
	tap_feed_anew(t, epoch, at, reason);
}

/* What a stream brought and is not handled yet: it comes again. */
static void forget_stream(struct tap *t)
{
	intake_clear(t->intake);
	if (t->relay)
		relay_lead(t->relay, false);
}

static lsn_t start(void *ctx, const struct source_start *s)
{
	struct tap *t = ctx;
	char epoch[EPOCH_MAX];
	lsn_t handled = t->window.handled, to, from;
	enum relay_hole hole;

	forget_stream(t);
	tap_ddl_history(t, s->system_id, s->timeline);
	t->skip.has_refused = false;
	make_epoch(t, s, epoch);
	t->live = s->server_end;
	t->work.end = 0;
	t->server_stops = false;
	t->demanded_at = 0;
	if (t->relay) { /* what was read of the stream may be lost since then */
		memcpy(t->relay_epoch, epoch, sizeof(epoch));
		relay_open(t->relay, epoch);
		handled = relay_reached(t->relay);
	}
	to = tap_skip_start(t, handled > s->confirmed ? handled : s->confirmed);
	from = to ? to : s->confirmed;
	hole = !to ? RELAY_HOLE_NONE : tap_skip_is_known(t) ? RELAY_HOLE_KNOWN : RELAY_HOLE_UNKNOWN;
	if (t->relay)
		return relay_start(t->relay, from, hole ? hole : t->asked.missed ? RELAY_HOLE_HERE : RELAY_HOLE_NONE);
	if (strcmp(epoch, t->epoch) != 0)
		begin_anew(t, from, epoch, "epoch");
	else if (hole)
		begin_anew(t, from, epoch, resync_name(RESYNC_SKIPPED));
	else if (t->asked.missed)
		begin_anew(t, handled > from ? handled : from, epoch, resync_name(RESYNC_SKIPPED));
	else if (s->confirmed > t->window.handled || t->window.handled > s->server_end)
		begin_anew(t, from, epoch, "gap");
	if (hole == RELAY_HOLE_UNKNOWN)
		tap_skip_watch(t);
	t->asked.missed = false;
	return t->window.handled;
}

static void streaming(void *ctx)
{
	struct tap *t = ctx;

	metrics_count(t->counts, METRICS_CONNECTS, "replication");
	sqlpipe_hurry(t->sql);
	sqlpipe_hurry(t->admissions_sql);
	tap_guard_now(t);
	tap_ddl_streaming(t);
	if (t->relay)
		relay_lead(t->relay, true);
	else
		tap_stream_reached(t, t->window.handled);
	admit_reached(t->admissions);
}

static void record(void *ctx, char *bytes, struct slice text)
{
	struct tap *t = ctx;

	intake_record(t->intake, bytes, text, t->relay ? relay_end(t->relay) : t->window.handled);
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

/* Another replica may reach Redis. This one streams again when it does too. */
static void give_slot_up(struct tap *t)
{
	log_warn("Redis is away and no more can be kept: the slot is left to a replica that reaches it");
	source_stop(t->source);
	relay_lead(t->relay, false);
	intake_clear(t->intake);
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
	else if (t->relay && !relay_is_up(t->relay))
		give_slot_up(t);
	else if (is_stuck(t))
		source_restart(t->source, "nothing can be looked up, and no more can be kept");
}

static void keepalive(void *ctx, lsn_t end, bool reply_demanded)
{
	struct tap *t = ctx;
	int64_t now = clock_us();

	intake_position(t->intake, end);
	if (!reply_demanded)
		return;
	if (t->demanded_at && now - t->demanded_at < DEMAND_TWICE)
		server_stops(t);
	t->demanded_at = now;
}

/* Transactions that came in whole before what ends the stream are handled until the next one starts. Otherwise they would never be, if
 * their answers take longer than the error, and nothing is passed over before they are. */
static void lost(void *ctx, enum source_loss loss, const struct fail *why)
{
	struct tap *t = ctx;

	event_del(t->stop_limit);
	if (loss == SOURCE_POISON && !t->stopping)
		tap_skip_lost(t, why);
	else
		forget_stream(t);
	tap_stop_reached(t);
}

static void ended(void *ctx)
{
	tap_stop_released(ctx);
}

/* What is asked for is compared with what is needed later. */
static const char *ask_for(struct buf *asked, const struct buf *tables)
{
	buf_clear(asked);
	buf_add_slice(asked, buf_slice(tables));
	return buf_slice(asked).at;
}

static const char *add_tables(void *ctx)
{
	struct tap *t = ctx;

	return ask_for(&t->asked.add, &t->add_tables);
}

static const char *filter_tables(void *ctx)
{
	struct tap *t = ctx;

	return ask_for(&t->asked.filter, &t->filter_tables);
}

static const char *message_prefix(void *ctx)
{
	return tap_ddl_prefix(ctx);
}

static lsn_t confirm(void *ctx)
{
	struct tap *t = ctx;
	lsn_t lsn = t->server_stops ? t->window.handled : window_confirm(&t->window, clock_us());

	return t->relay && relay_safe(t->relay) < lsn ? relay_safe(t->relay) : lsn;
}

bool tap_is_fed(const struct tap *t)
{
	if (t->relay)
		return t->is_live && relay_is_current(t->relay) && !relay_leaderless_since(t->relay);
	return t->is_live && source_is_streaming(t->source);
}

const struct source_calls tap_source_calls = { start, streaming,  record,        keepalive,      lost,
					       ended, add_tables, filter_tables, message_prefix, confirm };

void tap_stream_init(struct tap *t)
{
	window_init(&t->window, t->now.conf->replay.seconds * 1000, (uint64_t)t->now.conf->replay.bytes);
	t->stop_limit = event_new(t->loop, -1, 0, on_stop_limit, t);
	if (!t->stop_limit)
		fail_never("libevent makes no timer for the stream");
}

void tap_stream_fini(struct tap *t)
{
	event_free(t->stop_limit);
}
