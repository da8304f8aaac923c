/* Lists of the rules' tables, as wal2json and catalog_query want to read them. */
#include "parts.h"

/*
 * wal2json splits the list at commas and white space, and a name at its dot. It drops a backslash before any character,
 * and takes a bare "*" for everything. So every character that is not plain gets a backslash. Source: wal2json.c,
 * string_to_SelectTable and parse_table_identifier.
 */
static void add_escaped(struct buf *out, const char *name)
{
	for (; *name; name++) {
		unsigned char c = (unsigned char)*name;
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
			     c >= 0x80;

		if (!plain)
			buf_add_char(out, '\\');
		buf_add_char(out, *name);
	}
}

void rules_add_name(struct buf *out, const char *schema, const char *name)
{
	if (out->len)
		buf_add_char(out, ',');
	if (schema)
		add_escaped(out, schema);
	else
		buf_add_char(out, '*');
	buf_add_char(out, '.');
	if (name)
		add_escaped(out, name);
	else
		buf_add_char(out, '*');
}

/* Is the table the first of the rules' tables in its schema? Those that match patterns are in the order of schemas. */
static bool is_first(const struct rules *r, size_t at)
{
	const char *schema = r->tables[at].schema;
	size_t named = at < r->n_named ? at : r->n_named;

	for (size_t i = 0; i < named; i++)
		if (strcmp(r->tables[i].schema, schema) == 0)
			return false;
	return at <= r->n_named || strcmp(r->tables[at - 1].schema, schema) != 0;
}

/* Patterns of one table's name are one entry. */
static void add_patterns(const struct rules *r, struct buf *out)
{
	for (size_t i = 0; i < r->n_patterns; i++) {
		bool is_known = false;

		for (size_t k = 0; k < i && !is_known; k++)
			is_known = strcmp(r->patterns[k].name, r->patterns[i].name) == 0;
		if (!is_known)
			rules_add_name(out, NULL, r->patterns[i].name);
	}
}

static void add_children(const struct rules *r, struct buf *out)
{
	const struct catalog_kin *kin;

	for (size_t i = 0; (kin = catalog_kin(r->catalog, i)); i++)
		if (kin->parent && !catalog_is_whole(r->catalog, kin->schema))
			rules_add_name(out, kin->schema, kin->name);
}

void rules_add_tables(const struct rules *r, struct buf *out)
{
	for (size_t i = 0; i < r->n_tables; i++) {
		const struct rules_table *t = &r->tables[i];

		if (!r->catalog || !catalog_is_whole(r->catalog, t->schema)) {
			if (!t->is_matched)
				rules_add_name(out, t->schema, t->name);
		} else if (is_first(r, i)) {
			rules_add_name(out, t->schema, NULL);
		}
	}
	add_patterns(r, out);
	if (r->catalog)
		add_children(r, out);
}

void rules_filter_tables(const struct rules *r, struct buf *out)
{
	const struct catalog_kin *kin;

	for (size_t i = 0; (kin = catalog_kin(r->catalog, i)); i++)
		if (!kin->parent)
			rules_add_name(out, kin->schema, kin->name);
}

static void add_quoted(struct buf *out, const char *name)
{
	for (; *name; name++) {
		if (*name == '"' || *name == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, *name);
	}
}

static void add_tables(const struct rules *r, bool deciding, struct buf *out)
{
	const char *between = "";

	buf_add_char(out, '{');
	for (size_t i = 0; i < r->n_tables; i++) {
		if (deciding && !r->tables[i].n_memberships)
			continue;
		buf_addf(out, "%s\"", between);
		add_quoted(out, r->tables[i].schema);
		buf_add_char(out, '.');
		add_quoted(out, r->tables[i].name);
		buf_add_char(out, '"');
		between = ",";
	}
	buf_add_char(out, '}');
}

void rules_patterns_param(const struct rules *r, struct buf *out)
{
	buf_add_char(out, '{');
	for (size_t i = 0; i < r->n_patterns; i++) {
		buf_addf(out, "%s\"", i ? "," : "");
		add_quoted(out, r->patterns[i].schema);
		buf_add_char(out, '.');
		add_quoted(out, r->patterns[i].name);
		buf_add_char(out, '"');
	}
	buf_add_char(out, '}');
}

void rules_catalog_param(const struct rules *r, struct buf *out)
{
	add_tables(r, false, out);
}

void rules_deciding_param(const struct rules *r, struct buf *out)
{
	add_tables(r, true, out);
}
