/*
 * rules_asked: does the running replication stream bring everything that these rules need?
 *
 * The plugin gets the lists of tables to print when the replication stream begins (rules_add_tables, rules_filter_tables), and does
 * not learn what DDL does later: a child in another schema, the first child of a table, a table that becomes a child.
 * Their rows are missing until the replication stream begins again. A schema that is listed as a whole also brings the
 * tables that are made in it later.
 */
#include <stdlib.h>

#include <uthash.h>

#include "parts.h"
#include "walpush/base/mem.h"

struct item { /* an entry of such a list, escaped as there */
	UT_hash_handle hh;
};

struct asked {
	struct item *add, *filter;
	struct item *items; /* of both lists */
	struct buf name;    /* the name that is looked up */
};

static size_t n_items(const char *list)
{
	size_t n = 1;

	for (; *list; list++)
		n += *list == ',';
	return n;
}

static const char *item_end(const char *at)
{
	while (*at && *at != ',')
		at += at[0] == '\\' && at[1] ? 2 : 1;
	return at;
}

/* Returns how many of `items` it used. */
static size_t take_list(struct item **set, struct item *items, const char *list)
{
	struct item *known;
	size_t n = 0;

	while (*list) {
		const char *end = item_end(list);
		size_t len = (size_t)(end - list);

		HASH_FIND(hh, *set, list, len, known);
		if (!known) {
			HASH_ADD_KEYPTR(hh, *set, list, len, &items[n]);
			n++;
		}
		list = *end ? end + 1 : end;
	}
	return n;
}

static bool has(struct asked *a, const struct item *set, const char *schema, const char *name)
{
	const struct item *found;

	buf_clear(&a->name);
	rules_add_name(&a->name, schema, name);
	HASH_FIND(hh, set, a->name.data, a->name.len, found);
	return found != NULL;
}

/* wal2json checks the filter first. */
static bool brings(struct asked *a, const char *schema, const char *name)
{
	return !has(a, a->filter, schema, name) &&
	       (has(a, a->add, schema, NULL) || has(a, a->add, schema, name) || has(a, a->add, NULL, name));
}

static bool is_pushed(const struct rules *r, const struct catalog_table *table)
{
	return r->of[table->at] && r->of[table->at]->n_sections;
}

/* If the whole schema should be listed, this also checks that it is, because children may be made later. */
static bool brings_table(struct asked *a, const struct rules *r, const struct rules_table *t)
{
	return brings(a, t->schema, t->name) &&
	       (!t->catalog || !t->catalog->has_children || !catalog_is_whole(r->catalog, t->schema) ||
		has(a, a->add, t->schema, NULL));
}

static enum rules_lack lack_of(struct asked *a, const struct rules *r)
{
	enum rules_lack lack = RULES_LACK_NOTHING;
	const struct catalog_kin *kin;

	for (size_t i = 0; i < r->n_tables; i++) {
		if (brings_table(a, r, &r->tables[i]))
			continue;
		if (r->tables[i].n_sections)
			return RULES_LACK_ROWS;
		lack = RULES_LACK_DECIDING;
	}
	for (size_t i = 0; r->catalog && (kin = catalog_kin(r->catalog, i)); i++) {
		if (!kin->parent || brings(a, kin->schema, kin->name))
			continue;
		if (is_pushed(r, kin->parent))
			return RULES_LACK_ROWS;
		lack = RULES_LACK_DECIDING;
	}
	return lack;
}

enum rules_lack rules_lack(const struct rules *r, const char *add, const char *filter)
{
	struct asked a = { .items = mem_new_array(n_items(add) + n_items(filter), sizeof(struct item)) };
	enum rules_lack lack;

	take_list(&a.filter, a.items + take_list(&a.add, a.items, add), filter);
	lack = lack_of(&a, r);
	HASH_CLEAR(hh, a.add);
	HASH_CLEAR(hh, a.filter);
	free(a.items);
	buf_fini(&a.name);
	return lack;
}
