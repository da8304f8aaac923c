/*
 * answer: applies answers, once the logs have reached their position.
 *
 *   yes ─▶ the position after it is known ─▶ a change below it came meanwhile: void, asked again
 *                                         ─▶ the logs have reached it: admitted, moved, or kept
 *                                         ─▶ they have not: on hold
 *   no  ─▶ refused, unless a change named this user meanwhile
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/flood.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/pg/position.h"

/* --- answers ------------------------------------------------------------------------------------------------------ */

/* A value that does not fit its type cannot match any row, so the answer is no. */
static bool is_bad_value(const struct fail *why)
{
	return strncmp(why->sqlstate, "22", 2) == 0;
}

/* A lock, a timeout, somebody's cancel, or what a standby replays: the query may work a moment later. */
static bool may_pass(const struct fail *why)
{
	static const char *const all[] = { "55P03", "57014", "40001" };

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (strcmp(why->sqlstate, all[i]) == 0)
			return true;
	return false;
}

static void say_failed(const struct question *q, const struct fail *why)
{
	const struct rules_query *admit = &q->stream->admit;
	struct admissions *all = q->all;
	enum log_level level;
	unsigned times;
	char same[128];

	if (is_bad_value(why))
		return;
	snprintf(same, sizeof(same), "%s %s", why->sqlstate, admit->name);
	level = repeat_level(repeat_for(all->trouble, same), LOG_LEVEL_ERROR, same, admit_clock(all), &times);
	flood_log(level, "an admit query fails; nobody is admitted by it", log_s("query", admit->name),
		  log_s("file", all->present->conf->file), log_n("line", admit->line), log_s("sqlstate", why->sqlstate),
		  log_s("error", why->text), log_fix("correct the query, or grant SELECT on what it reads"),
		  log_n("times", times));
}

/* The WAL does not hold all changes of the tables that decide. Nobody knows since when the answer is true, so it is valid from its own position
 * on. What was held back before this position is skipped. */
static void count_from_the_answer(struct listener *l)
{
	struct verdict *v = &l->verdict;

	if (!l->all->present->has_mute || !l->is_open || !l->is_limited || !l->batch || l->batch->need <= v->known)
		return;
	v->known = l->batch->need;
	l->from = v->known;
}

static void settle(struct listener *l)
{
	if (!listener_stream(l)) {
		listener_refuse(l, 1012, "reload", "the stream has changed");
		return;
	}
	count_from_the_answer(l);
	listener_move(l, NULL);
	l->batch = NULL;
	if (l->of) {
		seat_take_over(l);
		return;
	}
	l->upto = l->verdict.next;
	seat_note_skips(l);
	if (l->is_open)
		seat_go_on(l);
	else
		seat_admit(l, false);
	verdict_take(&l->verdict);
	listener_not_late(l);
	listener_forget_answer(l);
	listener_to(l, LISTENER_STANDING);
	ring_stand(l);
	if (l->is_limited) {
		listener_note_change(l, l->verdict.last);
		again_ask(l);
	}
}

static void said_yes(struct listener *l, struct answer *a, struct batch *b)
{
	l->answer = a;
	a->refs++;
	listener_to(l, LISTENER_ANSWERED);
	l->batch = b;
	if (b)
		listener_move(l, &b->listeners);
	else if (verdict_counts(&l->verdict, LSN_MAX))
		settle(l);
	else
		again_void(l);
}

static void said_no(struct listener *l)
{
	if (!verdict_no_counts(&l->verdict)) {
		again_void(l);
		return;
	}
	if (l->is_open)
		member_lost(l);
	listener_refuse(l, 4403, "forbidden", "the admit query says no");
}

static void question_back(struct question *q)
{
	send_back(q);
	if (q->in_share)
		rounds_share_answered(&q->all->share, admit_clock(q->all));
	q->in_share = false;
}

static void apply(struct question *q, struct sqlrows *rows, const struct fail *why)
{
	struct answer *a = mem_new(sizeof(*a));
	struct listener *l;

	*a = (struct answer){ 1, rows };
	while ((l = q->asked)) {
		listener_left_round(l);
		if (rows && rows->n_rows > 0)
			said_yes(l, a, q->batch);
		else if (rows)
			said_no(l);
		else if (is_bad_value(why))
			listener_refuse(l, 4403, "value", "a value does not fit the query");
		else
			listener_unanswered(l, "query", "the admit query failed");
	}
	answer_unref(a);
}

static void on_answer(struct question *q, struct sqlrows *rows, const struct fail *why)
{
	question_back(q);
	if (rows || is_bad_value(why))
		outage_answered(&q->all->outage);
	if (rows && q->of_turn) /* a slow one has left its share */
		q->all->share.moved = admit_clock(q->all);
	if (!rows && q->asked)
		say_failed(q, why);
	if (!rows && may_pass(why)) {
		ask_later(q);
		return;
	}
	apply(q, rows, why);
	q->batch = NULL;
	if (q->for_next)
		ask_now(q);
	else
		ask_free(q);
}

/* --- until the logs are there ------------------------------------------------------------------------------------- */

/* The logs have reached every commit that the answers saw. */
static void batch_settle(struct batch *b)
{
	while (b->listeners)
		settle(b->listeners);
	send_drop_batch(b);
}

static bool is_reached(const struct batch *b)
{
	return topiclog_published(b->all->present->log) >= b->need;
}

/* The answers are there, so limits.admit-timeout ends. A new connection gets its hello at once, and nothing else yet. */
static void batch_hold(struct batch *b)
{
	struct listener *l;

	DL_FOREACH(b->listeners, l) {
		if (!l->is_open && !l->of && listener_stream(l)) {
			seat_admit(l, true);
			listener_forget_answer(l);
		}
		listener_not_late(l);
	}
}

/* An answer is void if a change below its position became known after the query was sent: the query may have seen it or not. */
static void batch_void(struct batch *b)
{
	struct listener *l, *next;

	DL_FOREACH_SAFE(b->listeners, l, next)
		if (!verdict_counts(&l->verdict, b->need))
			again_void(l);
}

/* Takes over `rows`. */
static bool take_position(struct sqlrows *rows, const struct fail *error, struct position *out)
{
	struct fail why = { 0 };
	bool ok = position_read(rows, error, out, &why);

	if (!ok)
		flood_error("cannot tell how far the WAL is; nobody is admitted", log_s("sqlstate", why.sqlstate),
			    log_s("error", why.text),
			    log_fix("grant EXECUTE on pg_current_wal_flush_lsn and pg_current_wal_insert_lsn"));
	sqlrows_free(rows);
	return ok;
}

/* A question was asked again after this position was read, because a cancel had hit it; or one has hit the look. The look is repeated as long as
 * somebody waits for it, which limits.admit-timeout ends. */
static bool must_look_again(const struct batch *b, const struct sqlrows *rows, const struct fail *why)
{
	return b->n_left || (!rows && may_pass(why) && b->listeners);
}

static void on_position(struct batch *b, struct sqlrows *rows, const struct fail *why)
{
	struct position p;

	if (must_look_again(b, rows, why)) {
		sqlrows_free(rows);
		send_position(b);
		return;
	}
	if (!take_position(rows, why, &p)) {
		while (b->listeners)
			listener_unanswered(b->listeners, "query", "the WAL's position is not known");
		send_drop_batch(b);
		return;
	}
	b->need = position_certain(&p, true);
	if (position_may_fall(&p, b->need))
		b->settled_at = admit_clock(b->all) + p.delay;
	batch_void(b);
	if (is_reached(b))
		batch_settle(b);
	else
		batch_hold(b);
}

/* A later look, perhaps in another session. WAL that ends before `need` is that of another server, which is behind, and says nothing of what is
 * flushed on the first one. */
static void on_flushed(struct batch *b, struct sqlrows *rows, const struct fail *why)
{
	bool may_work = !rows && may_pass(why);
	struct position p;

	if (!may_work && !take_position(rows, why, &p))
		return;
	if (may_work || p.insert < b->need) {
		b->settled_at = admit_clock(b->all); /* with the next tick */
		return;
	}
	if (p.flush < b->need)
		b->need = p.flush;
	if (position_may_fall(&p, p.flush))
		b->settled_at = admit_clock(b->all) + p.delay;
	if (is_reached(b))
		batch_settle(b);
}

static void on_look(struct batch *b, struct sqlrows *rows, const struct fail *why)
{
	if (b->need == NEED_UNKNOWN)
		on_position(b, rows, why);
	else
		on_flushed(b, rows, why);
}

/* A lane is free for more, perhaps. */
static void on_done(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct lanes_sent *sent = ctx;
	struct admissions *all = sent->lanes->owner;
	unsigned slow = lanes_slow_waiting(&all->lanes);
	struct lanes_item *i = lanes_done(&all->lanes, sent, admit_clock(all));

	if (lanes_slow_waiting(&all->lanes) > slow)
		send_slow_give_way(all);
	admit_wake(all, ADMIT_SOON);
	if (!i)
		sqlrows_free(rows); /* it was taken back */
	else if (i->kind != LANES_POSITION)
		on_answer(i->of, rows, why);
	else
		on_look(i->of, rows, why);
}

void answer_reached(struct admissions *all)
{
	struct batch *b, *next;

	DL_FOREACH_SAFE(all->batches, b, next)
		if (is_reached(b) || (!b->listeners && b->need != NEED_UNKNOWN))
			batch_settle(b);
}

void answer_passed(struct admissions *all, lsn_t commit)
{
	struct batch *b, *next;

	DL_FOREACH_SAFE(all->batches, b, next)
		if (commit >= b->need)
			batch_settle(b);
}

/* --- what takes too long ------------------------------------------------------------------------------------------ */

static void refuse_late(struct admissions *all, int64_t now)
{
	int64_t oldest = now - all->present->conf->limits.admit_timeout * 1000;

	while (all->unanswered && all->unanswered->waits_from < oldest) {
		if (!listener_stream(all->unanswered))
			listener_refuse(all->unanswered, 1012, "reload", "the stream has changed");
		else if (admit_is_fed(all))
			listener_unanswered(all->unanswered, "timeout", "the database does not answer");
		else
			listener_refuse(all->unanswered, 1013, "offline", "not streaming");
	}
}

static void look_again(struct admissions *all, int64_t now)
{
	struct batch *b;
	int lane;

	DL_FOREACH(all->batches, b) {
		lane = lanes_spare(&all->lanes);
		if (!b->settled_at || now < b->settled_at || lane < 0)
			continue;
		b->settled_at = 0;
		b->lane = (unsigned)lane;
		send_position(b);
	}
}

void answer_look(struct admissions *all, int64_t now)
{
	refuse_late(all, now);
	ask_all_waiting(all);
	look_again(all, now);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

void answer_init(struct admissions *all)
{
	all->on_done = on_done;
}

/* After send_fini. */
void answer_fini(struct admissions *all)
{
	struct question *q, *next;

	HASH_ITER(hh, all->questions, q, next)
		ask_free(q);
}
