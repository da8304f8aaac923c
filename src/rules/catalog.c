#include "walpush/rules/catalog.h"

#include <errno.h>
#include <stdlib.h>

#include <uthash.h>

#include "walpush/base/mem.h"

/* A name has up to 63 bytes, and JSON spells each byte with six at most. */
#define KEY_MOST 1024

#define MATCHED CATALOG_MATCHES("$2")

/* A domain leads to its base type in as many steps as it has layers. A true array is known by its output function,
 * because int2vector, name and others have an element type too but print differently. hstore is known by its output
 * function too: its OID differs between databases, so it gets CATALOG_HSTORE. attgenerated exists since PostgreSQL 12.
 * In every query of walpush's own, both operands have exactly the types of an operator in pg_catalog. Otherwise the
 * server would prefer an operator that fits better in a later schema of the search path. */
const char catalog_query[] =
	"WITH RECURSIVE base (declared, type) AS ("
	"  SELECT oid, oid FROM pg_catalog.pg_type"
	"  UNION ALL"
	"  SELECT b.declared, t.typbasetype FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type"
	"   WHERE t.typtype = 'd'),"
	" resolved AS ("
	"  SELECT b.declared, CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_proc p"
	"         WHERE p.oid = t.typoutput::oid AND p.proname = 'hstore_out') THEN 4294967295 ELSE t.oid::bigint END "
	"AS "
	"type,"
	"         CASE WHEN t.typoutput::oid = 'pg_catalog.array_out'::pg_catalog.regproc::oid THEN t.typelem ELSE 0 "
	"END AS "
	"element"
	"    FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type WHERE t.typtype <> 'd'),"
	" matched AS (" MATCHED "),"
	" listed AS ("
	"  SELECT c.oid, c.relnamespace, c.relname, c.relkind"
	"    FROM (SELECT DISTINCT pg_catalog.unnest($1::text[]) AS name) w"
	"    JOIN (pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relkind IN "
	"('r', "
	"'p'))"
	"      ON pg_catalog.format('%s.%s', n.nspname, c.relname) = w.name"
	"  UNION SELECT c.oid, c.relnamespace, c.relname, c.relkind"
	"    FROM matched m JOIN pg_catalog.pg_class c ON c.oid = m.oid WHERE m.matches),"
	" kin (root, oid, depth) AS ("
	"  SELECT oid, oid, 0 FROM listed"
	"  UNION ALL SELECT k.root, i.inhrelid, k.depth + 1"
	"    FROM kin k JOIN pg_catalog.pg_inherits i ON i.inhparent = k.oid),"
	" nearest AS (" /* parents that have no listed child above this one; INHERITS may name several */
	"  SELECT k.oid, k.root FROM kin k WHERE k.depth > 0"
	"  EXCEPT SELECT below.oid, k.root FROM kin k JOIN kin below ON below.root = k.oid AND below.depth > 0"
	"   WHERE k.depth > 0),"
	" parent AS ("
	"  SELECT l.oid, l.relnamespace FROM listed l WHERE l.relkind = 'p' OR l.oid IN (SELECT root FROM kin WHERE "
	"depth > 0)),"
	" related (oid, root) AS ("
	"  SELECT oid, root FROM nearest UNION ALL SELECT oid, oid FROM parent"
	"  UNION ALL SELECT c.oid, NULL FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p')"
	"     AND (c.relnamespace IN (SELECT relnamespace FROM parent)"
	"      OR c.oid IN (SELECT oid FROM matched WHERE NOT matches)) AND c.oid NOT IN (SELECT oid FROM kin))"
	" SELECT * FROM ("
	"  SELECT n.nspname::text, c.relname::text, a.attname::text, r.type::text,"
	"         COALESCE(e.type, r.element::bigint)::text,"
	"         EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p'"
	"                 AND a.attnum = ANY (k.conkey)),"
	"         EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f'"
	"                 AND k.conkey OPERATOR(pg_catalog.=) ARRAY[a.attnum]),"
	"         a.atttypid::text, a.attgenerated = 'v',"
	"         NOT EXISTS (SELECT 1 FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation AND NOT "
	"l.collisdeterministic),"
	"         a.attgenerated = 's', c.oid::text, a.attnum"
	"    FROM listed c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	"    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
	"    JOIN resolved r ON r.declared = a.atttypid"
	"    LEFT JOIN resolved e ON e.declared = r.element"
	"  UNION ALL"
	"  SELECT n.nspname::text, c.relname::text, NULL, pn.nspname::text, p.relname::text,"
	"         NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
	"    FROM related k JOIN pg_catalog.pg_class c ON c.oid = k.oid"
	"    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	"    LEFT JOIN pg_catalog.pg_class p ON p.oid = k.root"
	"    LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace"
	" ) AS row (schema, name, attname, type, element, in_key, is_foreign, declared, virtual, exact, stored, oid,"
	"  attnum)"
	"  ORDER BY attname IS NULL, schema, name, attnum, type, element";

enum {
	ROW_SCHEMA,
	ROW_TABLE,
	ROW_COLUMN,
	ROW_TYPE,
	ROW_ELEMENT,
	ROW_IN_KEY,
	ROW_FOREIGN,
	ROW_DECLARED,
	ROW_VIRTUAL,
	ROW_EXACT,
	ROW_STORED,
	ROW_OID
};

/* A table, by its names as PostgreSQL knows them and as wal2json prints them, each pair with a zero between. Allocated
 * alone, so that its address stays. */
struct entry {
	UT_hash_handle hh, printed;
	struct catalog_table is;
	char *key, *printed_key;
};

struct whole { /* a schema that has a parent */
	UT_hash_handle hh, printed;
	char *schema, *json_schema;
};

struct catalog {
	struct entry *by_name, *by_printed;
	struct catalog_table **tables;
	size_t n_tables, cap_tables;
	struct catalog_table *last; /* the rows of one table come together */
	struct whole *whole, *printed_whole;
	bool keeps_ids;
	struct kin *kin; /* by the names as wal2json prints them, with a zero between schema and name */
	struct kin **all_kin;
	size_t n_kin;
};

struct kin { /* one for each parent of a child; the hash has the first */
	UT_hash_handle hh;
	struct kin *next; /* with the same name */
	struct catalog_kin is;
	char key[];
};

struct catalog *catalog_new(void)
{
	return mem_new(sizeof(struct catalog));
}

void catalog_keep_ids(struct catalog *c)
{
	c->keeps_ids = true;
}

static void free_columns(struct catalog_table *t)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		struct catalog_column *c = &t->columns[i];

		free(c->name);
		free(c->json_name);
		free(c->data_key);
		free((char *)c->member.at);
	}
	free(t->columns);
}

static void free_tables(struct catalog *c)
{
	struct entry *e, *next;

	HASH_CLEAR(printed, c->by_printed);
	HASH_ITER(hh, c->by_name, e, next) {
		HASH_DELETE(hh, c->by_name, e);
		free_columns(&e->is);
		free(e->is.schema);
		free(e->is.name);
		free(e->is.json_schema);
		free(e->is.json_name);
		free(e->key);
		free(e->printed_key);
		free(e);
	}
	free(c->tables);
}

static void free_whole(struct catalog *c)
{
	struct whole *w, *next;

	HASH_CLEAR(printed, c->printed_whole);
	HASH_ITER(hh, c->whole, w, next) {
		HASH_DELETE(hh, c->whole, w);
		free(w->schema);
		free(w->json_schema);
		free(w);
	}
}

void catalog_free(struct catalog *c)
{
	if (!c)
		return;
	free_tables(c);
	free_whole(c);
	HASH_CLEAR(hh, c->kin);
	for (size_t i = 0; i < c->n_kin; i++) {
		free(c->all_kin[i]->is.schema);
		free(c->all_kin[i]->is.name);
		free(c->all_kin[i]);
	}
	free(c->all_kin);
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

/* Returns 0 if no name is as long. */
static size_t make_key(char key[KEY_MOST], struct slice schema, struct slice name)
{
	if (schema.len + 1 + name.len > KEY_MOST)
		return 0;
	memcpy(key, schema.at, schema.len);
	key[schema.len] = '\0';
	memcpy(key + schema.len + 1, name.at, name.len);
	return schema.len + 1 + name.len;
}

static char *new_key(const char *schema, const char *name, size_t *len)
{
	char *key;

	*len = strlen(schema) + 1 + strlen(name);
	key = mem_new(*len + 1);
	memcpy(key, schema, strlen(schema) + 1);
	memcpy(key + strlen(schema) + 1, name, strlen(name) + 1);
	return key;
}

static struct catalog_table *find(const struct catalog *c, const char *schema, const char *table)
{
	char key[KEY_MOST];
	size_t len = make_key(key, slice_of(schema), slice_of(table));
	struct entry *e = NULL;

	if (c->last && strcmp(c->last->name, table) == 0 && strcmp(c->last->schema, schema) == 0)
		return c->last;
	if (len)
		HASH_FIND(hh, c->by_name, key, len, e);
	return e ? &e->is : NULL;
}

const struct catalog_table *catalog_find_printed(const struct catalog *c, struct slice schema, struct slice table)
{
	char key[KEY_MOST];
	size_t len = make_key(key, schema, table);
	struct entry *e = NULL;

	if (len)
		HASH_FIND(printed, c->by_printed, key, len, e);
	return e ? &e->is : NULL;
}

static struct catalog_table *add_table(struct catalog *c, const char *schema, const char *table)
{
	struct entry *e = mem_new(sizeof(*e));
	struct catalog_table *t = &e->is;
	size_t len, printed_len;

	t->schema = mem_text(schema);
	t->name = mem_text(table);
	t->json_schema = json_text(schema);
	t->json_name = json_text(table);
	e->key = new_key(schema, table, &len);
	e->printed_key = new_key(t->json_schema, t->json_name, &printed_len);
	HASH_ADD_KEYPTR(hh, c->by_name, e->key, len, e);
	HASH_ADD_KEYPTR(printed, c->by_printed, e->printed_key, printed_len, e);
	if (c->n_tables == c->cap_tables) {
		c->cap_tables = c->cap_tables ? 2 * c->cap_tables : 16;
		c->tables = mem_resize(c->tables, c->cap_tables, sizeof(struct catalog_table *));
	}
	t->at = c->n_tables;
	c->tables[c->n_tables++] = t;
	return t;
}

static struct catalog_table *find_or_add(struct catalog *c, const char *schema, const char *table)
{
	struct catalog_table *t = find(c, schema, table);

	c->last = t ? t : add_table(c, schema, table);
	return c->last;
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

/* Django calls the field of a foreign key column unit_id "unit". If another column has that name already, or gets it
 * later, the column keeps its own name: two members with one name in an object would hide each other. */
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

/* --- kin ---------------------------------------------------------------------------------------------------------- */

static struct kin *find_kin(const struct catalog *c, struct slice schema, struct slice name)
{
	char key[KEY_MOST];
	size_t len = c->kin ? make_key(key, schema, name) : 0;
	struct kin *k = NULL;

	if (len)
		HASH_FIND(hh, c->kin, key, len, k);
	return k;
}

static void add_by_name(struct catalog *c, struct kin *k, size_t len)
{
	struct kin *first;

	HASH_FIND(hh, c->kin, k->key, len, first);
	if (!first) {
		HASH_ADD_KEYPTR(hh, c->kin, k->key, len, k);
		return;
	}
	while (first->next)
		first = first->next;
	first->next = k;
}

static void note_parent(struct catalog *c, struct catalog_table *parent)
{
	struct whole *w;

	parent->has_children = true;
	HASH_FIND_STR(c->whole, parent->schema, w);
	if (w)
		return;
	w = mem_new(sizeof(*w));
	w->schema = mem_text(parent->schema);
	w->json_schema = mem_text(parent->json_schema);
	HASH_ADD_KEYPTR(hh, c->whole, w->schema, strlen(w->schema), w);
	HASH_ADD_KEYPTR(printed, c->printed_whole, w->json_schema, strlen(w->json_schema), w);
}

static bool add_kin(struct catalog *c, const char *const row[CATALOG_QUERY_COLUMNS])
{
	char *schema = json_text(row[ROW_SCHEMA]), *name = json_text(row[ROW_TABLE]), key[KEY_MOST];
	size_t len = make_key(key, slice_of(schema), slice_of(name));
	struct catalog_table *parent =
		row[ROW_TYPE] && row[ROW_ELEMENT] ? find(c, row[ROW_TYPE], row[ROW_ELEMENT]) : NULL;
	struct kin *k;

	free(schema);
	free(name);
	if (row[ROW_TYPE] && !parent)
		return true; /* the parent has no columns, so it is not in the catalog */
	if (parent)
		note_parent(c, parent);
	if (!len ||
	    (parent && strcmp(parent->name, row[ROW_TABLE]) == 0 && strcmp(parent->schema, row[ROW_SCHEMA]) == 0))
		return true; /* the row says only that the table is a parent, perhaps of children made later */
	k = mem_new(sizeof(*k) + len);
	k->is = (struct catalog_kin){ mem_text(row[ROW_SCHEMA]), mem_text(row[ROW_TABLE]), parent };
	memcpy(k->key, key, len);
	add_by_name(c, k, len);
	c->all_kin = mem_resize((void *)c->all_kin, c->n_kin + 1, sizeof(struct kin *));
	c->all_kin[c->n_kin++] = k;
	return true;
}

const struct catalog_kin *catalog_kin(const struct catalog *c, size_t at)
{
	return at < c->n_kin ? &c->all_kin[at]->is : NULL;
}

const struct catalog_table *catalog_parent(const struct catalog *c, struct slice schema, struct slice table, size_t at)
{
	const struct kin *k = find_kin(c, schema, table);

	for (; k && at; at--)
		k = k->next;
	return k ? k->is.parent : NULL;
}

bool catalog_is_whole(const struct catalog *c, const char *schema)
{
	struct whole *w;

	HASH_FIND_STR(c->whole, schema, w);
	return w != NULL;
}

bool catalog_is_new(const struct catalog *c, struct slice schema, struct slice table)
{
	struct whole *w = NULL;

	if (!find_kin(c, schema, table))
		HASH_FIND(printed, c->printed_whole, schema.at, schema.len, w);
	return w != NULL;
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

bool catalog_add(struct catalog *c, const char *const row[CATALOG_QUERY_COLUMNS], struct fail *why)
{
	struct catalog_column column = { 0 };
	struct catalog_table *t;
	uint32_t oid;
	bool foreign;

	if (row[ROW_SCHEMA] && row[ROW_TABLE] && !row[ROW_COLUMN])
		return add_kin(c, row);
	if (!row[ROW_SCHEMA] || !row[ROW_TABLE] || !*row[ROW_COLUMN])
		return fail_set(why, "the catalog query answered a row without a name");
	if (!parse_oid(row[ROW_TYPE], &column.type) || !parse_oid(row[ROW_ELEMENT], &column.element) ||
	    !parse_bool(row[ROW_IN_KEY], &column.in_key) || !parse_bool(row[ROW_FOREIGN], &foreign) ||
	    !parse_oid(row[ROW_DECLARED] ? row[ROW_DECLARED] : row[ROW_TYPE], &column.declared) ||
	    !parse_bool(row[ROW_VIRTUAL] ? row[ROW_VIRTUAL] : "f", &column.is_virtual) ||
	    !parse_bool(row[ROW_EXACT] ? row[ROW_EXACT] : "t", &column.is_exact) ||
	    !parse_bool(row[ROW_STORED] ? row[ROW_STORED] : "f", &column.is_stored) ||
	    !parse_oid(row[ROW_OID] ? row[ROW_OID] : "0", &oid))
		return fail_set(why, "the catalog query answered something unexpected for %s.%s, column %s",
				row[ROW_SCHEMA], row[ROW_TABLE], row[ROW_COLUMN]);
	t = find_or_add(c, row[ROW_SCHEMA], row[ROW_TABLE]);
	t->oid = oid;
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

bool catalog_add_rows(struct catalog *c, const void *rows, size_t n, catalog_value *value, struct fail *why)
{
	const char *row[CATALOG_QUERY_COLUMNS];

	for (size_t r = 0; r < n; r++) {
		for (size_t column = 0; column < CATALOG_QUERY_COLUMNS; column++)
			row[column] = value(rows, r, column);
		if (!catalog_add(c, row, why))
			return false;
	}
	return true;
}

const struct catalog_table *catalog_find(const struct catalog *c, const char *schema, const char *table)
{
	return find(c, schema, table);
}

size_t catalog_n_tables(const struct catalog *c)
{
	return c->n_tables;
}

const struct catalog_table *catalog_table_at(const struct catalog *c, size_t at)
{
	return c->tables[at];
}

int catalog_column_index(const struct catalog_table *t, const char *name)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (strcmp(t->columns[i].name, name) == 0)
			return (int)i;
	return -1;
}
