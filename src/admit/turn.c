/*
 * turn: queries that wait for their turn: of every connection when a change names no user, and of each connection when its stream's `recheck`
 * has passed.
 *
 * A change without a user makes all connections wait for a round (rounds.h). Rounds and rechecks put their queries into one queue, which is
 * sent in shares. A new connection, and one that a change names, does not wait in this queue. A connection that waits for a round receives
 * nothing from the change on; one that is asked because time passes receives messages until the answer.
 *
 * Questions of slow pairs (lanes.h) leave their share, and have a queue of their own: one of them goes with the next share when no slow one runs or
 * waits for a lane.
 *
 * Bounds: at most SHARE_QUERIES queries of the queue run, or wait for a lane. limits.admit-timeout starts when the query leaves this queue, so no
 * connection is refused because it waits here; but when no query of a share is answered within VERDICT_PATIENCE times that, those that wait are
 * refused.
 */
#include <stdlib.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/log.h"

/* --- rounds ------------------------------------------------------------------------------------------------------- */

void turn_wait(struct listener *l)
{
	struct admissions *all = l->all;

	listener_to(l, LISTENER_WAITING);
	listener_move(l, &all->awaiting);
	admit_wake(all, ADMIT_SOON);
	admit_wake(all, ADMIT_AFTER_A_TICK);
}

/* If a reload has changed the stream, the hub closes the connection. */
static void ask_when_its_turn(struct listener *l)
{
	if (!listener_stream(l)) {
		ask_about(l);
		return;
	}
	l->all->n_asked++;
	listener_to(l, LISTENER_WAITING);
	ask_in_turn(l);
}

static size_t count_awaiting(const struct admissions *all)
{
	const struct listener *l;
	size_t n = 0;

	DL_FOREACH(all->awaiting, l)
		n += !l->in_round;
	return n;
}

static bool begin_round(struct admissions *all, int64_t now)
{
	struct listener *l;

	if (!all->awaiting || !rounds_may_begin(&all->rounds, now))
		return false;
	rounds_begin(&all->rounds, count_awaiting(all), now);
	metrics_add(all->present->counts, METRICS_ADMIT_ROUNDS, 1);
	log_debug("everybody is asked about", log_n("connections", (int64_t)all->rounds.left));
	while ((l = all->awaiting)) {
		l->in_round = true;
		l->tries = rounds_tried(&all->rounds);
		ask_when_its_turn(l);
	}
	return true;
}

bool turn_again(struct listener *l)
{
	struct admissions *all = l->all;
	int64_t limit = all->present->conf->limits.admit_timeout * 1000;

	if (!l->is_open || verdict_act(&l->verdict, admit_clock(all), limit) != VERDICT_WAIT ||
	    !rounds_again(&all->rounds, &l->tries))
		return false;
	l->in_round = true;
	ask_when_its_turn(l);
	return true;
}

/* --- shares ------------------------------------------------------------------------------------------------------- */

/* Queueing all connections takes time. Changes that arrived meanwhile are read first, because they would make the first answers void. */
static void read_first(struct admissions *all)
{
	all->reads_first = true;
	admit_wake(all, ADMIT_WHEN_READ);
}

void turn_read(struct admissions *all)
{
	all->reads_first = false;
	admit_wake(all, ADMIT_SOON);
}

bool turn_share(struct admissions *all)
{
	int64_t now = admit_clock(all);
	size_t room, n = 0;
	struct question *q;

	if (!admit_is_fed(all) || all->reads_first)
		return false;
	if (begin_round(all, now)) {
		read_first(all);
		return false;
	}
	room = rounds_share_room(&all->share, all->n_out + lanes_waiting(&all->lanes));
	if (room && all->slow_turn && lanes_slow_is_free(&all->lanes))
		ask_in_turn_again(all->slow_turn);
	while (n < room && (q = all->turn)) {
		q->in_share = q->for_next != NULL; /* otherwise all its listeners have ended */
		n += q->in_share;
		ask_now(q);
	}
	if (n)
		rounds_share_sent(&all->share, n, now);
	return all->due != NULL;
}

static void refuse_all(struct question **queue)
{
	struct question *q;

	while ((q = *queue)) {
		while (q->for_next)
			listener_unanswered(q->for_next, "timeout", "the database does not answer");
		ask_now(q);
	}
}

/* While the logs are not filled, nothing is delivered, so no connection is refused. */
static void look_at_shares(struct admissions *all, int64_t now)
{
	if (!admit_is_fed(all) || (!all->turn && !all->slow_turn && !all->share.left))
		all->share.moved = now;
	if (!rounds_share_stands(&all->share, now, all->present->conf->limits.admit_timeout * 1000))
		return;
	refuse_all(&all->turn);
	refuse_all(&all->slow_turn);
}

/* --- as time passes ----------------------------------------------------------------------------------------------- */

/* A listener that is not STANDING is being asked already. */
static void recheck(struct ring *r, int64_t now)
{
	size_t n = rounds_recheck_due(&r->pace, r->n, r->every, now);
	struct listener *l;

	while ((l = r->listeners) && l->checked != now && (n || now - l->checked >= r->every)) {
		n -= n > 0;
		l->checked = now;
		DL_DELETE2(r->listeners, l, prev_of_ring, next_of_ring);
		DL_APPEND2(r->listeners, l, prev_of_ring, next_of_ring);
		if (l->state == LISTENER_STANDING && listener_stream(l))
			ask_when_its_turn(l);
	}
}

void turn_look(struct admissions *all, int64_t now)
{
	struct ring *r, *next;

	look_at_shares(all, now);
	if (!admit_is_fed(all))
		return;
	HASH_ITER(hh, all->rings, r, next)
		if (r->every)
			recheck(r, now);
	admit_wake(all, ADMIT_SOON);
}

bool turn_waits(const struct admissions *all)
{
	return all->awaiting || all->turn || all->slow_turn || all->share.left || ring_waits(all);
}

static int count_in(const struct question *queue)
{
	const struct question *q;
	const struct listener *l;
	int n = 0, of_one;

	DL_FOREACH2(queue, q, next_due) {
		DL_COUNT(q->for_next, l, of_one);
		n += of_one;
	}
	return n;
}

int turn_count(const struct admissions *all)
{
	const struct listener *l;
	int n = 0;

	DL_COUNT(all->awaiting, l, n);
	return n + count_in(all->turn) + count_in(all->slow_turn);
}
