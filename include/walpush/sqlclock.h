/* sqlclock: does a query ask what time it is? Then its answer may end without any change of a row. Pure. */
#ifndef WALPUSH_SQLCLOCK_H
#define WALPUSH_SQLCLOCK_H

#include <stdbool.h>

/* The first word by which it does, as PostgreSQL spells it (a literal); NULL: none is there. Comments and literals are passed over.
 * `is_plan`: it is what EXPLAIN (FORMAT JSON, VERBOSE) prints, where views, policies and functions that were inlined can be seen, and a
 * double quote is JSON's. */
const char *sqlclock_find(const char *sql, bool is_plan);

#endif
