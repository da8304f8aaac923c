#include "walpush/catalog.h"

#include <errno.h>
#include <stdlib.h>

#include "walpush/mem.h"

/* A domain leads to its base type in as many steps as it has layers; a true array is known by its output function, since
 * int2vector, name and others have an element type too but print differently. So is hstore, whose OID is another in each database and
 * which therefore gets CATALOG_HSTORE. attgenerated exists since 12. */
const char catalog_query[] =
	"WITH RECURSIVE base (declared, type) AS ("
	"  SELECT oid, oid FROM pg_catalog.pg_type"
	"  UNION ALL"
	"  SELECT b.declared, t.typbasetype FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type"
	"   WHERE t.typtype = 'd'),"
	" resolved AS ("
	"  SELECT b.declared, CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_proc p"
	"         WHERE p.oid = t.typoutput AND p.proname = 'hstore_out') THEN 4294967295 ELSE t.oid::bigint END AS "
	"type,"
	"         CASE WHEN t.typoutput = 'pg_catalog.array_out'::pg_catalog.regproc THEN t.typelem ELSE 0 END AS "
	"element"
	"    FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type WHERE t.typtype <> 'd')"
	" SELECT n.nspname::text, c.relname::text, a.attname::text, r.type::text,"
	"        COALESCE(e.type, r.element::bigint)::text,"
	"        EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p'"
	"                AND a.attnum = ANY (k.conkey)),"
	"        EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'"
	"                AND k.conkey = ARRAY[a.attnum]),"
	"        a.atttypid::text, a.attgenerated = 'v'"
	"   FROM (SELECT DISTINCT pg_catalog.unnest($1::text[]) AS name) w"
	"   JOIN pg_catalog.pg_namespace n ON n.nspname = pg_catalog.split_part(w.name, '.', 1)"
	"   JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')"
	"        AND c.relname = pg_catalog.substr(w.name, pg_catalog.strpos(w.name, '.') + 1)"
	"   JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
	"   JOIN resolved r ON r.declared = a.atttypid"
	"   LEFT JOIN resolved e ON e.declared = r.element"
	"  ORDER BY n.nspname, c.relname, a.attnum";

enum { ROW_SCHEMA, ROW_TABLE, ROW_COLUMN, ROW_TYPE, ROW_ELEMENT, ROW_IN_KEY, ROW_FOREIGN, ROW_DECLARED, ROW_VIRTUAL };

struct catalog {
	struct catalog_table **tables; /* each allocated alone, so that its address stays */
	size_t n_tables;
	bool keeps_ids;
};

struct catalog *catalog_new(void)
{
	return mem_new(sizeof(struct catalog));
}

void catalog_keep_ids(struct catalog *c)
{
	c->keeps_ids = true;
}

static void free_table(struct catalog_table *t)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		struct catalog_column *c = &t->columns[i];

		free(c->name);
		free(c->json_name);
		free(c->data_key);
		free((char *)c->member.at);
	}
	free(t->columns);
	free(t->schema);
	free(t->name);
	free(t->json_schema);
	free(t->json_name);
	free(t);
}

void catalog_free(struct catalog *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_tables; i++)
		free_table(c->tables[i]);
	free(c->tables);
	free(c);
}

static char *json_text(const char *text)
{
	struct buf out = { 0 };

	buf_add_json(&out, slice_of(text));
	return buf_steal(&out);
}

static bool parse_oid(const char *text, uint32_t *out)
{
	char *end;
	unsigned long n;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (*end || errno || n > UINT32_MAX)
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool parse_bool(const char *text, bool *out)
{
	*out = text && *text == 't';
	return text && (strcmp(text, "t") == 0 || strcmp(text, "f") == 0 || strcmp(text, "true") == 0 ||
			strcmp(text, "false") == 0);
}

static struct catalog_table *find(const struct catalog *c, const char *schema, const char *table)
{
	/* From the end, because the rows of one table come together. */
	for (size_t i = c->n_tables; i-- > 0;)
		if (strcmp(c->tables[i]->name, table) == 0 && strcmp(c->tables[i]->schema, schema) == 0)
			return c->tables[i];
	return NULL;
}

static struct catalog_table *find_or_add(struct catalog *c, const char *schema, const char *table)
{
	struct catalog_table *t = find(c, schema, table);

	if (t)
		return t;
	t = mem_new(sizeof(*t));
	t->schema = mem_text(schema);
	t->name = mem_text(table);
	t->json_schema = json_text(schema);
	t->json_name = json_text(table);
	c->tables = mem_resize(c->tables, c->n_tables + 1, sizeof(struct catalog_table *));
	c->tables[c->n_tables++] = t;
	return t;
}

static void set_data_key(struct catalog_column *column, const char *key)
{
	struct buf member = { 0 };

	free(column->data_key);
	free((char *)column->member.at);
	column->data_key = json_text(key);
	buf_add_text(&member, ",\"");
	buf_add_text(&member, column->data_key);
	buf_add_text(&member, "\":");
	column->member.len = member.len;
	column->member.at = buf_steal(&member);
}

/* Django calls the field of a foreign key column unit_id "unit". Where another column has that name already, or gets it
 * later, the column keeps its own: two members of one name in an object would hide one. */
static void choose_data_key(struct catalog_table *t, struct catalog_column *column, bool foreign)
{
	char *stripped = mem_text(column->name);
	size_t len = strlen(stripped);
	bool strips = foreign && len > 3 && strcmp(stripped + len - 3, "_id") == 0;

	if (strips)
		stripped[len - 3] = '\0';
	for (size_t i = 0; i < t->n_columns; i++) {
		struct catalog_column *other = &t->columns[i];

		if (strips && strcmp(other->name, stripped) == 0)
			strips = false;
		if (strcmp(other->data_key, column->json_name) == 0)
			set_data_key(other, other->name);
	}
	set_data_key(column, strips ? stripped : column->name);
	free(stripped);
}

bool catalog_add(struct catalog *c, const char *const row[CATALOG_QUERY_COLUMNS], struct fail *why)
{
	struct catalog_column column = { 0 };
	struct catalog_table *t;
	bool foreign;

	if (!row[ROW_SCHEMA] || !row[ROW_TABLE] || !row[ROW_COLUMN] || !*row[ROW_COLUMN])
		return fail_set(why, "the catalog query answered a row without a name");
	if (!parse_oid(row[ROW_TYPE], &column.type) || !parse_oid(row[ROW_ELEMENT], &column.element) ||
	    !parse_bool(row[ROW_IN_KEY], &column.in_key) || !parse_bool(row[ROW_FOREIGN], &foreign) ||
	    !parse_oid(row[ROW_DECLARED] ? row[ROW_DECLARED] : row[ROW_TYPE], &column.declared) ||
	    !parse_bool(row[ROW_VIRTUAL] ? row[ROW_VIRTUAL] : "f", &column.is_virtual))
		return fail_set(why, "the catalog query answered something unexpected for %s.%s, column %s",
				row[ROW_SCHEMA], row[ROW_TABLE], row[ROW_COLUMN]);
	t = find_or_add(c, row[ROW_SCHEMA], row[ROW_TABLE]);
	if (catalog_column_index(t, row[ROW_COLUMN]) >= 0)
		return fail_set(why, "the catalog query answered column %s of %s.%s twice", row[ROW_COLUMN],
				row[ROW_SCHEMA], row[ROW_TABLE]);
	column.name = mem_text(row[ROW_COLUMN]);
	column.json_name = json_text(row[ROW_COLUMN]);
	column.json_len = strlen(column.json_name);
	choose_data_key(t, &column, foreign && !c->keeps_ids);
	t->columns = mem_resize(t->columns, t->n_columns + 1, sizeof(*t->columns));
	t->columns[t->n_columns++] = column;
	t->n_key += column.in_key;
	return true;
}

const struct catalog_table *catalog_find(const struct catalog *c, const char *schema, const char *table)
{
	return find(c, schema, table);
}

int catalog_column_index(const struct catalog_table *t, const char *name)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (strcmp(t->columns[i].name, name) == 0)
			return (int)i;
	return -1;
}
