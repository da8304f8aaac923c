/* The steps of a row: its table, the row itself by its key, the lookup of each section, the groups. */
#include <stdlib.h>

#include "parts.h"
#include "walpush/base/mem.h"
#include "walpush/text/pgtypes.h"
#include "walpush/text/sqltext.h"

/* --- which table ---------------------------------------------------------------------------------------------------- */

static bool has_section(const struct rules_table *t, const char *name)
{
	for (size_t i = 0; i < t->n_sections; i++)
		if (strcmp(t->sections[i]->conf->name, name) == 0)
			return true;
	return false;
}

/* Of the tables that match a pattern only the schema says which is meant. */
static bool is_named(const struct rules_table *t, const char *name)
{
	size_t n = strlen(t->schema);

	if (!t->is_matched && strcmp(t->name, name) == 0)
		return true;
	return strncmp(t->schema, name, n) == 0 && name[n] == '.' && strcmp(t->name, name + n + 1) == 0;
}

/* A section's name comes before a table's. */
static const struct rules_table *find_table(const struct rules *r, const char *name)
{
	for (size_t i = 0; i < rules_n_tables(r); i++)
		if (!rules_table(r, i)->is_matched && has_section(rules_table(r, i), name))
			return rules_table(r, i);
	for (size_t i = 0; i < rules_n_tables(r); i++)
		if (rules_table(r, i)->n_sections && is_named(rules_table(r, i), name))
			return rules_table(r, i);
	return NULL;
}

/* --- the row --------------------------------------------------------------------------------------------------------- */

static bool names_column(const struct tmpl *t, int column)
{
	for (size_t i = 0; i < t->n_parts; i++)
		if (t->parts[i].is_ref && t->parts[i].scope == TMPL_ROW && t->parts[i].slot == column)
			return true;
	return false;
}

/* Does a section need the column to find the row's groups? No other is read. */
static bool is_wanted(const struct rules_section *s, int column)
{
	for (size_t i = 0; i < s->n_groups; i++)
		if (names_column(&s->groups[i], column))
			return true;
	for (size_t i = 0; i < s->n_when; i++)
		if (s->when[i].column == column)
			return true;
	return s->lookup.sql && names_column(&s->lookup.source, column);
}

/* The columns of the answer are the columns of the table for which this is true, in their order; and of no column, 1. */
static bool is_selected(const struct rules_table *t, size_t column)
{
	for (size_t i = 0; i < t->n_sections && !t->catalog->columns[column].is_virtual; i++)
		if (is_wanted(t->sections[i], (int)column))
			return true;
	return false;
}

static void write_select(struct explain *e)
{
	const struct catalog_table *t = e->table->catalog;
	struct buf *sql = &e->select;
	size_t parameter = 0;

	buf_add_text(sql, "SELECT 1");
	for (size_t i = 0; i < t->n_columns; i++)
		if (is_selected(e->table, i)) {
			buf_add_text(sql, ", ");
			sqltext_ident(sql, t->columns[i].name);
		}
	buf_add_text(sql, " FROM ");
	sqltext_ident(sql, t->schema);
	buf_add_char(sql, '.');
	sqltext_ident(sql, t->name);
	for (size_t i = 0; i < t->n_columns; i++)
		if (t->columns[i].in_key) {
			buf_add_text(sql, parameter ? " AND " : " WHERE ");
			sqltext_ident(sql, t->columns[i].name);
			buf_addf(sql, " OPERATOR(pg_catalog.=) $%zu", ++parameter);
		}
	buf_add_text(sql, " LIMIT 1");
}

static void ask_row(struct explain *e)
{
	size_t n = json_array_size(e->key);

	e->values = mem_new_array(n, sizeof(char *));
	for (size_t i = 0; i < n; i++)
		e->values[i] = mem_text(json_string_value(json_array_get(e->key, i)));
	write_select(e);
	e->sql = (struct explain_sql){ "explain", e->select.data, n, (const char *const *)e->values };
}

static void refuse(struct explain *e, const char *step, const char *reason, const char *fix)
{
	explain_set(e, "found", json_null());
	explain_no(e, step, reason, fix);
}

static void read_key(struct explain *e)
{
	size_t n = e->table->catalog->n_key;
	char fix[128];

	if (n == 0) {
		refuse(e, "key", "the table has no primary key, so no row is found by one", "");
		return;
	}
	e->key = explain_key_read(e->question->key, n);
	if (e->key) {
		ask_row(e);
		return;
	}
	snprintf(fix, sizeof(fix), "write an array of %zu values in the order of the table's columns: [1,\"a\"]", n);
	refuse(e, "key", "the primary key has another number of columns", fix);
}

void explain_row_begin(struct explain *e)
{
	e->document = json_pack("{s:s, s:s, s:s, s:n, s:n, s:n, s:n, s:[], s:[]}", "asked", "row", "table",
				e->question->table, "key", e->question->key, "found", "step", "reason", "fix",
				"sections", "groups");
	if (!e->now.bound) {
		refuse(e, "catalog", "the columns of the tables are not known yet", "ask again when /readyz says ok");
		return;
	}
	e->table = find_table(e->now.bound, e->question->table);
	if (!e->table || !e->table->catalog) {
		e->table = NULL;
		refuse(e, "table", "no section of `tables` has this name, or is of this table",
		       "name a section, or schema.table; a table that matches a pattern by its schema too");
		return;
	}
	read_key(e);
}

/* --- the row becomes a change --------------------------------------------------------------------------------------- */

static struct slice add_value(struct explain *e, uint32_t type, const char *value)
{
	size_t from = e->texts.len;

	/* wal2json omits the prefix of hexadecimal. */
	if (type == PG_BYTEA && strncmp(value, "\\x", 2) == 0)
		value += 2;
	buf_add_json(&e->texts, slice_of(value));
	return (struct slice){ NULL, e->texts.len - from };
}

static void make_columns(struct explain *e)
{
	const struct catalog_table *t = e->table->catalog;
	size_t n = 0, at = 0;

	e->columns = mem_new_array(t->n_columns, sizeof(*e->columns));
	for (size_t i = 0; i < t->n_columns; i++) {
		const struct catalog_column *c = &t->columns[i];
		const char *value;

		if (!is_selected(e->table, i))
			continue;
		value = sqlrows_get(e->row, 0, n + 1);
		e->columns[n] = (struct column){ { c->json_name, c->json_len }, { NULL, 0 }, c->declared, VALUE_NULL };
		if (value) {
			e->columns[n].kind = c->type == PG_BOOL ? VALUE_BOOL : VALUE_STRING;
			e->columns[n].value = add_value(e, c->declared, value);
		}
		n++;
	}
	for (size_t i = 0; i < n; at += e->columns[i++].value.len)
		e->columns[i].value.at = buf_slice(&e->texts).at + at;
	e->change = (struct change){ .kind = CHANGE_INSERT, .columns = e->columns, .n_columns = n };
	row_bind(&e->bound, t, &e->change); /* false, because columns that nobody needs are missing */
}

/* --- the sections ----------------------------------------------------------------------------------------------------- */

static void add_groups(struct explain *e, const struct groups *more)
{
	const char *name = more->names.data;

	for (size_t i = 0; i < more->n; i++, name += strlen(name) + 1) {
		struct tmpl_part literal = { .text = (char *)name };
		struct tmpl one = { .parts = &literal, .n_parts = 1 };

		groups_expand(&e->groups, &one, NULL, NULL, NULL, 0);
	}
}

static void tell_section(struct explain *e, bool counts, json_t *lookup, const struct sqlrows *rows)
{
	const struct rules_section *s = e->table->sections[e->section];
	struct route_result result = { 0 };
	json_t *told;

	if (counts)
		route_messages(&e->plan, rows, &result);
	add_groups(e, &result.joined.groups);
	told = json_pack("{s:s, s:b, s:o, s:o}", "section", s->conf->name, "counts", counts, "lookup", lookup, "groups",
			 explain_names(e->names, result.joined.groups.names.data, result.joined.groups.n, GROUPS_TOLD));
	json_array_append_new(json_object_get(e->document, "sections"), told);
	route_result_fini(&result);
	e->section++;
}

static void ask_lookup(struct explain *e)
{
	const struct rules_query *q = &e->plan.section->lookup;
	struct buf text = { 0 };
	size_t n = 0;

	e->values = mem_new_array(q->source.n_refs, sizeof(char *));
	for (size_t i = 0; i < q->source.n_parts; i++) {
		if (!q->source.parts[i].is_ref)
			continue;
		buf_clear(&text);
		if (route_param(&e->plan, &q->source.parts[i], &text))
			e->values[n] = mem_text_of(buf_slice(&text));
		n++;
	}
	buf_fini(&text);
	e->sql = (struct explain_sql){ q->name, q->sql, n, (const char *const *)e->values };
}

/* Up to the next section that asks something, or the last one. */
static void go_on(struct explain *e)
{
	for (; e->section < e->table->n_sections;) {
		bool counts = route_standing(e->table->sections[e->section], &e->bound, &e->plan);

		if (counts && e->plan.wants_lookup) {
			ask_lookup(e);
			return;
		}
		tell_section(e, counts, json_null(), NULL);
	}
	explain_set(e, "groups", explain_names(e->names, e->groups.names.data, e->groups.n, GROUPS_TOLD));
}

/* --- answers ---------------------------------------------------------------------------------------------------------- */

static void row_failed(struct explain *e, const struct fail *why)
{
	char reason[600];

	if (strncmp(why->sqlstate, "22", 2) == 0) {
		refuse(e, "key", "the key does not fit the column's type", "");
		return;
	}
	snprintf(reason, sizeof(reason), "the row cannot be read: %s", why->text);
	refuse(e, "database", reason,
	       strcmp(why->sqlstate, "42501") == 0 ? "GRANT SELECT on the key, and on the columns that groups, when "
						     "and lookup name, to walpush's role; "
						     "only explain needs it"
						   : "");
}

static void take_row(struct explain *e, struct sqlrows *rows, const struct fail *why)
{
	if (!rows) {
		row_failed(e, why);
		return;
	}
	explain_set(e, "found", json_boolean(rows->n_rows > 0));
	if (rows->n_rows == 0) {
		explain_no(e, "row", "there is no such row, or policies hide it from walpush", "");
		sqlrows_free(rows);
		return;
	}
	e->row = rows;
	make_columns(e);
	go_on(e);
}

void explain_row_answer(struct explain *e, struct sqlrows *rows, const struct fail *why)
{
	bool is_lookup = e->row != NULL;

	if (!is_lookup) {
		take_row(e, rows, why);
		return;
	}
	tell_section(e, true,
		     rows ? json_pack("{s:I}", "rows", (json_int_t)rows->n_rows)
			  : json_pack("{s:s, s:o}", "sqlstate", why->sqlstate, "error", explain_text(why->text)),
		     rows);
	sqlrows_free(rows);
	go_on(e);
}

void explain_row_fini(struct explain *e)
{
	sqlrows_free(e->row);
	json_decref(e->key);
	buf_fini(&e->select);
	buf_fini(&e->texts);
	free(e->columns);
	row_fini(&e->bound);
}
