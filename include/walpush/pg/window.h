/*
 * window: how far the slot may be confirmed.
 *
 * The slot keeps the history: it is held at the position of replay.seconds ago, and holds at most replay.bytes of WAL. After a crash the window
 * is decoded again, so every client that received an event within the window can resume. Without an event in the window nothing is held.
 *
 * Times are times of commits. A transaction that is decoded again after a restart has its old time, so restarts do not prolong the window.
 * Pure; times are passed in, in µs of a clock that does not go back.
 */
#ifndef WALPUSH_WINDOW_H
#define WALPUSH_WINDOW_H

#include "walpush/base/event_id.h"

#define WINDOW_MARKS 128 /* the window is divided into about so many parts */

struct window {
	int64_t age; /* µs */
	uint64_t bytes;
	lsn_t handled; /* everything that commits before it is published */
	struct window_mark {
		int64_t at;
		lsn_t lsn;
	} marks[WINDOW_MARKS]; /* a ring: `handled` before the time `at`, one in each part of the window */
	unsigned first, n;
	int64_t last_event;
	bool has_event;
};

void window_init(struct window *w, int64_t age_us, uint64_t bytes);
/* Another history begins at `lsn`. */
void window_reset(struct window *w, lsn_t lsn);
/* A transaction with messages, committed at `at`, was published. */
void window_event(struct window *w, int64_t at);
/* Everything that commits before `lsn` is handled. The last of these commits has the time `at`, which does not go back. */
void window_handled(struct window *w, lsn_t lsn, int64_t at);
/* Everything committed before `at` is below this position. Later commits may be below it too, up to one part of the window later. */
lsn_t window_before(const struct window *w, int64_t at);
/* The position that may be confirmed at `now`. */
lsn_t window_confirm(struct window *w, int64_t now);
/* How long ago the position that may be confirmed was the newest one, in µs; 0: nothing is held. */
int64_t window_held_us(struct window *w, int64_t now);

#endif
