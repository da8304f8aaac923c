/*
 * publication_ask: what does the slot's publication lack for these rules? Nothing, if the slot is of wal2json, which has none.
 *
 * Two questions on the tap's own connection: the slot's plugin, and publication_query. Tap thread.
 */
#ifndef WALPUSH_PUBLICATION_ASK_H
#define WALPUSH_PUBLICATION_ASK_H

#include "walpush/base/buf.h"
#include "walpush/conf/conf.h"
#include "walpush/pg/sqlpipe.h"
#include "walpush/rules/publication.h"

struct publication_ask;

struct publication_says {
	bool is_pgoutput;         /* else nothing follows */
	uint32_t digest;          /* publication_digest */
	uint32_t names;           /* publication_names */
	size_t n_lacks;           /* those that are no hints */
	bool lacks_deciding;      /* rows that decide permission do not come */
	bool lacks_pushed;        /* others do not come */
	struct fail first;        /* the first lack, with the statement that mends it */
	const struct buf *pushed; /* the lacks of pushed tables, to compare; borrowed for the call */
	bool has_all;             /* publication_has_all */
	/* The tables that only match a pattern: for each '+' (it is sent) or '-', schema, name, both ended by a zero. Borrowed
	 * for the call. */
	const struct buf *matched;
};

/* Called once, never from inside publication_ask_new. NULL: the question failed. The publication_ask is freed before this call. */
typedef void publication_done(void *ctx, const struct publication_says *says, const struct fail *why);

/* `rules` are bound, and outlive it. `log`: every lack is logged, at the level of its kind. */
struct publication_ask *publication_ask_new(struct sqlpipe *sql, const struct conf_database *conf,
					    const struct rules *rules, bool log, publication_done *done, void *ctx);
/* `done` is not called. NULL is allowed. */
void publication_ask_cancel(struct publication_ask *a);

#endif
