/*
 * verdict: up to where an answer about a connection's permission counts.
 *
 * The log is cut into pieces by the commits that change permission. An answer is good for one piece: the one that begins with the last
 * change that was known when the question was sent, provided that no other change lies before the answer's position. Every commit that the
 * answer has seen lies below that position. So a change below it that was learned of later may be in the answer or not, and the
 * answer is void; a change at or behind it ends the piece, and what lies before it may be delivered. What lies between the
 * first change and the piece was never answered, and never will be: it is skipped, with one resync.
 *
 * Nothing at or behind `from` is delivered. Pure; times are passed in, in µs of a clock that does not go back.
 */
#ifndef WALPUSH_VERDICT_H
#define WALPUSH_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "walpush/event_id.h"

/* Without an answer that counts for so many times limits.admit-timeout after it was first asked, a connection is closed: changes that
 * follow each other faster than the database answers would else keep it silent for ever. */
#define VERDICT_PATIENCE 6

struct verdict {
	lsn_t from;   /* the first change that no answer covers; LSN_MAX: none, so it may hear everything */
	lsn_t last;   /* the last change */
	lsn_t own;    /* the last that names its user; 0: none */
	lsn_t known;  /* the last change when the question was sent: where its piece of the log begins */
	lsn_t next;   /* the first change since then; LSN_MAX: none, or no question is out */
	int64_t sent; /* µs: when it was first asked about since `from`; 0: not yet */
	bool is_out;  /* a question was sent */
};

enum verdict_act {
	VERDICT_HEARS, /* nothing is to be asked */
	VERDICT_ASK,   /* at once: a change names its user */
	VERDICT_WAIT,  /* for the next round */
	VERDICT_LATE,  /* for too long no answer has counted */
};

#define VERDICT_NONE ((struct verdict){ .from = LSN_MAX, .next = LSN_MAX })

/* A change of permission; `own`: of this user alone. True: it heard everything until now, and must be told to stop there. */
bool verdict_changed(struct verdict *v, lsn_t commit, bool own);
/* The question is sent. `place` is where one that is not open yet would begin; 0: it is open. */
void verdict_asked(struct verdict *v, lsn_t place, int64_t now);
/* It was admitted by an answer whose position the log has yet to reach, to cursors at `place`: until then it hears nothing behind that. */
void verdict_held(struct verdict *v, lsn_t place);
/* Does a yes count, whose position is `need`? For good, once every change below `need` was told. */
bool verdict_counts(const struct verdict *v, lsn_t need);
/* A no counts at once, but for a change of this very user that it may not have seen: then it is asked again. */
bool verdict_no_counts(const struct verdict *v);
/* Of a yes that counts: something between the first change and its piece of the log is skipped. */
bool verdict_skips(const struct verdict *v);
/* The yes is taken: it hears up to `from`. */
void verdict_take(struct verdict *v);
/* The answer is void. */
void verdict_drop(struct verdict *v);
/* What is to be done about it, while no question is out. `limit`: limits.admit-timeout, µs. */
enum verdict_act verdict_act(const struct verdict *v, int64_t now, int64_t limit);
/* The log is another one, which begins there: nothing of it was answered. */
void verdict_anew(struct verdict *v, lsn_t floor);

#endif
