/*
 * The queries of the configuration: each is prepared as walpush prepares it, its columns are those that templates name, the
 * role may run it, and its generic plan is one that a large table can bear.
 */
#include "check_impl.h"

#include <stdlib.h>

#include "check_plan.h"
#include "check_tie.h"
#include "walpush/buf.h"
#include "walpush/mem.h"
#include "walpush/pgdial.h"
#include "walpush/reads.h"
#include "walpush/sqlclock.h"
#include "walpush/sqltext.h"

/* Rows. A table below is read from end to end in a millisecond or so. */
#define LARGE_ROWS 10000
#define STATEMENT "walpush_check"

struct query { /* a query, and where the columns of its rows are named */
	const struct rules_query *q;
	const struct tmpl *groups;
	size_t n_groups;
	const struct jsontmpl **messages;
	size_t n_messages;
	enum tmpl_scope scope;            /* of the placeholders that are its columns */
	bool one_column;                  /* more are a mistake */
	const struct conf_stream *stream; /* whose admit it is; NULL: of none */
};

/* Where nothing else is known: an hour's permission then ends a minute late at most. */
#define RECHECK 60

static void query_failed(struct check *c, const struct query *q, const struct fail *why, enum check_mend kind,
			 const char *mend)
{
	check_add(c, CHECK_FAILURE, kind, mend, "%s (line %u): %s", q->q->name, q->q->line, why->text);
}

/* --- grants --------------------------------------------------------------------------------------------------- */

static bool run(struct check *c, const char *sql)
{
	PGresult *result = PQexec(c->sql, sql);
	bool ok = PQresultStatus(result) == PGRES_COMMAND_OK;

	PQclear(result);
	return ok;
}

/* What the role lacks, in a transaction that is taken back. False: the server would not tell. */
static bool find_grants(struct check *c, const struct query *q, struct buf *out)
{
	struct buf sql = { 0 };
	PGresult *result = NULL;

	sqltext_view(&sql, 1, q->q);
	if (run(c, READS_BEGIN) && run(c, READS_QUERY_NAMES) && run(c, sql.data) && run(c, READS_OWN_NAMES)) {
		buf_clear(&sql);
		sqltext_grants(&sql, "current_user");
		result = PQexec(c->sql, sql.data);
	}
	for (int i = 0; i < PQntuples(result); i++)
		buf_addf(out, "%s%s", i ? " " : "", PQgetvalue(result, i, 0));
	PQclear(result);
	run(c, READS_END);
	buf_fini(&sql);
	return out->len > 0;
}

static void not_granted(struct check *c, const struct query *q, const struct fail *why)
{
	struct buf mend = { 0 };

	if (find_grants(c, q, &mend)) {
		query_failed(c, q, why, CHECK_SQL, mend.data);
	} else {
		buf_addf(&mend, "walpush sql -c sidecar.conf | psql -d %s", c->database);
		query_failed(c, q, why, CHECK_SHELL, mend.data);
	}
	buf_fini(&mend);
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

/* True: a large table is read whole. */
static bool warn_scans(struct check *c, const struct query *q, const struct plan *plan)
{
	bool warned = false;

	for (size_t i = 0; i < plan->n_scans; i++) {
		const struct plan_scan *scan = &plan->scans[i];
		int64_t rows = rows_of(c, scan->table);
		struct buf mend = { 0 };

		if (rows <= LARGE_ROWS)
			continue;
		if (scan->column)
			buf_addf(&mend, "CREATE INDEX CONCURRENTLY ON %s (%s);", scan->table, scan->column);
		else
			buf_addf(&mend, "index the column by which %s is looked up", scan->table);
		check_add(c, CHECK_WARNING, scan->column ? CHECK_SQL : CHECK_WORDS, mend.data,
			  "%s (line %u) reads all %lld rows of %s, cost %.0f", q->q->name, q->q->line, (long long)rows,
			  scan->table, plan->cost);
		buf_fini(&mend);
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

/* By a function whose tables are listed. */
static const char *asked_behind(const struct check *c, const struct query *q)
{
	for (size_t i = 0; i < rules_n_streams(c->rules); i++)
		if (&rules_stream(c->rules, i)->admit == q->q)
			return rules_stream(c->rules, i)->asks_time;
	return NULL;
}

/* No change tells when such an answer ends. A view or a policy that asks for the time shows in the plan alone. */
static void check_clock(struct check *c, const struct query *q, const char *json)
{
	struct buf mend = { 0 };
	const char *word;

	if (!q->stream || q->stream->recheck)
		return;
	word = sqlclock_find(q->stream->admit.text, false);
	if (!word)
		word = sqlclock_find(json, true);
	if (!word)
		word = asked_behind(c, q);
	if (!word)
		return;
	buf_addf(&mend, "streams.%s.recheck = %d", q->stream->name, RECHECK);
	check_add(
		c, CHECK_WARNING, CHECK_CONF, mend.data,
		"%s (line %u) asks what time it is (%s), and no change tells when its answer ends: a connection stays "
		"open beyond that",
		q->q->name, q->q->line, word);
	buf_fini(&mend);
}

/* Of each parameter: is it the claim that names the user? The array is the caller's. */
static bool *user_parameters(const struct check *c, const struct rules_query *q)
{
	bool *is_user = mem_new_array(q->source.n_refs, sizeof(*is_user));
	size_t n = 0;

	for (size_t i = 0; i < q->source.n_parts; i++) {
		const struct tmpl_part *part = &q->source.parts[i];

		if (part->is_ref)
			is_user[n++] = part->scope == TMPL_TOKEN && strcmp(part->text, c->conf->jwt.user_claim) == 0;
	}
	return is_user;
}

static void say_loose(struct check *c, const struct query *q, const struct rules_table *t, const char *user)
{
	struct buf mend = { 0 };

	buf_addf(&mend, "compare it: %s = {token.%s}; or leave membership.%s.user out, and a change asks everybody",
		 user, c->conf->jwt.user_claim, t->name);
	check_add(c, CHECK_WARNING, CHECK_WORDS, mend.data,
		  "%s (line %u) finds rows of %s.%s by something else than %s = {token.%s}, and a change there asks "
		  "nobody but the user in %s: a permission that ends for somebody else is not noticed",
		  q->q->name, q->q->line, t->schema, t->name, user, c->conf->jwt.user_claim, user);
	buf_fini(&mend);
}

static bool is_promise(const struct rules_table *t)
{
	const struct rules_membership *m = t->n_memberships ? t->memberships[0] : NULL;

	return m && m->conf && m->conf->user && m->by_text;
}

/* `user` of a section of membership is the author's promise; that the query compares otherwise speaks against it. */
static void check_ties(struct check *c, const struct query *q, const char *json)
{
	bool *is_user = user_parameters(c, q->q);

	for (size_t i = 0; i < rules_n_tables(c->rules); i++) {
		const struct rules_table *t = rules_table(c->rules, i);
		const char *user;

		if (!is_promise(t))
			continue;
		user = t->memberships[0]->conf->user;
		if (tie_of(json, &(struct tie_column){ t->schema, t->name, user, c->catalog }, is_user,
			   q->q->source.n_refs) == TIE_LOOSE)
			say_loose(c, q, t, user);
	}
	free(is_user);
}

/* The generic plan of what is prepared. */
static PGresult *explain(struct check *c, int n_params)
{
	struct buf sql = { 0 };
	PGresult *result;

	buf_add_text(&sql, "EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE " STATEMENT);
	for (int i = 0; i < n_params; i++)
		buf_add_text(&sql, i ? ", NULL" : "(NULL");
	if (n_params)
		buf_add_char(&sql, ')');
	result = PQexec(c->sql, sql.data);
	buf_fini(&sql);
	return result;
}

/* The parameters are null here, for which the plan would show no partition at all. It is kept, and so has to be forgotten first. */
static void check_users(struct check *c, const struct query *q, int n_params)
{
	PGresult *result;

	if (!q->stream)
		return;
	run(c, "SET enable_partition_pruning = off");
	run(c, "DISCARD PLANS");
	result = explain(c, n_params);
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		check_ties(c, q, PQgetvalue(result, 0, 0));
	PQclear(result);
	run(c, "RESET enable_partition_pruning");
}

static void read_plan(struct check *c, const struct query *q, int n_params)
{
	struct fail why = { 0 };
	PGresult *result = explain(c, n_params);

	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		check_cost(c, q, PQgetvalue(result, 0, 0));
		check_clock(c, q, PQgetvalue(result, 0, 0));
		check_users(c, q, n_params);
	} else {
		pgdial_result_fail(result, &why);
		if (strcmp(why.sqlstate, "42501") == 0)
			not_granted(c, q, &why);
		else
			query_failed(c, q, &why, CHECK_WORDS, "correct the query");
	}
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

/* Is the placeholder, if it is one of this query's, a column of its rows? */
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
	PGresult *description = PQdescribePrepared(c->sql, STATEMENT);

	if (check_columns(c, q, description))
		read_plan(c, q, PQnparams(description));
	PQclear(description);
	run(c, "DEALLOCATE " STATEMENT);
}

static void cannot_prepare(struct check *c, const struct query *q, const PGresult *result)
{
	struct fail why = { 0 };

	pgdial_result_fail(result, &why);
	if (strcmp(why.sqlstate, "42501") == 0)
		not_granted(c, q, &why);
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
	run(c, "SET search_path = " PGDIAL_NAMES);
	result = PQprepare(c->sql, STATEMENT, q.q->sql, 0, NULL);
	if (PQresultStatus(result) == PGRES_COMMAND_OK)
		check_prepared(c, &q);
	else
		cannot_prepare(c, &q, result);
	PQclear(result);
	run(c, CHECK_OWN_NAMES);
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
	for (size_t i = 0; i < rules_n_tables(c->rules); i++)
		for (size_t k = 0; k < rules_table(c->rules, i)->n_sections; k++)
			q.messages[q.n_messages++] = &rules_table(c->rules, i)->sections[k]->message;
	check_query(c, q);
	free((void *)q.messages);
}

void check_queries(struct check *c)
{
	/* The plan that is used once a statement has been run often enough, and the one for which no value is needed. */
	run(c, "SET plan_cache_mode = force_generic_plan");
	for (size_t i = 0; i < rules_n_streams(c->rules); i++) {
		const struct rules_stream *s = rules_stream(c->rules, i);

		check_query(c,
			    (struct query){ &s->admit, s->groups, s->n_groups, NULL, 0, TMPL_ADMIT, false, s->conf });
	}
	for (size_t i = 0; i < rules_n_tables(c->rules); i++)
		for (size_t k = 0; k < rules_table(c->rules, i)->n_sections; k++)
			check_section(c, rules_table(c->rules, i)->sections[k]);
	check_actor(c);
}

void check_each_query(struct check *c, void (*one)(struct check *c, const struct rules_query *q))
{
	for (size_t i = 0; i < rules_n_streams(c->rules); i++)
		one(c, &rules_stream(c->rules, i)->admit);
	for (size_t i = 0; i < rules_n_tables(c->rules); i++) {
		const struct rules_table *t = rules_table(c->rules, i);

		for (size_t k = 0; k < t->n_sections; k++) {
			if (t->sections[k]->lookup.sql)
				one(c, &t->sections[k]->lookup);
			if (t->sections[k]->data.sql)
				one(c, &t->sections[k]->data);
		}
	}
	if (rules_actor(c->rules))
		one(c, rules_actor(c->rules));
}
