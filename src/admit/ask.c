/*
 * ask: one admit query for all listeners with the same stream and values.
 *
 * A listener never joins a query that runs already, because the query's snapshot may be older than the reason to ask; it waits for the next
 * query. So at most two queries exist for each stream and its values, however many clients connect, and open admissions are bounded by the
 * connections. At the end of a turn of the loop a question that is due waits for a lane (lanes.h), and send.c sends it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/hash.h"
#include "walpush/base/mem.h"

/* --- questions ---------------------------------------------------------------------------------------------------- */

static struct question *question_new(struct listener *l, const struct rules_stream *s, const char **values,
				     struct buf *key)
{
	struct question *q = mem_new(sizeof(*q) + key->len);
	char *at = q->key + strlen(key->data) + 1;

	q->all = l->all;
	q->edition = edition_ref(l->all->present->edition);
	q->stream = s;
	memcpy(q->key, key->data, key->len);
	q->key_len = key->len;
	q->values = mem_new_array(s->admit.source.n_refs, sizeof(char *));
	for (size_t i = 0; i < s->admit.source.n_refs; i++) {
		q->values[i] = values[i] ? at + 1 : NULL;
		at += values[i] ? strlen(values[i]) + 2 : 1;
	}
	HASH_ADD_KEYPTR(hh, l->all->questions, q->key, q->key_len, q);
	return q;
}

static struct question *question_of(struct listener *l)
{
	const struct rules_stream *s = listener_stream(l);
	const char **values = mem_new_array(s->admit.source.n_refs, sizeof(char *));
	struct buf key = { 0 };
	struct question *q;

	ticket_params(l->ticket, s, values);
	buf_addf(&key, "%016" PRIx64, l->ticket->stream);
	buf_add_char(&key, '\0');
	for (size_t i = 0; i < s->admit.source.n_refs; i++) {
		buf_add_char(&key, values[i] != NULL);
		if (values[i])
			buf_add(&key, values[i], strlen(values[i]) + 1);
	}
	HASH_FIND(hh, l->all->questions, key.data, key.len, q);
	if (!q)
		q = question_new(l, s, values, &key);
	buf_fini(&key);
	free(values);
	return q;
}

void ask_leave_share(struct question *q)
{
	struct listener *l;

	if (q->in_share)
		rounds_share_left(&q->all->share, admit_clock(q->all));
	q->in_share = false;
	DL_FOREACH(q->asked, l)
		listener_left_round(l);
	DL_FOREACH(q->for_next, l)
		listener_left_round(l);
}

static void list_join(struct question *q, struct question **list, enum question_list which)
{
	q->list = which;
	DL_APPEND2(*list, q, prev_due, next_due);
}

static void list_leave(struct question *q)
{
	struct question **lists[] = {
		[IN_DUE] = &q->all->due,
		[IN_TURN] = &q->all->turn,
		[IN_SLOW_TURN] = &q->all->slow_turn,
		[IN_FAILED] = &q->all->failed,
	};

	if (q->list != IN_NO_LIST)
		DL_DELETE2(*lists[q->list], q, prev_due, next_due);
	q->list = IN_NO_LIST;
}

void ask_free(struct question *q)
{
	ask_leave_share(q);
	list_leave(q);
	lanes_leave(&q->all->lanes, &q->item);
	HASH_DEL(q->all->questions, q);
	edition_unref(q->edition);
	free(q->values);
	free(q);
}

void ask_now(struct question *q)
{
	if (q->item.sent || q->item.waits || q->list == IN_DUE || q->list == IN_FAILED)
		return;
	list_leave(q);
	list_join(q, &q->all->due, IN_DUE);
	admit_wake(q->all, ADMIT_SOON);
}

/* A connection that is held back must not wait behind newcomers. */
static void advance(struct question *q)
{
	if (!q->item.waits || q->item.list != LANES_NEWCOMERS)
		return;
	lanes_leave(&q->all->lanes, &q->item);
	ask_now(q);
}

static bool is_held_back(const struct listener *l)
{
	return l->is_open && l->is_limited;
}

static void join(struct listener *l)
{
	struct question *q = question_of(l);

	listener_join(l, q, &q->for_next);
	q->is_urgent = true;
	if (is_held_back(l))
		advance(q);
	ask_now(q);
}

/* It waits with the slow ones, or runs on their lane: a round does not wait for it. */
static bool is_slow(const struct question *q)
{
	const struct lanes_item *i = &q->item;

	return q->list == IN_SLOW_TURN || (i->waits && i->list == LANES_SLOW) ||
	       (i->sent && q->all->lanes.lane[i->sent->lane].is_slow);
}

void ask_in_turn(struct listener *l)
{
	struct admissions *all = l->all;
	struct question *q = question_of(l);

	listener_join(l, q, &q->for_next);
	if (is_slow(q))
		listener_left_round(l);
	if (q->item.waits)
		listener_may_be_late(l);
	if (q->item.sent || q->item.waits || q->list != IN_NO_LIST)
		return;
	if (!all->turn && !all->slow_turn && !all->share.left)
		all->share.moved = admit_clock(all);
	list_join(q, &all->turn, IN_TURN);
	admit_wake(all, ADMIT_SOON);
	admit_wake(all, ADMIT_AFTER_A_TICK);
}

void ask_later(struct question *q)
{
	struct listener *l;

	ask_leave_share(q);
	q->batch = NULL;
	while ((l = q->asked)) {
		verdict_drop(&l->verdict);
		listener_to(l, LISTENER_WAITING);
		listener_join(l, q, &q->for_next);
	}
	q->is_urgent = true; /* limits.admit-timeout goes on */
	list_join(q, &q->all->failed, IN_FAILED);
	admit_wake(q->all, ADMIT_AFTER_A_TICK);
}

void ask_the_failed(struct admissions *all)
{
	struct question *q;

	while ((q = all->failed)) {
		list_leave(q);
		ask_now(q);
	}
}

/* --- when it can be asked ------------------------------------------------------------------------------------------- */

/* The client knows a commit that this process has not read yet: from the process that had the slot before, or from another replica. */
static bool is_ahead(const struct listener *l)
{
	const struct admissions *all = l->all;

	return !l->is_open && l->has_since && ticket_knows_epoch(l->ticket, all->present->epoch, l->epoch) &&
	       l->since.lsn >= topiclog_published(all->present->log) && l->since.index > 0 &&
	       all->calls->may_come(all->ctx, l->since.lsn, admit_clock(all) - l->waits_from);
}

/* If a reload has changed the stream, the hub closes the connection. */
static bool may_ask(const struct listener *l)
{
	return admit_is_fed(l->all) && !is_ahead(l) && listener_stream(l);
}

static void ask_or_wait(struct listener *l)
{
	if (may_ask(l))
		join(l);
	else
		listener_move(l, &l->all->unasked);
}

void ask_once_more(struct listener *l)
{
	l->batch = NULL;
	listener_to(l, LISTENER_WAITING);
	listener_may_be_late(l);
	ask_or_wait(l);
}

void ask_about(struct listener *l)
{
	l->all->n_asked++;
	ask_once_more(l);
}

void ask_all_waiting(struct admissions *all)
{
	struct listener *l, *next;

	DL_FOREACH_SAFE(all->unasked, l, next)
		if (may_ask(l))
			join(l);
	if (all->turn || all->awaiting)
		admit_wake(all, ADMIT_SOON);
}

/* --- what is due ---------------------------------------------------------------------------------------------------- */

/* False: the query calls an object of a role that is not trusted. Only the bound rules know. */
static bool is_trusted(const struct admit_present *present, const struct rules_stream *s)
{
	int at = present->rules ? rules_stream_index(present->rules, s->identity) : -1;

	return at < 0 || !rules_stream(present->rules, (size_t)at)->strangers;
}

/* NULL: it may be asked. */
static const char *objection(const struct admit_present *present, const struct rules_stream *s)
{
	if (present->is_withheld)
		return "rows that decide permission do not come";
	return is_trusted(present, s) ? NULL : "the admit query calls what a stranger owns";
}

static void refuse(struct question *q, const char *why)
{
	while (q->for_next)
		listener_refuse(q->for_next, 1013, "query", why);
	ask_free(q);
}

static enum lanes_kind kind_of(const struct question *q)
{
	const struct listener *l;

	DL_FOREACH(q->for_next, l)
		if (is_held_back(l))
			return LANES_CHANGE;
	return LANES_NEWCOMER;
}

/* Slow questions go one after the other. Those of a round would all be too late if limits.admit-timeout ran while they wait for each other, and those
 * of new connections would wait behind them. */
void ask_give_way(struct question *q)
{
	struct listener *l;

	ask_leave_share(q);
	if (q->is_urgent || lanes_slow_waiting(&q->all->lanes) < 2)
		return;
	lanes_leave(&q->all->lanes, &q->item);
	list_join(q, &q->all->slow_turn, IN_SLOW_TURN);
	DL_FOREACH(q->for_next, l)
		listener_not_late(l);
}

void ask_in_turn_again(struct question *q)
{
	list_leave(q);
	q->list = IN_TURN;
	DL_PREPEND2(q->all->turn, q, prev_due, next_due);
}

/* A share does not wait for a slow pair, and neither does a round: all others would wait with it. */
static void wait_for_lane(struct question *q)
{
	uint64_t user = q->for_next->member->id;
	struct listener *l;

	DL_FOREACH(q->for_next, l)
		listener_may_be_late(l);
	q->item.of = q;
	q->item.kind = kind_of(q);
	q->item.user = user;
	q->item.pair = hash_mix_64(user, &q->stream->identity, sizeof(q->stream->identity));
	if (lanes_wait(&q->all->lanes, &q->item, admit_clock(q->all)))
		ask_give_way(q);
}

void ask_take_due(struct admissions *all)
{
	struct question *q;

	while ((q = all->due)) {
		const char *why = objection(all->present, q->stream);

		list_leave(q);
		if (!q->for_next)
			ask_free(q); /* all its listeners have ended */
		else if (why)
			refuse(q, why);
		else
			wait_for_lane(q);
	}
}
