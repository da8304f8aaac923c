#include "setup_filters.h"

#include "walpush/rules/rowfilter.h"
#include "walpush/text/sqltext.h"

static const char table_text[] = "CREATE TEMP TABLE walpush_filter (oid oid, condition text);\n";

static const char head_text[] =
	"-- ---- Row filters "
	"---------------------------------------------------------------------------------------------\n"
	"\n"
	"-- Rows that no section counts (when) are not sent, where nothing can tell the difference.\n"
	"CREATE TEMP TABLE walpush_wish AS\n"
	"SELECT p.oid, w.condition, CASE\n"
	"    WHEN w.unfit IS NOT NULL THEN w.unfit\n"
	"    WHEN current_setting('server_version_num')::int < 150000 THEN 'PostgreSQL has row filters since 15'\n"
	"    WHEN EXISTS (SELECT FROM walpush_found f WHERE f.schema = w.schema AND f.name = w.name)\n"
	"    THEN 'an admit query reads it'\n"
	"    WHEN c.relkind = 'p'\n"
	"    THEN 'it is partitioned, and UPDATE would fail in a partition that is made later'\n"
	"    WHEN c.relreplident <> 'f' THEN 'its REPLICA IDENTITY is not FULL'\n"
	"    WHEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = ANY (w.columns)\n"
	"                 AND (a.attcollation >= 16384\n"
	"                      OR a.atttypid <> ALL ('{bool,int2,int4,int8,text,varchar,uuid}'::regtype[])))\n"
	"    THEN 'a column of when is of a type, or has a collation, that a filter compares in another way'\n"
	"    END AS unfit\n"
	"FROM (VALUES\n        ";

/* Behind the values. A CHECK constraint is printed as a filter is, so an equal one can be told by its text. */
static const char wishes_text[] =
	"\n"
	"    ) AS w (schema, name, columns, condition, unfit)\n"
	"JOIN pg_namespace n ON n.nspname = w.schema\n"
	"JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name\n"
	"JOIN walpush_published p ON p.oid = c.oid;\n"
	"SELECT format('note: no row filter for %s: %s', oid::regclass, unfit) FROM walpush_wish\n"
	"WHERE unfit IS NOT NULL\n"
	"ORDER BY 1;\n"
	"DELETE FROM walpush_wish WHERE unfit IS NOT NULL;\n"
	"SELECT format('CREATE TEMP TABLE %I (LIKE %s, CHECK (%s))', 'walpush_rows_' || oid, oid::regclass, "
	"condition)\n"
	"FROM walpush_wish\n"
	"\\gexec\n"
	"INSERT INTO walpush_filter\n"
	"SELECT w.oid, pg_get_expr(k.conbin, k.conrelid) FROM walpush_wish w\n"
	"JOIN pg_class c ON c.relnamespace = pg_my_temp_schema() AND c.relname = 'walpush_rows_' || w.oid\n"
	"JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'c';\n"
	"SELECT format('DROP TABLE pg_temp.%I', 'walpush_rows_' || oid) FROM walpush_wish\n"
	"\\gexec\n"
	"DROP TABLE walpush_wish;\n";

static void add_columns(struct buf *out, const struct rules_table *t)
{
	size_t n = 0;

	buf_add_text(out, "ARRAY[");
	for (size_t i = 0; i < t->n_sections; i++) {
		for (size_t k = 0; k < t->sections[i]->conf->n_when; k++) {
			buf_add_text(out, n++ ? ", " : "");
			sqltext_literal(out, t->sections[i]->conf->when[k].column);
		}
	}
	buf_add_text(out, "]::text[]");
}

static void add_condition(struct buf *out, const struct rules_table *t)
{
	struct buf condition = { 0 };

	rowfilter_add(&condition, t);
	sqltext_literal(out, condition.data);
	buf_fini(&condition);
}

static bool has_when(const struct rules_table *t)
{
	for (size_t i = 0; i < t->n_sections; i++)
		if (t->sections[i]->n_when)
			return true;
	return false;
}

static void add_wish(struct buf *out, const struct rules *r, const struct rules_table *t)
{
	const char *unfit = rowfilter_unfit(r, t);

	sqltext_literal(out, t->schema);
	buf_add_text(out, ", ");
	sqltext_literal(out, t->name);
	buf_add_text(out, ", ");
	add_columns(out, t);
	buf_add_text(out, ", ");
	if (unfit) {
		buf_add_text(out, "NULL, ");
		sqltext_literal(out, unfit);
	} else {
		add_condition(out, t);
		buf_add_text(out, ", NULL");
	}
}

static size_t add_wishes(struct buf *out, const struct rules *r)
{
	size_t n = 0;

	for (size_t i = 0; i < rules_n_tables(r); i++) {
		if (!has_when(rules_table(r, i)))
			continue;
		buf_add_text(out, n++ ? ",\n        (" : "(");
		add_wish(out, r, rules_table(r, i));
		buf_add_char(out, ')');
	}
	return n;
}

void setup_filters(struct buf *out, const struct rules *r, bool wanted)
{
	struct buf wishes = { 0 };

	buf_add_text(out, table_text);
	if (wanted && add_wishes(&wishes, r)) {
		buf_add_text(out, head_text);
		buf_add_slice(out, buf_slice(&wishes));
		buf_add_text(out, wishes_text);
	}
	buf_add_text(out, "\n");
	buf_fini(&wishes);
}
