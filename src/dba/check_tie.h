/*
 * check_tie: does a query tie the rows of a table to one user? That is what a section of `membership` promises with `user`: a row
 * concerns the user in that column alone.
 *
 * What EXPLAIN (FORMAT JSON, VERBOSE) prints of the generic plan is read: there views and policies can be seen, and the planner has
 * drawn its own conclusions. A row is tied where each scan of the table compares the column by = with a parameter that is the user, or
 * with a column that is tied, in a condition without which the row would not count (check_cond.h): an outer join's ties nothing of the
 * side that is preserved, a subquery's nothing outside of it. It is a hint for a warning: conditions that a plan does not print, as those
 * between a common table expression and its reader, tie nothing. Children count as their parent; that they are all in the plan, none
 * pruned, is the caller's affair, and COLLATE, which no plan prints, too.
 *
 * Pure.
 */
#ifndef WALPUSH_CHECK_TIE_H
#define WALPUSH_CHECK_TIE_H

#include <stdbool.h>
#include <stddef.h>

#include "check_cond.h"
#include "walpush/rules/catalog.h"

#define TIE_COMPARISONS_MOST 512 /* in one plan; more are not looked at */
#define TIE_SCANS_MOST 64        /* of one table; a plan with more is loose */

enum tie { TIE_UNREAD, TIE_TIED, TIE_LOOSE };

struct tie_column {
	const char *schema, *table, *column;
	const struct catalog *catalog; /* knows the table's children; NULL: it has none */
	enum cond_casts casts;         /* that leave alone which users are equal */
};

/* `is_user`: of each parameter, $1 first: it is the user, and of a type under which it stays as it was. What is no plan reads nothing. */
enum tie tie_of(const char *json, const struct tie_column *column, const bool *is_user, size_t n_params);

#endif
