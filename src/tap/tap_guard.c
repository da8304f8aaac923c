/*
 * tap_guard: how much WAL the slot makes the server keep. The tap asks every 30 s on the connection for lookups, and warns before the WAL is a
 * problem. The rate is how fast the server wrote WAL between two answers; what is left is counted up to max_slot_wal_keep_size.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

#define ASK_EVERY 30000000   /* µs */
#define WARN_EVERY 300000000 /* µs */

/* safe_wal_size is null when max_slot_wal_keep_size is -1. */
#define SLOT_SQL                                                                                                       \
	"SELECT wal_status, safe_wal_size, pg_catalog.pg_wal_lsn_diff(here.lsn, restart_lsn)::bigint, here.lsn"        \
	" FROM pg_catalog.pg_replication_slots,"                                                                       \
	" (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()"                   \
	" ELSE pg_catalog.pg_current_wal_lsn() END AS lsn) AS here WHERE slot_name = $1"

struct guard {
	struct sqlpipe_query *query;
	struct event *timer;
};

static double number(const char *text)
{
	return text ? strtod(text, NULL) : NAN;
}

double tap_guard_seconds_left(const struct slot_facts *slot)
{
	return slot->rate > 0 ? slot->safe / slot->rate : NAN;
}

static void warn(struct tap *t, int64_t now)
{
	double left = tap_guard_seconds_left(&t->slot);
	char until[64] = "unknown: max_slot_wal_keep_size is not set";

	if (t->slot.warned && now - t->slot.warned < WARN_EVERY)
		return;
	t->slot.warned = now;
	if (!isnan(left))
		snprintf(until, sizeof(until), "%.0f s", left);
	else if (!isnan(t->slot.safe))
		strcpy(until, "nothing is written at present");
	log_warn("the slot makes the server keep much WAL", log_s("slot", t->now.conf->database.slot),
		 log_n("retained_bytes", t->slot.retained), log_s("wal_status", t->slot.wal_status),
		 log_n("bytes_per_second", t->slot.rate), log_s("lost_in", until),
		 log_fix("see walpush_monitoring (sql/monitoring.sql) and docs/operations.md"));
}

static void judge(struct tap *t, int64_t now)
{
	int64_t limit = t->now.conf->database.warn_bytes;
	bool at_risk = strcmp(t->slot.wal_status, "unreserved") == 0 || strcmp(t->slot.wal_status, "lost") == 0;

	if (at_risk || (limit && t->slot.retained > (double)limit)) {
		warn(t, now);
	} else if (t->slot.warned) {
		t->slot.warned = 0;
		log_info("the slot keeps no more WAL than is fine", log_n("retained_bytes", t->slot.retained));
	}
}

static void take(struct tap *t, const struct sqlrows *rows)
{
	struct slot_facts *slot = &t->slot;
	int64_t now = clock_us();
	lsn_t end = 0;

	lsn_parse(slice_of(sqlrows_get(rows, 0, 3)), &end);
	slot->rate = slot->at && end > slot->end ? (double)(end - slot->end) * 1e6 / (double)(now - slot->at) : 0;
	slot->at = now;
	slot->end = end;
	slot->safe = number(sqlrows_get(rows, 0, 1));
	slot->retained = number(sqlrows_get(rows, 0, 2));
	mem_copy_text(slot->wal_status, sizeof(slot->wal_status),
		      sqlrows_get(rows, 0, 0) ? sqlrows_get(rows, 0, 0) : "lost");
	/* A lost slot has no restart_lsn. */
	if (isnan(slot->retained))
		slot->retained = 0;
	judge(t, now);
}

static void on_slot(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct tap *t = ctx;

	t->guard->query = NULL;
	if (rows && rows->n_rows == 1)
		take(t, rows);
	else
		t->slot.at = 0; /* no such slot, or an error: nothing is known any more */
	if (!rows)
		log_debug("cannot look at the slot", log_s("sqlstate", why->sqlstate), log_s("error", why->text));
	sqlrows_free(rows);
}

/* One query at a time: while the connection is down, the query waits in sqlpipe. */
static void on_guard(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;
	const char *values[1] = { t->now.conf->database.slot };

	(void)fd;
	(void)what;
	if (!t->guard->query)
		t->guard->query = sqlpipe_ask(t->sql, "slot", SLOT_SQL, 1, values, on_slot, t);
}

void tap_guard_now(struct tap *t)
{
	event_active(t->guard->timer, EV_TIMEOUT, 0);
}

void tap_guard_init(struct tap *t)
{
	struct timeval every = clock_timeval(ASK_EVERY);

	t->guard = mem_new(sizeof(*t->guard));
	t->guard->timer = event_new(t->loop, -1, EV_PERSIST, on_guard, t);
	if (!t->guard->timer || event_add(t->guard->timer, &every) != 0)
		fail_never("libevent makes no timer for the guard");
}

void tap_guard_fini(struct tap *t)
{
	event_free(t->guard->timer);
	free(t->guard);
}
