/*
 * tap_reach: how far the logs are, and how old that is: the window, which says what may be confirmed, whether the logs are live, and how long it
 * took from the commit to here.
 */
#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/log.h"

/* µs of clock_us: when that was committed. What comes as it is written, comes now; a backlog is as old as its commits say, by the
 * database's clock, and what has no time of its own is as old as what came before it. */
int64_t tap_committed_at(struct tap *t, lsn_t lsn, int64_t committed)
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

void tap_window_begins(struct tap *t, lsn_t lsn)
{
	window_reset(&t->window, lsn);
	t->committed_at = clock_us() - 2 * t->window.age; /* as old as makes no difference */
}

void tap_stream_reached(struct tap *t, lsn_t upto)
{
	window_handled(&t->window, upto, tap_committed_at(t, upto, 0));
	if (t->source)
		source_moved(t->source, upto);
	if (!t->is_live && upto >= t->live) {
		t->is_live = true;
		log_info("live", log_lsn("position", upto));
	}
	tap_feed_position(t, upto);
	t->wires->reached(t);
}

/* What was written before the stream began says nothing of how long it takes. */
void tap_count_transaction(struct tap *t, lsn_t lsn, int64_t committed)
{
	metrics_add(t->counts, METRICS_TRANSACTIONS, 1);
	if (!committed || !t->is_live || lsn < t->live)
		return;
	metrics_observe(t->counts, METRICS_COMMIT_TO_PUBLISHED, clock_wall_us() - committed, 1);
	if (!t->committed || committed < t->committed)
		t->committed = committed;
}
