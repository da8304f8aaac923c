/*
 * window: how far the slot may be confirmed.
 *
 * The slot is the history: it is held behind the newest event by replay.seconds, and by at most replay.bytes of WAL, so that after a
 * crash the window is decoded again. With no event in the window nothing is held. Pure; times are passed in.
 */
#ifndef WALPUSH_WINDOW_H
#define WALPUSH_WINDOW_H

#include "walpush/event_id.h"

#define WINDOW_MARKS 128 /* the window's time is judged in this many parts */

struct window {
	int64_t age; /* µs */
	uint64_t bytes;
	lsn_t handled; /* everything that commits before it is published */
	struct window_mark {
		int64_t at;
		lsn_t lsn;
	} marks[WINDOW_MARKS]; /* a ring: the first event of each part of the window */
	unsigned first, n;
};

void window_init(struct window *w, int64_t age_us, uint64_t bytes);
/* Another history begins at `lsn`. */
void window_reset(struct window *w, lsn_t lsn);
/* A transaction with messages, committed at `lsn`, was published at `now`. */
void window_event(struct window *w, lsn_t lsn, int64_t now);
/* Everything that commits before `lsn` is handled. */
void window_handled(struct window *w, lsn_t lsn);
/* What may be confirmed at `now`. */
lsn_t window_confirm(struct window *w, int64_t now);

#endif
