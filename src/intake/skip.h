/*
 * skip: rows that cannot be handled, because of their size or for want of memory. Private to the intake. Tap thread.
 *
 * Their transaction becomes a mark (txn_skip). Where they decide about permission, or their table is unknown, everybody is a member of it.
 */
#ifndef WALPUSH_SKIP_H
#define WALPUSH_SKIP_H

#include "outside.h"
#include "record.h"
#include "walpush/base/tries.h"
#include "walpush/change/txn.h"

struct skip {
	size_t record_bytes; /* limits.record-bytes */
	struct tries tries;  /* of records for which there is no memory */
	uint64_t n;          /* rows that were stepped over */
	lsn_t large;         /* end of the last transaction that had a record over INTAKE_LARGE */
};

/* On receipt of something of that transaction that has so many bytes. */
void skip_note_size(struct skip *s, const struct transaction *t, size_t bytes);
/* On receipt of a row. A row that is too large, or that there has been no memory for too often, loses its text, and only its name is kept.
 * False: there is no memory now, as `why` says. The stream must break, and bring the row again. */
bool skip_receive(struct skip *s, const struct outside *outside, struct record *r, struct fail *why);
/* At its place among the other rows. */
void skip_row(struct skip *s, const struct rules *rules, struct txn *txn, const struct record *r);

#endif
