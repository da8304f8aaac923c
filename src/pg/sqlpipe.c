#include "walpush/pg/sqlpipe.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "cancels.h"
#include "sqlquery.h"
#include "walpush/base/backoff.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/flood.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/pg/pgdial.h"
#include "walpush/text/pgurl.h"
#include "walpush/base/repeat.h"

#define PREPARED_NAME 64      /* NAMEDATALEN */
#define DEAD_AFTER_US 5000000 /* after statement_timeout */
#define CRASH_SHUTDOWN "57P02"
#define QUERY_CANCELED "57014"
/* On a standby what is replayed ends a query that is in its way. The next try comes after it. */
#define CONFLICT "40001"
#define CONFLICTS_MOST 5

/* A prepared statement of the current connection. Found by its SQL, because a reload may give a query of the same name another SQL. The old
 * statement stays on the server until the connection ends. */
struct prepared {
	UT_hash_handle hh;
	char name[PREPARED_NAME];
	char sql[];
};

/*
 * A query is in exactly one of two lists: `sent` (with the server, in order) or `waiting`. When a connection ends, the queries of `sent` go
 * back to the front of `waiting`, in order. Only the order connects answers to queries: the results of each query end with one
 * PGRES_PIPELINE_SYNC. The server runs the first of `sent`; what it says of a query it says at its end, so a session that ends without a word
 * ended while that one ran.
 */
struct sqlpipe {
	struct event_base *loop;
	struct resolve *names;
	const char *name;
	const struct conf_database *conf;
	struct suspects *suspects; /* NULL: every query is sent as often as it takes */
	struct suspects_ear ear;
	struct anchor *anchor; /* NULL: any server will do */
	struct anchor_ear anchor_ear;
	struct login *login; /* NULL: nobody else logs in */
	struct login_ear login_ear;
	bool waits_for_login;
	sqlpipe_state *state;
	void *ctx;

	struct pgdial *dial;
	PGconn *conn;
	int64_t up_since;         /* µs */
	int pid;                  /* of the server process; 0: not known */
	char server[ANCHOR_TEXT]; /* of the connection; "": not known */
	int64_t turn;             /* µs: since when the first of `sent` is the first */
	struct cancels cancels;
	struct event *readable;
	struct event *writable;
	struct event *retry;
	struct event *
		send; /* at the end of the loop's turn: one send(2) for all queries of the turn; or when a suspect may be sent */
	struct event *silence; /* runs while a query is in `sent` */
	struct event *
		idle; /* on demand: runs while the connection is open and no query is without an answer. NULL: not on demand */
	int64_t idle_us;
	struct backoff backoff;
	struct repeat trouble;
	struct fail last_words; /* of the server, on the current connection */
	struct prepared *prepared;
	unsigned n_prepared; /* names used so far */

	struct sqlpipe_query *waiting;
	struct sqlpipe_query *sent;
	unsigned n_sent;
};

static void pipe_dial(struct sqlpipe *p);
static void pipe_send(struct sqlpipe *p);
static void touch_idle(struct sqlpipe *p);

/* --- queries -------------------------------------------------------------------------------------------------- */

struct sqlpipe_query *sqlpipe_ask(struct sqlpipe *p, const char *statement, const char *sql, size_t n_values,
				  const char *const *values, sqlpipe_done *done, void *ctx)
{
	struct sqlpipe_query *q = sqlquery_new(statement, sql, n_values, values, done, ctx);

	DL_APPEND(p->waiting, q);
	event_active(p->send, EV_TIMEOUT, 0);
	return q;
}

void sqlpipe_forget(struct sqlpipe *p, struct sqlpipe_query *q)
{
	struct sqlpipe_query *w;

	q->done = NULL;
	/* A query that is with the server stays in `sent` until its answer has arrived. */
	DL_FOREACH(p->waiting, w) {
		if (w == q) {
			DL_DELETE(p->waiting, q);
			sqlquery_free(q);
			touch_idle(p);
			return;
		}
	}
}

void sqlpipe_let_go(struct sqlpipe *p, struct sqlpipe_query *q)
{
	q->is_let_go = true;
	event_active(p->send, EV_TIMEOUT, 0); /* perhaps it waits as a suspect */
}

void sqlpipe_forget_all(struct sqlpipe *p)
{
	struct sqlpipe_query *q, *next;

	DL_FOREACH(p->sent, q)
		q->done = NULL;
	DL_FOREACH_SAFE(p->waiting, q, next)
		if (q->done)
			sqlpipe_forget(p, q);
}

/* --- the connection ------------------------------------------------------------------------------------------- */

static void forget_prepared(struct sqlpipe *p)
{
	struct prepared *one, *next;

	HASH_ITER(hh, p->prepared, one, next) {
		HASH_DEL(p->prepared, one);
		free(one);
	}
}

/* Drops what is not wanted any more. */
static void tidy(struct sqlpipe_query **list)
{
	struct sqlpipe_query *q, *next;

	DL_FOREACH_SAFE(*list, q, next) {
		if (!sqlquery_is_wanted(q) || q->is_of_session) {
			DL_DELETE(*list, q);
			sqlquery_free(q);
		}
	}
}

static void sent_back_to_waiting(struct sqlpipe *p)
{
	struct sqlpipe_query *q;

	tidy(&p->sent);
	tidy(&p->waiting);
	DL_FOREACH(p->sent, q)
		sqlquery_reset(q);
	DL_CONCAT(p->sent, p->waiting);
	p->waiting = p->sent;
	p->sent = NULL;
	p->n_sent = 0;
}

static void note_session(struct sqlpipe *p, bool up)
{
	if (p->suspects)
		suspects_session(p->suspects, up);
}

static void hang_up(struct sqlpipe *p)
{
	event_del(p->silence);
	if (p->idle)
		event_del(p->idle);
	if (p->readable)
		event_free(p->readable);
	if (p->writable)
		event_free(p->writable);
	p->readable = p->writable = NULL;
	if (p->conn) {
		PQfinish(p->conn);
		note_session(p, false);
	}
	p->conn = NULL;
	p->pid = 0;
	p->server[0] = '\0';
	p->cancels = (struct cancels){ 0 };
	forget_prepared(p);
	sent_back_to_waiting(p);
}

static void say_trouble(struct sqlpipe *p, bool was_up, const struct fail *why, int64_t wait_us)
{
	unsigned times;
	enum log_level level;
	struct buf fix = { 0 };

	if (was_up)
		repeat_end(&p->trouble);
	level = repeat_level(&p->trouble, p->idle && !was_up ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN, why->text, clock_us(),
			     &times);
	if (!was_up)
		pgdial_fix(p->conf, PGDIAL_SQL, why, &fix);
	log_write(level,
		  was_up ? "database connection lost, connecting again" : "cannot reach the database, trying again",
		  LOG_FIELDS(log_s("connection", p->name), log_s("error", why->text), log_s("sqlstate", why->sqlstate),
			     log_fix(fix.data ? fix.data : ""), log_ms("wait_ms", wait_us), log_n("times", times)));
	buf_fini(&fix);
	if (p->idle && was_up) /* nobody may want it again, so this is no trouble that lasts */
		repeat_end(&p->trouble);
}

/* The connection is lost, or could not be opened; it is opened again after `us`. */
static void pipe_down(struct sqlpipe *p, const struct fail *why, int64_t us)
{
	struct timeval wait = clock_timeval(us);
	bool was_up = p->conn != NULL;

	hang_up(p);
	if (p->suspects && strcmp(why->sqlstate, CRASH_SHUTDOWN) == 0)
		suspects_crash(p->suspects, clock_us());
	say_trouble(p, was_up, why, us);
	event_add(p->retry, &wait);
	if (was_up)
		p->state(p->ctx, false, why);
}

static void pipe_lost(struct sqlpipe *p, const struct fail *why)
{
	pipe_down(p, why, backoff_next(&p->backoff));
}

static void pipe_refused(struct sqlpipe *p, const struct fail *why)
{
	int64_t us = p->login ? login_failed(p->login, &p->login_ear, why, false, clock_us()) : 0;

	p->waits_for_login = us > 0;
	pipe_down(p, why, us ? us : backoff_next(&p->backoff));
}

/* Does the SQLSTATE mean that the session is over, and not that the query is wrong? */
static bool ends_session(const char *sqlstate)
{
	return strncmp(sqlstate, "57P", 3) == 0 || strncmp(sqlstate, "08", 2) == 0;
}

static uint64_t id_of(struct sqlpipe *p, struct sqlpipe_query *q)
{
	if (!q->has_id)
		q->id = suspects_id(p->suspects, q->sql, q->n_values, (const char *const *)q->values);
	q->has_id = true;
	return q->id;
}

/* The server process has ended, and said nothing. */
static void suspect(struct sqlpipe *p)
{
	if (p->suspects && p->sent && sqlquery_is_question(p->sent))
		suspects_add(p->suspects, id_of(p, p->sent), clock_us());
}

static void pipe_broken(struct sqlpipe *p)
{
	struct fail why = p->last_words;
	char *newline;

	if (!why.text[0] && p->sent && ends_session(p->sent->why.sqlstate))
		why = p->sent->why;                              /* the answer to a query, without a Sync after it */
	if (!why.text[0] || strncmp(why.sqlstate, "08", 2) == 0) /* by a pooler in between */
		suspect(p);
	if (why.text[0]) {
		pipe_lost(p, &why);
		return;
	}
	fail_set(&why, "%s", pgurl_error(p->conn));
	newline = strchr(why.text, '\n');
	if (newline)
		*newline = '\0';
	pipe_lost(p, &why);
}

/* The prepared statement no longer fits the tables. The query works when it is prepared again, in another session: in this one the statement would
 * stay. */
static bool is_stale_plan(const char *sqlstate)
{
	return strcmp(sqlstate, "0A000") == 0;
}

static void touch_silence(struct sqlpipe *p)
{
	struct timeval limit = clock_timeval(p->conf->statement_timeout * 1000 + DEAD_AFTER_US);

	if (p->sent)
		event_add(p->silence, &limit);
	else
		event_del(p->silence);
}

/* Whenever the last query may have gone: it was answered, given up or forgotten. */
static void touch_idle(struct sqlpipe *p)
{
	struct timeval limit = clock_timeval(p->idle_us);

	if (!p->idle || !p->conn)
		return;
	if (p->sent || p->waiting)
		event_del(p->idle);
	else
		event_add(p->idle, &limit);
}

/* --- sending -------------------------------------------------------------------------------------------------- */

static bool send_one(struct sqlpipe *p, struct sqlpipe_query *q)
{
	struct prepared *known;

	HASH_FIND_STR(p->prepared, q->sql, known);
	if (!known) {
		known = mem_new(sizeof(*known) + strlen(q->sql) + 1);
		strcpy(known->sql, q->sql);
		snprintf(known->name, sizeof(known->name), "%u %.50s", ++p->n_prepared, q->statement);
		HASH_ADD_STR(p->prepared, sql, known);
		q->prepares = true;
		if (!PQsendPrepare(p->conn, known->name, q->sql, 0, NULL))
			return false;
	}
	return PQsendQueryPrepared(p->conn, known->name, (int)q->n_values, (const char *const *)q->values, NULL, NULL,
				   0) &&
	       PQpipelineSync(p->conn);
}

static bool flush(struct sqlpipe *p)
{
	int left = PQflush(p->conn);

	if (left < 0)
		return false;
	if (left > 0)
		event_add(p->writable, NULL);
	return true;
}

/* SUSPECTS_WAIT: the queries behind it wait too, because their answers must not be older than its answer. */
static enum suspects_verdict judge(struct sqlpipe *p, struct sqlpipe_query *q)
{
	enum suspects_verdict verdict;
	int64_t now, until;
	struct timeval wait;

	if (q->is_let_go)
		return SUSPECTS_GIVE_UP;
	if (!p->suspects || !sqlquery_is_question(q) || suspects_is_empty(p->suspects))
		return SUSPECTS_SEND;
	now = clock_us();
	verdict = suspects_judge(p->suspects, id_of(p, q), p->up_since, now, &until);
	if (verdict == SUSPECTS_WAIT) {
		wait = clock_timeval(until - now);
		event_add(p->send, &wait);
	}
	return verdict;
}

static void fail_suspect(struct sqlpipe *p, struct sqlpipe_query *q)
{
	struct fail why = { 0 };

	fail_set(&why, "the query ended its server process twice with the same values; it is not sent for 10 minutes");
	mem_copy_text(why.sqlstate, sizeof(why.sqlstate), CRASH_SHUTDOWN);
	if (suspects_gave_up(p->suspects, id_of(p, q), q->statement))
		log_error("a query ended its server process twice with the same values; it is not sent for 10 minutes",
			  log_s("query", q->statement), log_s("connection", p->name),
			  log_fix("see \"A query ends its server process\" in docs/operations.md"));
	q->done(q->ctx, NULL, &why);
}

/* It is not sent. */
static void give_up(struct sqlpipe *p, struct sqlpipe_query *q)
{
	struct fail why = { .sqlstate = QUERY_CANCELED };

	if (q->is_let_go)
		q->done(q->ctx, NULL, &why);
	else
		fail_suspect(p, q);
	sqlquery_free(q);
}

/* False: the connection is broken. on_readable finds that too; from there it is safe to hang up. */
static bool send_next(struct sqlpipe *p, struct sqlpipe_query *q)
{
	if (!p->sent)
		p->turn = clock_us();
	DL_APPEND(p->sent, q);
	p->n_sent++;
	if (send_one(p, q))
		return true;
	event_active(p->readable, EV_READ, 0);
	return false;
}

static void pipe_send(struct sqlpipe *p)
{
	struct sqlpipe_query *q;

	if (!p->conn || !p->waiting)
		return;
	/* `done` of a query that is given up may ask more, or forget others. */
	while (p->conn && (q = p->waiting) && p->n_sent < SQLPIPE_IN_FLIGHT) {
		enum suspects_verdict verdict = judge(p, q);

		if (verdict == SUSPECTS_WAIT || (verdict == SUSPECTS_GIVE_UP && p->sent))
			break; /* what was asked before is answered first */
		DL_DELETE(p->waiting, q);
		if (verdict == SUSPECTS_GIVE_UP)
			give_up(p, q);
		else if (!send_next(p, q))
			return;
	}
	touch_idle(p);
	if (!p->conn || !p->sent)
		return;
	if (!flush(p))
		event_active(p->readable, EV_READ, 0);
	touch_silence(p);
}

/* --- receiving ------------------------------------------------------------------------------------------------ */

static void unprepare(struct sqlpipe *p, const char *sql)
{
	struct prepared *known;

	HASH_FIND_STR(p->prepared, sql, known);
	if (known) {
		HASH_DEL(p->prepared, known);
		free(known);
	}
}

/* Another query was meant by the cancel that ended this one. */
static bool is_hit(struct sqlpipe *p, const struct sqlpipe_query *q, int64_t now)
{
	return !q->rows && strcmp(q->why.sqlstate, QUERY_CANCELED) == 0 &&
	       cancels_hit(&p->cancels, q->is_meant || !sqlquery_is_wanted(q), now - p->turn,
			   p->conf->statement_timeout * 1000, now);
}

/* A standby has ended it, and knows nothing against it. */
static bool is_in_conflict(struct sqlpipe_query *q)
{
	return !q->rows && strcmp(q->why.sqlstate, CONFLICT) == 0 && sqlquery_is_wanted(q) &&
	       q->conflicts++ < CONFLICTS_MOST;
}

/* The query before it that was to prepare its text has failed. */
static bool is_unprepared(const struct sqlpipe_query *q)
{
	return !q->rows && !q->prepares && sqlquery_is_wanted(q) && strcmp(q->why.sqlstate, "26000") == 0;
}

/* Those behind it are sent again too, in order: their answers must not be older than its answer. What the server says to them meanwhile is
 * dropped. */
static void ask_again(struct sqlpipe *p, struct sqlpipe_query *q)
{
	struct sqlpipe_query *again = NULL, *next;

	sqlquery_reset(q);
	DL_APPEND(again, q);
	DL_FOREACH_SAFE(p->sent, q, next) {
		struct sqlpipe_query *stand_in;

		if (!sqlquery_is_wanted(q) || q->is_of_session)
			continue;
		stand_in = sqlquery_stand_in(q);
		DL_REPLACE_ELEM(p->sent, q, stand_in);
		sqlquery_reset(q);
		DL_APPEND(again, q);
	}
	DL_CONCAT(again, p->waiting);
	p->waiting = again;
}

/* The answer to the greeting, before all others. False: the session is on another server, and over. */
static bool take_greeting(struct sqlpipe *p, const struct sqlrows *rows)
{
	bool is_answered = rows && rows->n_rows == 1;
	struct fail why = { 0 };

	if (is_answered && sqlrows_get(rows, 0, 0))
		p->pid = atoi(sqlrows_get(rows, 0, 0));
	if (is_answered && p->anchor && sqlrows_get(rows, 0, 1))
		mem_copy_text(p->server, sizeof(p->server), sqlrows_get(rows, 0, 1));
	if (!p->anchor || anchor_holds(p->anchor, p->server)) {
		backoff_reset(&p->backoff);
		return true;
	}
	fail_set(&why, "it leads to another server than the replication stream comes from");
	pipe_lost(p, &why);
	anchor_astray(p->anchor);
	return false;
}

static void answer(struct sqlpipe_query *q)
{
	struct sqlrows *rows = q->rows;

	if (q->done) {
		q->rows = NULL;
		q->done(q->ctx, rows, rows ? NULL : &q->why);
	}
	sqlquery_free(q);
}

/* The Sync of the first query in `sent` has arrived, so its answer is complete. False: the session is over. */
static bool query_complete(struct sqlpipe *p)
{
	struct sqlpipe_query *q = p->sent;
	int64_t now = clock_us();
	bool is_without, again;

	assert(q);
	if (!q->rows && ends_session(q->why.sqlstate)) {
		struct fail why = q->why;

		pipe_lost(p, &why);
		return false;
	}
	DL_DELETE(p->sent, q);
	p->n_sent--;
	is_without = is_unprepared(q);
	again = is_without || is_hit(p, q, now) || is_in_conflict(q);
	p->turn = now;
	touch_silence(p);
	touch_idle(p);
	if (!q->rows && (q->prepares || is_without))
		unprepare(p, q->sql);
	if (q->is_greeting && !again && !take_greeting(p, q->rows)) {
		sqlquery_free(q);
		return false;
	}
	if (again)
		ask_again(p, q);
	else
		answer(q);
	return true;
}

static bool take_result(struct sqlpipe *p, PGresult *result)
{
	struct sqlpipe_query *q = p->sent;
	struct fail stale;

	switch (PQresultStatus(result)) {
	case PGRES_PIPELINE_SYNC:
		PQclear(result);
		return query_complete(p);
	case PGRES_TUPLES_OK:
		sqlrows_free(q->rows);
		q->rows = sqlquery_rows(result);
		break;
	case PGRES_COMMAND_OK: /* of the PREPARE */
	case PGRES_PIPELINE_ABORTED:
		break;
	default:
		if (!ends_session(q->why.sqlstate)) /* a later error only says that the connection is gone */
			pgdial_result_fail(result, &q->why);
		if (!q->prepares && is_stale_plan(q->why.sqlstate)) {
			stale = q->why;
			PQclear(result);
			pipe_lost(p, &stale);
			return false;
		}
	}
	PQclear(result);
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct sqlpipe *p = arg;
	bool is_over = !PQconsumeInput(p->conn);
	unsigned nulls = 0;

	(void)fd;
	(void)what;
	/* PQflush may already have read the last bytes; they wait in libpq, so they are handled even if nothing more can be read. */
	if (!p->sent)
		(void)PQisBusy(p->conn); /* parses the input, which may be the server's last words */
	/* One NULL follows the results of each query. A second one means that libpq and `sent` do not agree any more. */
	while (p->sent && nulls < 2 && !PQisBusy(p->conn)) {
		PGresult *result = PQgetResult(p->conn);

		nulls = result ? 0 : nulls + 1;
		if (result && !take_result(p, result))
			return;
	}
	if (is_over || nulls == 2 || PQstatus(p->conn) != CONNECTION_OK) {
		pipe_broken(p);
		return;
	}
	pipe_send(p);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct sqlpipe *p = arg;

	(void)fd;
	(void)what;
	/* What the server said before is read first: it may be its last words. */
	if (!flush(p))
		event_active(p->readable, EV_READ, 0);
}

static void on_silence(evutil_socket_t fd, short what, void *arg)
{
	struct sqlpipe *p = arg;
	struct fail why = { 0 };

	(void)fd;
	(void)what;
	fail_set(&why, "the server did not answer in time");
	pipe_lost(p, &why);
}

/* --- cancels -------------------------------------------------------------------------------------------------- */

static void on_cancelled(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	(void)ctx;
	if (!rows)
		flood_warn("cannot cancel a query that is not needed any more; it goes on to its statement_timeout",
			   log_s("sqlstate", why->sqlstate), log_s("error", why->text),
			   log_fix("grant EXECUTE on pg_catalog.pg_cancel_backend"));
	sqlrows_free(rows);
}

bool sqlpipe_cancel(struct sqlpipe *victim, struct sqlpipe *by)
{
	struct sqlpipe_query *q;
	char pid[16];

	if (victim == by || !victim->pid || !victim->sent || !by->conn)
		return false;
	victim->sent->is_meant = true;
	cancels_add(&victim->cancels, clock_us(), victim->conf->statement_timeout * 1000 + DEAD_AFTER_US);
	snprintf(pid, sizeof(pid), "%d", victim->pid);
	q = sqlquery_new("cancel", "SELECT pg_catalog.pg_cancel_backend($1)", 1, (const char *[]){ pid }, on_cancelled,
			 NULL);
	q->is_of_session = true;
	DL_PREPEND(by->waiting, q);
	event_active(by->send, EV_TIMEOUT, 0);
	return true;
}

int sqlpipe_pid(const struct sqlpipe *p)
{
	return p->pid;
}

int64_t sqlpipe_turn(const struct sqlpipe *p)
{
	return p->sent ? p->turn : 0;
}

bool sqlpipe_runs(const struct sqlpipe *p, const struct sqlpipe_query *q)
{
	return p->sent == q;
}

/* --- life ----------------------------------------------------------------------------------------------------- */

/* Sent before all other queries. A pooler may have left the settings of the session out. An administrator may have set these timeouts for the database or the role, and they would end an idle session again
 * and again. pg_settings has only the names that the server knows. The pid is asked for, because through PgBouncer libpq has one that the server
 * does not know; and the server, because of the anchor. */
static void greet(struct sqlpipe *p)
{
	struct sqlpipe_query *q;
	struct buf sql = { 0 };

	buf_add_text(&sql, "SELECT pg_catalog.pg_backend_pid(), " ANCHOR_SQL
			   ", (SELECT pg_catalog.count(pg_catalog.set_config(name, '0', false)) FROM "
			   "pg_catalog.pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout'))");
	pgdial_settings(p->conf, PGDIAL_SQL, &sql);
	q = sqlquery_new("settings", sql.data, 0, NULL, NULL, NULL);
	buf_fini(&sql);
	q->is_greeting = q->is_of_session = true;
	DL_PREPEND(p->waiting, q);
}

static void on_dialled(void *ctx, PGconn *conn, const struct fail *why)
{
	struct sqlpipe *p = ctx;

	p->dial = NULL;
	if (!conn) {
		pipe_refused(p, why);
		return;
	}
	p->conn = conn;
	p->up_since = clock_us();
	if (p->login)
		login_passed(p->login, &p->login_ear);
	note_session(p, true);
	p->last_words = (struct fail){ 0 };
	PQsetNoticeReceiver(conn, pgdial_last_words, &p->last_words);
	if (!PQenterPipelineMode(conn)) {
		pipe_broken(p);
		return;
	}
	greet(p);
	p->readable = event_new(p->loop, PQsocket(conn), EV_READ | EV_PERSIST, on_readable, p);
	p->writable = event_new(p->loop, PQsocket(conn), EV_WRITE, on_writable, p);
	if (!p->readable || !p->writable || event_add(p->readable, NULL) != 0)
		fail_never("libevent does not watch the socket of connection %s: %s", p->name, strerror(errno));
	log_debug("database connection up", log_s("connection", p->name));
	p->state(p->ctx, true, NULL);
	pipe_send(p);
}

static void pipe_dial(struct sqlpipe *p)
{
	int64_t us = p->login ? login_wait(p->login, &p->login_ear, clock_us()) : 0;
	struct timeval wait = clock_timeval(us);

	p->waits_for_login = us > 0;
	if (us)
		event_add(p->retry, &wait);
	else
		p->dial = pgdial_start(p->loop, p->names, p->conf, PGDIAL_SQL, on_dialled, p);
}

static void on_send(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pipe_send(arg);
}

/* A suspect may be sent now, or must be given up. */
static void on_changed(void *ctx)
{
	struct sqlpipe *p = ctx;

	event_active(p->send, EV_TIMEOUT, 0);
}

/* On demand, somebody calls sqlpipe_open if the connection is still wanted. */
static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct sqlpipe *p = arg;

	(void)fd;
	(void)what;
	if (!p->idle)
		pipe_dial(p);
	else
		p->waits_for_login = false;
}

static void on_passed(void *ctx)
{
	struct sqlpipe *p = ctx;

	if (!p->waits_for_login)
		return;
	event_del(p->retry);
	pipe_dial(p);
}

static void on_idle(evutil_socket_t fd, short what, void *arg)
{
	struct sqlpipe *p = arg;
	struct fail why = { 0 };

	(void)fd;
	(void)what;
	if (p->sent || p->waiting)
		return; /* asked in the same turn of the loop */
	hang_up(p);
	log_debug("database connection closed, nothing was asked", log_s("connection", p->name));
	fail_set(&why, "nothing was asked");
	repeat_end(&p->trouble);
	p->state(p->ctx, false, &why);
}

void sqlpipe_open(struct sqlpipe *p)
{
	if (!p->conn && !p->dial && !event_pending(p->retry, EV_TIMEOUT, NULL))
		pipe_dial(p);
}

/* A connection that is being opened may have begun before the reason of the call, so it is opened again too. */
void sqlpipe_renew(struct sqlpipe *p)
{
	struct fail why = { 0 };

	if (p->conn) {
		hang_up(p);
		fail_set(&why, "the session is renewed");
		p->state(p->ctx, false, &why);
	} else if (p->dial) {
		pgdial_cancel(p->dial);
		p->dial = NULL;
	} else {
		return; /* the retry timer opens a new connection */
	}
	pipe_dial(p);
}

void sqlpipe_hurry(struct sqlpipe *p)
{
	if (event_del(p->retry) == 0 && !p->conn && !p->dial && !p->idle)
		pipe_dial(p);
}

/* From the stream's start, not from an answer. */
static void on_moved(void *ctx)
{
	struct sqlpipe *p = ctx;

	if (p->conn && !anchor_holds(p->anchor, p->server))
		sqlpipe_renew(p);
}

void sqlpipe_anchor(struct sqlpipe *p, struct anchor *anchor)
{
	p->anchor = anchor;
	p->anchor_ear = (struct anchor_ear){ .moved = on_moved, .ctx = p };
	anchor_listen(anchor, &p->anchor_ear);
}

void sqlpipe_login(struct sqlpipe *p, struct login *login)
{
	p->login = login;
	p->login_ear = (struct login_ear){ .passed = on_passed, .ctx = p };
	login_listen(login, &p->login_ear);
}

static struct sqlpipe *pipe_new(struct event_base *loop, struct resolve *names, const char *name,
				const struct conf_database *conf, struct suspects *suspects, sqlpipe_state *state,
				void *ctx)
{
	struct sqlpipe *p = mem_new(sizeof(*p));

	p->loop = loop;
	p->names = names;
	p->name = name;
	p->conf = conf;
	p->suspects = suspects;
	p->ear = (struct suspects_ear){ .changed = on_changed, .ctx = p };
	p->state = state;
	p->ctx = ctx;
	p->backoff = (struct backoff){ .base = 50000, .cap = 5000000 };
	p->retry = event_new(loop, -1, 0, on_retry, p);
	p->send = event_new(loop, -1, 0, on_send, p);
	p->silence = event_new(loop, -1, 0, on_silence, p);
	if (!p->retry || !p->send || !p->silence)
		fail_never("libevent makes no timers for connection %s", name);
	if (suspects)
		suspects_listen(suspects, &p->ear);
	return p;
}

struct sqlpipe *sqlpipe_new(struct event_base *loop, struct resolve *names, const char *name,
			    const struct conf_database *conf, struct suspects *suspects, sqlpipe_state *state,
			    void *ctx)
{
	struct sqlpipe *p = pipe_new(loop, names, name, conf, suspects, state, ctx);

	event_active(p->retry, EV_TIMEOUT, 0); /* from the loop, when the caller has said whose login this is */
	return p;
}

struct sqlpipe *sqlpipe_new_on_demand(struct event_base *loop, struct resolve *names, const char *name,
				      const struct conf_database *conf, struct suspects *suspects, int64_t idle_us,
				      sqlpipe_state *state, void *ctx)
{
	struct sqlpipe *p = pipe_new(loop, names, name, conf, suspects, state, ctx);

	p->idle_us = idle_us;
	p->idle = event_new(loop, -1, 0, on_idle, p);
	if (!p->idle)
		fail_never("libevent makes no timer for connection %s", name);
	return p;
}

void sqlpipe_free(struct sqlpipe *p)
{
	struct sqlpipe_query *q, *next;

	if (!p)
		return;
	pgdial_cancel(p->dial);
	hang_up(p);
	if (p->suspects)
		suspects_leave(p->suspects, &p->ear);
	if (p->anchor)
		anchor_leave(p->anchor, &p->anchor_ear);
	if (p->login)
		login_leave(p->login, &p->login_ear);
	DL_FOREACH_SAFE(p->waiting, q, next) {
		DL_DELETE(p->waiting, q);
		sqlquery_free(q);
	}
	event_free(p->retry);
	event_free(p->send);
	event_free(p->silence);
	if (p->idle)
		event_free(p->idle);
	free(p);
}

bool sqlpipe_is_up(const struct sqlpipe *p)
{
	return p->conn != NULL;
}

const char *sqlpipe_trouble(const struct sqlpipe *p)
{
	return p->conn || !p->trouble.text[0] ? NULL : p->trouble.text;
}
