/*
 * rowfilter: the condition of a publication under which the server leaves out rows that no section counts (`when`).
 *
 * Such a row makes no message, so the server need not send it. But an update that takes a row out of the condition, or into it, arrives as a
 * DELETE, or as an INSERT. So a table may have one only where nothing can tell the difference: no action, no permission, no query. PostgreSQL
 * has row filters since 15. Pure.
 */
#ifndef WALPUSH_ROWFILTER_H
#define WALPUSH_ROWFILTER_H

#include "walpush/rules/rules.h"

/* Why the table may have none, as the end of a sentence. NULL: it may. What admit queries read counts after rules_reads alone. */
const char *rowfilter_unfit(const struct rules *r, const struct rules_table *t);
/* The condition in SQL: true for every row that a section of the table counts. For a table that may have one. */
void rowfilter_add(struct buf *out, const struct rules_table *t);
/* Is this condition, as pg_get_expr prints it, true for every row that a section of the table counts? False also where it is not understood: it is
 * made of AND, OR, and columns that equal a value. */
bool rowfilter_keeps(const char *condition, const struct rules_table *t);

#endif
