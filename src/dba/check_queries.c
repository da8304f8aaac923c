/*
 * The queries of the configuration. Each is prepared as walpush prepares it. It must have the columns that templates name, the
 * role must be allowed to run it, and its generic plan must be cheap enough for a large table.
 */
#include "parts.h"

#include <stdlib.h>

#include "check_exec.h"
#include "check_plan.h"
#include "walpush/base/buf.h"
#include "walpush/base/mem.h"
#include "walpush/pg/pgdial.h"
#include "walpush/rules/reads.h"
#include "walpush/text/sqlclock.h"
#include "needs.h"
#include "walpush/text/sqltext.h"

/* Rows. A smaller table is read from end to end in about a millisecond. */
#define LARGE_ROWS 10000

struct query { /* a query, and the templates that name its columns */
	const struct rules_query *q;
	const struct tmpl *groups;
	size_t n_groups;
	const struct jsontmpl **messages;
	size_t n_messages;
	enum tmpl_scope scope;            /* of the placeholders that are its columns */
	bool one_column;                  /* more columns are a mistake */
	const struct conf_stream *stream; /* the stream, if it is an admit query; or NULL */
};

/* Seconds. The advice if nothing else is known: an hour's permission then ends at most a minute late. */
#define RECHECK 60

static void query_failed(struct check *c, const struct query *q, const struct fail *why, enum check_fix kind,
			 const char *fix)
{
	check_add(c, CHECK_FAILURE, kind, fix, "%s (line %u): %s", q->q->name, q->q->line, why->text);
}

/* --- grants --------------------------------------------------------------------------------------------------- */

/* Adds the grants that the role lacks. False: the server did not name any. */
static bool find_grants(struct check *c, const struct query *q, struct buf *out)
{
	struct buf sql = { 0 };
	PGresult *result;

	needs_grants(&sql, "current_user");
	result = check_view(c, q->q, sql.data);
	for (int i = 0; i < PQntuples(result); i++)
		buf_addf(out, "%s%s", i ? " " : "", PQgetvalue(result, i, 0));
	PQclear(result);
	buf_fini(&sql);
	return out->len > 0;
}

/* `plan`: the error, if the query could be prepared; else NULL. */
static void not_granted(struct check *c, const struct query *q, const struct fail *why, const PGresult *plan)
{
	struct buf fix = { 0 };

	if (find_grants(c, q, &fix)) {
		query_failed(c, q, why, CHECK_SQL, fix.data);
	} else if (!plan || !exec_denied(c, q->q, plan)) {
		check_add_script(c, &fix);
		query_failed(c, q, why, CHECK_SHELL, fix.data);
	}
	buf_fini(&fix);
}

/* --- the plan ------------------------------------------------------------------------------------------------- */

static int64_t rows_of(struct check *c, const char *table)
{
	PGresult *result =
		check_ask(c, "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass($1)", 1,
			  (const char *[]){ table });
	int64_t rows = result && PQntuples(result) == 1 ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : 0;

	PQclear(result);
	return rows;
}

/* True: the query reads a large table from end to end. */
static bool warn_scans(struct check *c, const struct query *q, const struct plan *plan)
{
	bool warned = false;

	for (size_t i = 0; i < plan->n_scans; i++) {
		const struct plan_scan *scan = &plan->scans[i];
		int64_t rows = rows_of(c, scan->table);
		struct buf fix = { 0 };

		if (rows <= LARGE_ROWS)
			continue;
		if (scan->column)
			buf_addf(&fix, "CREATE INDEX CONCURRENTLY ON %s (%s);", scan->table, scan->column);
		else
			buf_addf(&fix, "index the column by which %s is looked up", scan->table);
		check_add(c, CHECK_WARNING, scan->column ? CHECK_SQL : CHECK_WORDS, fix.data,
			  "%s (line %u) reads all %lld rows of %s, cost %.0f", q->q->name, q->q->line, (long long)rows,
			  scan->table, plan->cost);
		buf_fini(&fix);
		warned = true;
	}
	return warned;
}

static void check_cost(struct check *c, const struct query *q, const char *json)
{
	struct plan plan;
	struct fail why = { 0 };

	if (!plan_parse(json, &plan, &why))
		query_failed(c, q, &why, CHECK_WORDS, "report this as a bug of walpush");
	else if (plan.writes)
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "let it only read: no INSERT, UPDATE, DELETE, FOR UPDATE",
			  "%s (line %u) writes or locks rows, and walpush's sessions are read-only", q->q->name,
			  q->q->line);
	else if (!warn_scans(c, q, &plan))
		check_ok(c, "%s: cost %.0f", q->q->name, plan.cost);
	plan_fini(&plan);
}

/* The query as the server has parsed it; NULL: no literal in the query has a word that could be a time, or no view can be made. */
static char *definition_of(struct check *c, const struct query *q)
{
	PGresult *result;
	char *definition = NULL;

	if (!sqlclock_frozen(q->q->sql, ""))
		return NULL;
	result = check_view(c, q->q, "SELECT pg_catalog.pg_get_viewdef('pg_temp." READS_VIEW "1'::regclass)");
	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
		definition = mem_text(PQgetvalue(result, 0, 0));
	PQclear(result);
	return definition;
}

/* The word by which a function whose tables are listed asks for the time; NULL: none does. */
static const char *asked_behind(const struct check *c, const struct query *q)
{
	for (size_t i = 0; i < rules_n_streams(c->rules); i++)
		if (&rules_stream(c->rules, i)->admit == q->q)
			return rules_stream(c->rules, i)->asks_time;
	return NULL;
}

/* No change of a row shows when such an answer ends. If a view or a policy asks for the time, only the plan shows it. */
static void check_clock(struct check *c, const struct query *q, const char *definition, const char *json)
{
	struct buf fix = { 0 };
	const char *word;

	if (!q->stream || q->stream->recheck)
		return;
	word = sqlclock_find(q->stream->admit.text, false);
	if (!word && definition)
		word = sqlclock_find(definition, false);
	if (!word)
		word = sqlclock_find(json, true);
	if (!word)
		word = asked_behind(c, q);
	if (!word)
		return;
	buf_addf(&fix, "streams.%s.recheck = %d", q->stream->name, RECHECK);
	check_add(
		c, CHECK_WARNING, CHECK_CONF, fix.data,
		"%s (line %u) asks what time it is (%s), and no change tells when its answer ends: a connection stays "
		"open beyond that",
		q->q->name, q->q->line, word);
	buf_fini(&fix);
}

/* Such a query, of any kind, answers for a time in the past. Without a definition it is not known what the server made of the word. */
static void check_frozen(struct check *c, const struct query *q, const char *definition)
{
	const char *word = sqlclock_frozen(q->q->sql, definition ? definition : "");

	if (word)
		check_add(
			c, definition ? CHECK_FAILURE : CHECK_WARNING, CHECK_WORDS,
			"write now(), current_date, current_date + 1 or current_date - 1 in its place",
			"%s (line %u): %s'%s' is computed once, when walpush prepares the query, and stays what it is: "
			"those who come later are answered for that time too, and recheck changes nothing",
			q->q->name, q->q->line, definition ? "" : "where it is a time or a date, ", word);
}

/* An error with a context is of a function that the planner has looked into: "query-run" knows its fix. */
static void read_plan(struct check *c, const struct query *q, int n_params)
{
	struct fail why = { 0 };
	PGresult *result = check_explain(c, n_params);
	char *definition = NULL;

	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		check_cost(c, q, PQgetvalue(result, 0, 0));
		definition = definition_of(c, q);
		check_clock(c, q, definition, PQgetvalue(result, 0, 0));
		check_frozen(c, q, definition);
		if (q->stream)
			check_promises(c, q->q);
	} else if (!PQresultErrorField(result, PG_DIAG_CONTEXT)) {
		pgdial_result_fail(result, &why);
		if (strcmp(why.sqlstate, "42501") == 0)
			not_granted(c, q, &why, result);
		else
			query_failed(c, q, &why, CHECK_WORDS, "correct the query");
	}
	free(definition);
	PQclear(result);
}

/* --- one query ------------------------------------------------------------------------------------------------ */

static bool has_column(const PGresult *description, const char *name)
{
	for (int i = 0; i < PQnfields(description); i++)
		if (strcmp(PQfname(description, i), name) == 0)
			return true;
	return false;
}

/* False: the placeholder belongs to this query, but the rows of the query have no such column. */
static bool check_placeholder(struct check *c, const struct query *q, const struct tmpl_part *part,
			      const PGresult *description)
{
	struct fail why = { 0 };

	if (part->scope != q->scope || has_column(description, part->text))
		return true;
	fail_set(&why, "groups or message name its column %s, which its rows do not have", part->text);
	query_failed(c, q, &why, CHECK_WORDS, "give the column that name: SELECT … AS …");
	return false;
}

static bool check_columns(struct check *c, const struct query *q, const PGresult *description)
{
	struct fail why = { 0 };

	for (size_t i = 0; i < q->n_groups; i++)
		for (size_t k = 0; k < q->groups[i].n_parts; k++)
			if (q->groups[i].parts[k].is_ref &&
			    !check_placeholder(c, q, &q->groups[i].parts[k], description))
				return false;
	for (size_t i = 0; i < q->n_messages; i++)
		for (size_t k = 0; k < q->messages[i]->n; k++)
			if (q->messages[i]->pieces[k].kind != JSONTMPL_LITERAL &&
			    !check_placeholder(c, q, &q->messages[i]->pieces[k].part, description))
				return false;
	if (!q->one_column || PQnfields(description) == 1)
		return true;
	fail_set(&why, "it has %d columns, and one value is asked for", PQnfields(description));
	query_failed(c, q, &why, CHECK_WORDS, "select one column");
	return false;
}

static void check_prepared(struct check *c, const struct query *q)
{
	PGresult *description = PQdescribePrepared(c->sql, CHECK_STATEMENT);

	if (check_columns(c, q, description))
		read_plan(c, q, PQnparams(description));
	PQclear(description);
	check_do(c, "DEALLOCATE " CHECK_STATEMENT);
}

static void cannot_prepare(struct check *c, const struct query *q, const PGresult *result)
{
	struct fail why = { 0 };

	pgdial_result_fail(result, &why);
	if (strcmp(why.sqlstate, "42501") == 0)
		not_granted(c, q, &why, NULL);
	else if (strcmp(why.sqlstate, "42P18") == 0)
		query_failed(c, q, &why, CHECK_WORDS, "say the type: {path.x}::int");
	else
		query_failed(c, q, &why, CHECK_WORDS, "run the application's migrations, or correct the query");
}

static void check_query(struct check *c, struct query q)
{
	PGresult *result;

	if (!q.q || !q.q->sql)
		return;
	check_do(c, "SET search_path = " SQLTEXT_PATH);
	result = PQprepare(c->sql, CHECK_STATEMENT, q.q->sql, 0, NULL);
	if (PQresultStatus(result) == PGRES_COMMAND_OK)
		check_prepared(c, &q);
	else
		cannot_prepare(c, &q, result);
	PQclear(result);
	check_do(c, CHECK_OWN_NAMES);
}

static void check_section(struct check *c, const struct rules_section *s)
{
	const struct jsontmpl *message = &s->message;

	check_query(c, (struct query){ &s->lookup, s->groups, s->n_groups, &message, 1, TMPL_LOOKUP, false, NULL });
	check_query(c, (struct query){ .q = &s->data, .one_column = true });
}

static void check_actor(struct check *c)
{
	struct query q = { .q = rules_actor(c->rules), .scope = TMPL_ACTOR };

	q.messages = mem_new_array(c->conf->n_tables, sizeof(*q.messages));
	for (size_t i = 0; i < c->conf->n_tables; i++)
		q.messages[q.n_messages++] = &rules_section(c->rules, c->conf->tables[i].name)->message;
	check_query(c, q);
	free((void *)q.messages);
}

void check_queries(struct check *c)
{
	/* The server uses the generic plan after a statement has run often enough, and it can be made without values. */
	check_do(c, "SET plan_cache_mode = force_generic_plan");
	for (size_t i = 0; i < rules_n_streams(c->rules); i++) {
		const struct rules_stream *s = rules_stream(c->rules, i);

		check_query(c,
			    (struct query){ &s->admit, s->groups, s->n_groups, NULL, 0, TMPL_ADMIT, false, s->conf });
	}
	for (size_t i = 0; i < c->conf->n_tables; i++)
		check_section(c, rules_section(c->rules, c->conf->tables[i].name));
	check_actor(c);
}
