/* bind: decodes a record, and orders its values by the columns of its table. Private to the intake. Tap thread. */
#ifndef WALPUSH_BIND_H
#define WALPUSH_BIND_H

#include "walpush/base/buf.h"
#include "walpush/change/plugin.h"
#include "walpush/change/row.h"
#include "walpush/rules/rules.h"

struct record;

struct bind {
	const struct rules *rules; /* NULL: not known yet; nothing is bound before */
	struct plugin_decoder decoder;
	struct row row; /* of the last bind_row; points into its record */
	struct buf scratch;
};

enum bound {
	BOUND,
	BOUND_NOT_LISTED,
	BOUND_UNFIT, /* the table matches a pattern, and was left out: see rules_unfit */
	BOUND_NEW,   /* the table was created after the catalog was read */
	BOUND_STALE, /* the catalog does not fit the row; the columns that fit are bound */
	BOUND_CORRUPT
};

void bind_init(struct bind *b);
void bind_fini(struct bind *b);
/* `table` is set for BOUND and BOUND_STALE. A TRUNCATE has no row. BOUND_CORRUPT: `why` is filled. */
enum bound bind_row(struct bind *b, const struct record *r, struct change *change, const struct rules_table **table,
		    struct fail *why);

#endif
