/* tap_status: what the admin port tells of the tap and its hubs. */
#include "tap_impl.h"
#include "walpush/clock.h"

/* A hub sweeps every second; one that has not for so long hangs. */
#define BEAT_LIMIT 10000000 /* µs */

static const char *unhealthy(void *ctx)
{
	struct tap *t = ctx;
	int64_t now = clock_us();

	/* That this is asked shows that the tap's own loop turns. */
	for (unsigned i = 0; i < t->n_hubs; i++)
		if (now - hub_beat(t->hubs[i]) > BEAT_LIMIT)
			return "a hub's loop does not turn";
	return NULL;
}

const char *tap_trouble(struct tap *t)
{
	if (t->stopping)
		return "stopping";
	if (t->relay && !relay_is_up(t->relay))
		return "no connection to Redis";
	if (t->relay && relay_leaderless_since(t->relay))
		return "nobody feeds the Redis stream";
	if (!t->relay && !source_is_streaming(t->source))
		return source_is_held_by_other(t->source) ? "another process holds the slot"
							  : "not streaming: see the log";
	if (!t->is_live)
		return "catching up with what was written before the start";
	return sqlpipe_is_up(t->sql) && sqlpipe_is_up(t->admissions_sql) ? NULL : "no connection for queries";
}

static const char *unready(void *ctx)
{
	return tap_trouble(ctx);
}

static json_t *json_lsn(lsn_t lsn)
{
	char text[LSN_TEXT_MAX];

	lsn_format(text, lsn);
	return json_string(text);
}

static json_t *relay_status(const struct tap *t)
{
	struct relay_numbers n;

	relay_numbers(t->relay, &n);
	return json_pack("{s:s, s:b, s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "role",
			 n.leads ? "feeds the stream" : "reads the stream", "up", relay_is_up(t->relay), "position",
			 json_lsn(n.position), "safe", json_lsn(relay_safe(t->relay)), "queued_bytes",
			 (json_int_t)n.queued_bytes, "appended", (json_int_t)n.appended, "read", (json_int_t)n.read,
			 "refused", (json_int_t)n.refused, "failovers", (json_int_t)n.failovers);
}

static json_t *status(void *ctx)
{
	struct tap *t = ctx;
	int64_t now = clock_us(), down = source_down_since(t->source);
	const char *trouble = tap_trouble(t);
	json_t *document;

	document = json_pack("{s:s, s:b, s:s?, s:s, s:s, s:f, s:o, s:o, s:I, s:I, s:i}", "version", WALPUSH_VERSION,
			     "ready", trouble == NULL, "trouble", trouble, "slot", t->conf->database.slot, "epoch",
			     t->epoch, "down_seconds", down ? (double)(now - down) / 1e6 : 0.0, "handled",
			     json_lsn(t->window.handled), "confirmed", json_lsn(window_confirm(&t->window, now)),
			     "intake_bytes", (json_int_t)intake_bytes(t->intake), "log_bytes",
			     (json_int_t)topiclog_bytes(t->log), "hubs", (int)t->n_hubs);
	if (t->relay)
		json_object_set_new(document, "relay", relay_status(t));
	return document;
}

const struct admin_calls tap_admin_calls = { unhealthy, unready, status, tap_metrics };
