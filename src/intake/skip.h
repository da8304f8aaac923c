/*
 * skip: rows that cannot be handled, because they are too large or there is no memory. Private to the intake. Tap thread.
 *
 * Their transaction gets a mark (txn_skip). If they decide permission, or their table is unknown, every user is a member of the transaction.
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
	uint64_t n;          /* rows that were skipped */
	lsn_t large;         /* end of the last transaction that had a record over INTAKE_LARGE */
};

/* On receipt of a record of this transaction with so many bytes. */
void skip_note_size(struct transaction *t, size_t bytes);
/* On receipt of its COMMIT. */
void skip_note_end(struct skip *s, const struct transaction *t);
/* On receipt of a row. If the row is too large, or there was no memory for it too often, its text is dropped and only its names are kept.
 * False: there is no memory now, and `why` is filled. The stream must break, and bring the row again. */
bool skip_receive(struct skip *s, const struct outside *outside, struct record *r, struct fail *why);
/* When the row is the head of the queue. */
void skip_row(struct skip *s, const struct rules *rules, struct txn *txn, const struct record *r);

#endif
