/* sqlclock: does a query use the current time? Then its answer may become invalid without any change of a row. Pure. */
#ifndef WALPUSH_SQLCLOCK_H
#define WALPUSH_SQLCLOCK_H

#include <stdbool.h>

/* The first word in `sql` that reads the clock, as PostgreSQL spells it (a C literal); NULL: there is none. Comments and SQL literals are skipped.
 * `is_plan`: `sql` is the output of EXPLAIN (FORMAT JSON, VERBOSE), which shows views, policies and inlined functions, and where a double quote
 * belongs to JSON. A literal that stays a text until it is cast is found in the form that the server prints, ('now'::text)::date. */
const char *sqlclock_find(const char *sql, bool is_plan);
/*
 * The server computes time and date literals such as 'now' or 'tomorrow 8:00' when it parses the query. Their value then stays the same for as
 * long as the prepared query is used. Returns the first such word (a C literal) that is more often in literals of `sql` than in literals of
 * `definition`, the server's text of the parsed query (pg_get_viewdef, or a plan). NULL: the server has computed none.
 */
const char *sqlclock_frozen(const char *sql, const char *definition);

#endif
