#include "walpush/pg/sqlpipe.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "walpush/base/backoff.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/pg/pgdial.h"
#include "walpush/text/pgurl.h"
#include "walpush/base/repeat.h"

#define PG_TYPE_BOOL 16
#define PREPARED_NAME 64      /* NAMEDATALEN */
#define DEAD_AFTER_US 5000000 /* after statement_timeout */

struct sqlpipe_query {
	struct sqlpipe_query *prev, *next;
	char *statement;
	char *sql;
	size_t n_values;
	char **values;
	sqlpipe_done *done; /* NULL: forgotten */
	void *ctx;
	bool prepares;        /* sent together with a PREPARE */
	struct sqlrows *rows; /* the answer so far */
	struct fail why;
};

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
 * PGRES_PIPELINE_SYNC.
 */
struct sqlpipe {
	struct event_base *loop;
	struct resolve *names;
	const char *name;
	const struct conf_database *conf;
	sqlpipe_state *state;
	void *ctx;

	struct pgdial *dial;
	PGconn *conn;
	struct event *readable;
	struct event *writable;
	struct event *retry;
	struct event *send;    /* at the end of the loop's turn: one send(2) for all queries of the turn */
	struct event *silence; /* runs while a query is in `sent` */
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

/* --- queries -------------------------------------------------------------------------------------------------- */

static void query_free(struct sqlpipe_query *q)
{
	for (size_t i = 0; i < q->n_values; i++)
		free(q->values[i]);
	free(q->values);
	free(q->statement);
	free(q->sql);
	sqlrows_free(q->rows);
	free(q);
}

static void query_reset(struct sqlpipe_query *q)
{
	sqlrows_free(q->rows);
	q->rows = NULL;
	q->why = (struct fail){ 0 };
	q->prepares = false;
}

static struct sqlpipe_query *query_new(const char *statement, const char *sql, size_t n_values,
				       const char *const *values, sqlpipe_done *done, void *ctx)
{
	struct sqlpipe_query *q = mem_new(sizeof(*q));

	q->statement = mem_text(statement);
	q->sql = mem_text(sql);
	q->n_values = n_values;
	q->values = mem_new_array(n_values, sizeof(char *));
	for (size_t i = 0; i < n_values; i++)
		q->values[i] = values[i] ? mem_text(values[i]) : NULL;
	q->done = done;
	q->ctx = ctx;
	return q;
}

struct sqlpipe_query *sqlpipe_ask(struct sqlpipe *p, const char *statement, const char *sql, size_t n_values,
				  const char *const *values, sqlpipe_done *done, void *ctx)
{
	struct sqlpipe_query *q = query_new(statement, sql, n_values, values, done, ctx);

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
			query_free(q);
			return;
		}
	}
}

static struct sqlrows *rows_from(const PGresult *result)
{
	int n_rows = PQntuples(result), n_columns = PQnfields(result);
	struct sqlrows *rows = sqlrows_new((size_t)n_rows, (size_t)n_columns);

	for (int c = 0; c < n_columns; c++) {
		bool is_bool = PQftype(result, c) == PG_TYPE_BOOL;

		sqlrows_name(rows, (size_t)c, PQfname(result, c));
		rows->types[c] = PQftype(result, c);
		for (int r = 0; r < n_rows; r++) {
			const char *value = PQgetisnull(result, r, c) ? NULL : PQgetvalue(result, r, c);

			if (is_bool && value)
				value = *value == 't' ? "true" : "false";
			sqlrows_set(rows, (size_t)r, (size_t)c, value);
		}
	}
	return rows;
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

static void sent_back_to_waiting(struct sqlpipe *p)
{
	struct sqlpipe_query *q, *next;

	DL_FOREACH_SAFE(p->sent, q, next) {
		if (!q->done) {
			DL_DELETE(p->sent, q);
			query_free(q);
		} else {
			query_reset(q);
		}
	}
	DL_CONCAT(p->sent, p->waiting);
	p->waiting = p->sent;
	p->sent = NULL;
	p->n_sent = 0;
}

static void hang_up(struct sqlpipe *p)
{
	event_del(p->silence);
	if (p->readable)
		event_free(p->readable);
	if (p->writable)
		event_free(p->writable);
	p->readable = p->writable = NULL;
	if (p->conn)
		PQfinish(p->conn);
	p->conn = NULL;
	forget_prepared(p);
	sent_back_to_waiting(p);
}

static void say_trouble(struct sqlpipe *p, bool was_up, const struct fail *why, int64_t wait_us)
{
	unsigned times;
	enum log_level level;

	if (was_up)
		repeat_end(&p->trouble);
	level = repeat_level(&p->trouble, LOG_LEVEL_WARN, why->text, clock_us(), &times);
	log_write(level,
		  was_up ? "database connection lost, connecting again" : "cannot reach the database, trying again",
		  LOG_FIELDS(log_s("connection", p->name), log_s("error", why->text), log_s("sqlstate", why->sqlstate),
			     log_ms("wait_ms", wait_us), log_n("times", times)));
}

static void pipe_lost(struct sqlpipe *p, const struct fail *why)
{
	struct timeval wait;
	bool was_up = p->conn != NULL;
	int64_t us = backoff_next(&p->backoff);

	hang_up(p);
	say_trouble(p, was_up, why, us);
	wait = clock_timeval(us);
	event_add(p->retry, &wait);
	if (was_up)
		p->state(p->ctx, false, why);
}

/* Does the SQLSTATE mean that the session is over, and not that the query is wrong? */
static bool ends_session(const char *sqlstate)
{
	return strncmp(sqlstate, "57P", 3) == 0 || strncmp(sqlstate, "08", 2) == 0;
}

static void pipe_broken(struct sqlpipe *p)
{
	struct fail why = p->last_words;
	char *newline;

	if (!why.text[0] && p->sent && ends_session(p->sent->why.sqlstate))
		why = p->sent->why; /* the answer to a query, without a Sync after it */
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

/* The prepared statement no longer fits the tables. The query works when it is prepared again. */
static bool is_stale_plan(const char *sqlstate)
{
	return strcmp(sqlstate, "0A000") == 0 || strcmp(sqlstate, "26000") == 0;
}

static void touch_silence(struct sqlpipe *p)
{
	struct timeval limit = clock_timeval(p->conf->statement_timeout * 1000 + DEAD_AFTER_US);

	if (p->sent)
		event_add(p->silence, &limit);
	else
		event_del(p->silence);
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

static void pipe_send(struct sqlpipe *p)
{
	struct sqlpipe_query *q;

	if (!p->conn || !p->waiting)
		return;
	while ((q = p->waiting) && p->n_sent < SQLPIPE_IN_FLIGHT) {
		DL_DELETE(p->waiting, q);
		DL_APPEND(p->sent, q);
		p->n_sent++;
		if (!send_one(p, q)) {
			/* on_readable finds the failure too; from there it is safe to hang up. */
			event_active(p->readable, EV_READ, 0);
			return;
		}
	}
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

/* The Sync of the first query in `sent` has arrived, so its answer is complete. False: the session is over. */
static bool query_complete(struct sqlpipe *p)
{
	struct sqlpipe_query *q = p->sent;

	assert(q);
	if (!q->rows && ends_session(q->why.sqlstate)) {
		struct fail why = q->why;

		pipe_lost(p, &why);
		return false;
	}
	DL_DELETE(p->sent, q);
	p->n_sent--;
	touch_silence(p);
	if (!q->rows && q->prepares)
		unprepare(p, q->sql);
	if (q->done) {
		struct sqlrows *rows = q->rows;

		q->rows = NULL;
		q->done(q->ctx, rows, rows ? NULL : &q->why);
	}
	query_free(q);
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
		q->rows = rows_from(result);
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
	if (!flush(p))
		pipe_broken(p);
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

/* --- life ----------------------------------------------------------------------------------------------------- */

/* Sent before all other queries. An administrator may have set these timeouts for the database or the role, and they would end an idle session again
 * and again. pg_settings has only the names that the server knows. */
static void set_timeouts(struct sqlpipe *p)
{
	struct sqlpipe_query *q =
		query_new("timeouts",
			  "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings "
			  "WHERE name IN ('idle_session_timeout', 'transaction_timeout')",
			  0, NULL, NULL, NULL);

	DL_PREPEND(p->waiting, q);
}

static void on_dialled(void *ctx, PGconn *conn, const struct fail *why)
{
	struct sqlpipe *p = ctx;

	p->dial = NULL;
	if (!conn) {
		pipe_lost(p, why);
		return;
	}
	p->conn = conn;
	p->last_words = (struct fail){ 0 };
	PQsetNoticeReceiver(conn, pgdial_last_words, &p->last_words);
	if (!PQenterPipelineMode(conn)) {
		pipe_broken(p);
		return;
	}
	set_timeouts(p);
	backoff_reset(&p->backoff);
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
	p->dial = pgdial_start(p->loop, p->names, p->conf, PGDIAL_SQL, on_dialled, p);
}

static void on_send(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pipe_send(arg);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	pipe_dial(arg);
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
	} else {
		return; /* the retry timer opens a new connection */
	}
	pipe_dial(p);
}

void sqlpipe_hurry(struct sqlpipe *p)
{
	if (event_del(p->retry) == 0 && !p->conn && !p->dial)
		pipe_dial(p);
}

struct sqlpipe *sqlpipe_new(struct event_base *loop, struct resolve *names, const char *name,
			    const struct conf_database *conf, sqlpipe_state *state, void *ctx)
{
	struct sqlpipe *p = mem_new(sizeof(*p));

	p->loop = loop;
	p->names = names;
	p->name = name;
	p->conf = conf;
	p->state = state;
	p->ctx = ctx;
	p->backoff = (struct backoff){ .base = 50000, .cap = 5000000 };
	p->retry = event_new(loop, -1, 0, on_retry, p);
	p->send = event_new(loop, -1, 0, on_send, p);
	p->silence = event_new(loop, -1, 0, on_silence, p);
	if (!p->retry || !p->send || !p->silence)
		fail_never("libevent makes no timers for connection %s", name);
	pipe_dial(p);
	return p;
}

void sqlpipe_free(struct sqlpipe *p)
{
	struct sqlpipe_query *q, *next;

	if (!p)
		return;
	pgdial_cancel(p->dial);
	hang_up(p);
	DL_FOREACH_SAFE(p->waiting, q, next) {
		DL_DELETE(p->waiting, q);
		query_free(q);
	}
	event_free(p->retry);
	event_free(p->send);
	event_free(p->silence);
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
