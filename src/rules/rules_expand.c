/*
 * rules_expand: a pattern becomes a table of the rules for each table of the catalog that matches, with sections of its own.
 *
 * Such a section shares with the pattern's all that the file alone decides: texts, queries, conditions. It owns what binding
 * sets: where a placeholder's column is, and the arrays of columns. So ten thousand tenants cost ten thousand times some
 * hundred bytes, and no template is parsed again. Each table of the catalog is looked at once.
 */
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/mem.h"

static void *copy_of(const void *from, size_t n, size_t size)
{
	void *copy = mem_new_array(n, size);

	if (n)
		memcpy(copy, from, n * size);
	return copy;
}

static void copy_parts(struct tmpl *t)
{
	t->parts = copy_of(t->parts, t->n_parts, sizeof(*t->parts));
}

static struct rules_section *copy_section(const struct rules_section *from, const char *schema)
{
	struct rules_section *s = copy_of(from, 1, sizeof(*from));
	struct buf label = { 0 };

	rules_add_label(from, schema, &label);
	s->label = buf_steal(&label);
	s->groups = copy_of(from->groups, from->n_groups, sizeof(*from->groups));
	for (size_t i = 0; i < s->n_groups; i++)
		copy_parts(&s->groups[i]);
	copy_parts(&s->lookup.source);
	copy_parts(&s->data.source);
	s->when = copy_of(from->when, from->n_when, sizeof(*from->when));
	s->actions = copy_of(from->actions, from->n_actions, sizeof(*from->actions));
	s->message.pieces = copy_of(from->message.pieces, from->message.n, sizeof(*from->message.pieces));
	s->fields = NULL;
	s->shown = s->quiet = NULL;
	return s;
}

static void free_copy(struct rules_section *s)
{
	for (size_t i = 0; i < s->n_groups; i++)
		free(s->groups[i].parts);
	free(s->groups);
	free(s->lookup.source.parts);
	free(s->data.source.parts);
	free(s->when);
	free(s->actions);
	free(s->message.pieces);
	free(s->fields);
	free(s->shown);
	free(s->quiet);
	free((void *)s->label);
	free(s);
}

static void add_copies(struct rules *r, struct rules_table *t, const struct rules_table *pattern)
{
	for (size_t i = 0; i < pattern->n_sections; i++) {
		struct rules_section *s = copy_section(pattern->sections[i], t->schema);

		if (r->n_expanded == r->cap_expanded) {
			r->cap_expanded = r->cap_expanded ? 2 * r->cap_expanded : 16;
			r->expanded = mem_resize((void *)r->expanded, r->cap_expanded, sizeof(struct rules_section *));
		}
		r->expanded[r->n_expanded++] = s;
		rules_add_section(t, s);
	}
}

static struct rules_table *named(struct rules *r, const struct catalog_table *c)
{
	for (size_t i = 0; i < r->n_named; i++)
		if (strcmp(r->tables[i].schema, c->schema) == 0 && strcmp(r->tables[i].name, c->name) == 0)
			return &r->tables[i];
	return NULL;
}

/* The array is large enough. */
static struct rules_table *add_matched(struct rules *r, const struct catalog_table *c)
{
	struct rules_table *t = &r->tables[r->n_tables++];

	*t = (struct rules_table){ .schema = mem_text(c->schema), .name = mem_text(c->name), .is_matched = true };
	return t;
}

static void add_table(struct rules *r, const struct catalog_table *c)
{
	struct slice schema = slice_of(c->schema), name = slice_of(c->name);
	const struct rules_table *pattern;
	struct rules_table *t;

	if (!rules_pattern_at(r, schema, name, 0))
		return;
	t = named(r, c);
	if (!t)
		t = add_matched(r, c);
	for (size_t i = 0; (pattern = rules_pattern_at(r, schema, name, i)); i++)
		add_copies(r, t, pattern);
}

/* Sections of patterns may have joined a table that is named too. They alone have a label of their own. */
static void keep_named(struct rules_table *t)
{
	struct rules_section **all = (struct rules_section **)t->sections;
	size_t n = 0;

	for (size_t i = 0; i < t->n_sections; i++)
		if (all[i]->label == all[i]->conf->name)
			all[n++] = all[i];
	t->n_sections = n;
}

void rules_drop_expanded(struct rules *r)
{
	if (r->of)
		for (size_t i = 0; i < r->n_named; i++)
			keep_named(&r->tables[i]);
	while (r->of && r->n_tables > r->n_named)
		rules_free_table(&r->tables[--r->n_tables]);
	while (r->n_expanded)
		free_copy(r->expanded[--r->n_expanded]);
	free((void *)r->of);
	r->of = NULL;
	r->n_unfit = 0;
}

void rules_leave_out(struct rules *r, struct rules_table *t)
{
	r->of[t->catalog->at] = NULL;
	t->catalog = NULL;
	t->n_sections = 0;
}

size_t rules_unfit(const struct rules *r, const char **first)
{
	*first = r->unfit.text;
	return r->n_unfit;
}

static size_t count_matched(const struct rules *r, const struct catalog *catalog)
{
	size_t n = 0;

	for (size_t i = 0; r->n_patterns && i < catalog_n_tables(catalog); i++)
		n += rules_matches(r, catalog_table_at(catalog, i)->schema, catalog_table_at(catalog, i)->name);
	return n;
}

static void note_tables(struct rules *r)
{
	r->of = mem_new_array(catalog_n_tables(r->catalog), sizeof(struct rules_table *));
	for (size_t i = 0; i < r->n_tables; i++) {
		const struct catalog_table *c = catalog_find(r->catalog, r->tables[i].schema, r->tables[i].name);

		if (c)
			r->of[c->at] = &r->tables[i];
	}
}

static bool too_many(const struct rules *r, size_t n, struct fail *why)
{
	const struct conf_table *conf = r->patterns[0].sections[0]->conf;

	return fail_in_file(
		why, r->conf->file, conf->from.line,
		"%zu tables match the patterns of the configuration, such as %.127s, and %d may: narrow the "
		"patterns, or share the tenants among several walpush, each with a slot of its own",
		n, conf->from.text, RULES_MATCHED_MOST);
}

bool rules_expand(struct rules *r, const struct catalog *catalog, struct fail *why)
{
	size_t n = count_matched(r, catalog);

	rules_drop_expanded(r);
	if (n > RULES_MATCHED_MOST)
		return too_many(r, n, why);
	r->catalog = catalog;
	r->n_named = r->n_tables;
	r->tables = mem_resize(r->tables, r->n_tables + n + 1, sizeof(*r->tables));
	for (size_t i = 0; n && i < catalog_n_tables(catalog); i++)
		add_table(r, catalog_table_at(catalog, i));
	note_tables(r);
	return true;
}

bool rules_is_expanded(const struct rules *r)
{
	return r->of != NULL;
}
