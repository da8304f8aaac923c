#include "walpush/rules/reads.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/mem.h"

/* A query may end with a semicolon, which is not allowed inside parentheses. */
static size_t trimmed(const char *text)
{
	size_t n = strlen(text);

	while (n && (isspace((unsigned char)text[n - 1]) || text[n - 1] == ';'))
		n--;
	return n;
}

void reads_view(struct buf *out, unsigned n, const struct rules_query *q)
{
	const struct tmpl *t = &q->source;

	/* Inside FROM, because a view's columns must have different names. The line break ends a comment at the end of
	 * the query. */
	buf_addf(out, "CREATE TEMP VIEW " READS_VIEW "%u AS SELECT 1 AS one FROM (\n    ", n);
	for (size_t i = 0; i < t->n_parts; i++) {
		const char *text = t->parts[i].is_ref ? "NULL" : t->parts[i].text;

		buf_add(out, text, i + 1 == t->n_parts ? trimmed(text) : strlen(text));
	}
	buf_add_text(out, "\n) AS q");
}

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

static void add_of(struct reads_of **all, size_t *n, const char *schema, const char *name, const char *text)
{
	*all = mem_resize(*all, *n + 1, sizeof(**all));
	(*all)[(*n)++] = (struct reads_of){ mem_text(schema), mem_text(name), mem_text(text) };
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
		add_of(&r->unknown, &r->n_unknown, schema, name, text);
	else if (strcmp(what, "behind") == 0 && text)
		add_of(&r->behind, &r->n_behind, schema, name, text);
	else if (strcmp(what, "source") == 0 && text)
		add_of(&r->sources, &r->n_sources, schema, name, text);
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

static void free_all(struct reads_of *all, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(all[i].schema);
		free(all[i].name);
		free(all[i].text);
	}
	free(all);
}

void reads_fini(struct reads *r)
{
	for (size_t i = 0; i < r->n_tables; i++)
		free_table(&r->tables[i]);
	free(r->tables);
	free_all(r->unknown, r->n_unknown);
	free_all(r->behind, r->n_behind);
	free_all(r->sources, r->n_sources);
	buf_fini(&r->strangers);
	buf_fini(&r->objects);
	buf_fini(&r->definition);
	free(r->failed);
	*r = (struct reads){ 0 };
}

bool reads_error_may_pass(const char *sqlstate)
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
	r->may_pass = reads_error_may_pass(why->sqlstate);
}

void reads_refuse(struct reads *r, const struct fail *why)
{
	if (!r->refused.text[0] && !reads_error_may_pass(why->sqlstate))
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
			buf_addf(out, "%s\n", r->unknown[k].text);
		for (size_t k = 0; k < r->n_behind; k++)
			buf_addf(out, "%s %s.%s\n", r->behind[k].text, r->behind[k].schema, r->behind[k].name);
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
