#include "needs.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/mem.h"
#include "walpush/rules/reads.h"
#include "walpush/text/sqltext.h"

/* A view depends on the columns that it names. It depends on a table without columns if it names none (count(*): any column will
 * do), or if it takes the whole row; only the stored form of the query shows which. */
#define READ                                                                                                           \
	"WITH read AS (\n"                                                                                             \
	"    SELECT d.refobjid AS oid, array_agg(DISTINCT d.refobjsubid) FILTER (WHERE d.refobjsubid > 0) AS "         \
	"columns,\n"                                                                                                   \
	"           bool_or(r.ev_action::text ~ ':varattno 0 ') AS whole\n"                                            \
	"    FROM pg_depend d\n"                                                                                       \
	"    JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid\n"                            \
	"    JOIN pg_class v ON v.oid = r.ev_class AND v.relnamespace = pg_my_temp_schema()\n"                         \
	"                   AND starts_with(v.relname::text, '" READS_VIEW "')\n"                                      \
	"    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> v.oid\n"                                      \
	"    GROUP BY d.refobjid\n"                                                                                    \
	"), wanted AS (\n"                                                                                             \
	"    SELECT c.oid, c.relnamespace, read.whole, a.attname, a.attnum\n"                                          \
	"    FROM read\n"                                                                                              \
	"    JOIN pg_class c ON c.oid = read.oid AND c.relnamespace <> 'pg_catalog'::regnamespace\n"                   \
	"    JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped\n"                                       \
	"     AND a.attnum = ANY (coalesce(read.columns, ARRAY[1]))\n"                                                 \
	")"

/* Functions, operators and types that the queries name are found in their schemas by who runs them. */
static const char grants[] = READ
	", named AS (\n"
	"    SELECT DISTINCT d.refclassid, d.refobjid\n"
	"    FROM pg_depend d\n"
	"    JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid\n"
	"    JOIN pg_class v ON v.oid = r.ev_class AND v.relnamespace = pg_my_temp_schema()\n"
	"                   AND starts_with(v.relname::text, '" READS_VIEW "')\n"
	"), called AS (\n"
	"    SELECT f.oid, f.pronamespace FROM named n JOIN pg_operator o ON n.refclassid = 'pg_operator'::regclass "
	"AND "
	"o.oid = n.refobjid\n"
	"    JOIN pg_proc f ON f.oid = o.oprcode\n"
	"    UNION SELECT f.oid, f.pronamespace FROM named n JOIN pg_proc f ON n.refclassid = 'pg_proc'::regclass AND "
	"f.oid "
	"= n.refobjid\n"
	"), within AS (\n"
	"    SELECT relnamespace AS schema FROM wanted\n"
	"    UNION SELECT pronamespace FROM called\n"
	"    UNION SELECT o.oprnamespace FROM named n JOIN pg_operator o ON n.refclassid = 'pg_operator'::regclass AND "
	"o.oid "
	"= n.refobjid\n"
	"    UNION SELECT t.typnamespace FROM named n JOIN pg_type t ON n.refclassid = 'pg_type'::regclass AND t.oid = "
	"n.refobjid\n"
	")\n"
	"SELECT CASE WHEN bool_or(whole) THEN format('GRANT SELECT ON TABLE %s TO %I;', oid::regclass, granted)\n"
	"            ELSE format('GRANT SELECT (%s) ON TABLE %s TO %I;',\n"
	"                        string_agg(quote_ident(attname), ', ' ORDER BY attnum), oid::regclass, granted) END\n"
	"FROM wanted CROSS JOIN (SELECT @ROLE@::text AS granted) AS role\n"
	"GROUP BY oid, granted\n"
	"HAVING CASE WHEN bool_or(whole) THEN NOT has_table_privilege(granted, oid, 'SELECT')\n"
	"            ELSE bool_or(NOT has_column_privilege(granted, oid, attnum, 'SELECT')) END\n"
	"UNION ALL\n"
	"SELECT DISTINCT format('GRANT USAGE ON SCHEMA %s TO %I;', schema::regnamespace, granted)\n"
	"FROM within CROSS JOIN (SELECT @ROLE@::text AS granted) AS role\n"
	"WHERE schema <> pg_my_temp_schema() AND NOT has_schema_privilege(granted, schema, 'USAGE')\n"
	"UNION ALL\n"
	"SELECT DISTINCT format('GRANT EXECUTE ON FUNCTION %s TO %I;', oid::regprocedure, granted)\n"
	"FROM called CROSS JOIN (SELECT @ROLE@::text AS granted) AS role\n"
	"WHERE pronamespace <> 'pg_catalog'::regnamespace AND NOT has_function_privilege(granted, oid, 'EXECUTE')\n"
	"ORDER BY 1";

/* Of a table that the queries read in part, everything is revoked and the part granted again: REVOKE SELECT of a table takes its columns too. The
 * server's own tables are left out, because `wanted` does not have them. */
static const char excess[] = READ
	", needed AS (\n"
	"    SELECT oid, bool_or(whole) AS whole, array_agg(attnum) AS attnums,\n"
	"           string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS names\n"
	"    FROM wanted GROUP BY oid\n"
	"), held AS (\n"
	"    SELECT r.rolname, c.oid, x.attnum, x.attname, x.privilege_type AS privilege\n"
	"    FROM pg_roles r\n"
	"    JOIN pg_class c ON c.relowner <> r.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')\n"
	"     AND c.relnamespace::regnamespace::text !~ '^(pg_|information_schema$)'\n"
	"    CROSS JOIN LATERAL (\n"
	"        SELECT 0::int2, NULL::name, acl.* FROM aclexplode(c.relacl) AS acl\n"
	"        UNION ALL\n"
	"        SELECT a.attnum, a.attname, acl.* FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) AS acl\n"
	"        WHERE a.attrelid = c.oid AND NOT a.attisdropped\n"
	"    ) AS x (attnum, attname, grantor, grantee, privilege_type, is_grantable)\n"
	"    WHERE r.rolname = @ROLE@ AND x.grantee = r.oid\n"
	"), spare AS (\n"
	"    SELECT rolname, oid, privilege, names, whole,\n"
	"           privilege || coalesce(' (' || string_agg(quote_ident(attname), ', ' ORDER BY held.attnum) || ')', "
	"'') AS "
	"what\n"
	"    FROM held LEFT JOIN needed USING (oid)\n"
	"    WHERE (privilege = 'SELECT' AND (whole OR held.attnum = ANY (attnums))) IS NOT TRUE\n"
	"    GROUP BY rolname, oid, privilege, names, whole, held.attnum = 0\n"
	")\n"
	"SELECT oid::regclass::text, string_agg(what, ', ' ORDER BY what),\n"
	"       format('REVOKE ALL ON TABLE %s FROM %I;', oid::regclass, rolname),\n"
	"       CASE WHEN whole THEN format('GRANT SELECT ON TABLE %s TO %I;', oid::regclass, rolname)\n"
	"            WHEN names <> '' THEN format('GRANT SELECT (%s) ON TABLE %s TO %I;', names, oid::regclass, "
	"rolname) "
	"END\n"
	"FROM spare GROUP BY oid, rolname, names, whole\n"
	"ORDER BY 1";

/* The text, with `role` for each @ROLE@. */
static void add_for(struct buf *out, const char *text, const char *role)
{
	static const char mark[] = "@ROLE@";

	for (const char *at; (at = strstr(text, mark)); text = at + strlen(mark)) {
		buf_add(out, text, (size_t)(at - text));
		buf_add_text(out, role);
	}
	buf_add_text(out, text);
}

void needs_grants(struct buf *out, const char *role)
{
	add_for(out, grants, role);
}

void needs_excess(struct buf *out, const char *role)
{
	add_for(out, excess, role);
}

/* A standard message has the row in `data`, unless a query gives `data`. */
static bool sends_columns(const struct rules_table *t)
{
	for (size_t i = 0; i < t->n_sections; i++)
		if (!t->sections[i]->data.sql && t->sections[i]->message.n == 0)
			return true;
	return false;
}

/* Each standard message names the row. */
static bool sends_key(const struct rules_table *t)
{
	for (size_t i = 0; i < t->n_sections; i++)
		if (t->sections[i]->message.n == 0)
			return true;
	return false;
}

static void add_names(struct buf *out, const char *const *names, size_t n)
{
	buf_add_text(out, "ARRAY[");
	for (size_t i = 0; i < n; i++) {
		buf_add_text(out, i ? ", " : "");
		sqltext_literal(out, names[i]);
	}
	buf_add_text(out, "]::text[]");
}

void needs_matches(struct buf *out, const struct rules_table *pattern)
{
	struct buf head = { 0 };

	buf_add(&head, pattern->schema, strcspn(pattern->schema, "*"));
	buf_add_text(out,
		     "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND starts_with(n.nspname::text, ");
	sqltext_literal(out, buf_slice(&head).at);
	buf_add_text(out, ")\n         AND right(substr(n.nspname::text, length(");
	sqltext_literal(out, buf_slice(&head).at);
	buf_add_text(out, ") + 1), length(");
	sqltext_literal(out, strchr(pattern->schema, '*') + 1);
	buf_add_text(out, ")) = ");
	sqltext_literal(out, strchr(pattern->schema, '*') + 1);
	buf_fini(&head);
}

/* The database finds the columns, because the rules may not be bound. The WAL has no value of a virtual column. `schema` is
 * SQL. */
static void add_all_but(struct buf *out, const char *schema, const char *name, const struct texts *quiet)
{
	const char **names = mem_new_array(quiet->n, sizeof(*names));

	for (size_t i = 0; i < quiet->n; i++)
		names[i] = quiet->at[i].text;
	buf_addf(out,
		 "\n         || ARRAY(SELECT q.attname::text FROM pg_attribute q JOIN pg_class k ON k.oid = q.attrelid"
		 "\n                  JOIN pg_namespace s ON s.oid = k.relnamespace"
		 "\n                  WHERE q.attnum > 0 AND NOT q.attisdropped AND q.attgenerated <> 'v'"
		 "\n                    AND s.nspname = %s AND k.relname = ",
		 schema);
	sqltext_literal(out, name);
	buf_add_text(out, "\n                    AND q.attname <> ALL (");
	add_names(out, names, quiet->n);
	buf_add_text(out, "))");
	free((void *)names);
}

/* `schema` is SQL. */
static void add_wanted(struct buf *out, const char *schema, const struct rules_table *t)
{
	const char **columns;
	size_t n = rules_identity_columns(t, &columns);

	buf_addf(out, "%s, ", schema);
	sqltext_literal(out, t->name);
	buf_add_text(out, ", ");
	add_names(out, columns, n);
	for (size_t k = 0; k < t->n_sections; k++)
		if (t->sections[k]->conf->quiet.n)
			add_all_but(out, schema, t->name, &t->sections[k]->conf->quiet);
	buf_addf(out, ", %s, %s", sends_columns(t) ? "true" : "false", sends_key(t) ? "true" : "false");
	free((void *)columns);
}

static void add_tables(struct buf *out, const struct rules *r, needs_row *row)
{
	struct buf schema = { 0 };

	for (size_t i = 0; i < rules_n_tables(r); i++) {
		buf_clear(&schema);
		sqltext_literal(&schema, rules_table(r, i)->schema);
		buf_add_text(out, i ? ",\n        (" : "VALUES\n        (");
		row(out, schema.data, rules_table(r, i));
		buf_add_char(out, ')');
	}
	buf_fini(&schema);
}

void needs_rows(struct buf *out, const struct rules *r, needs_row *row)
{
	size_t n = rules_is_expanded(r) ? 0 : rules_n_patterns(r);

	add_tables(out, r, row);
	for (size_t i = 0; i < n; i++) {
		const struct rules_table *t = rules_pattern(r, i);

		buf_add_text(out, i || rules_n_tables(r) ? "\n        UNION ALL SELECT " : "SELECT ");
		row(out, "n.nspname::text", t);
		buf_add_text(
			out,
			" FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')"
			"\n         AND c.relname = ");
		sqltext_literal(out, t->name);
		buf_add_text(out, " AND ");
		needs_matches(out, t);
	}
}

void needs_wanted(struct buf *out, const struct rules *r)
{
	needs_rows(out, r, add_wanted);
}

void needs_identity(struct buf *out, const struct rules *r, const char *more)
{
	buf_add_text(out,
		     "SELECT quoted, lacks, large, schema, name FROM (\n"
		     "    SELECT c.oid::regclass::text AS quoted,\n"
		     "           CASE WHEN i.indrelid IS NULL THEN ''\n"
		     "                ELSE string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)\n"
		     "                     FILTER (WHERE a.attname = ANY (w.columns || key.columns)) END AS lacks,\n"
		     "           string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)\n"
		     "           FILTER (WHERE w.sent AND a.attlen = -1 AND a.attstorage <> 'p') AS large,\n"
		     "           min(w.schema) AS schema, min(w.name) AS name\n"
		     "    FROM (");
	needs_wanted(out, r);
	if (more)
		buf_addf(out, "\n        UNION ALL %s", more);
	buf_add_text(out,
		     "\n"
		     "    ) AS w (schema, name, columns, sent, keyed)\n"
		     "    JOIN pg_namespace n ON n.nspname = w.schema\n"
		     "    JOIN pg_class root ON root.relnamespace = n.oid AND root.relname = w.name AND root.relkind "
		     "IN ('r', 'p')\n"
		     "    CROSS JOIN LATERAL (\n"
		     "        SELECT ARRAY(SELECT p.attname::text\n"
		     "            FROM pg_index x JOIN pg_attribute p ON p.attrelid = x.indrelid\n"
		     "            WHERE w.keyed AND x.indrelid = root.oid AND x.indisprimary\n"
		     "              AND p.attnum = ANY (x.indkey::int2[])) AS columns\n"
		     "    ) AS key\n"
		     "    CROSS JOIN LATERAL (\n"
		     "        WITH RECURSIVE kin (oid) AS (\n"
		     "            SELECT root.oid UNION SELECT i.inhrelid FROM kin JOIN pg_inherits i ON i.inhparent = "
		     "kin.oid\n"
		     "        ) SELECT oid FROM kin\n"
		     "    ) AS kin\n"
		     "    JOIN pg_class c ON c.oid = kin.oid AND c.relkind = 'r'\n"
		     "    LEFT JOIN pg_index i ON i.indrelid = c.oid\n"
		     "     AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident)\n"
		     "    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped\n"
		     "     AND a.attnum <> ALL (coalesce(i.indkey::int2[], '{}'))\n"
		     "    WHERE c.relreplident <> 'f'\n"
		     "    GROUP BY c.oid, i.indrelid\n"
		     ") AS found\n"
		     "WHERE lacks IS NOT NULL OR large IS NOT NULL");
}

const char needs_creators[] =
	"SELECT who, schema, coalesce((SELECT string_agg(format('GRANT CREATE ON SCHEMA %s TO %I;', schema, rolname), "
	"' ' "
	"ORDER BY rolname)\n"
	"   FROM pg_roles WHERE oid <> owner AND who = 'PUBLIC' AND NOT rolsuper\n"
	"   AND oid IN (SELECT relowner FROM pg_class WHERE relnamespace = namespace AND relkind IN ('r', 'p'))) || ' "
	"', '')\n"
	"  || format('REVOKE CREATE ON SCHEMA %s FROM %s;', schema, who) AS fix\n"
	"FROM (SELECT DISTINCT n.oid AS namespace, n.nspowner AS owner, quote_ident(n.nspname) AS schema,\n"
	"   CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS who\n"
	"  FROM pg_namespace n, aclexplode(n.nspacl) a\n"
	"  WHERE n.nspname = ANY (string_to_array('" SQLTEXT_PATH
	"', ',')) AND n.nspname !~ '^pg_' AND a.privilege_type = 'CREATE'\n"
	"  AND a.grantee <> n.nspowner\n"
	"  AND a.grantee NOT IN (SELECT oid FROM pg_roles WHERE rolsuper\n"
	"   UNION SELECT datdba FROM pg_database WHERE datname = current_database()\n"
	"   UNION SELECT min(relowner) FROM pg_class WHERE relnamespace = n.oid AND relkind IN ('r', 'p')\n"
	"   HAVING count(DISTINCT relowner) = 1)) AS creator";
