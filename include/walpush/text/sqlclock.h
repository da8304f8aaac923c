/* sqlclock: does a query ask what time it is? Then its answer may end without any change of a row. Pure. */
#ifndef WALPUSH_SQLCLOCK_H
#define WALPUSH_SQLCLOCK_H

#include <stdbool.h>

/* The first word by which it does, as PostgreSQL spells it (a literal); NULL: none is there. Comments and literals are passed over.
 * `is_plan`: it is what EXPLAIN (FORMAT JSON, VERBOSE) prints, where views, policies and functions that were inlined can be seen, and a
 * double quote is JSON's. A literal that stays a text until it is cast is found as the server prints it, ('now'::text)::date. */
const char *sqlclock_find(const char *sql, bool is_plan);
/*
 * Literals such as 'now' or 'tomorrow 8:00', of a time or a date, are computed by the server when it parses the query: their value stays
 * what it was then, for as long as the prepared query is used. The first such word (a literal) that stands in literals of `sql` more often
 * than in those of `definition`, which is what the server has made of it (pg_get_viewdef, or a plan); NULL: none is gone.
 */
const char *sqlclock_frozen(const char *sql, const char *definition);

#endif
