/*
 * check_plan: what EXPLAIN (FORMAT JSON, VERBOSE) says of a query: its cost, the tables that it reads from end to end, and
 * whether it does more than read.
 *
 * Pure. Source: PostgreSQL's explain.c; the names of nodes and properties are the same in 13 to 18.
 */
#ifndef WALPUSH_CHECK_PLAN_H
#define WALPUSH_CHECK_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "walpush/base/buf.h"
#include "walpush/base/fail.h"

#define PLAN_SCANS_MOST 16 /* more are ignored */

struct plan_scan {
	char *table;  /* "schema.table", each name quoted if needed */
	char *column; /* its filter compares it with a parameter, so an index would help; NULL: not known */
};

struct plan {
	double cost; /* in the planner's units */
	bool writes; /* INSERT, UPDATE, DELETE, or locks rows */
	struct plan_scan scans[PLAN_SCANS_MOST];
	size_t n_scans;
};

/* On failure `out` is empty. */
bool plan_parse(const char *json, struct plan *out, struct fail *why);
void plan_fini(struct plan *p);

#endif
