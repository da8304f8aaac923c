/*
 * groups: a set of group names, and the templates that spell them. A section's templates make the groups of a row; a
 * stream's templates make the groups of a connection.
 *
 * Pure. Zero a set before its first use; after groups_clear it can be used again.
 */
#ifndef WALPUSH_GROUPS_H
#define WALPUSH_GROUPS_H

#include "walpush/rules/rules.h"
#include "walpush/base/sqlrows.h"

struct groups { /* names one after the other, each terminated by a zero; no name twice */
	struct buf names;
	size_t n;
	const char *missing; /* a column that a template names and the lookup's or admit's rows lack; NULL: none */
	struct buf rows; /* for {lookup.x} in the message: a uint32_t for each name, the lookup row that spelled it */
	bool tracks_rows;
	uint32_t *index;   /* for many names: open addressing over hashes; an offset into names + 1, or 0 */
	size_t index_size; /* a power of two */
};

void groups_fini(struct groups *g);
void groups_clear(struct groups *g);
/* Adds the group that the template spells. Adds nothing if `value` says NULL, or if the group is in the set already or
 * in `unless` (NULL: no such set). If rows are tracked, `row` is stored with the name. */
void groups_expand(struct groups *g, const struct tmpl *t, tmpl_value_fn *value, void *ctx, const struct groups *unless,
		   uint32_t row);
bool groups_has(const struct groups *g, struct slice name);
/* Removes the names for which `drop` returns true. */
void groups_drop(struct groups *g, bool (*drop)(const void *ctx, struct slice name), const void *ctx);
/* The value of a placeholder in a row of SQL. False for NULL, and for a column that is missing; g->missing then names
 * it. */
bool groups_sql_value(struct groups *g, const struct sqlrows *rows, size_t row, const char *name, struct buf *out);

/* Makes the groups of a stream from admit's rows and the path: a template that names {admit.x} once for each row, every
 * other once. `claims` answers {token.x}. Used by the tap at admission. `out` is zeroed before the first call. */
void groups_of_stream(const struct rules_stream *s, const struct path_values *path, tmpl_value_fn *claims, void *ctx,
		      const struct sqlrows *admit, struct groups *out);

#endif
