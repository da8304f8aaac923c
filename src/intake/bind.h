/* bind: the row at hand: a record decoded and laid out by the columns of its table. Private to the intake. Tap thread. */
#ifndef WALPUSH_BIND_H
#define WALPUSH_BIND_H

#include "walpush/base/buf.h"
#include "walpush/change/row.h"
#include "walpush/rules/rules.h"

struct bind {
	const struct rules *rules; /* NULL: nothing is bound before they are known */
	struct decoder *decoder;
	struct row row; /* of the last bind_row; it points into that record */
	struct buf scratch;
};

enum bound {
	BOUND,
	BOUND_NOT_LISTED,
	BOUND_NEW,   /* a table that was made since the catalog was read */
	BOUND_STALE, /* the catalog does not fit the row, which is laid out as far as it does */
	BOUND_CORRUPT
};

void bind_init(struct bind *b);
void bind_fini(struct bind *b);
/* `table` is set for BOUND and BOUND_STALE. A TRUNCATE has no row. BOUND_CORRUPT: `why` says why. */
enum bound bind_row(struct bind *b, struct slice text, struct change *change, const struct rules_table **table,
		    struct fail *why);

#endif
