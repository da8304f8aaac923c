#include "walpush/rules/publication.h"

#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/hash.h"
#include "walpush/base/mem.h"
#include "walpush/rules/rowfilter.h"
#include "walpush/text/sqltext.h"

#define NONE SIZE_MAX
#define ONLY "ONLY " /* children by INHERITS are named themselves, and only if they are not members already */

/* Columns of the row 'publication'. The last one is null before PostgreSQL 18, else 'n' or 's'. */
enum { ROW_WHAT, ROW_INSERT, ROW_UPDATE, ROW_DELETE, ROW_TRUNCATE, ROW_VIA_ROOT, ROW_ALL_TABLES, ROW_GENERATED };
/* Columns of a row 'table': a listed table, or a child that counts as it. With a column list it has a row for each column
 * of the list, one after the other. A row 'misread' names a partition whose old rows are sent with the identity of
 * another table, which says something else of them. A row 'generated' has only root and column: a stored generated column that is not
 * sent. */
enum {
	ROW_ROOT_SCHEMA = 1,
	ROW_ROOT,
	ROW_SCHEMA,
	ROW_TABLE,
	ROW_PARTITIONED,
	ROW_IDENTITY, /* an UPDATE of a published table fails without it */
	ROW_LOGGED,
	ROW_AS_SCHEMA, /* the rows are sent as those of this table; null: they are not sent */
	ROW_AS,
	ROW_COLUMN, /* null: all are sent */
	ROW_FILTER
};

struct publication {
	struct sqlrows *rows;
	size_t row;     /* of 'publication'; NONE: it does not exist */
	bool is_sorted; /* as publication_query sorts: the rows of a table are found without looking at all others */
	uint32_t digest;
};

static const char *get(const struct publication *p, size_t row, size_t column)
{
	return sqlrows_get(p->rows, row, column);
}

static bool is_what(const struct publication *p, size_t row, const char *what)
{
	return strcmp(get(p, row, ROW_WHAT), what) == 0;
}

static bool is_true(const struct publication *p, size_t row, size_t column)
{
	const char *value = get(p, row, column);

	return value && strcmp(value, "true") == 0;
}

/* --- the rows ----------------------------------------------------------------------------------------------------- */

static bool has_all(const struct publication *p, size_t row, size_t first, size_t last)
{
	for (size_t i = first; i <= last; i++)
		if (!get(p, row, i))
			return false;
	return true;
}

static bool take_row(struct publication *p, size_t row)
{
	if (!get(p, row, ROW_WHAT))
		return false;
	if (is_what(p, row, "table"))
		return has_all(p, row, ROW_ROOT_SCHEMA, ROW_LOGGED);
	if (is_what(p, row, "misread"))
		return has_all(p, row, ROW_ROOT_SCHEMA, ROW_TABLE) && has_all(p, row, ROW_AS_SCHEMA, ROW_AS);
	if (is_what(p, row, "generated"))
		return has_all(p, row, ROW_ROOT_SCHEMA, ROW_ROOT) && get(p, row, ROW_COLUMN);
	if (!is_what(p, row, "publication") || p->row != NONE)
		return false;
	p->row = row;
	return has_all(p, row, ROW_INSERT, ROW_ALL_TABLES);
}

/* --- the rows of one table ---------------------------------------------------------------------------------------- */

static int compare_texts(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) : (a != NULL) - (b != NULL);
}

static int compare_key(const struct publication *p, size_t row, const char *what, const char *schema, const char *name)
{
	int order = compare_texts(get(p, row, ROW_WHAT), what);

	order = order ? order : compare_texts(get(p, row, ROW_ROOT_SCHEMA), schema);
	return order ? order : compare_texts(get(p, row, ROW_ROOT), name);
}

static bool is_sorted(const struct publication *p)
{
	for (size_t row = 1; row < p->rows->n_rows; row++)
		if (compare_key(p, row - 1, get(p, row, ROW_WHAT), get(p, row, ROW_ROOT_SCHEMA),
				get(p, row, ROW_ROOT)) > 0)
			return false;
	return true;
}

/* The first row from `row` on with these names; NONE: there is none. */
static size_t seek(const struct publication *p, size_t row, const char *what, const char *schema, const char *name)
{
	size_t low = row, high = p->rows->n_rows;

	while (p->is_sorted && low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_key(p, middle, what, schema, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	while (!p->is_sorted && low < p->rows->n_rows && compare_key(p, low, what, schema, name) != 0)
		low++;
	return low < p->rows->n_rows && compare_key(p, low, what, schema, name) == 0 ? low : NONE;
}

static uint32_t mix_value(uint32_t digest, const char *value)
{
	unsigned char known = value != NULL;

	digest = hash_mix_32(digest, &known, 1);
	return value ? hash_mix_32(digest, value, strlen(value) + 1) : digest;
}

struct publication *publication_new(const struct sqlrows *rows, struct fail *why)
{
	struct publication *p = mem_new(sizeof(*p));
	bool ok = rows->n_columns == PUBLICATION_COLUMNS;

	*p = (struct publication){ sqlrows_new(rows->n_rows, rows->n_columns), NONE, false, HASH_START_32 };
	for (size_t row = 0; row < rows->n_rows && ok; row++) {
		for (size_t i = 0; i < rows->n_columns; i++) {
			sqlrows_set(p->rows, row, i, sqlrows_get(rows, row, i));
			p->digest = mix_value(p->digest, get(p, row, i));
		}
		ok = take_row(p, row);
	}
	if (ok) {
		p->is_sorted = is_sorted(p);
		return p;
	}
	publication_free(p);
	fail_set(why, "the server answers something unexpected about the publication");
	return NULL;
}

void publication_free(struct publication *p)
{
	if (!p)
		return;
	sqlrows_free(p->rows);
	free(p);
}

bool publication_exists(const struct publication *p)
{
	return p->row != NONE;
}

uint32_t publication_digest(const struct publication *p)
{
	return p->digest;
}

static bool is_same(const struct publication *p, size_t a, size_t b, size_t first, size_t last)
{
	for (size_t i = first; i <= last; i++)
		if (!get(p, a, i) || !get(p, b, i) || strcmp(get(p, a, i), get(p, b, i)) != 0)
			return false;
	return true;
}

/* The row behind those of this table or child. */
static size_t behind(const struct publication *p, size_t row)
{
	size_t next = row + 1;

	while (next < p->rows->n_rows && is_same(p, row, next, ROW_WHAT, ROW_TABLE))
		next++;
	return next;
}

/* The first row of the next table or child, from `row` on, that counts as `t`; NULL: as any. NONE: there is none. */
static size_t member_from(const struct publication *p, const struct rules_table *t, size_t row)
{
	if (t)
		return seek(p, row, "table", t->schema, t->name);
	while (row < p->rows->n_rows && !is_what(p, row, "table"))
		row++;
	return row < p->rows->n_rows ? row : NONE;
}

static size_t first_member(const struct publication *p, const struct rules_table *t)
{
	return member_from(p, t, 0);
}

static size_t next_member(const struct publication *p, const struct rules_table *t, size_t row)
{
	return member_from(p, t, behind(p, row));
}

static bool is_itself(const struct publication *p, size_t row)
{
	return strcmp(get(p, row, ROW_TABLE), get(p, row, ROW_ROOT)) == 0 &&
	       strcmp(get(p, row, ROW_SCHEMA), get(p, row, ROW_ROOT_SCHEMA)) == 0;
}

static size_t row_of(const struct publication *p, const struct rules_table *t)
{
	for (size_t row = first_member(p, t); row != NONE; row = next_member(p, t, row))
		if (is_itself(p, row))
			return row;
	return NONE;
}

static bool is_sent(const struct publication *p, size_t row)
{
	return get(p, row, ROW_AS) != NULL;
}

static bool is_sent_as_itself(const struct publication *p, size_t row)
{
	return is_sent(p, row) && strcmp(get(p, row, ROW_AS), get(p, row, ROW_TABLE)) == 0 &&
	       strcmp(get(p, row, ROW_AS_SCHEMA), get(p, row, ROW_SCHEMA)) == 0;
}

bool publication_sends(const struct publication *p, const struct rules_table *t)
{
	size_t row = row_of(p, t);

	return row != NONE && is_sent(p, row);
}

bool publication_has_all(const struct publication *p)
{
	return p->row != NONE && is_true(p, p->row, ROW_ALL_TABLES);
}

/* A table with this root's name that matches a pattern, and that nothing else lists. */
static bool is_matched(const struct rules *r, const struct publication *p, size_t row)
{
	const struct rules_table *t = rules_listed(r, get(p, row, ROW_ROOT_SCHEMA), get(p, row, ROW_ROOT));

	return t && t->is_matched;
}

uint32_t publication_names(const struct publication *p, const struct rules *r)
{
	uint32_t digest = HASH_START_32;

	for (size_t row = first_member(p, NULL); row != NONE; row = next_member(p, NULL, row)) {
		if ((is_sent(p, row) && !is_sent_as_itself(p, row)) || (is_itself(p, row) && is_matched(r, p, row)))
			continue;
		digest = mix_value(digest, get(p, row, ROW_SCHEMA));
		digest = mix_value(digest, get(p, row, ROW_TABLE));
		digest = mix_value(digest, get(p, row, ROW_AS));
	}
	return digest;
}

static bool has_list(const struct publication *p, size_t row)
{
	return get(p, row, ROW_COLUMN) != NULL;
}

static bool lists(const struct publication *p, size_t row, const char *column)
{
	size_t end = behind(p, row);

	for (size_t i = row; i < end; i++)
		if (strcmp(get(p, i, ROW_COLUMN), column) == 0)
			return true;
	return false;
}

static bool is_unsent_generated(const struct publication *p, const struct rules_table *t, const char *column)
{
	size_t row = seek(p, 0, "generated", t->schema, t->name);

	for (; row != NONE; row = seek(p, row + 1, "generated", t->schema, t->name))
		if (strcmp(get(p, row, ROW_COLUMN), column) == 0)
			return true;
	return false;
}

/* A partition goes with its root. Children by INHERITS are members of the publication themselves. */
static bool is_partition_of_listed(const struct publication *p, size_t row)
{
	if (is_itself(p, row))
		return false;
	for (size_t other = 0;
	     (other = seek(p, other, "table", get(p, row, ROW_ROOT_SCHEMA), get(p, row, ROW_ROOT))) != NONE; other++)
		if (is_itself(p, other))
			return is_true(p, other, ROW_PARTITIONED);
	return false;
}

/* --- lacks and what fixes them -------------------------------------------------------------------------------------- */

struct comparison {
	const struct publication *p;
	const struct rules *rules;
	publication_take *take;
	void *ctx;
	struct buf name;       /* of the publication, quoted */
	struct buf text, mend; /* of the lack that is written */
	size_t n;
};

static bool some_pushed(const struct rules *r)
{
	for (size_t i = 0; i < r->n_tables; i++)
		if (r->tables[i].n_sections)
			return true;
	return false;
}

/* Tells the lack that `text` and `mend` have. */
static void tell(struct comparison *c, enum publication_kind kind, const struct rules_table *t, bool is_hint)
{
	struct publication_lack lack = {
		.kind = kind,
		.table = t,
		.is_deciding = t ? t->n_memberships > 0 : rules_has_memberships(c->rules),
		.is_pushed = t ? t->n_sections > 0 : some_pushed(c->rules),
		.is_hint = is_hint,
		.is_later = t && kind == PUBLICATION_TABLE && t->is_matched && !publication_sends(c->p, t),
		.text = c->text.data,
		.mend = c->mend.data,
		.is_sql = c->mend.len && c->mend.data[c->mend.len - 1] == ';',
	};

	c->n += !lack.is_hint && !lack.is_later;
	c->take(c->ctx, &lack);
	buf_clear(&c->text);
	buf_clear(&c->mend);
}

static void add_pair(struct buf *out, const char *schema, const char *name)
{
	sqltext_ident(out, schema);
	buf_add_char(out, '.');
	sqltext_ident(out, name);
}

static void add_name(struct buf *out, const struct publication *p, size_t row)
{
	add_pair(out, get(p, row, ROW_SCHEMA), get(p, row, ROW_TABLE));
}

/* Without a replica identity the application's own UPDATE and DELETE fail as soon as the table is published. */
static void add_identity(struct buf *out, const struct publication *p, size_t row)
{
	if (is_true(p, row, ROW_IDENTITY))
		return;
	buf_add_text(out, "ALTER TABLE ONLY ");
	add_name(out, p, row);
	buf_add_text(out, " REPLICA IDENTITY FULL; ");
}

/* "ONLY a.b, ONLY a.c": of `t`, or of all tables, what must be named and is not sent; with `identities` the statements
 * that must run before. Returns how many are named. */
static size_t add_unsent(const struct publication *p, const struct rules_table *t, struct buf *identities,
			 struct buf *names)
{
	size_t n = 0;

	for (size_t row = first_member(p, t); row != NONE; row = next_member(p, t, row)) {
		if (is_sent(p, row) || !is_true(p, row, ROW_LOGGED))
			continue;
		add_identity(identities, p, row);
		if (is_partition_of_listed(p, row))
			continue;
		buf_add_text(names, n++ ? ", " ONLY : ONLY);
		add_name(names, p, row);
	}
	return n;
}

static void tell_absent(struct comparison *c)
{
	struct buf names = { 0 };

	buf_addf(&c->text, "there is no publication %s: nothing can be streamed", c->name.data);
	if (add_unsent(c->p, NULL, &c->mend, &names))
		buf_addf(&c->mend, "CREATE PUBLICATION %s FOR TABLE %s WITH (publish_via_partition_root = true);",
			 c->name.data, names.data);
	buf_fini(&names);
	tell(c, PUBLICATION_ABSENT, NULL, false);
}

static void compare_operations(struct comparison *c)
{
	static const struct {
		size_t column;
		const char *name;
	} operations[] = {
		{ ROW_INSERT, "insert" },
		{ ROW_UPDATE, "update" },
		{ ROW_DELETE, "delete" },
		{ ROW_TRUNCATE, "truncate" },
	};

	for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
		if (is_true(c->p, c->p->row, operations[i].column))
			continue;
		buf_addf(&c->text, "publication %s does not publish %s: nobody hears of it", c->name.data,
			 operations[i].name);
		buf_addf(&c->mend, "ALTER PUBLICATION %s SET (publish = 'insert, update, delete, truncate');",
			 c->name.data);
		tell(c, PUBLICATION_OPERATION, NULL, false);
	}
}

static void compare_root(struct comparison *c, const struct rules_table *t, size_t row)
{
	if (!is_true(c->p, row, ROW_PARTITIONED) || is_true(c->p, c->p->row, ROW_VIA_ROOT))
		return;
	buf_addf(&c->text, "publication %s sends the rows of ", c->name.data);
	add_name(&c->text, c->p, row);
	buf_add_text(&c->text, " under the names of its partitions (publish_via_partition_root is off)");
	buf_addf(&c->mend, "ALTER PUBLICATION %s SET (publish_via_partition_root = true);", c->name.data);
	tell(c, PUBLICATION_ROOT, t, false);
}

/* "publication w does not send public.t", or of a table with children, how many of them. */
static void add_unsent_text(struct comparison *c, const struct rules_table *t, size_t n, const char *names)
{
	buf_addf(&c->text, "publication %s does not send ", c->name.data);
	if (n == 1) {
		buf_add_text(&c->text, names + strlen(ONLY));
		return;
	}
	buf_addf(&c->text, "%zu of the tables that count as ", n);
	add_pair(&c->text, t->schema, t->name);
}

/* A table of the catalog that is not in the answer was made meanwhile. */
static void compare_members(struct comparison *c, const struct rules_table *t)
{
	struct buf names = { 0 };
	size_t n = add_unsent(c->p, t, &c->mend, &names);

	if (row_of(c->p, t) == NONE) {
		n = 1;
		buf_add_text(&names, ONLY);
		add_pair(&names, t->schema, t->name);
	}
	if (n) {
		add_unsent_text(c, t, n, names.data);
		buf_addf(&c->mend, "ALTER PUBLICATION %s ADD TABLE %s;", c->name.data, names.data);
		tell(c, PUBLICATION_TABLE, t, false);
	}
	buf_clear(&c->mend);
	buf_fini(&names);
}

static void compare_logged(struct comparison *c, const struct rules_table *t, size_t row)
{
	if (is_true(c->p, row, ROW_LOGGED))
		return;
	add_name(&c->text, c->p, row);
	buf_add_text(&c->text, " is unlogged: no publication sends it");
	buf_add_text(&c->mend, "ALTER TABLE ");
	add_name(&c->mend, c->p, row);
	buf_add_text(&c->mend, " SET LOGGED;");
	tell(c, PUBLICATION_TABLE, t, false);
}

static bool some_root_listed(const struct publication *p)
{
	for (size_t row = first_member(p, NULL); row != NONE; row = next_member(p, NULL, row))
		if (is_itself(p, row) && is_true(p, row, ROW_PARTITIONED))
			return true;
	return false;
}

/* While a root is listed too, the partitions must go through it: then only the file can decide for one of the two. */
static void compare_as_root(struct comparison *c, const struct rules_table *t, size_t row)
{
	bool roots;

	if (!is_itself(c->p, row) || !is_sent(c->p, row) || is_sent_as_itself(c->p, row))
		return;
	buf_addf(&c->text, "publication %s sends the rows of ", c->name.data);
	add_name(&c->text, c->p, row);
	buf_add_text(&c->text, " as those of ");
	add_pair(&c->text, get(c->p, row, ROW_AS_SCHEMA), get(c->p, row, ROW_AS));
	buf_add_text(&c->text, " (publish_via_partition_root is on)");
	roots = some_root_listed(c->p);
	if (roots)
		buf_add_text(&c->mend, "name that table in its place, or take that table out of the publication");
	else
		buf_addf(&c->mend, "ALTER PUBLICATION %s SET (publish_via_partition_root = false);", c->name.data);
	tell(c, PUBLICATION_AS_ROOT, t, false);
}

/* No statement changes the list or the filter of one table alone. */
static void add_whole(struct comparison *c, size_t row)
{
	buf_addf(&c->mend, "BEGIN; ALTER PUBLICATION %s DROP TABLE ONLY ", c->name.data);
	add_name(&c->mend, c->p, row);
	buf_addf(&c->mend, "; ALTER PUBLICATION %s ADD TABLE ONLY ", c->name.data);
	add_name(&c->mend, c->p, row);
	buf_add_text(&c->mend, "; COMMIT;");
}

/* Generated columns have a lack of their own: before PostgreSQL 18 no list can have them. */
static void compare_columns(struct comparison *c, const struct rules_table *t, size_t row)
{
	const struct catalog_table *table = t->catalog;
	struct buf names = { 0 };

	for (size_t i = 0; i < table->n_columns && has_list(c->p, row); i++)
		if (!lists(c->p, row, table->columns[i].name) && rules_uses(t, i) &&
		    !is_unsent_generated(c->p, t, table->columns[i].name))
			buf_addf(&names, "%s%s", names.len ? ", " : "", table->columns[i].name);
	if (names.len) {
		buf_addf(&c->text, "publication %s has a column list for ", c->name.data);
		add_name(&c->text, c->p, row);
		buf_addf(&c->text, " that lacks %s, which the rules use", names.data);
		add_whole(c, row);
		tell(c, PUBLICATION_COLUMN, t, false);
	}
	buf_fini(&names);
}

static void compare_filter(struct comparison *c, const struct rules_table *t, size_t row)
{
	const char *filter = get(c->p, row, ROW_FILTER);

	if (!filter || (!rowfilter_unfit(c->rules, t) && rowfilter_keeps(filter, t)))
		return;
	buf_addf(&c->text, "publication %s has a row filter for ", c->name.data);
	add_name(&c->text, c->p, row);
	buf_addf(&c->text, ", %s: changes of other rows are not sent", filter);
	add_whole(c, row);
	tell(c, PUBLICATION_FILTER, t, false);
}

static void tell_generated(struct comparison *c, const struct rules_table *t, size_t row, size_t column)
{
	bool can_send = get(c->p, c->p->row, ROW_GENERATED);

	rules_add_user(t, column, &c->text);
	buf_addf(&c->text, " column %s of ", t->catalog->columns[column].name);
	add_name(&c->text, c->p, row);
	if (can_send) {
		buf_addf(&c->text, ", which is generated, and publication %s does not send such columns", c->name.data);
		buf_addf(&c->mend, "ALTER PUBLICATION %s SET (publish_generated_columns = stored);%s", c->name.data,
			 has_list(c->p, row) ? " " : "");
		if (has_list(c->p, row))
			add_whole(c, row);
	} else {
		buf_add_text(&c->text,
			     ", which is generated, and before PostgreSQL 18 no publication sends such columns");
		buf_add_text(&c->mend, "take it out of the rules, or use a slot of wal2json, which sends it");
	}
	tell(c, PUBLICATION_GENERATED, t, !rules_needs(t, column));
}

static void compare_generated(struct comparison *c, const struct rules_table *t, size_t row)
{
	for (size_t i = 0; i < t->catalog->n_columns; i++)
		if (rules_uses(t, i) && is_unsent_generated(c->p, t, t->catalog->columns[i].name))
			tell_generated(c, t, row, i);
}

static void tell_misread(struct comparison *c, const struct rules_table *t, size_t row)
{
	buf_addf(&c->text, "publication %s sends old rows of ", c->name.data);
	add_name(&c->text, c->p, row);
	buf_add_text(&c->text, " as if they had the replica identity of ");
	add_pair(&c->text, get(c->p, row, ROW_AS_SCHEMA), get(c->p, row, ROW_AS));
	buf_add_text(&c->text, ", and they have another: values would be taken for what they are not");
	buf_add_text(&c->mend, "ALTER TABLE ONLY ");
	add_name(&c->mend, c->p, row);
	buf_add_text(&c->mend, " REPLICA IDENTITY FULL;");
	tell(c, PUBLICATION_IDENTITY, t, false);
}

static void compare_identities(struct comparison *c, const struct rules_table *t)
{
	size_t row = seek(c->p, 0, "misread", t->schema, t->name);

	for (; row != NONE; row = seek(c->p, row + 1, "misread", t->schema, t->name))
		tell_misread(c, t, row);
}

static void compare_table(struct comparison *c, const struct rules_table *t)
{
	compare_members(c, t);
	if (t->is_matched && !publication_sends(c->p, t))
		return;
	compare_identities(c, t);
	for (size_t row = first_member(c->p, t); row != NONE; row = next_member(c->p, t, row)) {
		compare_logged(c, t, row);
		compare_root(c, t, row);
		compare_as_root(c, t, row);
		if (!is_sent_as_itself(c->p, row))
			continue;
		compare_columns(c, t, row);
		compare_filter(c, t, row);
		if (is_itself(c->p, row))
			compare_generated(c, t, row);
	}
}

size_t publication_compare(const struct publication *p, const struct rules *r, publication_take *take, void *ctx)
{
	struct comparison c = { .p = p, .rules = r, .take = take, .ctx = ctx };

	sqltext_ident(&c.name, r->conf->database.publication);
	if (publication_exists(p)) {
		compare_operations(&c);
		for (size_t i = 0; i < r->n_tables; i++)
			if (r->tables[i].catalog)
				compare_table(&c, &r->tables[i]);
	} else {
		tell_absent(&c);
	}
	buf_fini(&c.name);
	buf_fini(&c.text);
	buf_fini(&c.mend);
	return c.n;
}
