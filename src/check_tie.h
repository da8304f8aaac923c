/*
 * check_tie: does a query tie the rows of a table to one user? That is what a section of `membership` promises with `user`: a row
 * concerns the user in that column alone.
 *
 * What EXPLAIN (FORMAT JSON, VERBOSE) prints of the generic plan is read: there views and policies can be seen, and the planner has
 * drawn its own conclusions. A row is tied where each scan of the table compares the column by = with a parameter that is the user, or
 * with a column that is tied. Casts of either side do not matter, expressions do. It is a hint for a warning: conditions that a plan
 * does not print, as those between a common table expression and its reader, tie nothing. Children count as their parent; that they are
 * all in the plan, none pruned, is the caller's affair.
 *
 * Pure.
 */
#ifndef WALPUSH_CHECK_TIE_H
#define WALPUSH_CHECK_TIE_H

#include <stdbool.h>
#include <stddef.h>

#include "walpush/catalog.h"

#define TIE_COMPARISONS_MOST 256 /* in one plan; more are not looked at */
#define TIE_SCANS_MOST 64        /* of one table; the same */

enum tie { TIE_UNREAD, TIE_TIED, TIE_LOOSE };

struct tie_column {
	const char *schema, *table, *column;
	const struct catalog *catalog; /* knows the table's children; NULL: it has none */
};

/* `is_user`: of each parameter, $1 first. What is no plan reads nothing. */
enum tie tie_of(const char *json, const struct tie_column *column, const bool *is_user, size_t n_params);

#endif
