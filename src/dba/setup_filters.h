/*
 * setup_filters: the part of the DBA's script that decides which tables of the publication have a row filter.
 *
 * A wrong filter hides changes, or makes an UPDATE of the application fail. So a table has one only where the rules allow it (rowfilter), and where
 * the database does: the old row is logged whole, and the values are compared as the rules compare them. Pure.
 */
#ifndef WALPUSH_SETUP_FILTERS_H
#define WALPUSH_SETUP_FILTERS_H

#include <stdbool.h>

#include "walpush/base/buf.h"
#include "walpush/rules/rules.h"

/* Makes the temporary table walpush_filter (oid, condition), after the replica identities are altered. Without `wanted` it is empty. */
void setup_filters(struct buf *out, const struct rules *r, bool wanted);

#endif
