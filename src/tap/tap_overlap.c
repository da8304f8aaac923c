/*
 * tap_overlap: asks which queries read a common table (overlap.h).
 *
 *   the catalog is read ─▶ ask ─▶ in force
 *                          ▲ └─ lost, or a table is locked ─▶ wait
 *                          └────────────────────────────────────┘
 *
 * Nobody waits for the answer: a start, a reload and a look after DDL go on without it. So a lock on a table that only lookups read does not
 * delay them. The answer before stays in force until the next one is there; after a reload there is none, because the indexes of the queries are
 * others.
 *
 * It is asked again whenever the catalog is read again, which every DDL causes if the database has the event trigger. Without the trigger a view
 * that only lookups read may change unnoticed until then. This costs only time, see overlap.h.
 *
 * It never asks while the catalog is read, so that both together need one connection.
 */
#include <stdlib.h>

#include "parts.h"
#include "sqlsteps.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/base/clock.h"
#include "walpush/pg/pgdial.h"

/* µs: the longest wait after a lost connection, or one that cannot be made */
#define LOST_MOST 5000000
/* µs: the wait after a lock or a timeout. It doubles, because what is too slow once may always be too slow. */
#define PASSING_LEAST 5000000
#define PASSING_MOST 60000000

struct overlap_ask {
	struct sqlsteps *steps; /* NULL: nothing is asked at present */
	struct overlap_reading *reading;
	bool refused;    /* the server has refused the statement under way, */
	struct fail why; /* for this reason */
	struct event *again;
	struct backoff backoff;
	int64_t passing; /* µs: the last wait for a lock or a timeout; 0: the last answer was whole */
};

const struct overlap *tap_overlap(const struct tap *t)
{
	return t->overlap;
}

/* The only place where another overlap comes into force. */
static void use(struct tap *t, struct overlap *overlap)
{
	t->overlap = overlap;
}

/* --- what is known -------------------------------------------------------------------------------------------------- */

static void add_others(const struct tap *t, size_t query, struct buf *out)
{
	for (size_t i = 0; i < rules_n_queries(t->now.plain); i++)
		if (i != query && overlap_shares(t->overlap, query, i))
			buf_addf(out, "%s%s", out->len ? ", " : "", rules_query_at(t->now.plain, i)->name);
}

static void say_query(const struct tap *t, size_t query)
{
	const char *name = rules_query_at(t->now.plain, query)->name, *unknown = overlap_unknown(t->overlap, query);
	struct buf tables = { 0 }, others = { 0 };

	overlap_add_tables(t->overlap, query, &tables);
	add_others(t, query, &others);
	if (unknown)
		log_debug("the tables that a query reads are unknown", log_s("query", name), log_s("error", unknown));
	else
		log_debug("the tables that a query reads are known", log_s("query", name),
			  log_s("tables", tables.len ? tables.data : ""),
			  log_s("overlaps", others.len ? others.data : ""));
	buf_fini(&tables);
	buf_fini(&others);
}

static void say(const struct tap *t)
{
	for (size_t i = 0; i < rules_n_queries(t->now.plain) && log_enabled(LOG_LEVEL_DEBUG); i++)
		say_query(t, i);
}

/* --- asking ----------------------------------------------------------------------------------------------------------- */

static bool send_statement(void *ctx, PGconn *conn)
{
	const struct tap *t = ctx;

	return PQsendQuery(conn, overlap_statement(t->overlap_ask->reading));
}

static void take_result(void *ctx, const PGresult *result)
{
	struct overlap_ask *a = ((struct tap *)ctx)->overlap_ask;

	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
		a->refused = true;
		pgdial_result_fail(result, &a->why);
	}
	for (int i = 0; i < PQntuples(result); i++) {
		const char *row[OVERLAP_COLUMNS];

		for (int c = 0; c < OVERLAP_COLUMNS; c++)
			row[c] = c >= PQnfields(result) || PQgetisnull(result, i, c) ? NULL : PQgetvalue(result, i, c);
		overlap_row(a->reading, row);
	}
}

static bool go_on(void *ctx)
{
	struct overlap_ask *a = ((struct tap *)ctx)->overlap_ask;

	overlap_answered(a->reading, a->refused ? &a->why : NULL);
	a->refused = false;
	return overlap_statement(a->reading) != NULL;
}

static void ask_again_in(struct overlap_ask *a, int64_t us)
{
	struct timeval wait = clock_timeval(us);

	event_add(a->again, &wait);
}

static int64_t passing_wait(struct overlap_ask *a)
{
	int64_t twice = 2 * a->passing;

	a->passing = !twice ? PASSING_LEAST : twice < PASSING_MOST ? twice : PASSING_MOST;
	return a->passing;
}

static void lost(struct overlap_ask *a, const struct fail *why)
{
	int64_t wait = backoff_next(&a->backoff);

	log_debug("cannot find out which tables the queries read; trying again", log_s("error", why->text),
		  log_ms("wait_ms", wait));
	overlap_free(overlap_end(a->reading));
	ask_again_in(a, wait);
}

static void take(struct tap *t, struct overlap *now)
{
	if (overlap_may_pass(now))
		ask_again_in(t->overlap_ask, passing_wait(t->overlap_ask));
	else
		t->overlap_ask->passing = 0;
	use(t, overlap_update(t->overlap, now));
	say(t);
}

static void on_end(void *ctx, const struct fail *why)
{
	struct tap *t = ctx;
	struct overlap_ask *a = t->overlap_ask;

	a->steps = NULL;
	if (why) {
		lost(a, why);
	} else {
		backoff_reset(&a->backoff);
		take(t, overlap_end(a->reading));
	}
	a->reading = NULL;
}

void tap_overlap_pause(struct tap *t)
{
	struct overlap_ask *a = t->overlap_ask;

	event_del(a->again);
	sqlsteps_cancel(a->steps);
	overlap_free(overlap_end(a->reading));
	a->steps = NULL;
	a->reading = NULL;
}

void tap_overlap_go(struct tap *t)
{
	static const struct sqlsteps_calls calls = { send_statement, take_result, go_on, on_end };
	struct overlap_ask *a = t->overlap_ask;

	tap_overlap_pause(t);
	if (!rules_n_queries(t->now.plain))
		return;
	a->refused = false;
	a->reading = overlap_begin(t->now.plain);
	a->steps = sqlsteps_new(t->loop, t->names, &t->now.conf->database, &t->login, &calls, t);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tap_overlap_go(arg);
}

void tap_overlap_forget(struct tap *t)
{
	struct overlap *before = t->overlap;

	tap_overlap_pause(t);
	use(t, NULL);
	overlap_free(before);
}

void tap_overlap_init(struct tap *t)
{
	t->overlap_ask = mem_new(sizeof(*t->overlap_ask));
	t->overlap_ask->backoff = (struct backoff){ .base = 50000, .cap = LOST_MOST };
	t->overlap_ask->again = event_new(t->loop, -1, 0, on_again, t);
	if (!t->overlap_ask->again)
		fail_never("libevent makes no timer for the tables of queries");
}

void tap_overlap_fini(struct tap *t)
{
	tap_overlap_pause(t);
	overlap_free(t->overlap);
	event_free(t->overlap_ask->again);
	free(t->overlap_ask);
}
