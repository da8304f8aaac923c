/*
 * needs: SQL that `walpush check` and `walpush sql` have in common: what the role must be granted, and what the log must
 * hold of old rows. PostgreSQL itself finds out: its parser knows which columns a query reads, its catalog which columns a
 * replica identity holds.
 *
 * Pure. The texts are for the simple protocol; names and literals are quoted.
 */
#ifndef WALPUSH_NEEDS_H
#define WALPUSH_NEEDS_H

#include "walpush/base/buf.h"
#include "walpush/rules/rules.h"

/*
 * Of the session's walpush_reads_ views: one row a table or schema with what `role` (SQL that yields a name) lacks to run
 * their queries, as a GRANT statement with a semicolon. Columns alone where that is enough; a query that takes a whole row
 * needs the whole table. Without a semicolon at the end.
 */
void needs_grants(struct buf *out, const char *role);

/* "('public', 'requests', ARRAY['unit_id']::text[], true),\n    (…)": each table of the rules with rules_identity_columns, and
 * whether its columns are sent as they are. Beside them, of a section with `quiet`, all columns that it does not name: an update
 * is compared with the old row by them. */
void needs_wanted(struct buf *out, const struct rules *r);

/*
 * A query over the rows of needs_wanted, one row for each table whose replica identity lacks something: the table, quoted;
 * the columns of which the rules need the old value, or '' where the identity holds nothing at all, so that wal2json would
 * leave out updates and deletes; the columns whose large values, stored apart, an update that leaves them alone does not
 * send. Null where nothing is lacking. `more`: a query for further rows of the same columns, or NULL. Without a semicolon at the end.
 */
void needs_identity(struct buf *out, const struct rules *r, const char *more);

/*
 * A query of who may create functions and operators where the session looks for names, and is not trusted to decide who listens: no
 * superuser, no owner of the database or the schema, not the one owner of all tables in it. One row a role and schema: who ("PUBLIC" or
 * a quoted name), the quoted schema, the statements that take it away. The owners of tables there are granted it first, because PUBLIC's
 * right may be what their migrations live on. Without a semicolon at the end.
 */
extern const char needs_creators[];

#endif
