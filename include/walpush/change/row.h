/*
 * row: a change laid out by the columns of its table, so that rules can reach a value by index.
 *
 * now[i] / old[i] point at the struct column of catalog column i, or are NULL where PostgreSQL did not send it
 * (unchanged TOAST; identity without that column; no old row). Pure. Lives as long as the change; the arrays are
 * reused.
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
	bool fits; /* every column of the change is laid out: what is NULL was not sent, or is virtual */
};

/*
 * False when change and catalog do not fit: a column or a type that the catalog does not know, or an INSERT without
 * one that it knows: read the catalog again. The row is laid out as far as it fits even then, because a change from
 * before an ALTER TABLE never fits the new catalog: who has just read it goes on with what there is.
 */
bool row_bind(struct row *r, const struct catalog_table *table, const struct change *change);
/* The same of a row of a child, laid out as its parent's: it may have columns of its own, in an order of its own. */
bool row_bind_child(struct row *r, const struct catalog_table *parent, const struct change *change);
void row_fini(struct row *r);

/* The value after the change: now, or for an unchanged TOAST value the old one. NULL: not known. */
const struct column *row_value(const struct row *r, size_t i);
/* The value before the change, else what is known of it: what a row that goes was. NULL: not known. */
const struct column *row_former(const struct row *r, size_t i);
/* The value's text with the JSON escapes undone, appended to out. False for NULL. */
bool row_text(const struct column *c, struct buf *out);

#endif
