#include "walpush/reads.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/mem.h"
#include "walpush/sqltext.h"

void reads_view(struct buf *out, const struct rules_query *q)
{
	sqltext_view(out, 1, q);
}

/*
 * node: the stored rules and policies whose dependencies count: the view's own, those of the views that it reads, and so on, and the
 * policies for SELECT of tables that have row level security. seen: what they depend on.
 *
 * The server writes down no dependency on what initdb made, so a catalog that is read is found in the stored query itself, by its OID.
 * There, too, a reference to a whole row stands as attribute 0; of which of its tables is not worth knowing.
 *
 * A function that is IMMUTABLE promises to read nothing. The function behind an operator is looked at like any other.
 *
 * Rows: what, schema, name, column, text. `column`: a column of table schema.name. `row`: that the table is read. `whole`: as a whole row.
 * `unknown`: something that cannot be followed. `stranger`: a function or operator that the query resolves to, and that belongs to a role
 * which is neither superuser, nor owner of the database, of that schema, or of all tables that are read. `object`: the OID of any relation
 * on the way. `definition`: the query as the server has read it.
 */
const char reads_query[] =
	"WITH RECURSIVE node (classid, objid, stored) AS (\n"
	"  SELECT 'pg_catalog.pg_rewrite'::regclass::oid, r.oid, r.ev_action::text\n"
	"  FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class v ON v.oid = r.ev_class\n"
	"  WHERE v.relnamespace = pg_catalog.pg_my_temp_schema()\n"
	"   AND pg_catalog.starts_with(v.relname::text, '" SQLTEXT_VIEW "')\n"
	"  UNION\n"
	"  SELECT next.* FROM node n\n"
	"  JOIN pg_catalog.pg_depend d ON d.classid = n.classid AND d.objid = n.objid\n"
	"   AND d.refclassid = 'pg_catalog.pg_class'::regclass\n"
	"  JOIN pg_catalog.pg_class c ON c.oid = d.refobjid CROSS JOIN LATERAL (\n"
	"    SELECT 'pg_catalog.pg_rewrite'::regclass::oid, r.oid, r.ev_action::text FROM pg_catalog.pg_rewrite r\n"
	"    WHERE r.ev_class = c.oid AND c.relkind = 'v' AND r.ev_type = '1'\n"
	"    UNION ALL\n"
	"    SELECT 'pg_catalog.pg_policy'::regclass::oid, p.oid, p.polqual::text FROM pg_catalog.pg_policy p\n"
	"    WHERE p.polrelid = c.oid AND c.relrowsecurity AND p.polcmd IN ('r', '*')\n"
	"  ) AS next (classid, objid, stored)\n"
	"), seen AS (\n"
	"  SELECT d.refclassid, d.refobjid, d.refobjsubid,\n"
	"         pg_catalog.bool_or(coalesce(n.stored LIKE '%:varattno 0 %', false)) AS whole\n"
	"  FROM node n JOIN pg_catalog.pg_depend d ON d.classid = n.classid AND d.objid = n.objid\n"
	"  GROUP BY 1, 2, 3\n"
	"), relation AS (\n"
	"  SELECT c.oid, c.relkind, c.relpersistence, s.nspname, c.relname, seen.refobjsubid, seen.whole\n"
	"  FROM seen JOIN pg_catalog.pg_class c ON c.oid = seen.refobjid\n"
	"  JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace\n"
	"  WHERE seen.refclassid = 'pg_catalog.pg_class'::regclass AND c.relkind NOT IN ('v', 'c', 'i', 'I', 't')\n"
	"), catalog AS (\n"
	"  SELECT DISTINCT c.oid FROM node n\n"
	"  CROSS JOIN LATERAL pg_catalog.regexp_matches(n.stored, ':relid ([1-9][0-9]*)', 'g') AS found\n"
	"  JOIN pg_catalog.pg_class c ON c.oid = found[1]::oid AND c.relnamespace = 'pg_catalog'::regnamespace\n"
	"   AND c.relkind <> 'v'\n"
	"), called AS (\n"
	"  SELECT refobjid AS oid FROM seen WHERE refclassid = 'pg_catalog.pg_proc'::regclass\n"
	"  UNION\n"
	"  SELECT o.oprcode FROM seen JOIN pg_catalog.pg_operator o ON o.oid = seen.refobjid\n"
	"  WHERE seen.refclassid = 'pg_catalog.pg_operator'::regclass\n"
	"), trusted AS (\n"
	"  SELECT oid FROM pg_catalog.pg_roles WHERE rolsuper\n"
	"  UNION SELECT datdba FROM pg_catalog.pg_database WHERE datname = current_database()\n"
	"  UNION SELECT pg_catalog.min(c.relowner) FROM relation t JOIN pg_catalog.pg_class c ON c.oid = t.oid\n"
	"  WHERE t.relkind IN ('r', 'p') AND t.nspname <> 'pg_catalog' HAVING pg_catalog.count(DISTINCT c.relowner) = "
	"1\n"
	"), resolved AS (\n"
	"  SELECT p.pronamespace AS namespace, p.proname AS name, p.proowner AS owner,\n"
	"   'function ' || p.oid::regprocedure::text AS text FROM called JOIN pg_catalog.pg_proc p ON p.oid = "
	"called.oid\n"
	"  UNION\n"
	"  SELECT o.oprnamespace, o.oprname, o.oprowner, 'operator ' || o.oid::regoperator::text\n"
	"  FROM seen JOIN pg_catalog.pg_operator o ON o.oid = seen.refobjid\n"
	"  WHERE seen.refclassid = 'pg_catalog.pg_operator'::regclass\n"
	")\n"
	"SELECT 'row' AS what, nspname AS schema, relname AS name, NULL AS attname, NULL AS text\n"
	"  FROM relation WHERE relkind IN ('r', 'p') AND relpersistence = 'p'\n"
	"  AND nspname <> 'pg_catalog' GROUP BY 2, 3\n"
	"UNION ALL\n"
	"SELECT CASE WHEN a.attgenerated = '' THEN 'column' ELSE 'whole' END, t.nspname, t.relname, a.attname, NULL\n"
	"  FROM relation t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = t.refobjsubid\n"
	"  WHERE t.relkind IN ('r', 'p') AND t.relpersistence = 'p' AND t.nspname <> 'pg_catalog' AND t.refobjsubid > "
	"0\n"
	"UNION ALL\n"
	"SELECT DISTINCT 'whole', nspname, relname, NULL, NULL FROM relation WHERE relkind IN ('r', 'p')\n"
	"  AND relpersistence = 'p' AND nspname <> 'pg_catalog' AND (whole OR refobjsubid < 0)\n"
	"UNION ALL\n"
	"SELECT DISTINCT 'unknown', nspname, relname, NULL,\n"
	"  CASE relkind WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table ' WHEN 'S' THEN 'sequence '\n"
	"   ELSE CASE relpersistence WHEN 'u' THEN 'unlogged table ' WHEN 't' THEN 'temporary table ' ELSE 'system "
	"catalog '\n"
	"   END END || oid::regclass::text\n"
	"  FROM relation WHERE relkind NOT IN ('r', 'p') OR relpersistence <> 'p' OR nspname = 'pg_catalog'\n"
	"UNION ALL\n"
	"SELECT 'unknown', 'pg_catalog', c.relname, NULL, 'system catalog ' || c.oid::regclass::text\n"
	"  FROM catalog JOIN pg_catalog.pg_class c ON c.oid = catalog.oid WHERE c.oid NOT IN (SELECT oid FROM "
	"relation)\n"
	"UNION ALL\n"
	"SELECT 'unknown', s.nspname, p.proname, NULL, 'function ' || p.oid::regprocedure::text\n"
	"  FROM called JOIN pg_catalog.pg_proc p ON p.oid = called.oid\n"
	"  JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace\n"
	"  WHERE p.provolatile <> 'i' AND s.nspname <> 'pg_catalog'\n"
	"UNION ALL\n"
	"SELECT 'stranger', s.nspname, r.name, NULL, r.text || ' of role ' || pg_catalog.pg_get_userbyid(r.owner)\n"
	"  FROM resolved r JOIN pg_catalog.pg_namespace s ON s.oid = r.namespace\n"
	"  WHERE s.nspname <> 'pg_catalog' AND r.owner <> s.nspowner AND r.owner NOT IN (SELECT oid FROM trusted)\n"
	"UNION ALL\n"
	"SELECT DISTINCT 'object', s.nspname, c.relname, NULL, c.oid::text\n"
	"  FROM seen JOIN pg_catalog.pg_class c ON c.oid = seen.refobjid\n"
	"  JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace\n"
	"  WHERE seen.refclassid = 'pg_catalog.pg_class'::regclass AND s.oid <> pg_catalog.pg_my_temp_schema()\n"
	"   AND s.nspname <> 'pg_catalog'\n"
	"UNION ALL\n"
	"SELECT 'definition', 'pg_temp', v.relname, NULL, pg_catalog.pg_get_viewdef(v.oid) FROM pg_catalog.pg_class v\n"
	"  WHERE v.relnamespace = pg_catalog.pg_my_temp_schema()\n"
	"   AND pg_catalog.starts_with(v.relname::text, '" SQLTEXT_VIEW "')\n"
	"ORDER BY 2, 3, 1, 4, 5";

static struct reads_table *table_of(struct reads *r, const char *schema, const char *name)
{
	struct reads_table *t;

	for (size_t i = 0; i < r->n_tables; i++)
		if (strcmp(r->tables[i].schema, schema) == 0 && strcmp(r->tables[i].name, name) == 0)
			return &r->tables[i];
	r->tables = mem_resize(r->tables, r->n_tables + 1, sizeof(*r->tables));
	t = &r->tables[r->n_tables++];
	*t = (struct reads_table){ .schema = mem_text(schema), .name = mem_text(name) };
	return t;
}

static void add_column(struct reads_table *t, const char *column)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (strcmp(t->columns[i], column) == 0)
			return;
	t->columns = mem_resize(t->columns, t->n_columns + 1, sizeof(*t->columns));
	t->columns[t->n_columns++] = mem_text(column);
}

static void add_unknown(struct reads *r, const char *schema, const char *name, const char *what)
{
	struct reads_unknown *u;

	r->unknown = mem_resize(r->unknown, r->n_unknown + 1, sizeof(*r->unknown));
	u = &r->unknown[r->n_unknown++];
	*u = (struct reads_unknown){ mem_text(schema), mem_text(name), mem_text(what) };
}

bool reads_add(struct reads *r, const char *const row[READS_COLUMNS], struct fail *why)
{
	const char *what = row[0], *schema = row[1], *name = row[2], *column = row[3], *text = row[4];

	if (!what || !schema || !name)
		return fail_set(why, "the server answers something unexpected about what a query reads");
	if (strcmp(what, "row") == 0)
		table_of(r, schema, name);
	else if (strcmp(what, "whole") == 0)
		table_of(r, schema, name)->whole = true;
	else if (strcmp(what, "column") == 0 && column)
		add_column(table_of(r, schema, name), column);
	else if (strcmp(what, "unknown") == 0 && text)
		add_unknown(r, schema, name, text);
	else if (strcmp(what, "object") == 0 && text)
		buf_addf(&r->objects, "%s%s", r->objects.len ? "," : "", text);
	else if (strcmp(what, "definition") == 0 && text)
		buf_add_text(&r->definition, text);
	else if (strcmp(what, "stranger") == 0 && text)
		buf_addf(&r->strangers, "%s%s", r->strangers.len ? ", " : "", text);
	else
		return fail_set(why, "the server answers something unexpected about what a query reads");
	return true;
}

static void free_table(struct reads_table *t)
{
	for (size_t i = 0; i < t->n_columns; i++)
		free(t->columns[i]);
	free(t->columns);
	free(t->schema);
	free(t->name);
}

void reads_fini(struct reads *r)
{
	for (size_t i = 0; i < r->n_tables; i++)
		free_table(&r->tables[i]);
	for (size_t i = 0; i < r->n_unknown; i++) {
		free(r->unknown[i].schema);
		free(r->unknown[i].name);
		free(r->unknown[i].what);
	}
	free(r->tables);
	free(r->unknown);
	buf_fini(&r->strangers);
	buf_fini(&r->objects);
	buf_fini(&r->definition);
	free(r->failed);
	*r = (struct reads){ 0 };
}

static bool may_pass(const char *sqlstate)
{
	static const char *const classes[] = { "40", "53", "55", "57", "58" };

	for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++)
		if (strncmp(sqlstate, classes[i], 2) == 0)
			return true;
	return false;
}

void reads_fail(struct reads *r, const struct fail *why)
{
	reads_fini(r);
	r->failed = mem_text(why->text);
	r->may_pass = may_pass(why->sqlstate);
}

void reads_refuse(struct reads *r, const struct fail *why)
{
	if (!r->refused.text[0] && !may_pass(why->sqlstate))
		r->refused = *why;
}

void reads_free(struct reads *all, size_t n)
{
	for (size_t i = 0; all && i < n; i++)
		reads_fini(&all[i]);
	free(all);
}

bool reads_may_pass(const struct reads *all, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (all[i].may_pass)
			return true;
	return false;
}

static void add_table_text(const struct reads_table *t, struct buf *out)
{
	buf_addf(out, "%s.%s(%s", t->schema, t->name, t->whole ? "*" : "");
	for (size_t i = 0; i < t->n_columns; i++)
		buf_addf(out, " %s", t->columns[i]);
	buf_add_text(out, ")\n");
}

void reads_text(const struct reads *all, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		const struct reads *r = &all[i];

		for (size_t k = 0; k < r->n_tables; k++)
			add_table_text(&r->tables[k], out);
		for (size_t k = 0; k < r->n_unknown; k++)
			buf_addf(out, "%s\n", r->unknown[k].what);
		buf_addf(out, "%s\n%s\n%s\n", r->strangers.len ? r->strangers.data : "",
			 r->objects.len ? r->objects.data : "", r->failed ? r->failed : "");
	}
}

void reads_objects(const struct reads *all, size_t n, struct buf *out)
{
	buf_add_char(out, '{');
	for (size_t i = 0; i < n; i++)
		if (all[i].objects.len)
			buf_addf(out, "%s%s", out->len > 1 ? "," : "", all[i].objects.data);
	buf_add_char(out, '}');
}
