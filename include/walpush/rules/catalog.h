/*
 * catalog: what a table looks like, as far as rendering needs it: column order, types, primary key, foreign keys.
 *
 * The tap fills it from the rows of catalog_query at the start, and again when the digest of what is watched has changed
 * (tap_watch.c) or a row does not fit. It is immutable afterwards. Pure: catalog_add takes texts, so tests need no database.
 *
 * The catalog knows the partitions and INHERITS children of a table by name, each under its nearest parent. Their rows
 * count as the parent's. INHERITS may name several parents. wal2json prints all tables of such a parent's schema, so
 * that children made later come too. The catalog also knows the other tables of that schema; any other name is a table
 * that was made since.
 *
 * A table is named "schema.table", split at the first dot: a table's name may have dots, a schema's may not. The schema of
 * a table that matches a pattern may have any character. Names are compared as they are, without folding of case.
 */
#ifndef WALPUSH_CATALOG_H
#define WALPUSH_CATALOG_H

#include <stdint.h>

#include "walpush/base/buf.h"
#include "walpush/base/fail.h"

#define CATALOG_HSTORE UINT32_MAX /* stands for the OID of hstore, which differs between databases */

struct catalog_column {
	char *name;          /* as PostgreSQL knows it */
	char *json_name;     /* as wal2json prints it, JSON-escaped; incoming names are compared with it */
	char *data_key;      /* its key in `data`: "unit" for a foreign key column unit_id; JSON-escaped */
	struct slice member; /* ",\"unit\":", the text before its value in `data`; owned */
	size_t json_len;     /* of json_name */
	uint32_t type;       /* OID, domains resolved to their base type */
	uint32_t declared;   /* OID of the column's own type, which may be a domain: wal2json prints this one */
	uint32_t element;    /* OID of an array's element type, domains resolved; 0: no array */
	bool in_key;         /* part of the primary key */
	bool is_exact;       /* equal values have equal bytes: its collation is deterministic, or it has none */
	bool is_virtual;     /* computed when read (PostgreSQL 18): the WAL has no value of it */
	bool is_stored; /* computed when written: pgoutput sends it from PostgreSQL 18 on, if the publication says so */
};

struct catalog_table {
	char *schema;
	char *name;
	char *json_schema; /* as wal2json prints them */
	char *json_name;
	struct catalog_column *columns; /* in attnum order, without dropped ones */
	size_t n_columns;
	size_t n_key; /* columns with in_key */
	size_t at;    /* its index in the catalog */
	uint32_t oid; /* 0: not known */
	bool has_children;
};

struct catalog;

/* The pairs (oid, name) of all tables that match a pattern of the array `param`, as rules_patterns_param writes it, and of
 * those that have the name of one and match none; `matches` says which. The server's own schemas never match. */
#define CATALOG_MATCHES(param)                                                                                         \
	"SELECT c.oid, pg_catalog.bool_or("                                                                            \
	"  pg_catalog.starts_with(n.nspname::text, w.head)"                                                            \
	"  AND pg_catalog.right(n.nspname::text, pg_catalog.length(w.tail)) = w.tail"                                  \
	"  AND pg_catalog.length(n.nspname::text) >= pg_catalog.length(w.head) + pg_catalog.length(w.tail)) AS "       \
	"matches"                                                                                                      \
	" FROM (SELECT pg_catalog.split_part(p, '*', 1) AS head,"                                                      \
	"        pg_catalog.split_part(pg_catalog.split_part(p, '*', 2), '.', 1) AS tail,"                             \
	"        pg_catalog.split_part(pg_catalog.split_part(p, '*', 2), '.', 2) AS name"                              \
	"       FROM pg_catalog.unnest(" param "::text[]) AS p) AS w"                                                  \
	" JOIN (pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace)"                       \
	"   ON c.relname = w.name::name AND c.relkind IN ('r', 'p')"                                                   \
	" WHERE NOT pg_catalog.starts_with(n.nspname::text, 'pg_') AND n.nspname <> 'information_schema'::name"        \
	" GROUP BY c.oid"

/* Two parameters: an array of "schema.table" texts, and the patterns as in CATALOG_MATCHES. Columns of its rows, in order: schema, table, column, type OID (base
 * type of a domain), element OID (0), in primary key (t/f), foreign key (t/f), declared type OID, virtual (t/f), exact
 * (t/f), stored (t/f), OID of the table. Ordered by table and attnum.
 * The kin follow at the end. A row without a column is a child; its type and element are the parent's schema and name.
 * If these are null too, the row is another table of a parent's schema, or one of another schema that has the name of
 * a pattern's table. Reads only pg_catalog, which needs no grant.
 * PostgreSQL 12 to 18. */
extern const char catalog_query[];
#define CATALOG_QUERY_COLUMNS 12

struct catalog *catalog_new(void);
/* Foreign key columns added from now on keep their names in `data`. */
void catalog_keep_ids(struct catalog *c);
void catalog_free(struct catalog *c);
/* Booleans read t/f or true/false. NULL as the declared OID means the type itself, as `virtual` and `stored`
 * false, as `exact` true, as the table's OID that it is not known. */
bool catalog_add(struct catalog *c, const char *const row[CATALOG_QUERY_COLUMNS], struct fail *why);
/* Adds all rows of an answer. `value` returns one value, NULL for SQL NULL. False after the first row that is
 * refused. */
typedef const char *catalog_value(const void *rows, size_t row, size_t column);
bool catalog_add_rows(struct catalog *c, const void *rows, size_t n, catalog_value *value, struct fail *why);
const struct catalog_table *catalog_find(const struct catalog *c, const char *schema, const char *table);
/* By the names that wal2json prints. */
const struct catalog_table *catalog_find_printed(const struct catalog *c, struct slice schema, struct slice table);
size_t catalog_n_tables(const struct catalog *c);
/* In the order of schema and name. */
const struct catalog_table *catalog_table_at(const struct catalog *c, size_t at);
/* By the names that wal2json prints: the nearest parents that are in the catalog. INHERITS may name several; NULL: `at`
 * is past the last. */
const struct catalog_table *catalog_parent(const struct catalog *c, struct slice schema, struct slice table, size_t at);
/* Is the table in the schema of a parent, and not known to the catalog? Then it was made since the catalog was read. */
bool catalog_is_new(const struct catalog *c, struct slice schema, struct slice table);
/* The schema has a parent, so wal2json prints all its tables. */
bool catalog_is_whole(const struct catalog *c, const char *schema);
/* Children, once for each parent, and other tables, in no order. Names as PostgreSQL knows them. NULL: `at` is past the
 * last. */
struct catalog_kin {
	char *schema, *name;
	const struct catalog_table *parent; /* NULL: another table */
};
const struct catalog_kin *catalog_kin(const struct catalog *c, size_t at);
/* -1 when the table has no such column. */
int catalog_column_index(const struct catalog_table *t, const char *name);

#endif
