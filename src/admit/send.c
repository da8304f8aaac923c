/*
 * send: the queries go to the server, each over the lane that lanes.h chooses.
 *
 * The queries that a lane takes in one turn of the loop are a batch: they are sent at the end of the turn, each once, and the WAL position after
 * them on the same connection.
 *
 * A query that was sent may be taken back: its lane has lost the connection, or it waits behind a slow one. Then its listeners are asked about
 * again over another lane, and the answer of the first query is dropped if it still comes. An answer that waits for the position behind a slow
 * query is taken back too, because the position must be read on its own connection.
 */
#include <assert.h>
#include <stdlib.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/mem.h"
#include "walpush/pg/position.h"

static void ask(struct lanes *lanes, struct lanes_item *i, unsigned lane, const struct admit_query *query)
{
	struct admissions *all = lanes->owner;
	struct lanes_sent *sent = lanes_send(lanes, i, lane, admit_clock(all));

	sent->query = all->calls->ask(all->ctx, lane, query, all->on_done, sent);
}

/* --- batches ------------------------------------------------------------------------------------------------------ */

/* What this lane takes in this turn. NULL: permission never changes, so the position does not matter. */
static struct batch *batch_of_turn(struct admissions *all, unsigned lane)
{
	struct batch *b = all->taking[lane];

	if (b || (all->present->rules && !rules_has_memberships(all->present->rules)))
		return b;
	b = all->taking[lane] = mem_new(sizeof(*b));
	b->all = all;
	b->lane = lane;
	b->need = NEED_UNKNOWN;
	b->item.kind = LANES_POSITION;
	b->item.of = b;
	DL_APPEND(all->batches, b);
	return b;
}

void send_position(struct batch *b)
{
	const struct admit_query query = { .name = "position", .sql = position_sql };

	ask(&b->all->lanes, &b->item, b->lane, &query);
}

/* The batch is complete: the position is read after its queries. */
static void seal(struct admissions *all, unsigned lane)
{
	struct batch *b = all->taking[lane];

	all->taking[lane] = NULL;
	if (lanes_seal(&all->lanes, lane) && b)
		send_position(b);
}

void send_drop_batch(struct batch *b)
{
	lanes_leave(&b->all->lanes, &b->item);
	DL_DELETE(b->all->batches, b);
	free(b);
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static void send_question(struct question *q, unsigned lane)
{
	struct admissions *all = q->all;
	const struct rules_query *admit = &q->stream->admit;
	const struct admit_query query = { admit->name, admit->sql, admit->source.n_refs,
					   (const char *const *)q->values };
	struct listener *l;
	int64_t now = admit_clock(all);

	ask(&all->lanes, &q->item, lane, &query);
	while ((l = q->for_next)) {
		listener_join(l, q, &q->asked);
		listener_to(l, LISTENER_ASKED);
		verdict_asked(&l->verdict, l->is_open ? 0 : topiclog_published(all->present->log), now);
		l->from = l->verdict.known;
	}
	q->of_turn = !q->is_urgent;
	q->is_urgent = false;
	q->batch = batch_of_turn(all, lane);
	if (q->batch)
		q->batch->n_left++;
	all->n_out++;
	all->n_queries++;
	metrics_add(all->present->counts, METRICS_ADMIT_QUERIES, 1);
}

/* One lane at a time: the next one follows when this one is open and questions still wait. -1: none. */
static void open_lane(struct admissions *all, int lane)
{
	if (lane >= 0)
		all->calls->open(all->ctx, (unsigned)lane);
}

void send_back(struct question *q)
{
	q->all->n_out--;
	if (q->batch)
		q->batch->n_left--;
}

/* --- taking back -------------------------------------------------------------------------------------------------- */

static void ask_elsewhere(struct listener *l)
{
	verdict_drop(&l->verdict);
	listener_forget_answer(l);
	ask_once_more(l);
}

static void take_back_question(struct question *q)
{
	lanes_leave(&q->all->lanes, &q->item);
	send_back(q);
	q->batch = NULL;
	while (q->asked)
		ask_elsewhere(q->asked);
	ask_now(q);
}

static void take_back_answers(struct batch *b)
{
	while (b->need == NEED_UNKNOWN && b->listeners)
		ask_elsewhere(b->listeners);
}

/* All but this one; NULL: all, because the lane is lost. What the lane still runs of it must not be asked again if a late cancel hits it. */
static void take_back(struct admissions *all, unsigned lane, const struct lanes_sent *but)
{
	struct lanes_sent *s;

	DL_FOREACH(all->lanes.lane[lane].sent, s) {
		if (s == but || !s->item)
			continue;
		if (s->item->kind == LANES_POSITION) {
			take_back_answers(s->item->of);
			continue;
		}
		if (but)
			all->calls->let_go(all->ctx, lane, s->query);
		take_back_question(s->item->of);
	}
}

/* Also the one that runs: it is cancelled, because nobody waits for it any more, and waits with the slow ones. */
static void take_back_all(struct admissions *all, unsigned lane, struct lanes_sent *late)
{
	take_back(all, lane, late);
	all->calls->let_go(all->ctx, lane, late->query);
	take_back_question(late->item->of);
}

/* A position that is read for the second time is read again at the next tick, over another lane. */
static void lose_position(struct batch *b, int64_t now)
{
	if (b->need == NEED_UNKNOWN)
		send_drop_batch(b);
	else
		b->settled_at = now;
}

static void lose(struct admissions *all, unsigned lane)
{
	struct lanes_sent *s;

	take_back(all, lane, NULL);
	DL_FOREACH(all->lanes.lane[lane].sent, s)
		if (s->item)
			lose_position(s->item->of, admit_clock(all));
	all->calls->drop(all->ctx, lane);
	lanes_clear(&all->lanes, lane);
}

static void lose_all_lost(struct admissions *all)
{
	for (unsigned i = 0; i < all->lanes.n; i++)
		if (!all->lanes.lane[i].is_up && all->lanes.lane[i].n)
			lose(all, i);
}

/* --- cancels ----------------------------------------------------------------------------------------------------- */

static bool is_wanted(const struct lanes_sent *s)
{
	const struct question *q = s->item ? s->item->of : NULL;

	return q && (s->item->kind == LANES_POSITION || q->asked);
}

static void cancel_unwanted(struct admissions *all, unsigned lane, int64_t now)
{
	struct lanes_sent *s = lanes_running(&all->lanes, lane, now);

	if (!s || is_wanted(s) || !all->calls->cancel(all->ctx, lane, lanes_canceller(&all->lanes)))
		return;
	lanes_cancelled(&all->lanes, s);
	all->n_cancelled++;
	metrics_add(all->present->counts, METRICS_ADMIT_CANCELLED, 1);
}

/* --- the calls of others ------------------------------------------------------------------------------------------ */

void send_due(struct admissions *all)
{
	struct lanes_item *i;
	unsigned lane;

	lose_all_lost(all);
	ask_take_due(all);
	while ((i = lanes_next(&all->lanes, &lane)))
		send_question(i->of, lane);
	for (lane = 0; lane < all->lanes.n; lane++) {
		seal(all, lane);
		cancel_unwanted(all, lane, admit_clock(all));
	}
	open_lane(all, lanes_to_open(&all->lanes));
}

/* What a lost lane had is taken back at the end of this turn, because the connection may be calling. */
void send_lane(struct admissions *all, unsigned lane, bool is_up)
{
	if (is_up)
		lose_all_lost(all);
	lanes_up(&all->lanes, lane, is_up, admit_clock(all));
	admit_wake(all, ADMIT_SOON);
}

void send_slow_give_way(struct admissions *all)
{
	struct lanes_item *i, *next;

	DL_FOREACH_SAFE(all->lanes.waiting[LANES_SLOW], i, next)
		ask_give_way(i->of);
}

/* A question that was sent behind it, or an answer that waits for the position. */
static bool is_waited_for_behind(const struct lanes_sent *late)
{
	for (const struct lanes_sent *s = late->next; s; s = s->next) {
		const struct batch *b = s->item && s->item->kind == LANES_POSITION ? s->item->of : NULL;

		if (s->item && (!b || (b->need == NEED_UNKNOWN && b->listeners)))
			return true;
	}
	return false;
}

/* What it runs takes long: others do not wait behind it. If it is slow, the share that it belongs to does not wait either. As long as no other lane
 * is open, this one has to run what it was sent: it would be sent the same again. */
static void look_at_late(struct admissions *all, unsigned lane, int64_t now)
{
	struct lanes_sent *late = lanes_late(&all->lanes, lane, now);

	if (!late)
		return;
	if (all->lanes.lane[lane].is_slow) {
		ask_leave_share(late->item->of);
		send_slow_give_way(all);
	}
	if (lanes_gives_way(&all->lanes, lane, now))
		take_back_all(all, lane, late);
	else if (lanes_open(&all->lanes) > 1)
		take_back(all, lane, late);
	else if (is_waited_for_behind(late))
		open_lane(all, lanes_closed(&all->lanes));
	admit_wake(all, ADMIT_SOON);
}

void send_look(struct admissions *all, int64_t now)
{
	for (unsigned i = 0; i < all->lanes.n; i++) {
		look_at_late(all, i, now);
		cancel_unwanted(all, i, now);
	}
}

void send_init(struct admissions *all)
{
	all->lanes.owner = all;
	all->lanes.n = (unsigned)all->present->conf->database.admit_connections;
	assert(all->lanes.n > 0 && all->lanes.n <= LANES_MOST); /* the option's range */
}

void send_fini(struct admissions *all)
{
	struct batch *b, *next;

	for (unsigned i = 0; i < all->lanes.n; i++)
		if (all->lanes.lane[i].n)
			all->calls->drop(all->ctx, i);
	lanes_fini(&all->lanes);
	DL_FOREACH_SAFE(all->batches, b, next)
		send_drop_batch(b);
}
