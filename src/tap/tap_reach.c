/*
 * tap_reach: how far the logs are, and how old this position is: for the window, which says what may be confirmed; for the question whether the
 * logs are live; and for the time from commit to publication.
 */
#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/log.h"

/* Returns the commit time in µs of clock_us. Live transactions are committed now. A transaction of a backlog is as old as its commit time says, by
 * the database's clock. A position without a commit time is as old as the one before it. */
int64_t tap_reach_committed_at(struct tap *t, lsn_t lsn, int64_t committed)
{
	int64_t now = clock_us(), at = t->committed_at, age = clock_wall_us() - committed;

	if (t->is_live && lsn >= t->live)
		at = now;
	else if (committed)
		at = age > 0 ? now - age : now;
	if (at > t->committed_at)
		t->committed_at = at;
	return t->committed_at;
}

void tap_reach_begins(struct tap *t, lsn_t lsn)
{
	window_reset(&t->window, lsn);
	t->committed_at = clock_us() - 2 * t->window.age; /* older than anything that the window holds */
}

void tap_reach_upto(struct tap *t, lsn_t upto)
{
	window_handled(&t->window, upto, tap_reach_committed_at(t, upto, 0));
	if (t->source)
		source_moved(t->source, upto);
	if (!t->is_live && upto >= t->live) {
		t->is_live = true;
		log_info("live", log_lsn("position", upto));
	}
	tap_feed_position(t, upto);
	t->wires->reached(t);
}

/* A backlog says nothing about the time from commit to publication, so it is not measured. */
void tap_reach_count(struct tap *t, lsn_t lsn, int64_t committed)
{
	metrics_add(t->counts, METRICS_TRANSACTIONS, 1);
	if (!committed || !t->is_live || lsn < t->live)
		return;
	metrics_observe(t->counts, METRICS_COMMIT_TO_PUBLISHED, clock_wall_us() - committed, 1);
	if (!t->committed || committed < t->committed)
		t->committed = committed;
}
