/*
 * position: how far the WAL is, read behind other queries in the same session. Pure.
 *
 * Every commit that those queries saw ends at or below the position: a commit is flushed before others see it. With synchronous_commit = off it
 * is visible up to three times wal_writer_delay before it is flushed. Then only the insert position is certain, and after that time the flush
 * position.
 */
#ifndef WALPUSH_POSITION_H
#define WALPUSH_POSITION_H

#include "walpush/base/event_id.h"
#include "walpush/base/fail.h"
#include "walpush/base/sqlrows.h"

/* How long a commit without synchronous_commit stays unflushed at most, in wal_writer_delay. Source: PostgreSQL's manual. */
#define POSITION_WRITER_DELAYS 3

struct position {
	lsn_t flush, insert; /* on a standby both are what is replayed, because every visible commit is */
	int64_t delay;       /* µs: wal_writer_delay */
	bool is_async;       /* synchronous_commit is off for some role or database, or by default */
};

/* The result of each is one row for position_read. Only the second one asks for `is_async`. */
extern const char position_sql[], position_async_sql[];
/* False: `why` is filled. */
bool position_read(const struct sqlrows *rows, const struct fail *error, struct position *out, struct fail *why);

#endif
