/*
 * verdict: up to where an answer about a connection's permission counts.
 *
 * Commits that change permission cut the logs into pieces. An answer is valid for one piece. The piece begins with the last change that was
 * known when the query was sent. Every commit that the answer has seen is below the answer's position. A later change below this position may
 * be in the answer or not, so it makes the answer void. A later change at or above this position ends the piece; what lies before it may be
 * delivered. What lies between the first change and the piece has no answer and never gets one: it is skipped, with one resync.
 *
 * Nothing at or above `from` is delivered. Pure; times are passed in, in µs of a clock that does not go back.
 */
#ifndef WALPUSH_VERDICT_H
#define WALPUSH_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "walpush/base/event_id.h"

/* A connection is closed when no answer was valid for this many times limits.admit-timeout. Otherwise changes that follow each other faster
 * than the database answers would keep it silent for ever. */
#define VERDICT_PATIENCE 6

struct verdict {
	lsn_t from;   /* the first change that no answer covers; LSN_MAX: none, everything is delivered */
	lsn_t last;   /* the last change */
	lsn_t own;    /* the last change that names its user; 0: none */
	lsn_t known;  /* the last change when the query was sent: the piece begins here */
	bool hides;   /* there are more changes than one up to `known`, one of them names its user */
	lsn_t next;   /* the first change since then: the piece ends here; LSN_MAX: none, or no query runs */
	int64_t sent; /* µs: when the first query since `from` was sent; 0: none was */
	bool is_out;  /* a query runs */
};

enum verdict_act {
	VERDICT_HEARS, /* nothing to ask */
	VERDICT_ASK,   /* at once, because a change names its user */
	VERDICT_WAIT,  /* the next round asks */
	VERDICT_LATE,  /* no answer was valid for too long */
};

#define VERDICT_NONE ((struct verdict){ .from = LSN_MAX, .next = LSN_MAX })

/* A change of permission; `own`: it names this user. True: the connection had no limit until now, and needs one at this commit. */
bool verdict_changed(struct verdict *v, lsn_t commit, bool own);
/* The query is sent. `place`: where a connection that is not open yet would begin; 0: it is open. */
void verdict_asked(struct verdict *v, lsn_t place, int64_t now);
/* The connection is admitted with cursors at `place`, while the logs have not reached the answer's position: nothing at or above `place` is delivered. */
void verdict_held(struct verdict *v, lsn_t place);
/* Is a yes with position `need` valid? Final once every change below `need` is known. */
bool verdict_counts(const struct verdict *v, lsn_t need);
/* A no is valid at once, unless a change names this user that the query may not have seen: then ask again. */
bool verdict_no_counts(const struct verdict *v);
/* A yes is about the changes up to `known` now, at or above the one before. */
void verdict_know(struct verdict *v, lsn_t known);
/* Of a valid yes: something between the first change and its piece is skipped. */
bool verdict_skips(const struct verdict *v);
/* Of a valid yes: between the changes the user may have been in groups that the answer does not name. */
bool verdict_hides(const struct verdict *v);
/* The yes is applied: everything below `from` is delivered. */
void verdict_take(struct verdict *v);
/* The answer is void. */
void verdict_drop(struct verdict *v);
/* What to do next, while no query runs. `limit`: limits.admit-timeout, µs. */
enum verdict_act verdict_act(const struct verdict *v, int64_t now, int64_t limit);
/* Another history begins at `floor`: no answer covers it. */
void verdict_anew(struct verdict *v, lsn_t floor);

#endif
