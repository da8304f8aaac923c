#include "lanes.h"

#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

#include "walpush/base/mem.h"

/* --- slow pairs --------------------------------------------------------------------------------------------------- */

static bool is_slow(const struct lanes *l, uint64_t pair, int64_t now)
{
	for (size_t i = 0; i < LANES_SLOW_MOST; i++)
		if (l->slow[i].until > now && l->slow[i].pair == pair)
			return true;
	return false;
}

/* Its own entry, or the one that ends first. */
static struct lanes_pair *entry_for(struct lanes *l, uint64_t pair)
{
	struct lanes_pair *oldest = &l->slow[0];

	for (size_t i = 0; i < LANES_SLOW_MOST; i++) {
		if (l->slow[i].until && l->slow[i].pair == pair)
			return &l->slow[i];
		if (l->slow[i].until < oldest->until)
			oldest = &l->slow[i];
	}
	return oldest;
}

static void join(struct lanes *l, struct lanes_item *i, enum lanes_list list)
{
	i->waits = true;
	i->list = list;
	DL_APPEND(l->waiting[list], i);
	l->n_waiting[list]++;
}

static void part(struct lanes *l, struct lanes_item *i)
{
	i->waits = false;
	DL_DELETE(l->waiting[i->list], i);
	l->n_waiting[i->list]--;
}

static void mark_slow(struct lanes *l, uint64_t pair, int64_t now)
{
	struct lanes_item *i, *next;

	*entry_for(l, pair) = (struct lanes_pair){ pair, now + LANES_SLOW_FOR_US };
	for (enum lanes_list list = LANES_CHANGES; list < LANES_SLOW; list++) {
		DL_FOREACH_SAFE(l->waiting[list], i, next) {
			if (i->pair != pair)
				continue;
			part(l, i);
			join(l, i, LANES_SLOW);
		}
	}
}

/* --- waiting ------------------------------------------------------------------------------------------------------- */

bool lanes_wait(struct lanes *l, struct lanes_item *i, int64_t now)
{
	bool slow = is_slow(l, i->pair, now);

	assert(!i->waits && !i->sent && i->kind != LANES_POSITION);
	join(l, i, slow ? LANES_SLOW : i->kind == LANES_CHANGE ? LANES_CHANGES : LANES_NEWCOMERS);
	return slow;
}

void lanes_leave(struct lanes *l, struct lanes_item *i)
{
	if (i->waits)
		part(l, i);
	if (i->sent)
		i->sent->item = NULL;
	i->sent = NULL;
}

/* --- choosing ------------------------------------------------------------------------------------------------------ */

static bool is_out(const struct lanes *l, uint64_t user)
{
	const struct lanes_sent *s;

	for (unsigned i = 0; i < l->n; i++)
		DL_FOREACH(l->lane[i].sent, s)
			if (s->item && s->item->kind != LANES_POSITION && s->item->user == user)
				return true;
	return false;
}

/* The oldest whose user has no other question with the server. */
static struct lanes_item *first_of(const struct lanes *l, enum lanes_list list)
{
	struct lanes_item *i;

	DL_FOREACH(l->waiting[list], i)
		if (!is_out(l, i->user))
			return i;
	return NULL;
}

static struct lanes_item *first_of_the_fast(const struct lanes *l)
{
	struct lanes_item *change = first_of(l, LANES_CHANGES), *newcomer = first_of(l, LANES_NEWCOMERS);

	if (!change || (newcomer && l->in_a_row >= LANES_IN_A_ROW))
		return newcomer;
	return change;
}

static bool runs_slow(const struct lanes *l)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->lane[i].is_slow)
			return true;
	return false;
}

/* NULL too while another slow question runs: they share one lane. */
static struct lanes_item *first_of_the_slow(const struct lanes *l)
{
	return runs_slow(l) ? NULL : first_of(l, LANES_SLOW);
}

static unsigned batch_of(const struct lanes *l)
{
	return l->batch ? l->batch : 1;
}

static bool find_idle(const struct lanes *l, unsigned *lane)
{
	for (*lane = 0; *lane < l->n; ++*lane)
		if (l->lane[*lane].is_up && !l->lane[*lane].n)
			return true;
	return false;
}

/* Fills a lane before it begins another one, so that connections without use are closed. */
static bool find_taking(const struct lanes *l, unsigned *lane)
{
	for (*lane = 0; *lane < l->n; ++*lane) {
		const struct lane *one = &l->lane[*lane];

		if (one->is_up && one->is_taking && !one->is_slow && one->n < batch_of(l))
			return true;
	}
	return find_idle(l, lane);
}

struct lanes_item *lanes_next(const struct lanes *l, unsigned *lane)
{
	bool is_alone = lanes_open(l) < 2;
	struct lanes_item *slow = first_of_the_slow(l), *i;

	if (slow && !is_alone && find_idle(l, lane))
		return slow;
	i = first_of_the_fast(l);
	if (i)
		return find_taking(l, lane) ? i : NULL;
	return slow && find_idle(l, lane) ? slow : NULL;
}

int lanes_closed(const struct lanes *l)
{
	for (unsigned i = 0; i < l->n; i++)
		if (!l->lane[i].is_up)
			return (int)i;
	return -1;
}

int lanes_to_open(const struct lanes *l)
{
	return first_of_the_fast(l) || first_of_the_slow(l) ? lanes_closed(l) : -1;
}

int lanes_spare(const struct lanes *l)
{
	int best = -1;

	for (unsigned i = 0; i < l->n; i++)
		if (l->lane[i].is_up && !l->lane[i].is_slow && (best < 0 || l->lane[i].n < l->lane[best].n))
			best = (int)i;
	return best;
}

int lanes_canceller(const struct lanes *l)
{
	unsigned lane;

	return find_idle(l, &lane) ? (int)lane : -1;
}

/* --- with the server ------------------------------------------------------------------------------------------------ */

static void count_in_a_row(struct lanes *l, const struct lanes_item *i)
{
	if (i->kind == LANES_NEWCOMER || !l->n_waiting[LANES_NEWCOMERS])
		l->in_a_row = 0;
	else
		l->in_a_row++;
}

struct lanes_sent *lanes_send(struct lanes *l, struct lanes_item *i, unsigned lane, int64_t now)
{
	struct lane *one = &l->lane[lane];
	struct lanes_sent *s = mem_new(sizeof(*s));

	if (i->waits) {
		if (!one->began)
			one->began = now;
		one->is_taking = true;
		one->is_slow = one->is_slow || i->list == LANES_SLOW;
		part(l, i);
		if (i->list != LANES_SLOW)
			count_in_a_row(l, i);
	}
	*s = (struct lanes_sent){ .lanes = l, .lane = lane, .item = i };
	i->sent = s;
	DL_APPEND(one->sent, s);
	if (one->n++ == 0)
		one->since = now;
	return s;
}

bool lanes_seal(struct lanes *l, unsigned lane)
{
	bool was = l->lane[lane].is_taking;

	l->lane[lane].is_taking = false;
	return was;
}

static void drop(struct lanes *l, struct lanes_sent *s)
{
	struct lane *one = &l->lane[s->lane];

	DL_DELETE(one->sent, s);
	if (--one->n == 0) {
		one->is_slow = one->is_clearing = false;
		one->began = 0;
	}
	if (s->item)
		s->item->sent = NULL;
	free(s);
}

/* The batch of this lane is answered. */
static void adapt(struct lanes *l, const struct lane *one, int64_t now)
{
	unsigned batch = batch_of(l);

	if (!one->began || one->is_slow)
		return;
	if (now - one->began > LANES_SLOW_US)
		l->batch = 1;
	else if (now - one->began > LANES_QUICK_US)
		l->batch = batch / 2;
	else
		l->batch = batch < LANE_QUESTIONS ? batch * 2 : LANE_QUESTIONS;
}

struct lanes_item *lanes_done(struct lanes *l, struct lanes_sent *s, int64_t now)
{
	struct lane *one = &l->lane[s->lane];
	struct lanes_item *i = s->item;

	if (one->sent == s) {
		if (i && i->kind != LANES_POSITION && now - one->since > LANES_SLOW_US)
			mark_slow(l, i->pair, now);
		else if (i && i->kind != LANES_POSITION)
			l->quick_at = now;
		one->since = now;
	}
	if (one->n == 1)
		adapt(l, one, now);
	drop(l, s);
	return i;
}

void lanes_clear(struct lanes *l, unsigned lane)
{
	while (l->lane[lane].sent)
		drop(l, l->lane[lane].sent);
	l->lane[lane].is_taking = false;
}

void lanes_up(struct lanes *l, unsigned lane, bool is_up, int64_t now)
{
	l->lane[lane].is_up = is_up;
	l->lane[lane].since = now;
}

struct lanes_sent *lanes_late(struct lanes *l, unsigned lane, int64_t now)
{
	struct lane *one = &l->lane[lane];
	const struct lanes_item *i = one->sent ? one->sent->item : NULL;

	if (!one->is_up || !i || i->kind == LANES_POSITION || now - one->began <= LANES_SLOW_US)
		return NULL;
	if (!one->is_slow)
		l->batch = 1;
	if (now - one->since > LANES_SLOW_US) {
		one->is_slow = true;
		mark_slow(l, i->pair, now);
	}
	return one->sent;
}

bool lanes_gives_way(const struct lanes *l, unsigned lane, int64_t now)
{
	bool some_quick = l->quick_at && now - l->quick_at < LANES_QUICK_FOR_US;
	unsigned idle, others = 0;

	for (unsigned i = 0; i < l->n; i++)
		others += i != lane && l->lane[i].is_slow;
	return l->lane[lane].is_slow && others && some_quick && first_of_the_fast(l) && !find_idle(l, &idle) &&
	       lanes_closed(l) < 0;
}

struct lanes_sent *lanes_running(const struct lanes *l, unsigned lane, int64_t now)
{
	const struct lane *one = &l->lane[lane];

	if (!one->is_up || !one->sent || one->sent->is_cancelled)
		return NULL;
	return one->is_clearing || now - one->since >= LANES_CANCEL_US ? one->sent : NULL;
}

void lanes_cancelled(struct lanes *l, struct lanes_sent *s)
{
	s->is_cancelled = true;
	l->lane[s->lane].is_clearing = true;
}

/* --- what is known -------------------------------------------------------------------------------------------------- */

unsigned lanes_open(const struct lanes *l)
{
	unsigned n = 0;

	for (unsigned i = 0; i < l->n; i++)
		n += l->lane[i].is_up;
	return n;
}

bool lanes_is_busy(const struct lanes *l)
{
	for (unsigned i = 0; i < l->n; i++)
		if (l->lane[i].n)
			return true;
	return false;
}

unsigned lanes_waiting(const struct lanes *l)
{
	return l->n_waiting[LANES_CHANGES] + l->n_waiting[LANES_NEWCOMERS];
}

unsigned lanes_slow_waiting(const struct lanes *l)
{
	return l->n_waiting[LANES_SLOW];
}

bool lanes_slow_is_free(const struct lanes *l)
{
	return !l->n_waiting[LANES_SLOW] && !runs_slow(l);
}

void lanes_fini(struct lanes *l)
{
	for (unsigned i = 0; i < l->n; i++)
		lanes_clear(l, i);
}
