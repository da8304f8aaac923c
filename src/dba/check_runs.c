/*
 * Runs each query of the configuration. A plan does not show what a run meets: the privileges of functions, policies that fail, names that a
 * function does not find under walpush's search_path, a function that writes.
 *
 * A query is run as walpush's role, prepared as walpush prepares it, in a transaction that can only read and is rolled back. The rows of
 * its answer are dropped one by one as they come. A query takes EXEC_MS at most, and all together EXEC_ALL_MS.
 */
#include "check_exec.h"

#include <stdlib.h>

#include "walpush/base/buf.h"
#include "walpush/base/clock.h"
#include "walpush/base/mem.h"
#include "walpush/text/sqltext.h"

struct runs {
	struct check *c;
	int64_t until; /* clock_us */
	size_t n_late; /* queries that were not run, because it was too late */
	bool *has_run; /* by the index of the section in the file: its queries, for one table */
};

/* --- one run -------------------------------------------------------------------------------------------------- */

/* Reads the answer to its end. NULL: it has no error. */
static PGresult *error_of(PGconn *conn)
{
	PGresult *error = NULL, *result;

	while ((result = PQgetResult(conn))) {
		ExecStatusType status = PQresultStatus(result);

		if (!error && status != PGRES_SINGLE_TUPLE && status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
			error = result;
		else
			PQclear(result);
	}
	return error;
}

static PGresult *run(struct check *c, const struct exec *e, const char *const *values)
{
	PGresult *error;

	if (!exec_begin(c, EXEC_MS))
		return PQmakeEmptyPGresult(c->sql, PGRES_FATAL_ERROR);
	if (PQsendQueryPrepared(c->sql, CHECK_STATEMENT, (int)e->n, values, NULL, NULL, 0)) {
		PQsetSingleRowMode(c->sql);
		error = error_of(c->sql);
	} else {
		error = PQmakeEmptyPGresult(c->sql, PGRES_FATAL_ERROR);
	}
	check_do(c, "ROLLBACK");
	return error;
}

/* False: there is a finding, or nothing can be said of it. */
static bool try(struct check *c, const struct exec *e, enum exec_values how)
{
	const char **values = mem_new_array(e->n, sizeof(*values));
	PGresult *error;
	bool ran;

	for (size_t i = 0; i < e->n; i++) {
		values[i] = e->values[i];
		if (!values[i] && how == EXEC_VALUES_MADE_UP)
			values[i] = exec_made_up(e->types[i]);
	}
	error = run(c, e, values);
	ran = !error;
	/* The names of walpush's own questions. A session has locks of an advisory kind beyond the rollback. */
	check_do(c, CHECK_OWN_NAMES);
	if (error)
		ran = !exec_refused(c, e, how, error);
	PQclear(PQexec(c->sql, "SELECT pg_catalog.pg_advisory_unlock_all()"));
	check_do(c, "SET search_path = " SQLTEXT_PATH);
	PQclear(error);
	free((void *)values);
	return ran;
}

static void say_ran(struct check *c, const struct exec *e)
{
	struct buf lacks = { 0 };

	for (size_t i = 0; i < e->n; i++) {
		if (e->values[i])
			continue;
		buf_add_text(&lacks, lacks.len ? ", " : "");
		tmpl_name(e->refs[i], &lacks);
	}
	if (lacks.len)
		check_ok(c, "%s: runs; no row gave a value for %s", e->q->name, lacks.data);
	else
		check_ok(c, "%s: runs%s", e->q->name, e->n ? ", with the values of rows that exist" : "");
	buf_fini(&lacks);
}

static void run_both(struct check *c, const struct exec *e)
{
	if (!try(c, e, EXEC_VALUES_NULL))
		return;
	if (exec_has_all_values(e) || try(c, e, EXEC_VALUES_MADE_UP))
		say_ran(c, e);
}

/* --- what must not be run --------------------------------------------------------------------------------------- */

static void say_volatile(struct check *c, const struct exec *e, const char *names, bool only_own)
{
	struct buf fix = { 0 };

	if (only_own)
		buf_addf(&fix, "run it once as %s and look at the answer; or write it without %s", c->role, names);
	else
		buf_addf(&fix, "run it once as %s; where a function only reads, declare it so: ALTER FUNCTION … STABLE",
			 c->role);
	check_add(c, CHECK_WARNING, CHECK_WORDS, fix.data,
		  "%s (line %u) was not run, because it calls what is VOLATILE and may do more than read: %s",
		  e->q->name, e->q->line, names);
	buf_fini(&fix);
}

static bool may_run(struct check *c, const struct exec *e)
{
	struct buf names = { 0 };
	bool only_own = false, may;

	if (!exec_volatile(c, e->q, &names, &only_own)) {
		check_add(c, CHECK_SKIPPED, CHECK_NONE, NULL,
			  "%s: not run, because the server does not say what functions it calls", e->q->name);
		return false;
	}
	may = names.len == 0;
	if (!may)
		say_volatile(c, e, names.data, only_own);
	buf_fini(&names);
	return may;
}

/* --- one query -------------------------------------------------------------------------------------------------- */

static void describe(struct check *c, struct exec *e)
{
	PGresult *description = PQdescribePrepared(c->sql, CHECK_STATEMENT);
	size_t n = 0;

	e->refs = mem_new_array(e->q->source.n_refs, sizeof(*e->refs));
	e->types = mem_new_array(e->q->source.n_refs, sizeof(*e->types));
	e->values = mem_new_array(e->q->source.n_refs, sizeof(*e->values));
	for (size_t i = 0; i < e->q->source.n_parts; i++) {
		if (!e->q->source.parts[i].is_ref)
			continue;
		e->types[n] = (int)n < PQnparams(description) ? PQparamtype(description, (int)n) : 0;
		e->refs[n++] = &e->q->source.parts[i];
	}
	e->n = n;
	PQclear(description);
}

static void exec_fini(struct exec *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->values[i]);
	free(e->values);
	free(e->types);
	free((void *)e->refs);
}

/* False: the server does not plan the query, which is a finding of "query". Where it has looked into a function for the plan, only a run says
 * more: there is no plan, then. */
static bool plan(struct check *c, struct exec *e, PGresult **result)
{
	check_do(c, "SET plan_cache_mode = force_generic_plan");
	*result = check_explain(c, (int)e->n);
	check_do(c, "RESET plan_cache_mode");
	if (PQresultStatus(*result) == PGRES_TUPLES_OK && PQntuples(*result) == 1)
		e->plan = PQgetvalue(*result, 0, 0);
	return e->plan || PQresultErrorField(*result, PG_DIAG_CONTEXT);
}

static void run_prepared(struct runs *r, struct exec *e)
{
	PGresult *result;

	describe(r->c, e);
	if (plan(r->c, e, &result) && may_run(r->c, e)) {
		exec_take_values(r->c, e);
		check_do(r->c, "SET search_path = " SQLTEXT_PATH);
		run_both(r->c, e);
	}
	PQclear(result);
	exec_fini(e);
}

static void run_query(struct runs *r, const struct rules_query *q, const struct rules_table *table)
{
	struct exec e = { .q = q, .table = table };
	PGresult *result;

	if (!q || !q->sql)
		return;
	if (clock_us() > r->until) {
		r->n_late++;
		return;
	}
	check_do(r->c, "SET search_path = " SQLTEXT_PATH);
	result = PQprepare(r->c->sql, CHECK_STATEMENT, q->sql, 0, NULL);
	if (PQresultStatus(result) == PGRES_COMMAND_OK) {
		run_prepared(r, &e);
		check_do(r->c, "DEALLOCATE " CHECK_STATEMENT);
	}
	PQclear(result);
	check_do(r->c, CHECK_OWN_NAMES);
}

/* --- all queries ------------------------------------------------------------------------------------------------ */

/* Of the tables that match a pattern the first one stands for all. */
static bool is_first(struct runs *r, const struct rules_table *t, const struct rules_section *s)
{
	size_t at = (size_t)(s->conf - r->c->conf->tables);
	bool is_first = !t->is_matched || !r->has_run[at];

	r->has_run[at] = true;
	return is_first;
}

static void run_table(struct runs *r, const struct rules_table *t)
{
	for (size_t k = 0; k < t->n_sections; k++) {
		if (!is_first(r, t, t->sections[k]))
			continue;
		run_query(r, &t->sections[k]->lookup, t);
		run_query(r, &t->sections[k]->data, t);
	}
}

static void run_all(struct runs *r)
{
	const struct rules *rules = r->c->rules;

	for (size_t i = 0; i < rules_n_streams(rules); i++)
		run_query(r, &rules_stream(rules, i)->admit, NULL);
	for (size_t i = 0; i < rules_n_tables(rules); i++)
		run_table(r, rules_table(rules, i));
	run_query(r, rules_actor(rules), NULL);
}

void check_runs(struct check *c)
{
	struct runs r = { .c = c, .until = clock_us() + (int64_t)EXEC_ALL_MS * 1000 };
	size_t before = c->n_findings;

	r.has_run = mem_new_array(c->conf->n_tables, sizeof(bool));
	run_all(&r);
	free(r.has_run);
	if (r.n_late)
		check_add(c, CHECK_WARNING, CHECK_WORDS, "make those before it faster, then run walpush check again",
			  "%zu quer%s not run: the others took %d s", r.n_late, r.n_late == 1 ? "y was" : "ies were",
			  EXEC_ALL_MS / 1000);
	else if (c->n_findings == before)
		check_ok(c, "no query could be run");
}
