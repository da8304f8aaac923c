/*
 * tap_turn: what is asked in its turn: everybody, when a change names no user, and each one again, when its stream's `recheck` has passed.
 *
 * Who is concerned by such a change waits for a round (rounds.h). A round, like a recheck, puts its questions into one queue, from which they
 * go to the server in shares; whoever comes, or is named by a change, passes the queue by. Who waits for a round hears nothing from
 * the change on; who is asked because time has passed hears on until the answer.
 *
 * Bounds: SHARE_MOST questions of the queue are with the server. limits.admit-timeout counts from the sending, so nobody is refused because it
 * waits here; but when no share was answered in VERDICT_PATIENCE times that, those who wait are refused.
 */
#include <stdlib.h>
#include <utlist.h>

#include "admit_impl.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

/* A stream whose admit query reads what the log does not tell of, where the file says no other time. */
#define NOT_FOLLOWED_EVERY 60000000 /* µs */

/* --- rounds ------------------------------------------------------------------------------------------------------- */

void turn_wait(struct listener *l)
{
	struct admissions *all = l->all;

	listener_to(l, LISTENER_WAITING);
	listener_move(l, &all->awaiting);
	event_active(all->ask, EV_TIMEOUT, 0);
	ask_tick(all);
}

void turn_done(struct listener *l)
{
	if (l->in_round)
		rounds_left(&l->all->rounds);
	l->in_round = false;
}

/* Of a stream that is not the same any more its hub takes care. */
static void ask_when_its_turn(struct listener *l)
{
	if (!listener_stream(l)) {
		listener_ask(l);
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
	metrics_add(all->tap->counts, METRICS_ADMIT_ROUNDS, 1);
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
	int64_t limit = all->tap->conf->limits.admit_timeout * 1000;

	if (!l->is_open || verdict_act(&l->verdict, clock_us(), limit) != VERDICT_WAIT ||
	    !rounds_again(&all->rounds, &l->tries))
		return false;
	l->in_round = true;
	ask_when_its_turn(l);
	return true;
}

/* --- shares ------------------------------------------------------------------------------------------------------- */

/* It takes its time to queue everybody. What has changed meanwhile is read first, or it would make the first answers void. */
static void read_first(struct admissions *all)
{
	event_add(all->queued, &(struct timeval){ 0, 0 });
}

static void on_queued(evutil_socket_t fd, short what, void *arg)
{
	struct admissions *all = arg;

	(void)fd;
	(void)what;
	event_active(all->ask, EV_TIMEOUT, 0);
}

bool turn_share(struct admissions *all)
{
	int64_t now = clock_us();
	size_t room, n = 0;
	struct question *q;

	if (!tap_is_fed(all->tap) || event_pending(all->queued, EV_TIMEOUT, NULL))
		return false;
	if (begin_round(all, now)) {
		read_first(all);
		return false;
	}
	room = share_room(&all->share, all->n_out);
	while (n < room && (q = all->turn)) {
		q->in_share = q->next != NULL; /* else all who asked have gone */
		n += q->in_share;
		ask_now(q);
	}
	if (n)
		share_sent(&all->share, n, now);
	return all->due != NULL;
}

static void refuse_all(struct question *q)
{
	while (q->next)
		listener_refuse(q->next, 1013, "timeout", "the database does not answer");
}

/* While nothing is fed nobody hears anything, so nobody has to go. */
static void look_at_shares(struct admissions *all, int64_t now)
{
	struct question *q;

	if (!tap_is_fed(all->tap) || (!all->turn && !all->share.left))
		all->share.moved = now;
	if (!share_stands(&all->share, now, all->tap->conf->limits.admit_timeout * 1000))
		return;
	while ((q = all->turn)) {
		refuse_all(q);
		ask_now(q);
	}
}

/* --- as time passes ----------------------------------------------------------------------------------------------- */

static struct ring *ring_of(struct admissions *all, uint64_t stream)
{
	struct ring *r;

	HASH_FIND(hh, all->rings, &stream, sizeof(stream), r);
	if (r)
		return r;
	r = mem_new(sizeof(*r));
	r->stream = stream;
	HASH_ADD(hh, all->rings, stream, sizeof(r->stream), r);
	return r;
}

static void ring_free(struct admissions *all, struct ring *r)
{
	HASH_DELETE(hh, all->rings, r);
	free(r);
}

static void leave_ring(struct listener *l)
{
	struct ring *r = l->ring;

	if (!r)
		return;
	DL_DELETE2(r->listeners, l, prev_of_ring, next_of_ring);
	l->ring = NULL;
	r->n--;
	if (!r->n && !r->every)
		ring_free(l->all, r);
}

void turn_stand(struct listener *l)
{
	struct ring *r = ring_of(l->all, l->ticket->stream);

	if (l->ring != r) {
		leave_ring(l);
		l->ring = r;
		r->n++;
	} else {
		DL_DELETE2(r->listeners, l, prev_of_ring, next_of_ring);
	}
	DL_APPEND2(r->listeners, l, prev_of_ring, next_of_ring);
	l->checked = clock_us();
	if (r->every)
		ask_tick(l->all);
}

void turn_leave(struct listener *l)
{
	turn_done(l);
	leave_ring(l);
}

/* Who does not stand is being asked about. */
static void recheck(struct ring *r, int64_t now)
{
	size_t n = recheck_due(&r->pace, r->n, r->every, now);
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

void tap_recheck(struct tap *t, uint64_t stream, int64_t every)
{
	struct admissions *all = t->admissions;
	struct ring *r = ring_of(all, stream);

	r->every = every;
	r->pace.at = 0;
	if (every)
		ask_tick(all);
	else if (!r->n)
		ring_free(all, r);
}

/* µs; 0: never. What the log does not tell of is asked about all the same. */
static int64_t every_of(const struct tap *t, const struct rules_stream *s)
{
	int at = t->rules ? rules_stream_index(t->rules, s->identity) : -1;
	int64_t watch = t->conf->database.watch * 1000, every = s->conf->recheck * 1000;

	if (!every && at >= 0 && rules_stream(t->rules, (size_t)at)->not_followed)
		every = NOT_FOLLOWED_EVERY;
	return t->watch.is_blind && (!every || watch < every) ? watch : every;
}

int64_t tap_rechecks(const struct tap *t, uint64_t stream)
{
	const struct ring *r;

	for (r = t->admissions->rings; r; r = r->hh.next)
		if (r->stream == stream)
			return r->every;
	return 0;
}

void tap_recheck_all(struct tap *t)
{
	struct ring *r, *next;

	HASH_ITER(hh, t->admissions->rings, r, next)
		tap_recheck(t, r->stream, 0);
	for (size_t i = 0; i < rules_n_streams(t->plain); i++)
		tap_recheck(t, rules_stream(t->plain, i)->identity, every_of(t, rules_stream(t->plain, i)));
}

/* --- the clock ---------------------------------------------------------------------------------------------------- */

void turn_look(struct admissions *all, int64_t now)
{
	struct ring *r, *next;

	look_at_shares(all, now);
	if (!tap_is_fed(all->tap))
		return;
	HASH_ITER(hh, all->rings, r, next)
		if (r->every)
			recheck(r, now);
	event_active(all->ask, EV_TIMEOUT, 0);
}

bool turn_waits(const struct admissions *all)
{
	const struct ring *r;

	if (all->awaiting || all->turn || all->share.left)
		return true;
	for (r = all->rings; r; r = r->hh.next)
		if (r->every && r->n)
			return true;
	return false;
}

int tap_admit_waiting(const struct tap *t)
{
	const struct admissions *all = t->admissions;
	const struct question *q;
	const struct listener *l;
	int n = 0, of_one;

	DL_COUNT(all->awaiting, l, n);
	DL_FOREACH2(all->turn, q, next_due) {
		DL_COUNT(q->next, l, of_one);
		n += of_one;
	}
	return n;
}

void turn_init(struct admissions *all)
{
	all->queued = event_new(all->tap->loop, -1, 0, on_queued, all);
	if (!all->queued)
		fail_never("libevent makes no timer for rounds");
}

void turn_fini(struct admissions *all)
{
	struct ring *r, *next;

	HASH_ITER(hh, all->rings, r, next)
		ring_free(all, r);
	event_free(all->queued);
}
