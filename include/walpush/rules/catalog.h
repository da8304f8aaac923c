/*
 * catalog: what a table looks like, as far as rendering needs it: column order, types, primary key, foreign keys.
 *
 * Filled from CATALOG_QUERY's rows by the tap at each connect and whenever a change shows a column that it does not
 * know; immutable afterwards. Pure: catalog_add takes texts, so tests need no database.
 *
 * Partitions and INHERITS children of a table are known by name, each under its nearest parent: their rows are the parent's, wherever they
 * come from; INHERITS may name several. wal2json is asked for all tables of such a parent's schema, so that those made later come too; which tables of it are
 * none of ours is known as well, and any other name is one that was made since.
 *
 * A table is named "schema.table", split at the first dot: a table's name may have dots, a schema's may not. Names are
 * compared as they are, without folding of case.
 */
#ifndef WALPUSH_CATALOG_H
#define WALPUSH_CATALOG_H

#include <stdint.h>

#include "walpush/base/buf.h"
#include "walpush/base/fail.h"

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
	bool is_exact;   /* values are equal where their bytes are: its collation is deterministic, or it has none */
	bool is_virtual; /* computed when read (PostgreSQL 18): the log has no value of it */
};

struct catalog_table {
	char *schema;
	char *name;
	char *json_schema; /* as wal2json prints them */
	char *json_name;
	struct catalog_column *columns; /* in attnum order, dropped ones left out */
	size_t n_columns;
	size_t n_key; /* those with in_key */
	bool has_children;
};

struct catalog;

/* One parameter: an array of "schema.table" texts. Columns of its rows, in order: schema, table, column, type OID
 * (base type of a domain), element OID (0), in primary key (t/f), foreign key (t/f), declared type OID, virtual (t/f),
 * exact (t/f).
 * Ordered by table and attnum. Behind them the kin: a row without a column is a child, type and element its parent's schema and name; or,
 * where these are null too, another table of a parent's schema. Reads pg_catalog alone, which needs no grant. PostgreSQL 12 to 18. */
extern const char catalog_query[];
#define CATALOG_QUERY_COLUMNS 10

struct catalog *catalog_new(void);
/* Foreign key columns added from now on keep their names in `data`. */
void catalog_keep_ids(struct catalog *c);
void catalog_free(struct catalog *c);
/* Booleans read t/f or true/false. The declared OID, `virtual` and `exact` may be NULL: the type itself, false, true. */
bool catalog_add(struct catalog *c, const char *const row[CATALOG_QUERY_COLUMNS], struct fail *why);
/* All rows of an answer, whoever holds it: `value` gives one, NULL for SQL NULL. False after the first row that is refused. */
typedef const char *catalog_value(const void *rows, size_t row, size_t column);
bool catalog_add_rows(struct catalog *c, const void *rows, size_t n, catalog_value *value, struct fail *why);
const struct catalog_table *catalog_find(const struct catalog *c, const char *schema, const char *table);
/* By the names that wal2json prints: the nearest parents that are in the catalog. INHERITS may name several; NULL: `at` is past the last. */
const struct catalog_table *catalog_parent(const struct catalog *c, struct slice schema, struct slice table, size_t at);
/* Is it in the schema of a parent, and nobody knew of it when the catalog was read? */
bool catalog_is_new(const struct catalog *c, struct slice schema, struct slice table);
/* The schema has a parent: all its tables are asked for. */
bool catalog_is_whole(const struct catalog *c, const char *schema);
/* Children, once for each parent, and others, in no order; as PostgreSQL knows their names. NULL: `at` is past the last. */
struct catalog_kin {
	char *schema, *name;
	const struct catalog_table *parent; /* NULL: another table */
};
const struct catalog_kin *catalog_kin(const struct catalog *c, size_t at);
/* -1 when the table has no such column. */
int catalog_column_index(const struct catalog_table *t, const char *name);

#endif
