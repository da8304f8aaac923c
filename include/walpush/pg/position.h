/*
 * position: how far the WAL is, read behind other queries in the same session. Pure.
 *
 * Every commit that those queries saw begins below the position. (A commit's LSN is where its record begins.)
 *
 * On a primary a commit is flushed before others see it. With synchronous_commit = off it is visible up to three times wal_writer_delay before it
 * is flushed. Then only the insert position is certain, and after that time the flush position.
 *
 * On a standby a commit is visible while its record is still applied: the server counts the record as replayed afterwards, and a commit that
 * drops tables may take seconds to apply. Records are applied one by one, so all that was seen is replayed, but for at most one commit: the record
 * right behind the replayed position. So the certain position is above the place where that record begins. If walreceiver runs, and nothing
 * was received beyond the replayed position, then there is no such record: what is streamed is received before it is applied.
 */
#ifndef WALPUSH_POSITION_H
#define WALPUSH_POSITION_H

#include "walpush/base/event_id.h"
#include "walpush/base/fail.h"
#include "walpush/base/sqlrows.h"

struct position {
	lsn_t flush;   /* certain, unless commits are visible before they are flushed; on a standby always */
	lsn_t insert;  /* certain, and never below an earlier `flush` of the same server */
	int64_t delay; /* µs: after this time another look may find a lower position */
	bool is_async; /* synchronous_commit is off for some role or database, or by default */
	bool is_standby;
	bool in_redo; /* of a standby: it may be applying a commit that the queries saw */
};

/* The result of each is one row for position_read. Only the second one asks for `is_async`. */
extern const char position_sql[], position_async_sql[];
/* False: `why` is filled. */
bool position_read(const struct sqlrows *rows, const struct fail *error, struct position *out, struct fail *why);
/* What is certain now. `is_async`: commits may be visible before they are flushed. */
lsn_t position_certain(const struct position *p, bool is_async);
/* After p->delay another look may find that less than `certain` is enough. */
bool position_may_fall(const struct position *p, lsn_t certain);

#endif
