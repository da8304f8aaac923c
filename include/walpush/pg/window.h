/*
 * window: how far the slot may be confirmed.
 *
 * Time is that of the commits: what is decoded again after a restart is as old as it was, so restarts do not prolong the window.
 *
 * The slot is the history: it is held where it was replay.seconds ago, and by at most replay.bytes of WAL, so that after a crash the
 * window is decoded again: whoever heard anything within the window can resume. With no event in the window nothing is held.
 * Pure; times are passed in, in µs of a clock that does not go back.
 */
#ifndef WALPUSH_WINDOW_H
#define WALPUSH_WINDOW_H

#include "walpush/base/event_id.h"

#define WINDOW_MARKS 128 /* the window's time is judged in this many parts */

struct window {
	int64_t age; /* µs */
	uint64_t bytes;
	lsn_t handled; /* everything that commits before it is published */
	struct window_mark {
		int64_t at;
		lsn_t lsn;
	} marks[WINDOW_MARKS]; /* a ring: where it stood until then, once in each part of the window */
	unsigned first, n;
	int64_t last_event;
	bool has_event;
};

void window_init(struct window *w, int64_t age_us, uint64_t bytes);
/* Another history begins at `lsn`. */
void window_reset(struct window *w, lsn_t lsn);
/* A transaction with messages, committed at `at`, was published. */
void window_event(struct window *w, int64_t at);
/* Everything that commits before `lsn` is handled; the last of it was committed at `at`, which does not go back. */
void window_handled(struct window *w, lsn_t lsn, int64_t at);
/* What was committed before `at` lies below this position; so may something that was committed later, up to a part of the window. */
lsn_t window_before(const struct window *w, int64_t at);
/* What may be confirmed at `now`. */
lsn_t window_confirm(struct window *w, int64_t now);
/* How long ago the position that may be confirmed was the newest, in µs; 0: nothing is held. */
int64_t window_held_us(struct window *w, int64_t now);

#endif
