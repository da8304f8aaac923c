/* route_impl: what the files of the route module share. Nobody else includes it. */
#ifndef WALPUSH_ROUTE_IMPL_H
#define WALPUSH_ROUTE_IMPL_H

#include "walpush/route.h"

void route_groups_clear(struct route_groups *g);
/* Adds the group that the template spells; nothing if `value` says NULL or if it is there already, or in `unless`
 * (NULL: no such). `row` is noted where rows are tracked. */
void route_groups_expand(struct route_groups *g, const struct tmpl *t, tmpl_value_fn *value, void *ctx,
			 const struct route_groups *unless, uint32_t row);
/* Takes out the names of which this is true. */
void route_groups_drop(struct route_groups *g, bool (*drop)(const void *ctx, struct slice name), const void *ctx);
/* The value of a placeholder in a row of SQL; false for NULL, and for a column that is not there, which g->missing
 * notes. */
bool route_groups_sql_value(struct route_groups *g, const struct sqlrows *rows, size_t row, const char *name,
			    struct buf *out);

#endif
