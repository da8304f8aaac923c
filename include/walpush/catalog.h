/*
 * catalog: what a table looks like, as far as rendering needs it: column order, types, primary key, foreign keys.
 *
 * Filled from CATALOG_QUERY's rows by the tap at each connect and whenever a change shows a column that it does not
 * know; immutable afterwards. Pure: catalog_add takes texts, so tests need no database.
 *
 * A table is named "schema.table", split at the first dot: a table's name may have dots, a schema's may not. Names are
 * compared as they are, without folding of case.
 */
#ifndef WALPUSH_CATALOG_H
#define WALPUSH_CATALOG_H

#include <stdint.h>

#include "walpush/buf.h"
#include "walpush/fail.h"

#define CATALOG_HSTORE UINT32_MAX /* stands for the OID of hstore, which is an extension's */

struct catalog_column {
	char *name;          /* as PostgreSQL knows it */
	char *json_name;     /* as wal2json prints it: JSON-escaped; what incoming names are compared with */
	char *data_key;      /* its key in `data`: "unit" for a foreign key column unit_id; JSON-escaped */
	struct slice member; /* ",\"unit\":", what stands before its value in `data`; owned */
	size_t json_len;     /* of json_name */
	uint32_t type;       /* OID, domains resolved to their base type */
	uint32_t declared;   /* OID of the column itself, a domain's own: what wal2json prints */
	uint32_t element;    /* OID of an array's element type, domains resolved; 0: no array */
	bool in_key;         /* part of the primary key */
	bool is_virtual;     /* computed when read (PostgreSQL 18): the log has no value of it */
};

struct catalog_table {
	char *schema;
	char *name;
	char *json_schema; /* as wal2json prints them */
	char *json_name;
	struct catalog_column *columns; /* in attnum order, dropped ones left out */
	size_t n_columns;
	size_t n_key; /* those with in_key */
};

struct catalog;

/* One parameter: an array of "schema.table" texts. Columns of its rows, in order: schema, table, column, type OID
 * (base type of a domain), element OID (0), in primary key (t/f), foreign key (t/f), declared type OID, virtual (t/f).
 * Ordered by table and attnum. Reads pg_catalog alone, which needs no grant. PostgreSQL 12 to 18. */
extern const char catalog_query[];
#define CATALOG_QUERY_COLUMNS 9

struct catalog *catalog_new(void);
/* Foreign key columns added from now on keep their names in `data`. */
void catalog_keep_ids(struct catalog *c);
void catalog_free(struct catalog *c);
/* Booleans read t/f or true/false. The declared OID and `virtual` may be NULL: the type itself, false. */
bool catalog_add(struct catalog *c, const char *const row[CATALOG_QUERY_COLUMNS], struct fail *why);
const struct catalog_table *catalog_find(const struct catalog *c, const char *schema, const char *table);
/* -1 when the table has no such column. */
int catalog_column_index(const struct catalog_table *t, const char *name);

#endif
