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

struct rules_table *rules_table_named(struct rules *r, const char *schema, const char *name)
{
	struct rules_table *t;

	for (size_t i = 0; i < r->n_tables; i++)
		if (strcmp(r->tables[i].schema, schema) == 0 && strcmp(r->tables[i].name, name) == 0)
			return &r->tables[i];
	r->tables = mem_resize(r->tables, r->n_tables + 1, sizeof(*r->tables));
	t = &r->tables[r->n_tables++];
	*t = (struct rules_table){ .schema = mem_text(schema), .name = mem_text(name) };
	return t;
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

/* There are few tables, and their names differ in length: to look at each is the fastest way. */
const struct rules_table *rules_find(const struct rules *r, struct slice schema, struct slice table)
{
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

	for (size_t i = 0; parent && i < r->n_tables; i++)
		if (r->tables[i].catalog == parent)
			return &r->tables[i];
	return NULL;
}

bool rules_is_new(const struct rules *r, struct slice schema, struct slice table)
{
	return catalog_is_new(r->catalog, schema, table);
}

bool rules_has_memberships(const struct rules *r)
{
	for (size_t i = 0; i < r->n_tables; i++)
		if (r->tables[i].n_memberships)
			return true;
	return false;
}
