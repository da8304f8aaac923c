/*
 * check_exec: a query of the configuration that `walpush check` executes, with its parameters.
 *
 *   check_exec.c      the transactions, with their bounds
 *   check_runs.c      runs each query
 *   check_values.c    takes the values of its parameters from rows that exist
 *   check_volatile.c  finds what it calls and must not be called for a check
 *   check_refused.c   says what a failure means, and the fix
 *
 * The values are rows of the application. They are sent to the server that they come from, and are printed nowhere: not in a finding, and
 * with them no text of the server either, because such a text may quote a value.
 */
#ifndef WALPUSH_CHECK_EXEC_H
#define WALPUSH_CHECK_EXEC_H

#include "parts.h"

#define EXEC_MS 1000      /* a query that takes longer is ended by the server */
#define EXEC_LOCK_MS 500  /* the same for one that waits for a lock */
#define EXEC_PICK_MS 200  /* for a row with values */
#define EXEC_ALL_MS 10000 /* after that, no further query is run */

/* EXEC_VALUES_NULL: a value without a row is NULL. EXEC_VALUES_MADE_UP: it is a value that its type has, because many functions are not
 * called for NULL. */
enum exec_values { EXEC_VALUES_NULL, EXEC_VALUES_MADE_UP };

struct exec {
	const struct rules_query *q;
	const struct rules_table *table; /* {column} is of its rows; NULL for an admit query and the actor */
	const char *plan;                /* the generic plan, as JSON; NULL: the server made none */
	size_t n;                        /* parameters */
	const struct tmpl_part **refs;   /* what is bound to each */
	Oid *types;
	char **values; /* as text; NULL: no row has one that walpush's role may read */
};

/* Begins a transaction that can only read, and is ended by `ROLLBACK`. */
bool exec_begin(struct check *c, int ms);
/* A question about a finding, with at most 3 values, within EXEC_MS. NULL: the server has not answered it. */
PGresult *exec_ask(struct check *c, const char *sql, size_t n, const char *const *values);

/* False: some parameter has no value of a row. */
bool exec_has_all_values(const struct exec *e);
void exec_take_values(struct check *c, struct exec *e);
/* A value for a parameter of this type; NULL: none is known. */
const char *exec_made_up(Oid type);

/* What the query calls and is VOLATILE, "random(), public.f(integer)"; empty: nothing. False: the server does not say. `only_own`: all of it
 * is of the server itself. */
bool exec_volatile(struct check *c, const struct rules_query *q, struct buf *names, bool *only_own);

/* Adds the finding for an error of the server. False: the error says nothing about the query, for its values were not those of rows. */
bool exec_refused(struct check *c, const struct exec *e, enum exec_values how, const PGresult *error);
/* The same for an EXPLAIN that is not permitted (42501). False: no grant is known that fixes it, and nothing is added. */
bool exec_denied(struct check *c, const struct rules_query *q, const PGresult *error);

#endif
