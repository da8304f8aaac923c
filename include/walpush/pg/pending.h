/*
 * pending: decodes what waits in a slot that nobody reads, and consumes nothing.
 *
 * It streams as walpush does, up to the server's flush position at the beginning, and never confirms a position: the slot stays where it is. It holds
 * the slot meanwhile, so a walpush that starts waits for its end. Blocks: for commands.
 */
#ifndef WALPUSH_PENDING_H
#define WALPUSH_PENDING_H

#include "walpush/base/event_id.h"
#include "walpush/base/fail.h"
#include "walpush/conf/conf.h"

struct pending {
	lsn_t from;      /* the slot's confirmed position */
	lsn_t reached;   /* everything before it was decoded */
	lsn_t end;       /* of the WAL, at the beginning */
	const char *fix; /* after a failure: what to do; a literal; NULL: not known */
	bool is_poison;  /* after a failure: the next row is its reason */
};

/* Reads for `most` µs at most. `add`, `filter`: wal2json's add-tables and filter-tables, "" for none. False: it cannot be decoded further than
 * `reached`, and `why` says why. */
bool pending_decode(const struct conf_database *conf, const char *add, const char *filter, int64_t most,
		    struct pending *out, struct fail *why);

#endif
