/* tap_status: what the admin port shows of the tap and its hubs. docs/status.md describes the document. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/timetext.h"
#include "walpush/rules/group_name.h"

/* A hub sweeps every second. A hub that has not swept for this long hangs. */
#define BEAT_LIMIT 10000000 /* µs */
#define GROUPS_SHOWN 20
#define MINUTE 60 /* samples */
/* Of at least so many tokens in the last minute, so many percent were refused: that is an alarm. */
#define TOKENS_LEAST 20
#define TOKENS_PERCENT 95

/* --- probes -------------------------------------------------------------------------------------------------------- */

static const char *unhealthy(void *ctx)
{
	struct tap *t = ctx;
	int64_t now = clock_us();

	/* The tap's own loop turns, because it runs this function. */
	for (unsigned i = 0; i < t->n_hubs; i++)
		if (now - hub_beat(t->hubs[i]) > BEAT_LIMIT)
			return "a hub's loop does not turn";
	return NULL;
}

static const char *unready(void *ctx)
{
	return tap_trouble(ctx);
}

/* Another replica reads the same database, so a client would be no better off there: this replica stays ready. */
static const char *remark(void *ctx)
{
	struct tap *t = ctx;

	return intake_n_left_out(t->intake) ? ", but rows do not ask all their queries: see queries_left_out of /status"
					    : NULL;
}

/* --- parts of the document ----------------------------------------------------------------------------------------- */

static json_t *json_lsn(lsn_t lsn)
{
	char text[LSN_TEXT_MAX];

	lsn_format(text, lsn);
	return json_string(text);
}

static json_t *json_time(int64_t us)
{
	char text[TIMETEXT_MAX];

	return json_string(timetext_s(text, us / 1000000));
}

/* NAN means not known: null. */
static json_t *json_number(double n)
{
	return isnan(n) ? json_null() : n == floor(n) && fabs(n) < 1e15 ? json_integer((json_int_t)n) : json_real(n);
}

static json_int_t behind(lsn_t end, lsn_t position)
{
	return end > position ? (json_int_t)(end - position) : 0;
}

static json_t *relay_status(const struct tap *t)
{
	struct relay_numbers n;

	relay_numbers(t->relay, &n);
	return json_pack("{s:s, s:b, s:o, s:o, s:I, s:f, s:I, s:I, s:I, s:I}", "role",
			 n.leads ? "feeds the stream" : "reads the stream", "up", relay_is_up(t->relay), "position",
			 json_lsn(n.position), "safe", json_lsn(relay_safe(t->relay)), "queued_bytes",
			 (json_int_t)n.queued_bytes, "waited_seconds", (double)n.append_lag / 1e6, "appended",
			 (json_int_t)n.appended, "read", (json_int_t)n.read, "refused", (json_int_t)n.refused,
			 "failovers", (json_int_t)n.failovers);
}

static json_t *position_status(struct tap *t, int64_t now)
{
	lsn_t end = tap_server_end(t), published = topiclog_published(t->now.log);
	lsn_t confirmed = window_confirm(&t->window, now), received = source_received(t->source);

	return json_pack("{s:o, s:o, s:o, s:o, s:{s:I, s:I, s:I}, s:{s:I, s:f}}", "server", json_lsn(end), "received",
			 json_lsn(received), "published", json_lsn(published), "confirmed", json_lsn(confirmed),
			 "behind_bytes", "received", behind(end, received), "published", behind(end, published),
			 "confirmed", behind(end, confirmed), "replay", "held_bytes",
			 behind(t->window.handled, confirmed), "held_seconds",
			 (double)window_held_us(&t->window, now) / 1e6);
}

static json_t *skipped_status(const struct tap *t)
{
	const struct skip *s = &t->skip;

	return json_pack("{s:I, s:I, s:o, s:o, s:o}", "rows", (json_int_t)intake_skipped(t->intake), "transactions",
			 (json_int_t)s->transactions, "last_at", s->last_at ? json_time(s->last_at) : json_null(),
			 "last_from", s->last_at ? json_lsn(s->last_to) : json_null(), "last_error",
			 s->last_at ? json_string(s->why.text) : json_null());
}

static json_t *given_up_status(const struct tap *t)
{
	const char *last = suspects_last(t->suspects);

	return json_pack("{s:I, s:s?}", "questions", (json_int_t)suspects_given_up(t->suspects), "last_query",
			 *last ? last : NULL);
}

struct left_out {
	const struct tap *tap;
	int64_t now;
	json_t *all;
};

static const char *name_of_query(const struct tap *t, uint32_t query)
{
	return query < rules_n_queries(t->now.plain) ? rules_query_at(t->now.plain, query)->name : NULL;
}

static void add_left_out(void *ctx, const struct intake_left_out *q)
{
	struct left_out *l = ctx;
	const struct tap *t = l->tap;
	const char *table = q->cause == UINT32_MAX ? NULL : overlap_table(tap_overlap(t), q->query, q->cause);

	json_array_append_new(l->all, json_pack("{s:s?, s:s, s:s?, s:s?, s:f}", "query", name_of_query(t, q->query),
						"reason", q->reason, "because_of", name_of_query(t, q->cause), "table",
						table, "since_seconds", (double)(l->now - q->since) / 1e6));
}

static json_t *left_out_status(const struct tap *t, int64_t now)
{
	struct left_out l = { t, now, json_array() };

	intake_each_left_out(t->intake, add_left_out, &l);
	return l.all;
}

static json_t *wal_status(const struct tap *t, int64_t now)
{
	const struct slot_facts *slot = &t->slot;

	if (!slot->at)
		return json_null();
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:I, s:f}", "status", slot->wal_status, "retained_bytes",
			 json_number(slot->retained), "safe_bytes", json_number(slot->safe), "bytes_per_second",
			 json_number(slot->rate), "lost_in_seconds", json_number(tap_guard_seconds_left(slot)),
			 "warn_bytes", (json_int_t)t->now.conf->database.warn_bytes, "asked_seconds_ago",
			 (double)(now - slot->at) / 1e6);
}

static json_t *connection_status(const struct tap *t)
{
	json_t *streams = json_object();

	for (size_t i = 0; i < t->now.conf->n_streams; i++)
		json_object_set_new(streams, t->now.conf->streams[i].name,
				    json_integer((json_int_t)metrics_value(t->metrics, METRICS_CONNECTIONS,
									   t->now.edition->stream_labels[i])));
	return json_pack("{s:I, s:I, s:I, s:I, s:o}", "open",
			 (json_int_t)metrics_total(t->metrics, METRICS_CONNECTIONS), "most",
			 (json_int_t)gate_connections(t->gate, &t->now.conf->limits), "refused",
			 (json_int_t)metrics_total(t->metrics, METRICS_REFUSALS), "behind",
			 (json_int_t)metrics_total(t->metrics, METRICS_READERS_BEHIND), "streams", streams);
}

struct largest { /* the groups with the most connections, in this order */
	struct topic *at[GROUPS_SHOWN];
	size_t n;
};

static void consider(void *ctx, struct topic *topic)
{
	struct largest *l = ctx;
	size_t i = l->n;

	while (i > 0 && topic_listeners(l->at[i - 1]) < topic_listeners(topic))
		i--;
	if (i == GROUPS_SHOWN)
		return;
	if (l->n < GROUPS_SHOWN)
		l->n++;
	memmove(&l->at[i + 1], &l->at[i], (l->n - 1 - i) * sizeof(*l->at));
	l->at[i] = topic;
}

static json_t *json_group(const struct group_names *names, struct slice group)
{
	struct buf shown = { 0 };
	json_t *text;

	group_name_show(names, group, &shown);
	text = json_stringn(buf_slice(&shown).at, shown.len);
	buf_fini(&shown);
	return text ? text : json_null();
}

static json_t *group_status(const struct tap *t, const struct group_names *names)
{
	struct largest largest = { .n = 0 };
	json_t *groups = json_array();

	topiclog_each_heard(t->now.log, consider, &largest);
	for (size_t i = 0; i < largest.n; i++)
		json_array_append_new(groups,
				      json_pack("{s:o, s:i}", "name", json_group(names, topic_name(largest.at[i])),
						"connections", (int)topic_listeners(largest.at[i])));
	return groups;
}

static json_t *event_status(const struct tap *t, const struct group_names *names)
{
	json_t *events = json_array();
	const struct trail_event *e;

	for (size_t i = 0; (e = trail_last(t->trail, i)); i++) {
		char id[EVENT_ID_TEXT_MAX];

		event_id_format(id, e->id);
		json_array_append_new(events,
				      json_pack("{s:o, s:s, s:s, s:s, s:s, s:o, s:I, s:I}", "time", json_time(e->at),
						"id", id, "table", e->table, "action", e->action, "key", e->key,
						"group", json_group(names, slice_of(e->group)), "groups",
						(json_int_t)e->n_groups, "receivers", (json_int_t)e->receivers));
	}
	return events;
}

/* Means of the last minute, or of the part of it that has samples. The p99 is the worst of the samples. */
static json_t *minute_status(const struct tap *t)
{
	size_t n = trail_n_samples(t->trail), from = n > MINUTE ? n - MINUTE : 0, written = 0;
	struct trail_sample sum = { 0 };
	double worst = -1;

	for (size_t i = from; i < n; i++) {
		const struct trail_sample *s = trail_sample(t->trail, i);

		sum.messages += s->messages;
		sum.deliveries += s->deliveries;
		sum.bytes += s->bytes;
		sum.written_ms += s->written_ms >= 0 ? s->written_ms : 0;
		written += s->written_ms >= 0;
		worst = s->written_p99_ms > worst ? s->written_p99_ms : worst;
	}
	n = n > from ? n - from : 1;
	return json_pack("{s:f, s:f, s:f, s:o, s:o}", "messages_per_second", sum.messages / (double)n,
			 "deliveries_per_second", sum.deliveries / (double)n, "bytes_per_second", sum.bytes / (double)n,
			 "commit_to_written_ms", json_number(written ? sum.written_ms / (double)written : NAN),
			 "commit_to_written_p99_ms", json_number(worst >= 0 ? worst : NAN));
}

static json_t *history_status(const struct tap *t)
{
	static const char *const names[] = { "messages",       "deliveries",   "bytes",      "written_ms",
					     "written_p99_ms", "behind_bytes", "connections" };
	enum { N = sizeof(names) / sizeof(*names) };
	json_t *columns[N], *history = json_object();

	_Static_assert(sizeof(struct trail_sample) == N * sizeof(double), "one column for each member");
	for (size_t c = 0; c < N; c++)
		json_object_set_new(history, names[c], columns[c] = json_array());
	for (size_t i = 0; i < trail_n_samples(t->trail); i++) {
		const double *members = (const double *)trail_sample(t->trail, i);

		for (size_t c = 0; c < N; c++)
			json_array_append_new(columns[c], json_number(members[c] < 0 ? NAN : members[c]));
	}
	return history;
}

static json_t *admission_status(const struct tap *t)
{
	json_t *status = admit_status(t->admissions);

	json_object_set_new(json_object_get(status, "database"), "failed", json_integer(tap_lanes_failed(t)));
	return status;
}

/* Nearly all tokens are refused: the key, the algorithm, the audience or a clock, and not the clients. Another replica has the same, so this one stays
 * ready. */
static json_t *token_status(const struct tap *t)
{
	struct minute_sample last = minute_sum(&t->tokens);

	return json_pack("{s:I, s:I, s:b}", "refused", (json_int_t)last.bad, "of", (json_int_t)last.all, "alarm",
			 last.all >= TOKENS_LEAST && last.bad * 100 >= last.all * TOKENS_PERCENT);
}

/* --- the document -------------------------------------------------------------------------------------------------- */

static json_t *head(struct tap *t, int64_t now)
{
	int64_t down = source_down_since(t->source);
	const char *trouble = tap_trouble(t), *fix = NULL, *said = source_trouble(t->source, &fix);

	if (t->relay && relay_fix(t->relay, now))
		fix = relay_fix(t->relay, now);
	if (t->skip.said.text[0] && source_deaths(t->source))
		fix = t->skip.statement;
	return json_pack("{s:s, s:o, s:I, s:b, s:s?, s:s?, s:s?, s:s?, s:s, s:s, s:f}", "version", WALPUSH_VERSION,
			 "started", json_time(t->started * 1000000), "uptime_seconds",
			 (json_int_t)(clock_wall_us() / 1000000 - t->started), "ready", trouble == NULL, "trouble",
			 trouble, "error", trouble ? said : NULL, "fix", trouble ? fix : NULL, "mend",
			 trouble ? fix : NULL, "slot", t->now.conf->database.slot, "epoch", t->epoch, "down_seconds",
			 down ? (double)(now - down) / 1e6 : 0.0);
}

/* pgoutput sends what the publication says; wal2json has none. */
static json_t *plugin_status(const struct tap *t)
{
	const char *plugin = source_plugin(t->source);
	bool is_pgoutput = plugin && strcmp(plugin, "pgoutput") == 0;

	return json_pack("{s:s?, s:s?}", "plugin", plugin, "publication",
			 is_pgoutput ? t->now.conf->database.publication : NULL);
}

static json_t *status(void *ctx, bool with_history)
{
	struct tap *t = ctx;
	int64_t now = clock_us();
	json_t *document = head(t, now);
	const char *waits = tap_progress_waits(t);
	struct group_names *names = group_names_new(t->now.plain);

	json_object_update_new(document, plugin_status(t));
	json_object_set_new(document, "handled", json_lsn(t->window.handled));
	json_object_set_new(document, "positions", position_status(t, now));
	json_object_set_new(document, "waits_for", waits ? json_string(waits) : json_null());
	json_object_set_new(document, "stalled_seconds", json_real((double)progress_stalled(&t->progress, now) / 1e6));
	json_object_set_new(document, "skipped", skipped_status(t));
	json_object_set_new(document, "given_up", given_up_status(t));
	json_object_set_new(document, "queries_left_out", left_out_status(t, now));
	json_object_set_new(document, "findings", tap_findings_status(t));
	json_object_set_new(document, "checked_at",
			    tap_findings_at(t) ? json_time(tap_findings_at(t) * 1000000) : json_null());
	json_object_set_new(document, "wal", wal_status(t, now));
	json_object_set_new(document, "intake_bytes", json_integer((json_int_t)intake_bytes(t->intake)));
	json_object_set_new(document, "log_bytes", json_integer((json_int_t)topiclog_bytes(t->now.log)));
	json_object_set_new(document, "hubs", json_integer((json_int_t)t->n_hubs));
	json_object_set_new(document, "connections", connection_status(t));
	json_object_set_new(document, "admissions", admission_status(t));
	json_object_set_new(document, "tokens", token_status(t));
	json_object_set_new(document, "last_minute", minute_status(t));
	json_object_set_new(document, "explain", json_boolean(t->now.conf->admin.token != NULL));
	json_object_set_new(document, "groups", group_status(t, names));
	json_object_set_new(document, "events", event_status(t, names));
	if (t->relay)
		json_object_set_new(document, "relay", relay_status(t));
	if (with_history)
		json_object_set_new(document, "history", history_status(t));
	group_names_free(names);
	return document;
}

static const struct texts *admin_hosts(void *ctx)
{
	struct tap *t = ctx;

	return &t->now.conf->admin.hosts;
}

static void admin_refused(void *ctx, const char *reason)
{
	struct tap *t = ctx;

	metrics_count(t->counts, METRICS_ADMIN_REFUSALS, reason);
}

static const char *admin_token(void *ctx)
{
	const struct tap *t = ctx;

	return t->now.conf->admin.token;
}

const struct admin_calls tap_admin_calls = {
	.unhealthy = unhealthy,
	.unready = unready,
	.remark = remark,
	.status = status,
	.hosts = admin_hosts,
	.token = admin_token,
	.explain = tap_explain_ask,
	.refused = admin_refused,
	.metrics = tap_metrics,
};
