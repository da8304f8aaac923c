/*
 * tap_progress: is anything handled while something waits?
 *
 * The holder of the slot judges. WAL waits in two cases: something received is not handled; or the server's end of WAL is above what is handled,
 * and the walsender was asked to reply and has not replied. A walsender that replies has sent all that it can, and the rest is not a whole record
 * yet.
 *
 * Progress is something that was never there before. A new handled position is progress. Until a transaction has come to its end, these are
 * progress too: a record beyond all that earlier connections brought; and a walsender that is seen at work while it tries a place for the first
 * time, because a walsender sends nothing while it decodes a long transaction.
 *
 * The tap looks at the walsender while WAL waits, and now and then for the server's end of WAL, because a walsender that hangs does not send it.
 * Both happen in parts of admin.ready-seconds, so its limit is kept within a fifth.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

/* The time between two looks at the walsender: admin.ready-seconds divided by these, but at least ASK_LEAST and at most ASK_MOST µs. */
#define WAITS_PARTS 10
#define IDLE_PARTS 6
#define ASK_LEAST 500000
#define ASK_MOST 10000000
/* Under synchronous replication most commits are visible long before this time. */
#define BLIND_LIMIT 5000000 /* µs */

/* The walsender is at work when it runs, or reads or writes files, or waits for a lock. Otherwise it waits for new WAL or for walpush. */
#define WALSENDER_SQL                                                                                                  \
	"SELECT a.state = 'active' AND (a.wait_event_type IS NULL OR a.wait_event_type IN ('IO', 'LWLock', 'Lock')),"  \
	" " TAP_FLUSHED_SQL ", pg_catalog.pg_is_in_recovery()"                                                         \
	" FROM pg_catalog.pg_replication_slots s JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid"           \
	" WHERE s.slot_name = $1"

struct work {
	struct sqlpipe_query *query;
	int64_t asked; /* µs */
	bool is_idle;  /* nothing waited at that time */
	lsn_t end;     /* the server's end of WAL, as it answered */
	struct repeat said, said_stalled;
	bool is_at_work; /* the walsender, as last seen */
};

/* --- the walsender ------------------------------------------------------------------------------------------------- */

static int64_t part_of_patience(const struct tap *t, int64_t parts)
{
	int64_t part = t->now.conf->admin.ready_seconds * 1000 / parts;

	return part < ASK_LEAST ? ASK_LEAST : part > ASK_MOST ? ASK_MOST : part;
}

static void on_walsender(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct tap *t = ctx;
	const char *at_work = rows && rows->n_rows == 1 ? sqlrows_get(rows, 0, 0) : NULL;
	lsn_t end = 0;

	t->work->query = NULL;
	t->work->is_at_work = !t->work->is_idle && at_work && strcmp(at_work, "true") == 0;
	if (at_work && lsn_parse(slice_of(sqlrows_get(rows, 0, 1)), &end) && end > t->work->end)
		t->work->end = end;
	if (!rows)
		log_debug("cannot look at the walsender", log_s("error", why->text));
	if (at_work)
		t->wires->looked(t, *sqlrows_get(rows, 0, 2) == 't');
	sqlrows_free(rows);
}

/* `is_idle`: nothing waits, so the work of the walsender does not count as progress. */
static void ask_walsender(struct tap *t, int64_t now, bool is_idle)
{
	const char *values[1] = { t->now.conf->database.slot };
	int64_t every = part_of_patience(t, is_idle ? IDLE_PARTS : WAITS_PARTS);

	if (t->work->query || now - t->work->asked < every || !sqlpipe_is_up(t->sql))
		return;
	source_ask(t->source);
	t->work->asked = now;
	t->work->is_idle = is_idle;
	t->work->query = sqlpipe_ask(t->sql, "walsender", WALSENDER_SQL, 1, values, on_walsender, t);
}

/* --- judging ------------------------------------------------------------------------------------------------------- */

static bool waits(const struct tap *t, lsn_t handled)
{
	if (source_deaths(t->source))
		return true;
	if (!source_is_streaming(t->source))
		return false;
	return !intake_is_idle(t->intake) || (t->work->end > handled && source_spoke(t->source) < t->work->asked);
}

/* If the replication stream has died, nothing is logged here: the source logs the error by itself. */
static void say_stalled(struct tap *t, int64_t now)
{
	int64_t stalled = progress_stalled(&t->progress, now);
	const char *waits = tap_progress_waits(t);
	unsigned times;

	if (stalled < t->now.conf->admin.ready_seconds * 1000 || source_deaths(t->source)) {
		if (repeat_end(&t->work->said_stalled))
			log_info("WAL is handled again", log_lsn("handled", t->progress.handled));
		return;
	}
	log_write(repeat_level(&t->work->said_stalled, LOG_LEVEL_ERROR, "stalled", now, &times),
		  "WAL waits, and nothing is handled",
		  LOG_FIELDS(log_ms("since_ms", stalled), log_s("waits_for", waits ? waits : "unknown"),
			     log_lsn("handled", t->progress.handled), log_lsn("server_end", tap_server_end(t)),
			     log_fix("see \"Nothing moves\" in docs/operations.md")));
}

static void say_blind(struct tap *t, int64_t now)
{
	int64_t since = intake_blind_since(t->intake);
	unsigned times;

	if (!since || now - since < BLIND_LIMIT) {
		repeat_end(&t->work->said);
		return;
	}
	log_write(
		repeat_level(&t->work->said, LOG_LEVEL_WARN, "blind", now, &times),
		"a commit is not visible yet, and what is behind it waits",
		LOG_FIELDS(
			log_ms("since_ms", now - since),
			log_fix("is a synchronous standby away? See pg_stat_replication, synchronous_standby_names")));
}

void tap_progress_look(struct tap *t)
{
	lsn_t handled = t->way->end(t);
	int64_t now = clock_us();
	struct progress_facts facts = {
		.waits = waits(t, handled),
		.handled = handled,
		.furthest = source_furthest(t->source),
		.at_work = t->work->is_at_work && source_is_streaming(t->source) && source_deaths(t->source) == 0,
		.owes = intake_owes(t->intake),
	};

	progress_look(&t->progress, &facts, now);
	say_blind(t, now);
	say_stalled(t, now);
	if (facts.waits && (facts.at_work || progress_stalled(&t->progress, now) > part_of_patience(t, WAITS_PARTS)))
		ask_walsender(t, now, false);
	else
		t->work->is_at_work = false;
	if (source_is_streaming(t->source) && !facts.waits)
		ask_walsender(t, now, true);
}

lsn_t tap_server_end(const struct tap *t)
{
	lsn_t told = source_server_end(t->source);

	return source_spoke(t->source) < t->work->asked && t->work->end > told ? t->work->end : told;
}

/* --- what the status shows ----------------------------------------------------------------------------------------- */

const char *tap_progress_waits(const struct tap *t)
{
	int64_t now = clock_us(), blind = intake_blind_since(t->intake);

	if (blind && now - blind > BLIND_LIMIT)
		return "a commit is not visible yet: a synchronous standby may be away";
	if (t->work->is_at_work && source_deaths(t->source) == 0)
		return "decoding a long transaction";
	return NULL;
}

const char *tap_progress_trouble(struct tap *t)
{
	const char *fix, *said = source_trouble(t->source, &fix), *waits = tap_progress_waits(t);

	/* A single death may be the network. */
	if (source_deaths(t->source) > 1)
		return said ? said : "the stream ends again and again at the same place";
	if (progress_stalled(&t->progress, clock_us()) < t->now.conf->admin.ready_seconds * 1000)
		return NULL;
	return waits ? waits : "WAL waits, and nothing has been handled: see the log";
}

void tap_progress_anew(struct tap *t)
{
	t->work->end = 0;
}

void tap_progress_init(struct tap *t)
{
	t->work = mem_new(sizeof(*t->work));
}

void tap_progress_fini(struct tap *t)
{
	free(t->work);
}
