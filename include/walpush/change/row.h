/*
 * row: a change laid out by the columns of its table, so that rules can reach a value by index.
 *
 * now[i] / old[i] point at the struct column of catalog column i. They are NULL if PostgreSQL did not send it
 * (unchanged TOAST; an identity without that column; no old row). Pure. A row lives as long as the change; the arrays
 * are reused.
 */
#ifndef WALPUSH_ROW_H
#define WALPUSH_ROW_H

#include "walpush/rules/catalog.h"
#include "walpush/change/decode.h"

struct row {
	const struct catalog_table *table;
	const struct change *change;
	const struct column **now; /* n_columns of the table; all NULL for a delete */
	const struct column **old; /* all NULL for an insert */
	size_t cap;
	bool fits; /* every column of the change is laid out: a NULL was not sent, or is virtual */
};

/*
 * False if change and catalog do not fit: the change has a column or a type that the catalog does not know, or an
 * INSERT lacks a column that the catalog knows. Then read the catalog again. The row is laid out as far as it fits even
 * then, because a change from before an ALTER TABLE never fits the new catalog: a caller that has just read the catalog
 * goes on with this row.
 */
bool row_bind(struct row *r, const struct catalog_table *table, const struct change *change);
/* The same for a row of a child, laid out as its parent's. The child may have columns of its own, in another order. */
bool row_bind_child(struct row *r, const struct catalog_table *parent, const struct change *change);
void row_fini(struct row *r);

/* The value after the change: now[i], or for an unchanged TOAST value old[i]. NULL: unknown. */
const struct column *row_value(const struct row *r, size_t i);
/* The value before the change: old[i], or now[i] if the old one is unknown. For a row that is deleted or leaves. NULL:
 * unknown. */
const struct column *row_former(const struct row *r, size_t i);
/* Appends the value's text to `out`, with the JSON escapes undone. False for NULL. */
bool row_text(const struct column *c, struct buf *out);

#endif
