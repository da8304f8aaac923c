/*
 * depart: connections that are asked to go, one after the other. Hub thread.
 *
 * Three things make connections go: the process stops, another process holds the slot, a new edition changed their stream. They
 * connect again at once, here or at a replica, so all three go at the pace of drain.h. Sockets are dealt to the hubs in turn, so each
 * hub has its share of the rate.
 *
 * The order is random, within three groups. First those that are not admitted: they get nothing here, and are served sooner
 * elsewhere. Last those that are owed something: what waits for their socket, or for permission to deliver it.
 */
#include <stdlib.h>
#include <sys/random.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "drain.h"
#include "walpush/base/mem.h"

#define CODE 1012
/* µs between two looks at who is due, or whether the last has gone. */
#define DEPART_TICK 1000
#define GONE_TICK 10000
/* µs that a client has to answer our close frame while the process waits for it. The frame is on its way, and arrives without us. */
#define LAST_ANSWER 1000000

enum group { NOT_ADMITTED, AT_EASE, OWED, N_GROUPS };

static enum group group_of(const struct conn *c)
{
	if (c->state != CONN_OPEN)
		return NOT_ADMITTED;
	return c->is_behind || c->is_due || c->is_held ? OWED : AT_EASE;
}

static uint64_t seed(void)
{
	uint64_t random;

	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		random = (uint64_t)clock_us();
	return random;
}

static void line_up(struct hub *h)
{
	struct departing *l = &h->departing;
	size_t cap = 1;
	struct conn *c;

	DL_FOREACH(h->conns, c)
		cap++;
	l->ids = mem_resize(l->ids, cap, sizeof(*l->ids));
	l->n = l->next = 0;
	for (enum group g = 0; g < N_GROUPS; g++) {
		size_t first = l->n;

		DL_FOREACH(h->conns, c)
			if (c->departs && c->state < CONN_CLOSING && group_of(c) == g)
				l->ids[l->n++] = c->id;
		drain_shuffle(l->ids + first, l->n - first, seed());
	}
}

static void tell_if_gone(struct hub *h)
{
	struct mail gone = { .kind = MAIL_GONE, .hub = h->index };

	if (h->conns || h->told_gone)
		return;
	h->told_gone = true;
	hub_tell_tap(h, &gone);
}

static void on_depart(lws_sorted_usec_list_t *sul)
{
	struct hub *h = lws_container_of(sul, struct hub, departing.timer);
	struct departing *l = &h->departing;
	int64_t wait = GONE_TICK, now = clock_us();

	for (; l->next < l->n; l->next++) {
		struct conn *c = conn_find(h, l->ids[l->next]);

		wait = l->began + drain_when(l->next, l->n, l->span) - now;
		if (wait > 0)
			break;
		if (c)
			conn_close(c, CODE);
	}
	if (l->next == l->n) {
		if (!h->draining || h->told_gone)
			return;
		tell_if_gone(h);
		wait = GONE_TICK;
	}
	lws_sul_schedule(h->context, 0, &l->timer, on_depart, wait > DEPART_TICK ? wait : DEPART_TICK);
}

/* The first close comes after this turn's deliveries, because the loop calls it. */
void depart_begin(struct hub *h, int64_t most)
{
	struct departing *l = &h->departing;

	line_up(h);
	l->began = clock_us();
	l->span = drain_span((uint64_t)l->n * h->shared->n_hubs, most);
	lws_sul_schedule(h->context, 0, &l->timer, on_depart, 1);
}

bool depart_is_under_way(const struct hub *h)
{
	return h->departing.next < h->departing.n;
}

void depart_all(struct hub *h, int64_t most)
{
	struct conn *c;

	/* Before its upgrade is answered no close frame can be written: its turn comes with the next mail, or as a straggler. */
	DL_FOREACH(h->conns, c)
		c->departs = c->state != CONN_NEW;
	depart_begin(h, most);
}

int64_t depart_deadline(const struct hub *h, int64_t deadline)
{
	int64_t last = clock_us() + LAST_ANSWER;

	return h->draining && deadline > last ? last : deadline;
}

void depart_for_good(struct hub *h, int64_t most)
{
	struct conn *c;

	h->draining = true;
	visitors_hang_up(h);
	DL_FOREACH(h->conns, c)
		if (c->state >= CONN_CLOSING)
			c->deadline = depart_deadline(h, c->deadline);
	depart_all(h, most);
}

void depart_stragglers(struct hub *h)
{
	struct conn *c;

	if (!h->draining || depart_is_under_way(h))
		return;
	DL_FOREACH(h->conns, c)
		if (c->state != CONN_NEW)
			conn_close(c, CODE);
}

void depart_fini(struct hub *h)
{
	free(h->departing.ids);
}
