/*
 * snapshot: does a snapshot see a transaction as finished?
 *
 * The text of pg_current_snapshot() is "xmin:xmax:xip,xip,…", 64-bit ids in ascending order. A walsender sends a commit before other sessions
 * can see it, so a transaction is handled only when a snapshot taken after its receipt sees it. Pure. wal2json prints 32 bits of the xid. The
 * comparison takes the 64-bit id with these low 32 bits that is nearest to xmax.
 *
 * On a standby the text names no running transaction, so one that runs counts as finished. There a walsender sends a commit only after it is
 * replayed, and then every new snapshot sees it: the time of the query is the proof, and the text proves nothing about later commits.
 */
#ifndef WALPUSH_SNAPSHOT_H
#define WALPUSH_SNAPSHOT_H

#include "walpush/base/fail.h"
#include "walpush/base/slice.h"
#include <stdint.h>

/* The result is one row with the text, and whether the server is a standby. */
#define SNAPSHOT_SQL "SELECT pg_catalog.pg_current_snapshot(), pg_catalog.pg_is_in_recovery()"

struct snapshot {
	uint64_t xmin;
	uint64_t xmax;
	uint64_t *running; /* ascending, xmin ≤ each < xmax */
	size_t n_running;
};

/* Fills `out`, which must be zeroed or filled before. Free it with snapshot_fini. */
bool snapshot_parse(struct slice text, struct snapshot *out, struct fail *why);
void snapshot_fini(struct snapshot *s);
bool snapshot_sees(const struct snapshot *s, uint32_t xid);

#endif
