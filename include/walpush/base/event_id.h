/*
 * event_id: the position of a message in the replication stream, and the LSN in it.
 *
 * The id of a message is (commit LSN, index), written "0/16B3748-2". The index counts the messages of a transaction from 1. "L-0" is the
 * position before everything of the commit at L. Pure.
 */
#ifndef WALPUSH_EVENT_ID_H
#define WALPUSH_EVENT_ID_H

#include <stdint.h>

#include "walpush/base/slice.h"

typedef uint64_t lsn_t; /* a position in the WAL, in bytes; 0: none */
#define LSN_MAX UINT64_MAX

struct event_id {
	lsn_t lsn;
	uint32_t index;
};

/*
 * Version of the numbering. Raise it if a transaction that is decoded again under the same rules would get another index for one of its
 * messages: another order, a message more or less, a number taken earlier or later, other rows folded into bulk. The version is part of the
 * epoch, so clients with a position of the old numbering receive `resync`, and replicas of different versions do not share a Redis stream.
 * tests/unit/change/test_txn.c shows the numbers: if they change there, raise the version.
 */
#define EVENT_NUMBERING 4

/*
 * Version of the entries in Redis (relay_entry.h). Raise it with every change after which an older reader misunderstands new entries, or a
 * newer reader misunderstands old entries: another meaning of a field, a field that a reader must not ignore, another index. The version is
 * part of the epoch, and so of the Redis stream's key: replicas of different formats do not read each other's entries.
 */
#define EVENT_ENTRY_FORMAT 1

#define LSN_TEXT_MAX 18      /* "FFFFFFFF/FFFFFFFF" and the zero */
#define EVENT_ID_TEXT_MAX 29 /* LSN_TEXT_MAX, and "-4294967295" */

/* All return the length written, without the zero. */
size_t lsn_format(char out[LSN_TEXT_MAX], lsn_t lsn);
size_t event_id_format(char out[EVENT_ID_TEXT_MAX], struct event_id id);
/* Strict: hexadecimal in upper or lower case, no sign, at most 8 digits a half, nothing after the end. */
bool lsn_parse(struct slice text, lsn_t *out);
bool event_id_parse(struct slice text, struct event_id *out);

static inline int event_id_compare(struct event_id a, struct event_id b)
{
	if (a.lsn != b.lsn)
		return a.lsn < b.lsn ? -1 : 1;
	return a.index < b.index ? -1 : a.index > b.index;
}

#endif
