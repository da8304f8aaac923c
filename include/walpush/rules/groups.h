/*
 * groups: a set of group names, and the templates that spell them: a row's groups are made of a section's templates, a connection's of
 * its stream's.
 *
 * Pure. A set is zeroed before its first use, and used again after groups_clear.
 */
#ifndef WALPUSH_GROUPS_H
#define WALPUSH_GROUPS_H

#include "walpush/rules/rules.h"
#include "walpush/base/sqlrows.h"

struct groups { /* names one behind the other, each terminated by a zero; without repetition */
	struct buf names;
	size_t n;
	const char *missing; /* a column that a template names and the lookup's or admit's rows lack; NULL: none */
	struct buf
		rows; /* where the message speaks of {lookup.x}: a uint32_t a name, the lookup's row that spelled it */
	bool tracks_rows;
	uint32_t *index;   /* of many names: open addressing over hashes; an offset into names + 1, or 0 */
	size_t index_size; /* a power of two */
};

void groups_fini(struct groups *g);
void groups_clear(struct groups *g);
/* Adds the group that the template spells; nothing if `value` says NULL or if it is there already, or in `unless`
 * (NULL: no such). `row` is noted where rows are tracked. */
void groups_expand(struct groups *g, const struct tmpl *t, tmpl_value_fn *value, void *ctx, const struct groups *unless,
		   uint32_t row);
/* Takes out the names of which this is true. */
void groups_drop(struct groups *g, bool (*drop)(const void *ctx, struct slice name), const void *ctx);
/* The value of a placeholder in a row of SQL; false for NULL, and for a column that is not there, which g->missing
 * notes. */
bool groups_sql_value(struct groups *g, const struct sqlrows *rows, size_t row, const char *name, struct buf *out);

/* admit's rows and the path give the groups of a stream: each template once for each row if it names {admit.x},
 * else once. `claims` answers {token.x}. Used by the tap at admission. `out` is zeroed before the first call. */
void groups_of_stream(const struct rules_stream *s, const struct path_values *path, tmpl_value_fn *claims, void *ctx,
		      const struct sqlrows *admit, struct groups *out);

#endif
