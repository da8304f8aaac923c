/*
 * check_bound: with which columns does a query compare its parameters? A value of such a column is one that the query is really asked with.
 *
 * Reads what EXPLAIN (FORMAT JSON, VERBOSE) prints of the generic plan: any `column = $n` in a condition counts, also below OR and NOT. Other
 * operators and expressions do not. Pure.
 */
#ifndef WALPUSH_CHECK_BOUND_H
#define WALPUSH_CHECK_BOUND_H

#include <stdbool.h>
#include <stddef.h>

#define BOUND_MOST 64 /* comparisons in one plan; more are ignored */

struct bound {
	size_t parameter; /* $1 is 1 */
	char *table;      /* "schema.table", quoted for SQL if needed */
	char *column;     /* the same */
};

struct bounds {
	struct bound at[BOUND_MOST];
	size_t n;
};

/* JSON that is not a plan has none. */
void bounds_parse(const char *json, struct bounds *out);
void bounds_fini(struct bounds *b);

#endif
