/* Which tables are in another schema than before? */
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "parts.h"
#include "walpush/base/mem.h"

struct known {
	UT_hash_handle hh;
	uint32_t oid;
	const char *schema;
};

static struct known *index_of(const struct catalog *c, struct known *space)
{
	struct known *all = NULL;

	for (size_t i = 0; i < catalog_n_tables(c); i++) {
		const struct catalog_table *t = catalog_table_at(c, i);

		space[i].oid = t->oid;
		space[i].schema = t->schema;
		if (t->oid)
			HASH_ADD(hh, all, oid, sizeof(space[i].oid), &space[i]);
	}
	return all;
}

void rules_each_moved(const struct rules *before, const struct rules *after,
		      void (*each)(void *ctx, const struct rules_table *t), void *ctx)
{
	struct known *space = mem_new_array(catalog_n_tables(before->catalog), sizeof(*space));
	struct known *all = index_of(before->catalog, space), *was;

	for (size_t i = 0; i < after->n_tables; i++) {
		const struct catalog_table *t = after->tables[i].catalog;

		was = NULL;
		if (t)
			HASH_FIND(hh, all, &t->oid, sizeof(t->oid), was);
		if (was && strcmp(was->schema, t->schema) != 0)
			each(ctx, &after->tables[i]);
	}
	HASH_CLEAR(hh, all);
	free(space);
}
