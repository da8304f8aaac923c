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
	if (!source_is_streaming(t->source))
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

static json_t *status(void *ctx)
{
	struct tap *t = ctx;
	int64_t now = clock_us(), down = source_down_since(t->source);
	const char *trouble = tap_trouble(t);

	return json_pack("{s:s, s:b, s:s?, s:s, s:s, s:f, s:o, s:o, s:I, s:I, s:i}", "version", WALPUSH_VERSION,
			 "ready", trouble == NULL, "trouble", trouble, "slot", t->conf->database.slot, "epoch",
			 t->epoch, "down_seconds", down ? (double)(now - down) / 1e6 : 0.0, "handled",
			 json_lsn(t->window.handled), "confirmed", json_lsn(window_confirm(&t->window, now)),
			 "intake_bytes", (json_int_t)intake_bytes(t->intake), "log_bytes",
			 (json_int_t)topiclog_bytes(t->log), "hubs", (int)t->n_hubs);
}

const struct admin_calls tap_admin_calls = { unhealthy, unready, status, tap_metrics };
