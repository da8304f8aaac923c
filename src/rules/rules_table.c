/* The tables of the rules: each once, found by its name in the file or by the name that wal2json prints. */
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/mem.h"

void rules_split_name(const char *name, char **schema, char **table)
{
	const char *dot = strchr(name, '.');

	*schema = dot ? mem_text_of((struct slice){ name, (size_t)(dot - name) }) : mem_text("public");
	*table = mem_text(dot ? dot + 1 : name);
}

static struct rules_table *find_or_add(struct rules_table **tables, size_t *n, const char *schema, const char *name)
{
	struct rules_table *t;

	for (size_t i = 0; i < *n; i++)
		if (strcmp((*tables)[i].schema, schema) == 0 && strcmp((*tables)[i].name, name) == 0)
			return &(*tables)[i];
	*tables = mem_resize(*tables, *n + 1, sizeof(**tables));
	t = &(*tables)[(*n)++];
	*t = (struct rules_table){ .schema = mem_text(schema), .name = mem_text(name) };
	return t;
}

struct rules_table *rules_table_named(struct rules *r, const char *schema, const char *name)
{
	return find_or_add(&r->tables, &r->n_tables, schema, name);
}

struct rules_table *rules_pattern_named(struct rules *r, const char *schema, const char *name)
{
	return find_or_add(&r->patterns, &r->n_patterns, schema, name);
}

void rules_add_section(struct rules_table *t, struct rules_section *s)
{
	struct rules_section **all = mem_resize((void *)t->sections, t->n_sections + 1, sizeof(struct rules_section *));
	size_t at = t->n_sections++;

	for (; at && all[at - 1]->conf > s->conf; at--)
		all[at] = all[at - 1];
	all[at] = s;
	t->sections = all;
}

void rules_add_membership(struct rules_table *t, struct rules_membership *m)
{
	struct rules_membership **at =
		mem_resize((void *)t->memberships, t->n_memberships + 1, sizeof(struct rules_membership *));

	at[t->n_memberships++] = m;
	t->memberships = at;
}

size_t rules_n_tables(const struct rules *r)
{
	return r->n_tables;
}

const struct rules_table *rules_table(const struct rules *r, size_t i)
{
	return &r->tables[i];
}

const struct rules_table *rules_listed(const struct rules *r, const char *schema, const char *table)
{
	const struct catalog_table *c = r->of ? catalog_find(r->catalog, schema, table) : NULL;

	return c ? r->of[c->at] : NULL;
}

/* A few tables, whose names differ in length, are found faster by looking at each than by a hash. */
#define FEW 16

static const struct rules_table *find_among_many(const struct rules *r, struct slice schema, struct slice table)
{
	const struct catalog_table *c = catalog_find_printed(r->catalog, schema, table);

	return c ? r->of[c->at] : NULL;
}

const struct rules_table *rules_find(const struct rules *r, struct slice schema, struct slice table)
{
	if (r->n_tables > FEW)
		return find_among_many(r, schema, table);
	for (size_t i = 0; i < r->n_tables; i++) {
		const struct catalog_table *c = r->tables[i].catalog;

		if (c && slice_equal(slice_of(c->json_name), table) && slice_equal(slice_of(c->json_schema), schema))
			return &r->tables[i];
	}
	return NULL;
}

const struct rules_table *rules_find_parent(const struct rules *r, struct slice schema, struct slice table, size_t at)
{
	const struct catalog_table *parent = catalog_parent(r->catalog, schema, table, at);

	return parent ? r->of[parent->at] : NULL;
}

bool rules_is_new(const struct rules *r, struct slice schema, struct slice table)
{
	return catalog_is_new(r->catalog, schema, table) ||
	       (rules_pattern_of(r, schema, table, 0) && !catalog_find_printed(r->catalog, schema, table));
}

const struct catalog_table *rules_left_out(const struct rules *r, struct slice schema, struct slice table)
{
	const struct catalog_table *c = r->n_unfit ? catalog_find_printed(r->catalog, schema, table) : NULL;

	return c && !r->of[c->at] ? c : NULL;
}

bool rules_has_memberships(const struct rules *r)
{
	size_t n = r->of ? r->n_named : r->n_tables; /* those that match patterns only inherit from one of these */

	for (size_t i = 0; i < n; i++)
		if (r->tables[i].n_memberships)
			return true;
	return false;
}
