#include "reads_ask.h"

#include <stdlib.h>

#include "sqlsteps.h"
#include "walpush/base/mem.h"
#include "walpush/pg/pgdial.h"

struct reads_ask {
	const struct rules *rules;
	reads_ask_done *done;
	void *ctx;

	struct sqlsteps *steps;
	struct event *nothing; /* there is no query to ask about */
	enum step {
		STEP_BEGIN,
		STEP_VIEW,
		STEP_NAMES,
		STEP_READY, /* for the first stream alone */
		STEP_QUERY,
		STEP_END,
		STEP_PREPARE,
		STEP_EXPLAIN,
		STEP_FORGET
	} step;
	size_t at;     /* index of the stream */
	bool is_ready; /* the session has READY */
	bool is_tried; /* it has TRIED, of this stream */
	struct reads *reads;
};

static void ask_free(struct reads_ask *a)
{
	sqlsteps_cancel(a->steps);
	event_free(a->nothing);
	reads_free(a->reads, rules_n_streams(a->rules));
	free(a);
}

static void ask_end(struct reads_ask *a, const struct fail *why)
{
	reads_ask_done *done = a->done;
	void *ctx = a->ctx;
	struct reads *reads = NULL;

	if (!why) {
		reads = a->reads;
		a->reads = NULL;
	}
	ask_free(a);
	done(ctx, reads, why);
}

/* --- statements ------------------------------------------------------------------------------------------------- */

#define TRIED "walpush_tried"
/* Most of what reads_query costs is its plan. The session makes it once. */
#define READY "walpush_reads"

/* Explains the query as walpush prepares it, without values. When the server begins the plan, it refuses what the role may not read. */
static void add_explain(struct buf *out, const struct rules_query *q)
{
	buf_add_text(out, "EXPLAIN EXECUTE " TRIED);
	for (size_t i = 0; i < q->source.n_refs; i++)
		buf_add_text(out, i ? ", NULL" : " (NULL");
	buf_add_text(out, q->source.n_refs ? ")" : "");
}

static bool send_statement(void *ctx, PGconn *conn)
{
	const struct reads_ask *a = ctx;
	const struct rules_query *q = &rules_stream(a->rules, a->at)->admit;
	struct buf sql = { 0 };
	bool ok;

	if (a->step == STEP_READY)
		return PQsendPrepare(conn, READY, reads_query, 0, NULL);
	if (a->step == STEP_QUERY)
		return PQsendQueryPrepared(conn, READY, 0, NULL, NULL, NULL, 0);
	if (a->step == STEP_PREPARE)
		return PQsendPrepare(conn, TRIED, q->sql, 0, NULL);
	if (a->step == STEP_BEGIN)
		buf_add_text(&sql, READS_BEGIN);
	else if (a->step == STEP_VIEW)
		reads_view(&sql, 1, q);
	else if (a->step == STEP_NAMES)
		buf_add_text(&sql, READS_OWN_NAMES);
	else if (a->step == STEP_EXPLAIN)
		add_explain(&sql, q);
	else if (a->step == STEP_FORGET)
		buf_add_text(&sql, "DEALLOCATE " TRIED);
	else
		buf_add_text(&sql, READS_END);
	ok = PQsendQuery(conn, sql.data);
	buf_fini(&sql);
	return ok;
}

static void take_rows(struct reads *r, const PGresult *result)
{
	struct fail why = { 0 };

	for (int i = 0; i < PQntuples(result); i++) {
		const char *row[READS_COLUMNS];

		for (int c = 0; c < READS_COLUMNS; c++)
			row[c] = c >= PQnfields(result) || PQgetisnull(result, i, c) ? NULL : PQgetvalue(result, i, c);
		if (!reads_add(r, row, &why)) {
			reads_fail(r, &why);
			return;
		}
	}
}

/* If the server refuses a statement, nothing is known of this query. The transaction is ended in any case. */
static void take_result(void *ctx, const PGresult *result)
{
	struct reads_ask *a = ctx;
	struct reads *r = &a->reads[a->at];
	struct fail why = { 0 };

	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		if (a->step == STEP_QUERY)
			take_rows(r, result);
	} else if (PQresultStatus(result) == PGRES_COMMAND_OK) {
		a->is_ready = a->is_ready || a->step == STEP_READY;
		a->is_tried = a->step >= STEP_PREPARE && a->step != STEP_FORGET;
	} else {
		pgdial_result_fail(result, &why);
		if (a->step < STEP_END)
			reads_fail(r, &why);
		else
			reads_refuse(r, &why);
	}
}

/* If the view waited for a lock in vain, the query would wait too. If the server has refused to prepare it, there is nothing to explain. */
static bool is_last(const struct reads_ask *a)
{
	return a->step == STEP_FORGET || (a->step == STEP_END && a->reads[a->at].may_pass) ||
	       (a->step == STEP_PREPARE && !a->is_tried);
}

/* The statement is done. */
static bool go_on(void *ctx)
{
	struct reads_ask *a = ctx;

	if (is_last(a)) {
		a->step = STEP_BEGIN;
		a->at++;
	} else if (a->step < STEP_END && a->reads[a->at].failed) {
		a->step = STEP_END;
	} else if (a->step == STEP_NAMES && a->is_ready) {
		a->step = STEP_QUERY;
	} else {
		a->step++;
	}
	return a->at < rules_n_streams(a->rules);
}

static void on_end(void *ctx, const struct fail *why)
{
	struct reads_ask *a = ctx;

	a->steps = NULL;
	ask_end(a, why);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

static void on_nothing(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	ask_end(arg, NULL);
}

struct reads_ask *reads_ask_new(struct event_base *loop, struct resolve *names, const struct conf_database *conf,
				struct login *login, const struct rules *rules, reads_ask_done *done, void *ctx)
{
	static const struct sqlsteps_calls calls = { send_statement, take_result, go_on, on_end };
	struct reads_ask *a = mem_new(sizeof(*a));

	*a = (struct reads_ask){ .rules = rules, .done = done, .ctx = ctx };
	a->reads = mem_new_array(rules_n_streams(rules), sizeof(*a->reads));
	a->nothing = event_new(loop, -1, 0, on_nothing, a);
	if (!a->nothing)
		fail_never("libevent makes no timer for what the queries read");
	if (rules_n_streams(rules))
		a->steps = sqlsteps_new(loop, names, conf, login, &calls, a);
	else
		event_active(a->nothing, EV_TIMEOUT, 0);
	return a;
}

void reads_ask_cancel(struct reads_ask *a)
{
	if (a)
		ask_free(a);
}
