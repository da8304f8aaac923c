#include "depart.h"

#include <stdlib.h>
#include <sys/random.h>
#include <utlist.h>

#include "drain.h"
#include "walpush/base/clock.h"
#include "walpush/base/mem.h"

#define CODE 1012
/* µs: the shortest wait for the next close; and the wait between two checks whether the last connection has gone. */
#define DEPART_TICK 1000
#define GONE_TICK 10000

enum group { NOT_ADMITTED, AT_EASE, OWED, N_GROUPS };

static enum group group_of(const struct conn *c)
{
	if (c->state != CONN_OPEN)
		return NOT_ADMITTED;
	return c->out.is_behind || c->is_due || c->is_limited || c->is_resting ? OWED : AT_EASE;
}

static uint64_t seed(void)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		random = (uint64_t)clock_us();
	return random;
}

static void line_up(struct departing *l)
{
	struct conn *c;
	size_t cap = 1;

	DL_FOREACH(l->conns->all, c)
		cap++;
	l->ids = mem_resize(l->ids, cap, sizeof(*l->ids));
	l->n = l->next = 0;
	for (enum group g = 0; g < N_GROUPS; g++) {
		size_t first = l->n;

		DL_FOREACH(l->conns->all, c)
			if (c->departs && c->state < CONN_CLOSING && group_of(c) == g)
				l->ids[l->n++] = c->id;
		drain_shuffle(l->ids + first, l->n - first, seed());
	}
}

static void tell_if_gone(struct departing *l)
{
	const struct hub_facts *hub = l->conns->hub;
	struct mail gone = { .kind = MAIL_GONE, .hub = hub->index };

	if (l->conns->all || l->told_gone)
		return;
	l->told_gone = true;
	mailbox_post(hub->shared->to_tap, &gone);
}

/* The other reasons need no words of their own: the client connects again at once. */
static void close_one(const struct departing *l, struct conn *c)
{
	conn_close_saying(c, CODE, l->conns->hub->draining ? "shutting down" : NULL);
}

/* Closes the connections whose turn has come. Returns µs until the next turn; 0: none is left. */
static int64_t close_due(struct departing *l, int64_t now)
{
	for (; l->next < l->n; l->next++) {
		struct conn *c = conn_find(l->conns, l->ids[l->next]);
		int64_t wait = l->began + drain_when(l->next, l->n, l->span) - now;

		if (wait > 0)
			return wait > DEPART_TICK ? wait : DEPART_TICK;
		if (c)
			close_one(l, c);
	}
	return 0;
}

int64_t depart_step(struct departing *l, int64_t now)
{
	int64_t wait = close_due(l, now);

	if (l->next < l->n)
		return wait;
	if (!l->conns->hub->draining || l->told_gone)
		return 0;
	tell_if_gone(l);
	return GONE_TICK;
}

static void on_depart(lws_sorted_usec_list_t *sul)
{
	struct departing *l = lws_container_of(sul, struct departing, timer);
	int64_t wait = depart_step(l, clock_us());

	if (wait)
		lws_sul_schedule(l->context, 0, &l->timer, on_depart, wait);
}

/* What rests is told in this turn: nobody would tell it afterwards. */
static void end_rests(struct conns *all)
{
	struct conn *c, *next;

	DL_FOREACH_SAFE2(all->resting, c, next, next_resting) {
		if (!c->departs)
			continue;
		conn_rest(c, false);
		conn_due(c, true);
	}
}

/* The first close comes after this turn's deliveries, because the loop calls on_depart. */
void depart_begin(struct departing *l, int64_t most)
{
	end_rests(l->conns);
	line_up(l);
	l->began = clock_us();
	l->span = drain_span((uint64_t)l->n * l->conns->hub->shared->n_hubs, most);
	lws_sul_schedule(l->context, 0, &l->timer, on_depart, 1);
}

bool depart_is_under_way(const struct departing *l)
{
	return l->next < l->n;
}

void depart_all(struct departing *l, int64_t most)
{
	struct conn *c;

	/* No close frame can be written before the upgrade is answered. Such a connection goes with the next mail, or as a straggler. */
	DL_FOREACH(l->conns->all, c)
		c->departs = c->state != CONN_NEW;
	depart_begin(l, most);
}

void depart_for_good(struct departing *l, int64_t most)
{
	int64_t now = clock_us();
	struct conn *c;

	DL_FOREACH(l->conns->all, c)
		if (c->state >= CONN_CLOSING)
			conn_hurry(c, now);
	depart_all(l, most);
}

void depart_stragglers(struct departing *l)
{
	struct conn *c;

	if (!l->conns->hub->draining || depart_is_under_way(l))
		return;
	DL_FOREACH(l->conns->all, c)
		if (c->state != CONN_NEW)
			close_one(l, c);
}

void depart_fini(struct departing *l)
{
	free(l->ids);
}
