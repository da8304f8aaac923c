/* Tables beside and below those that are listed, whose rows nobody is sent: partitions of the same table, and foreign tables. */
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/buf.h"

/*
 * For each listed partition without a listed ancestor: the leaves of the whole table that are not listed either. Columns: partition, whole table
 * (as the configuration writes it), leaves (some), how many there are, do all of them log their old rows, and how many partitions of the table are
 * listed. pg_partition_tree() would say the same, and wait for who alters one of them.
 */
static const char siblings_query[] =
	"WITH RECURSIVE named AS ("
	"  SELECT c.oid, n.nspname || '.' || c.relname AS name, c.relispartition"
	"  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
	"  WHERE n.nspname || '.' || c.relname = ANY ($1::text[]) AND c.relkind IN ('r', 'p')"
	"), up (first, oid) AS ("
	"  SELECT oid, oid FROM named WHERE relispartition"
	"  UNION SELECT up.first, i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.oid"
	"), top AS ("
	"  SELECT up.first, c.oid, n.nspname || '.' || c.relname AS name"
	"  FROM up JOIN pg_class c ON c.oid = up.oid AND NOT c.relispartition JOIN pg_namespace n ON n.oid = "
	"c.relnamespace"
	"  WHERE NOT EXISTS (SELECT FROM up AS u JOIN named ON named.oid = u.oid WHERE u.first = up.first AND u.oid <> "
	"u.first)"
	"), down (top, oid) AS ("
	"  SELECT oid, oid FROM top"
	"  UNION SELECT down.top, i.inhrelid FROM down JOIN pg_inherits i ON i.inhparent = down.oid"
	"   WHERE i.inhrelid NOT IN (SELECT oid FROM named)"
	"), untold AS ("
	"  SELECT down.top, c.oid, c.relreplident, row_number() OVER (PARTITION BY down.top ORDER BY c.oid) AS number"
	"  FROM down JOIN pg_class c ON c.oid = down.oid WHERE c.relkind = 'r'"
	"), leaf AS ("
	"  SELECT top, string_agg(oid::regclass::text, ', ' ORDER BY number) FILTER (WHERE number <= 3) AS names,"
	"   count(*) AS n, bool_and(relreplident = 'f') AS is_full FROM untold GROUP BY top"
	") "
	"SELECT named.name, top.name, leaf.names, leaf.n, leaf.is_full, count(*) OVER (PARTITION BY top.oid)"
	" FROM top JOIN named ON named.oid = top.first JOIN leaf ON leaf.top = top.oid ORDER BY 1";

static const struct rules_section *section_of(const struct check *c, const char *name)
{
	for (size_t i = 0; i < rules_n_tables(c->rules); i++) {
		const struct rules_table *t = rules_table(c->rules, i);
		size_t n = strlen(t->schema);

		if (t->n_sections && strncmp(name, t->schema, n) == 0 && name[n] == '.' &&
		    strcmp(name + n + 1, t->name) == 0)
			return t->sections[0];
	}
	return NULL;
}

enum sibling_columns { PARTITION, WHOLE, LEAVES, N_LEAVES, IS_FULL, N_LISTED };

/* The setting is a fix by itself only if nothing else must follow: a replica identity, a publication, another section that goes. */
static void say_siblings(struct check *c, const struct rules_section *s, const PGresult *rows, int row)
{
	const char *whole = PQgetvalue(rows, row, WHOLE);
	bool is_enough = PQgetvalue(rows, row, IS_FULL)[0] == 't' &&
			 strcmp(PQgetvalue(rows, row, N_LISTED), "1") == 0 && !check_is_pgoutput(c);
	struct buf fix = { 0 };

	if (is_enough)
		buf_addf(&fix, "tables.%s.from = \"%s\"", s->conf->name, whole);
	else
		buf_addf(&fix,
			 "let one section of tables name %s instead of its partitions, then run walpush sql; or list "
			 "the "
			 "other partitions too",
			 whole);
	check_add(c, CHECK_WARNING, is_enough ? CHECK_CONF : CHECK_WORDS, fix.data,
		  "%s (line %u) is a partition of %s, of which %s (%s in all) and those made later are not listed: "
		  "their rows "
		  "are not sent, and a row that moves there counts as deleted",
		  PQgetvalue(rows, row, PARTITION), s->conf->line, whole, PQgetvalue(rows, row, LEAVES),
		  PQgetvalue(rows, row, N_LEAVES));
	buf_fini(&fix);
}

static PGresult *ask_about_listed(struct check *c, const char *sql)
{
	struct buf tables = { 0 };
	PGresult *result;

	rules_catalog_param(c->rules, &tables);
	result = check_ask(c, sql, 1, (const char *[]){ tables.data });
	buf_fini(&tables);
	return result;
}

void check_siblings(struct check *c)
{
	PGresult *rows = ask_about_listed(c, siblings_query);
	size_t before = c->n_findings;

	for (int i = 0; rows && i < PQntuples(rows); i++) {
		const struct rules_section *s = section_of(c, PQgetvalue(rows, i, PARTITION));

		if (s) /* a query that decides permission may read one partition on purpose */
			say_siblings(c, s, rows, i);
	}
	if (c->n_findings == before)
		check_ok(c, "no table is listed by some of its partitions alone");
	PQclear(rows);
}

static const char foreign_query[] =
	"WITH RECURSIVE kin (top, oid) AS ("
	"  SELECT c.oid, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
	"  WHERE n.nspname || '.' || c.relname = ANY ($1::text[])"
	"  UNION SELECT kin.top, i.inhrelid FROM kin JOIN pg_inherits i ON i.inhparent = kin.oid"
	") SELECT c.oid::regclass, min(kin.top::regclass::text) FROM kin JOIN pg_class c ON c.oid = kin.oid"
	" WHERE c.relkind = 'f' AND kin.top <> kin.oid GROUP BY c.oid ORDER BY 1";

void check_foreign(struct check *c)
{
	PGresult *rows = ask_about_listed(c, foreign_query);

	for (int i = 0; rows && i < PQntuples(rows); i++)
		check_add(c, CHECK_WARNING, CHECK_WORDS,
			  "let the whole table have its rows here, or list tables that have",
			  "%s is a foreign table and a child of %s: its rows change on another server, and nobody "
			  "hears of them",
			  PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1));
	if (rows && !PQntuples(rows))
		check_ok(c, "no listed table has rows on another server");
	PQclear(rows);
}
