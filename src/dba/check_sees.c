/*
 * Does walpush's role see any row of the tables that decide permission? If policies hide all of them, nobody is admitted, and no query fails.
 *
 * What a role does not see, only the server's own figures can tell: the size of the files, and the statistics. A table of zero bytes is empty
 * for everybody.
 */
#include <stdlib.h>
#include <string.h>

#include "check_exec.h"
#include "walpush/base/buf.h"
#include "walpush/base/clock.h"
#include "walpush/rules/reads.h"
#include "walpush/text/sqltext.h"

struct sight {
	struct check *c;
	int64_t until;          /* clock_us */
	struct buf seen, empty; /* names for a person */
};

/* $1 schema, $2 name. No row: there is no such table, or the role may read nothing of it. Name; are rows hidden from the role; is a policy
 * for it that hides none; the rows that the statistics know of; bytes; the fix. */
/* clang-format off */
static const char table_query[] =
	"WITH RECURSIVE kin (root, oid) AS (\n"
	"  SELECT c.oid, c.oid FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace\n"
	"  WHERE s.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')\n"
	"  AND has_any_column_privilege(c.oid, 'SELECT') AND has_schema_privilege(s.oid, 'USAGE')\n"
	"  UNION SELECT k.root, i.inhrelid FROM kin k JOIN pg_inherits i ON i.inhparent = k.oid\n"
	"), policy AS (\n"
	"  SELECT p.polpermissive, pg_get_expr(p.polqual, p.polrelid) AS expression FROM kin k JOIN pg_policy p ON p.polrelid = k.oid\n"
	"  WHERE k.oid = k.root AND p.polcmd IN ('r', '*') AND EXISTS (SELECT FROM unnest(p.polroles) AS r\n"
	"   WHERE r = 0::oid OR pg_has_role(current_user, r, 'USAGE'))\n"
	"), size AS (\n"
	"  SELECT k.root, sum(greatest(c.reltuples::bigint, pg_stat_get_live_tuples(c.oid), 0))::bigint AS rows,\n"
	"   sum(coalesce(pg_relation_size(c.oid), 0)) AS bytes\n"
	"  FROM kin k JOIN pg_class c ON c.oid = k.oid GROUP BY 1\n"
	")\n"
	"SELECT z.root::regclass::text, row_security_active(z.root),\n"
	" EXISTS (SELECT FROM policy WHERE polpermissive AND expression = 'true')\n"
	"  AND NOT EXISTS (SELECT FROM policy WHERE NOT polpermissive),\n"
	" z.rows, z.bytes,\n"
	" CASE WHEN EXISTS (SELECT FROM policy WHERE NOT polpermissive) THEN format('ALTER ROLE %I BYPASSRLS;', current_user)\n"
	"  ELSE format('CREATE POLICY %I ON %s FOR SELECT TO %I USING (true);',\n"
	"   'walpush_reads' || coalesce((SELECT '_' || count(*) FROM pg_policy p WHERE p.polrelid = z.root\n"
	"    AND starts_with(p.polname::text, 'walpush_reads') HAVING count(*) > 0), ''), z.root::regclass, current_user) END\n"
	"FROM size z";
/* clang-format on */

static void add_name(struct buf *out, const char *name)
{
	buf_addf(out, "%s%s", out->len ? ", " : "", name);
}

/* True if another check has said it: the policy that it asks for shows the rows too. */
static bool is_said(const struct check *c, const char *fix)
{
	for (size_t i = 0; i < c->n_findings; i++)
		if (c->findings[i].fix && strcmp(c->findings[i].fix, fix) == 0)
			return true;
	return false;
}

static void say_hidden(struct sight *s, const PGresult *facts)
{
	const char *table = PQgetvalue(facts, 0, 0), *rows = PQgetvalue(facts, 0, 3), *fix = PQgetvalue(facts, 0, 5);

	if (is_said(s->c, fix))
		return;
	if (strcmp(rows, "0") != 0)
		check_add(s->c, CHECK_FAILURE, CHECK_SQL, fix,
			  "walpush's role sees no row of %s, and the server counts about %s: row level security hides "
			  "them, so "
			  "nobody is admitted by it",
			  table, rows);
	else
		check_add(s->c, CHECK_WARNING, CHECK_SQL, fix,
			  "walpush's role sees no row of %s: either row level security hides them, or it is empty; the "
			  "server "
			  "has no statistics of it",
			  table);
}

static void say_unseen(struct sight *s, const PGresult *facts)
{
	bool is_active = PQgetvalue(facts, 0, 1)[0] == 't', sees_all = PQgetvalue(facts, 0, 2)[0] == 't';

	if (!is_active || sees_all || strcmp(PQgetvalue(facts, 0, 4), "0") == 0)
		add_name(&s->empty, PQgetvalue(facts, 0, 0));
	else
		say_hidden(s, facts);
}

/* An answer of the policies that fails is a finding of "query-run". */
static void look(struct sight *s, const PGresult *facts)
{
	const char *table = PQgetvalue(facts, 0, 0);
	struct buf sql = { 0 };
	PGresult *result = NULL;
	const char *sqlstate;

	buf_addf(&sql, "SELECT 1 FROM %s LIMIT 1", table);
	if (exec_begin(s->c, EXEC_MS))
		result = PQexec(s->c->sql, sql.data);
	check_do(s->c, "ROLLBACK");
	sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 0)
		say_unseen(s, facts);
	else if (PQresultStatus(result) == PGRES_TUPLES_OK)
		add_name(&s->seen, table);
	else if (sqlstate && strcmp(sqlstate, "57014") == 0)
		check_add(s->c, CHECK_WARNING, CHECK_SQL, PQgetvalue(facts, 0, 5),
			  "whether walpush's role sees any row of %s took longer than 1 s to find out: row level "
			  "security hides "
			  "most of them",
			  table);
	PQclear(result);
	buf_fini(&sql);
}

static void look_at(struct sight *s, const char *schema, const char *name, bool only_hidden)
{
	PGresult *facts =
		clock_us() < s->until ? exec_ask(s->c, table_query, 2, (const char *[]){ schema, name }) : NULL;

	if (!facts)
		check_add(s->c, CHECK_SKIPPED, CHECK_NONE, NULL,
			  "not known whether walpush's role sees rows of %s.%s: the server did not say in time", schema,
			  name);
	else if (PQntuples(facts) == 1 && (!only_hidden || PQgetvalue(facts, 0, 1)[0] == 't'))
		look(s, facts);
	PQclear(facts);
}

/* A function with SECURITY DEFINER reads as its owner. `text` is "function public.f(integer)". */
static bool reads_as_walpush(struct check *c, const char *text)
{
	static const char function[] = "function ";
	PGresult *result;
	bool is_it;

	if (strncmp(text, function, sizeof(function) - 1) != 0)
		return false;
	result = exec_ask(c, "SELECT FROM pg_proc WHERE oid = to_regprocedure($1) AND NOT prosecdef", 1,
			  (const char *[]){ text + sizeof(function) - 1 });
	is_it = PQntuples(result) == 1;
	PQclear(result);
	return is_it;
}

static bool is_repeated(const struct reads *all, size_t at, size_t i)
{
	const struct reads_of *one = &all[at].behind[i];

	for (size_t k = 0; k <= at; k++)
		for (size_t n = 0; n < (k < at ? all[k].n_behind : i); n++)
			if (strcmp(all[k].behind[n].schema, one->schema) == 0 &&
			    strcmp(all[k].behind[n].name, one->name) == 0)
				return true;
	return false;
}

/* The tables whose names stand in functions. Where nothing is hidden, nothing is said of them: a name may be only a word. */
static void look_behind(struct sight *s, size_t at)
{
	const struct reads *r = &s->c->reads[at];

	for (size_t i = 0; i < r->n_behind; i++)
		if (!is_repeated(s->c->reads, at, i) && reads_as_walpush(s->c, r->behind[i].text))
			look_at(s, r->behind[i].schema, r->behind[i].name, true);
}

void check_sees(struct check *c)
{
	struct sight s = { c, clock_us() + (int64_t)EXEC_ALL_MS * 1000, { 0 }, { 0 } };
	size_t before = c->n_findings;

	for (size_t i = 0; i < rules_n_tables(c->rules); i++)
		if (rules_table(c->rules, i)->read.is_read)
			look_at(&s, rules_table(c->rules, i)->schema, rules_table(c->rules, i)->name, false);
	for (size_t i = 0; c->reads && i < rules_n_streams(c->rules); i++)
		look_behind(&s, i);
	if (s.seen.len)
		check_ok(c, "walpush's role sees rows of %s", s.seen.data);
	if (s.empty.len)
		check_ok(c, "empty: %s", s.empty.data);
	if (c->n_findings == before)
		check_ok(c, "no table that admit queries read hides all its rows");
	buf_fini(&s.seen);
	buf_fini(&s.empty);
}
