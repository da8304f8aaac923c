/* tap_stream: from the replication connection to the feed of the logs; and, in the other direction, what may be confirmed. */
#include <inttypes.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/flood.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/base/resync.h"

/* µs. If the server demands a second reply within this time, it is stopping and waits for walpush. */
#define DEMAND_TWICE 1000000
/* µs between two starts of the stream because of a session on another server. */
#define ASTRAY_APART 10000000

/* --- the intake's transactions ------------------------------------------------------------------------------------- */

static bool is_half_told(void *ctx, lsn_t commit)
{
	struct tap *t = ctx;

	return t->way->is_half_told(t, commit);
}

static void on_publish(void *ctx, const struct txn *txn, lsn_t next_lsn)
{
	struct tap *t = ctx;

	t->way->publish(t, txn, next_lsn);
	tap_published_note(t, txn);
}

static void on_position(void *ctx, lsn_t next_lsn)
{
	struct tap *t = ctx;

	t->way->position(t, next_lsn);
}

/* --- the intake's other calls ------------------------------------------------------------------------------------ */

static void pause_source(void *ctx, bool paused)
{
	struct tap *t = ctx;

	log_debug(paused ? "intake full, reading stops" : "intake drained, reading goes on",
		  log_n("bytes", intake_bytes(t->intake)));
	tap_flow_pause(t);
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

static void hear(void *ctx)
{
	struct tap *t = ctx;

	source_ask(t->source);
}

static bool overlap(void *ctx, uint32_t a, uint32_t b)
{
	const struct tap *t = ctx;

	/* Between a reload and the next catalog the rules in force are of another edition than what is known of its queries. */
	return a == b || (tap_rules_are_current(t) && overlap_shares(tap_overlap(t), a, b));
}

/* Nobody has asked yet, or the server does not know: if the text has the name of the table, it counts as read. */
static bool reads(void *ctx, uint32_t query, const struct catalog_table *table)
{
	const struct tap *t = ctx;
	const struct overlap *o = tap_rules_are_current(t) ? tap_overlap(t) : NULL;

	if (o && !overlap_unknown(o, query))
		return overlap_reads(o, query, table->schema, table->name);
	return strcasestr(rules_query_at(t->now.rules, query)->sql, table->name) != NULL;
}

/* The timeline is another one, and with it the epoch: the stream finds both out when it begins. */
static void promoted(void *ctx)
{
	struct tap *t = ctx;

	if (source_is_streaming(t->source))
		source_restart(t->source, "the server was a standby, and has been promoted");
}

void tap_stream_promoted(struct tap *t, bool is_standby)
{
	if (anchor_is_standby(t->anchor.server) && !is_standby)
		promoted(t);
}

const struct intake_calls tap_intake_calls = { is_half_told,  on_publish, on_position,   pause_source,
					       stale_catalog, look,       stream_broken, hear,
					       overlap,       reads,      promoted };

/* --- sessions on another server ----------------------------------------------------------------------------------- */

/* The session is opened again by itself. If it is the stream that is left behind on a server that others have left, the stream must go. */
void tap_stream_astray(void *ctx)
{
	struct tap *t = ctx;
	int64_t now = clock_us();

	if (!source_is_streaming(t->source)) {
		anchor_set(&t->anchor, "");
		return;
	}
	flood_warn("a session is on another server than the replication stream; nothing is asked there",
		   log_fix("see \"Sessions on two servers\" in docs/operations.md"));
	if (t->astray_at && now - t->astray_at < ASTRAY_APART)
		return;
	t->astray_at = now;
	source_restart(t->source, "a session is on another server");
}

/* --- the source's calls ------------------------------------------------------------------------------------------ */

static void make_epoch(const struct tap *t, const struct source_start *s, char out[EPOCH_MAX])
{
	snprintf(out, EPOCH_MAX, "%.20s-%.10s-%08" PRIx32, s->system_id, s->timeline, rules_digest(t->now.rules));
}

static lsn_t start(void *ctx, const struct source_start *s)
{
	struct tap *t = ctx;
	struct way_start way = { .confirmed = s->confirmed, .server_end = s->server_end };
	char epoch[EPOCH_MAX];
	lsn_t to;

	tap_flow_forget(t);
	if (!intake_zone(t->intake, s->zone))
		log_error("the server describes its time zone strangely; times of commits are in UTC",
			  log_s("zone", s->zone));
	tap_ddl_history(t, s->system_id, s->timeline);
	t->skip.has_refused = false;
	make_epoch(t, s, epoch);
	t->live = s->server_end;
	mem_copy_text(t->stream_server, sizeof(t->stream_server), s->server);
	intake_standby(t->intake, anchor_is_standby(s->server));
	tap_progress_anew(t);
	t->server_stops = false;
	t->demanded_at = 0;
	way.epoch = epoch;
	way.handled = t->way->open_epoch(t, epoch);
	to = tap_skip_start(t, way.handled > s->confirmed ? way.handled : s->confirmed);
	way.from = to ? to : s->confirmed;
	way.hole = !to ? RELAY_HOLE_NONE : tap_skip_is_known(t) ? RELAY_HOLE_KNOWN : RELAY_HOLE_UNKNOWN;
	return t->way->start(t, &way);
}

static void streaming(void *ctx)
{
	struct tap *t = ctx;

	metrics_count(t->counts, METRICS_CONNECTS, "replication");
	anchor_set(&t->anchor, t->stream_server);
	sqlpipe_hurry(t->sql);
	for (size_t i = 0; i < 2; i++)
		sqlpipe_hurry(t->asking[i].sql);
	tap_lanes_hurry(t);
	tap_guard_now(t);
	tap_ddl_streaming(t);
	t->way->streaming(t);
	/* The slot was made, or made anew, after the publication was looked at. */
	if ((strcmp(source_plugin(t->source), "pgoutput") == 0) != t->published.is_pgoutput)
		tap_read_catalog(t);
	admit_reached(t->admissions);
}

static void record(void *ctx, char *bytes, struct slice text)
{
	struct tap *t = ctx;

	intake_record(t->intake, bytes, text, t->way->end(t));
}

static void server_stops(struct tap *t)
{
	if (t->server_stops)
		return;
	t->server_stops = true;
	log_info("the server is stopping; the replay window is given up for this stream");
	tap_flow_limit(t);
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

/* Transactions that came in whole before the end of the replication stream are handled until the next one starts. Otherwise they would never be
 * handled if their answers take longer than the error, and nothing is passed over before they are handled. */
static void lost(void *ctx, enum source_loss loss, const struct fail *why)
{
	struct tap *t = ctx;

	event_del(t->stop_limit);
	anchor_set(&t->anchor, "");
	tap_flow_told(t);
	if (loss == SOURCE_POISON && !t->stopping)
		tap_skip_lost(t, why);
	else
		tap_flow_forget(t);
	t->wires->reached(t);
}

static void ended(void *ctx)
{
	struct tap *t = ctx;

	t->wires->released(t);
}

/* Keeps what is asked for: it is later compared with what is needed. */
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
	lsn_t safe = t->way->safe(t);

	return safe < lsn ? safe : lsn;
}

bool tap_is_fed(const struct tap *t)
{
	return t->way->is_fed(t);
}

const struct source_calls tap_source_calls = { start, streaming,  record,        keepalive,      lost,
					       ended, add_tables, filter_tables, message_prefix, confirm };
