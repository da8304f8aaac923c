/* ring: the connections of one stream, in the order in which they are asked again as time passes. */
#include <stdlib.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/mem.h"

/* For a stream whose admit query reads what the WAL does not show, unless `recheck` is set. */
#define NOT_FOLLOWED_EVERY 60000000 /* µs */

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

void ring_leave(struct listener *l)
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

void ring_stand(struct listener *l)
{
	struct ring *r = ring_of(l->all, l->ticket->stream);

	if (l->ring != r) {
		ring_leave(l);
		l->ring = r;
		r->n++;
	} else {
		DL_DELETE2(r->listeners, l, prev_of_ring, next_of_ring);
	}
	DL_APPEND2(r->listeners, l, prev_of_ring, next_of_ring);
	l->checked = admit_clock(l->all);
	if (r->every)
		admit_wake(l->all, ADMIT_AFTER_A_TICK);
}

/* Each connection of the stream is asked again within `every` µs and receives messages meanwhile; 0: no more. */
static void set(struct admissions *all, uint64_t stream, int64_t every)
{
	struct ring *r = ring_of(all, stream);

	r->every = every;
	r->pace.at = 0;
	if (every)
		admit_wake(all, ADMIT_AFTER_A_TICK);
	else if (!r->n)
		ring_free(all, r);
}

/* µs; 0: never. A stream that depends on what the WAL does not show is always asked again. */
static int64_t every_of(const struct admit_present *present, const struct rules_stream *s)
{
	int at = present->rules ? rules_stream_index(present->rules, s->identity) : -1;
	int64_t watch = present->conf->database.watch * 1000, every = s->conf->recheck * 1000;

	if (!every && at >= 0 && rules_stream(present->rules, (size_t)at)->not_followed)
		every = NOT_FOLLOWED_EVERY;
	return present->has_mute && (!every || watch < every) ? watch : every;
}

void ring_set_all(struct admissions *all)
{
	const struct rules *plain = all->present->plain;
	struct ring *r, *next;

	HASH_ITER(hh, all->rings, r, next)
		set(all, r->stream, 0);
	for (size_t i = 0; i < rules_n_streams(plain); i++)
		set(all, rules_stream(plain, i)->identity, every_of(all->present, rules_stream(plain, i)));
}

int64_t ring_every(const struct admissions *all, uint64_t stream)
{
	const struct ring *r;

	for (r = all->rings; r; r = r->hh.next)
		if (r->stream == stream)
			return r->every;
	return 0;
}

bool ring_waits(const struct admissions *all)
{
	const struct ring *r;

	for (r = all->rings; r; r = r->hh.next)
		if (r->every && r->n)
			return true;
	return false;
}

void ring_fini(struct admissions *all)
{
	struct ring *r, *next;

	HASH_ITER(hh, all->rings, r, next)
		ring_free(all, r);
}
