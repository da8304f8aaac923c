/* Row level security: what it hides from walpush's queries, and what it does not hide from browsers. */
#include "parts.h"

#include <stdlib.h>

#include "walpush/base/buf.h"
#include "walpush/base/mem.h"
#include "walpush/rules/reads.h"
#include "needs.h"

/* The tables with hidden rows that the view reads as this role, also through views with security_invoker. A policy for exactly this role was
 * made for walpush, so its table is left out. */
static const char hidden_query[] =
	"WITH RECURSIVE node (oid) AS ("
	"  SELECT v.oid FROM pg_class v WHERE v.relnamespace = pg_my_temp_schema()"
	"   AND starts_with(v.relname::text, '" READS_VIEW "')"
	"  UNION"
	"  SELECT c.oid FROM node n JOIN pg_rewrite r ON r.ev_class = n.oid"
	"  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = "
	"'pg_class'::regclass"
	"  JOIN pg_class c ON c.oid = d.refobjid"
	"  WHERE c.relkind IN ('r', 'p') OR c.relkind = 'v' AND c.reloptions::text ~* "
	"'security_invoker=(true|on|yes|1)'"
	") "
	"SELECT c.oid::regclass::text, format('CREATE POLICY walpush_reads ON %s FOR SELECT TO %I USING (true);',"
	" c.oid::regclass, current_user)"
	" FROM node JOIN pg_class c ON c.oid = node.oid"
	" WHERE c.relkind IN ('r', 'p') AND row_security_active(c.oid) AND NOT EXISTS ("
	"  SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd IN ('r', '*')"
	"  AND (SELECT oid FROM pg_roles WHERE rolname = current_user) = ANY (p.polroles))"
	" ORDER BY 1";

/* Reports each table once, with the first query that reads it. */
static void say_hidden(struct check *c, const struct rules_query *q, const char *table, const char *fix)
{
	for (size_t i = 0; i < c->n_findings; i++)
		if (c->findings[i].check == c->running && c->findings[i].fix && strcmp(c->findings[i].fix, fix) == 0)
			return;
	check_add(c, CHECK_FAILURE, CHECK_SQL, fix,
		  "row level security hides rows of %s from walpush's role, and %s (line %u) reads it: give the role a "
		  "policy, or "
		  "BYPASSRLS",
		  table, q->name, q->line);
}

/* A query that the server refuses is a finding of "query". */
static void look(struct check *c, const struct rules_query *q)
{
	PGresult *result = check_view(c, q, hidden_query);

	for (int i = 0; i < PQntuples(result); i++)
		say_hidden(c, q, PQgetvalue(result, i, 0), PQgetvalue(result, i, 1));
	PQclear(result);
}

static const char pushed_query[] =
	"SELECT pg_catalog.string_agg(c.oid::regclass::text, ', ' ORDER BY 1) FROM pg_catalog.pg_class c"
	" JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	" WHERE c.relrowsecurity AND pg_catalog.format('%s.%s', n.nspname, c.relname) = ANY ($1::text[])";

static void say_pushed(struct check *c)
{
	struct buf tables = { 0 };
	PGresult *result;

	rules_catalog_param(c->rules, &tables);
	result = check_ask(c, pushed_query, 1, (const char *[]){ tables.data });
	buf_fini(&tables);
	if (result && !PQgetisnull(result, 0, 0))
		check_ok(c, "policies of %s do not filter what is pushed: groups do", PQgetvalue(result, 0, 0));
	PQclear(result);
}

static void look_at_all(struct check *c)
{
	for (size_t i = 0; i < rules_n_streams(c->rules); i++)
		look(c, &rules_stream(c->rules, i)->admit);
	for (size_t i = 0; i < c->conf->n_tables; i++) {
		const struct rules_section *s = rules_section(c->rules, c->conf->tables[i].name);

		if (s->lookup.sql)
			look(c, &s->lookup);
		if (s->data.sql)
			look(c, &s->data);
	}
	if (rules_actor(c->rules))
		look(c, rules_actor(c->rules));
}

void check_row_security(struct check *c)
{
	size_t before = c->n_findings;

	look_at_all(c);
	if (c->n_findings == before)
		check_ok(c, "no policy hides a row from walpush's queries");
	say_pushed(c);
}

/* Sessions look for names in pg_catalog first, and a query that calls objects of an untrusted role admits no client. This check warns before
 * such a role acts. */
void check_creators(struct check *c)
{
	PGresult *result = check_ask(c, needs_creators, 0, NULL);

	for (int i = 0; i < PQntuples(result); i++)
		check_add(c, CHECK_WARNING, CHECK_SQL, PQgetvalue(result, i, 2),
			  "%s may create functions and operators in schema %s, where the queries look for names",
			  PQgetvalue(result, i, 0), PQgetvalue(result, i, 1));
	if (result && !PQntuples(result))
		check_ok(c, "nobody but owners may create where the queries look for names");
	PQclear(result);
}
