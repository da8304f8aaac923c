/*
 * check_tie: does a query tie the rows of a table to one user? A section of `membership` with `user` promises this: a row concerns only
 * the user in this column.
 *
 * tie_of reads what EXPLAIN (FORMAT JSON, VERBOSE) prints of the generic plan. The plan shows views and policies, and the planner has
 * drawn its own conclusions. A row is tied if each scan of the table compares the column by = with a parameter that is the user, or with
 * a column that is tied, in a condition that must be true for the row to count (check_cond.h). A condition of an outer join ties no
 * column of the preserved side. A condition of a subquery ties nothing outside of the subquery. The result is a hint for a warning:
 * conditions that a plan does not print, such as those between a common table expression and its reader, tie nothing. Children count as
 * their parent. The caller makes sure that all children are in the plan, none pruned, and checks COLLATE, which no plan prints.
 *
 * Pure.
 */
#ifndef WALPUSH_CHECK_TIE_H
#define WALPUSH_CHECK_TIE_H

#include <stdbool.h>
#include <stddef.h>

#include "check_cond.h"
#include "walpush/rules/catalog.h"

#define TIE_COMPARISONS_MOST 512 /* in one plan; more are ignored */
#define TIE_SCANS_MOST 64        /* of one table; a plan with more is loose */

enum tie { TIE_UNREAD, TIE_TIED, TIE_LOOSE };

struct tie_column {
	const char *schema, *table, *column;
	const struct catalog *catalog; /* knows the table's children; NULL: it has none */
	enum cond_casts casts;         /* that do not change which users are equal */
};

/* `is_user`: for each parameter, $1 first: it is the user, and its type does not change which user it is. JSON that is not a plan gives
 * TIE_UNREAD. */
enum tie tie_of(const char *json, const struct tie_column *column, const bool *is_user, size_t n_params);

#endif
