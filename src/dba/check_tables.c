/* The tables and columns that the configuration names, and whether the WAL holds enough of their old rows. */
#include "parts.h"

#include <stdlib.h>

#include "walpush/base/buf.h"
#include "needs.h"
#include "walpush/text/sqltext.h"

static const char *value_of(const void *rows, size_t row, size_t column)
{
	return PQgetisnull(rows, (int)row, (int)column) ? NULL : PQgetvalue(rows, (int)row, (int)column);
}

static void read_catalog(struct check *c)
{
	struct buf list = { 0 }, patterns = { 0 };
	struct fail why = { 0 };
	PGresult *result;

	rules_catalog_param(c->rules, &list);
	rules_patterns_param(c->rules, &patterns);
	result = check_ask(c, catalog_query, 2, (const char *[]){ list.data, patterns.data });
	buf_fini(&list);
	buf_fini(&patterns);
	if (!result)
		return;
	c->catalog = catalog_new();
	if (!catalog_add_rows(c->catalog, result, (size_t)PQntuples(result), value_of, &why))
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "report this as a bug of walpush", "%s", why.text);
	PQclear(result);
}

/* Finds another object with this name: a view, or a table of another schema. False in the second column: it is not a table. */
static const char elsewhere_query[] =
	"SELECT n.nspname || '.' || c.relname, c.relkind IN ('r', 'p')"
	" FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
	" WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND (c.relname = $2 OR lower(c.relname) = lower($2))"
	"  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
	" ORDER BY (n.nspname = $1) DESC, c.relkind = 'r' DESC, 1 LIMIT 1";

static void missing_table(struct check *c, const struct rules_table *t, const struct fail *why)
{
	PGresult *result = check_ask(c, elsewhere_query, 2, (const char *[]){ t->schema, t->name });
	struct buf fix = { 0 };

	if (!result)
		return;
	if (PQntuples(result) == 1 && PQgetvalue(result, 0, 1)[0] == 'f') {
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "name the table from which it reads",
			  "line %u: %s is a view or a foreign table: only tables have changes", why->line,
			  PQgetvalue(result, 0, 0));
	} else if (PQntuples(result) == 1 && t->n_sections) {
		buf_addf(&fix, "tables.%s.from = \"%s\"", t->sections[0]->conf->name, PQgetvalue(result, 0, 0));
		check_add(c, CHECK_FAILURE, CHECK_CONF, fix.data, "%s", why->text);
	} else {
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "run the application's migrations, or correct the line", "%s",
			  why->text);
	}
	buf_fini(&fix);
	PQclear(result);
}

static void bind_table(struct check *c, size_t at)
{
	const struct rules_table *t = rules_table(c->rules, at);
	struct fail why = { 0 };

	if (rules_bind_table(c->rules, at, c->catalog, &why))
		return;
	check_about(c, t);
	if (!catalog_find(c->catalog, t->schema, t->name))
		missing_table(c, t, &why);
	else
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "run the application's migrations, or correct the line", "%s",
			  why.text);
	check_about(c, NULL);
}

static bool expand(struct check *c)
{
	struct fail why = { 0 };

	if (!c->catalog)
		return false;
	if (rules_expand(c->rules, c->catalog, &why))
		return true;
	check_add(c, CHECK_FAILURE, CHECK_WORDS, "narrow the patterns, or share the tenants among several walpush",
		  "%s", why.text);
	return false;
}

void check_tables(struct check *c)
{
	size_t before = c->n_findings;

	read_catalog(c);
	if (!expand(c))
		return;
	for (size_t i = 0; i < rules_n_tables(c->rules); i++)
		bind_table(c, i);
	if (c->n_findings == before)
		check_ok(c, "%zu tables, with all columns that are named", rules_n_tables(c->rules));
}

/* Of each listed table with children that hold rows: schema, name, how many there are, how many of them are listed themselves; is the table
 * partitioned? */
static const char children_query[] =
	"WITH RECURSIVE listed AS ("
	"  SELECT c.oid, n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
	"  WHERE n.nspname || '.' || c.relname = ANY ($1::text[]) AND c.relkind IN ('r', 'p')"
	"), kin (root, oid) AS ("
	"  SELECT oid, oid FROM listed UNION SELECT kin.root, i.inhrelid FROM kin JOIN pg_inherits i ON i.inhparent = "
	"kin.oid"
	") SELECT l.nspname, l.relname, count(*), count(*) FILTER (WHERE c.oid IN (SELECT oid FROM listed)), l.relkind "
	"= 'p'"
	" FROM listed l JOIN kin ON kin.root = l.oid JOIN pg_class c ON c.oid = kin.oid"
	" WHERE c.oid <> l.oid AND c.relkind = 'r' GROUP BY l.oid, l.nspname, l.relname, l.relkind ORDER BY 1, 2";

static void say_children(struct check *c, const PGresult *children, int row)
{
	const struct rules_table *t =
		rules_listed(c->rules, PQgetvalue(children, row, 0), PQgetvalue(children, row, 1));
	int n = atoi(PQgetvalue(children, row, 2)), listed = atoi(PQgetvalue(children, row, 3));
	bool is_partitioned = PQgetvalue(children, row, 4)[0] == 't';

	if (!t)
		return; /* "a.b" and "c" are written as "a" and "b.c" are */
	check_about(c, t);
	if (n == listed && is_partitioned && t->n_sections)
		check_add(c, CHECK_WARNING, CHECK_WORDS, "remove its section",
			  "%s.%s is partitioned: its section has no effect, those of its partitions do", t->schema,
			  t->name);
	else
		check_ok(c, "%d of the %d children of %s.%s count as it does, and those made later%s", n - listed, n,
			 t->schema, t->name,
			 check_is_pgoutput(c) && !is_partitioned ? ", once the publication has them" : "");
}

static bool is_pushed(const struct check *c, const struct catalog_table *table)
{
	const struct rules_table *t = rules_listed(c->rules, table->schema, table->name);

	return t && t->n_sections;
}

/* Only for tables that are pushed: if a table decides permission, a row of a child counts as a row of each parent. */
static void say_parents(struct check *c)
{
	const struct catalog_kin *kin;

	for (size_t i = 0; c->catalog && (kin = catalog_kin(c->catalog, i)); i++) {
		struct buf schema = { 0 }, name = { 0 };
		const struct catalog_table *first;

		buf_add_json(&schema, slice_of(kin->schema));
		buf_add_json(&name, slice_of(kin->name));
		first = catalog_parent(c->catalog, buf_slice(&schema), buf_slice(&name), 0);
		if (kin->parent && kin->parent != first && is_pushed(c, kin->parent) &&
		    !rules_listed(c->rules, kin->schema, kin->name))
			check_add(c, CHECK_WARNING, CHECK_WORDS,
				  "give it a section of its own in tables, or let it inherit one of them",
				  "%s.%s is a child of %s.%s and %s.%s: its rows are sent as those of the first; "
				  "listeners to the second are told to refetch with each change",
				  kin->schema, kin->name, first->schema, first->name, kin->parent->schema,
				  kin->parent->name);
		buf_fini(&schema);
		buf_fini(&name);
	}
}

void check_partitions(struct check *c)
{
	size_t before = c->n_findings;
	struct buf all = { 0 };
	PGresult *children;

	rules_catalog_param(c->rules, &all);
	children = check_ask(c, children_query, 1, (const char *[]){ all.data });
	buf_fini(&all);
	for (int i = 0; i < PQntuples(children); i++)
		say_children(c, children, i);
	check_about(c, NULL);
	PQclear(children);
	say_parents(c);
	if (c->n_findings == before)
		check_ok(c, "no table has partitions or other children");
}

static void say_identity(struct check *c, const char *table, const char *lacks, const char *large)
{
	struct buf fix = { 0 };

	buf_addf(&fix, "ALTER TABLE %s REPLICA IDENTITY FULL;", table);
	if (!lacks)
		check_add(c, CHECK_WARNING, CHECK_SQL, fix.data,
			  "%s: large values of %s are missing in `data` when an update leaves them alone", table,
			  large);
	else if (*lacks)
		check_add(c, CHECK_FAILURE, CHECK_SQL, fix.data,
			  "%s: the log does not hold the old value of %s, which the rules need", table, lacks);
	else
		check_add(c, CHECK_FAILURE, CHECK_SQL, fix.data,
			  check_is_pgoutput(c)
				  ? "%s has no replica identity: once it is published, the application's "
				    "own UPDATE and DELETE of it fail"
				  : "%s has no replica identity: its updates and deletes are not sent at all",
			  table);
	buf_fini(&fix);
}

void check_identity(struct check *c)
{
	struct buf sql = { 0 };
	PGresult *result;

	if (!rules_n_tables(c->rules)) {
		check_ok(c, "no table is listed");
		return;
	}
	needs_identity(&sql, c->rules, NULL);
	result = check_ask(c, sql.data, 0, NULL);
	buf_fini(&sql);
	if (!result)
		return;
	for (int i = 0; i < PQntuples(result); i++) {
		check_about(c, rules_listed(c->rules, PQgetvalue(result, i, 3), PQgetvalue(result, i, 4)));
		say_identity(c, PQgetvalue(result, i, 0), PQgetisnull(result, i, 1) ? NULL : PQgetvalue(result, i, 1),
			     PQgetvalue(result, i, 2));
	}
	if (PQntuples(result) == 0)
		check_ok(c, "the log holds what the rules need of old rows");
	PQclear(result);
}
