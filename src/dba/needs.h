/*
 * needs: SQL that `walpush check` and `walpush sql` share: what the role must be granted, and what the WAL must hold of old rows.
 * PostgreSQL itself finds out both: its parser knows which columns a query reads, and its catalog knows which columns a replica
 * identity holds.
 *
 * Pure. The texts are for the simple protocol; names and literals are quoted.
 */
#ifndef WALPUSH_NEEDS_H
#define WALPUSH_NEEDS_H

#include "walpush/base/buf.h"
#include "walpush/rules/rules.h"

/*
 * A query over the session's walpush_reads_ views. It gives one row for each table, schema or function: what `role` (SQL that yields a
 * name) lacks to run the queries of the views, as a GRANT statement with a semicolon. The statement grants only columns if they are enough;
 * a query that takes a whole row needs the whole table. Without a semicolon at the end.
 */
void needs_grants(struct buf *out, const char *role);
/*
 * A query over the same views, for the opposite: one row for each table of which `role` was granted more than the queries read. The table,
 * quoted; what it has too much ("SELECT (password), INSERT"); the statement that takes all of it; the one that gives back what is read, or
 * null. Another configuration may need it. Rights of PUBLIC and of roles that `role` is a member of do not count.
 */
void needs_excess(struct buf *out, const char *role);

/* SQL over `n`, a pg_namespace: does its name match the pattern's schema? */
void needs_matches(struct buf *out, const struct rules_table *pattern);

/* Writes one row's values; `schema` is SQL. */
typedef void needs_row(struct buf *out, const char *schema, const struct rules_table *t);
/* A query: "VALUES (…), (…)" with the row of each table of the rules; for a pattern of rules that are not expanded
 * "UNION ALL SELECT …" with a row for each table that matches when it runs, with its class as `c`. */
void needs_rows(struct buf *out, const struct rules *r, needs_row *row);

/* Such a query of "'public', 'requests', ARRAY['unit_id']::text[], true, true": each table with rules_identity_columns, whether
 * its columns are sent as they are, and whether its key is. For a section with `quiet`, also all columns that `quiet` does not name: an update is
 * compared with the old row by these columns. */
void needs_wanted(struct buf *out, const struct rules *r);

/*
 * A query over the rows of needs_wanted. It gives one row for each table whose replica identity lacks something: the table, quoted;
 * the columns whose old value the rules need, or '' if the identity holds nothing at all, so that wal2json leaves out updates and
 * deletes; the columns with large values that are stored apart, and that an update does not send if it does not change them; schema
 * and name of the listed table. Null if nothing is lacking. `more`: a query for further rows of the same columns, or NULL. Without a semicolon at the end.
 */
void needs_identity(struct buf *out, const struct rules *r, const char *more);
/* `more`, in the script: what the admit queries read. */
#define NEEDS_FOUND "SELECT schema, name, columns, false, false FROM walpush_found"

/*
 * A query for roles that may create functions and operators where the session looks for names, and that are not trusted to decide who may
 * listen. Superusers, the owners of the database and of the schema, and the only owner of all tables in the schema are trusted. One row
 * for each role and schema: the role ("PUBLIC" or a quoted name), the quoted schema, the statements that revoke the right. They first grant
 * the right to the owners of tables there, because the owners' migrations may need PUBLIC's right. Without a semicolon at the end.
 */
extern const char needs_creators[];

#endif
