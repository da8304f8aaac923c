/*
 * catalog: what a table looks like, as far as rendering needs it: column order, types, primary key, foreign keys.
 *
 * Filled from CATALOG_QUERY's rows by the tap at each connect and whenever a change shows a column that it does not
 * know; immutable afterwards. Pure: catalog_add takes texts, so tests need no database.
 */
#ifndef WALPUSH_CATALOG_H
#define WALPUSH_CATALOG_H

#include <stdint.h>

#include "walpush/buf.h"
#include "walpush/fail.h"

struct catalog_column {
	char *name;       /* as PostgreSQL knows it */
	char *json_name;  /* as wal2json prints it: JSON-escaped; what incoming names are compared with */
	char *data_key;   /* its key in `data`: "unit" for a foreign key column unit_id; JSON-escaped */
	uint32_t type;    /* OID, domains resolved to their base type */
	uint32_t element; /* OID of an array's element type; 0: no array */
	bool in_key;      /* part of the primary key */
};

struct catalog_table {
	char *schema;
	char *name;
	char *json_schema; /* as wal2json prints them */
	char *json_name;
	struct catalog_column *columns; /* in attnum order, dropped ones left out */
	size_t n_columns;
};

struct catalog;

/* One parameter: an array of "schema.table" texts. Columns of its rows, in order: schema, table, column, type OID
 * (base type of a domain), element OID (0), in primary key (t/f), foreign key (t/f). Ordered by table and attnum. */
extern const char catalog_query[];
#define CATALOG_QUERY_COLUMNS 7

struct catalog *catalog_new(void);
void catalog_free(struct catalog *c);
bool catalog_add(struct catalog *c, const char *const row[CATALOG_QUERY_COLUMNS], struct fail *why);
const struct catalog_table *catalog_find(const struct catalog *c, const char *schema, const char *table);
/* -1 when the table has no such column. */
int catalog_column_index(const struct catalog_table *t, const char *name);

#endif
