/*
 * sqlrows: the rows of a query's result, as texts. sqlpipe fills them from a PGresult, tests fill them by hand.
 * The caller that ran the query owns them. Pure.
 */
#ifndef WALPUSH_SQLROWS_H
#define WALPUSH_SQLROWS_H

#include <stddef.h>
#include <stdint.h>

struct sqlrows {
	size_t n_rows, n_columns;
	char **names;    /* n_columns */
	uint32_t *types; /* n_columns: OIDs; 0: unknown */
	char **values;   /* n_rows * n_columns; NULL: SQL NULL. Booleans are "true" and "false". */
};

struct sqlrows *sqlrows_new(size_t n_rows, size_t n_columns);
void sqlrows_free(struct sqlrows *r);
/* The type is unknown until it is set. */
void sqlrows_name(struct sqlrows *r, size_t column, const char *name);
void sqlrows_set(struct sqlrows *r, size_t row, size_t column, const char *value);
const char *sqlrows_get(const struct sqlrows *r, size_t row, size_t column);
/* -1: no such column */
int sqlrows_column(const struct sqlrows *r, const char *name);

#endif
