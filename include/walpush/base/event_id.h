/*
 * event_id: where a message stands in the stream, and the LSN it is made of.
 *
 * A message is (commit LSN, index), written "0/16B3748-2". The index counts the messages of a
 * transaction from 1; "L-0" is before everything of the commit at L. Pure.
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
 * Version of the numbering. Raise it with every change after which a transaction, decoded again under the same rules, would
 * give one of its messages another index: another order, a message more or less, a number taken earlier or later, what is
 * folded into bulk. It is part of the epoch, so clients with a position of the old numbering get `resync`, and replicas of
 * different versions do not share a Redis stream. tests/unit/test_txn.c shows the numbers; a change there is such a change.
 */
#define EVENT_NUMBERING 2

/*
 * Version of the entries in Redis (relay_entry.h). Raise it with every change that an older reader would understand otherwise, or a newer one of older
 * entries: another meaning of a field, a field that must not be passed over, another index. It is part of the epoch, and so
 * of the stream's key: replicas of different formats do not read each other's entries.
 */
#define EVENT_ENTRY_FORMAT 1

#define LSN_TEXT_MAX 18      /* "FFFFFFFF/FFFFFFFF" and the zero */
#define EVENT_ID_TEXT_MAX 29 /* that, "-4294967295" */

/* All return the length written, without the zero. */
size_t lsn_format(char out[LSN_TEXT_MAX], lsn_t lsn);
size_t event_id_format(char out[EVENT_ID_TEXT_MAX], struct event_id id);
/* Strict: hexadecimal upper or lower case without sign, at most 8 digits a half, nothing behind. */
bool lsn_parse(struct slice text, lsn_t *out);
bool event_id_parse(struct slice text, struct event_id *out);

static inline int event_id_compare(struct event_id a, struct event_id b)
{
	if (a.lsn != b.lsn)
		return a.lsn < b.lsn ? -1 : 1;
	return a.index < b.index ? -1 : a.index > b.index;
}

#endif
