/* listener: a connection as admit knows it: its state, its lists, the mails to its hub, and its end. */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/flood.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

static const char *const state_names[] = { "waiting", "asked", "answered", "standing", "denied" };

/* --- its place in the lists --------------------------------------------------------------------------------------- */

void listener_to(struct listener *l, enum listener_state next)
{
	log_debug("admission", log_n("hub", (int64_t)l->key.hub), log_n("connection", (int64_t)l->key.connection),
		  log_s("from", state_names[l->state]), log_s("to", state_names[next]));
	l->state = next;
}

/* The question waited for a lane in the name of this listener's user. At the end of this turn it is dropped, or the next user takes the place. */
static void leave_question(struct question *q)
{
	if (!q->item.waits || (q->for_next && q->for_next->member->id == q->item.user))
		return;
	lanes_leave(&q->all->lanes, &q->item);
	q->list = IN_DUE;
	DL_APPEND2(q->all->due, q, prev_due, next_due);
	admit_wake(q->all, ADMIT_SOON);
}

void listener_move(struct listener *l, struct listener **queue)
{
	struct question *q = l->question;

	if (l->queue)
		DL_DELETE(*l->queue, l);
	l->queue = queue;
	if (queue)
		DL_APPEND(*queue, l);
	l->question = NULL;
	if (q)
		leave_question(q);
}

void listener_join(struct listener *l, struct question *q, struct listener **queue)
{
	listener_move(l, queue);
	l->question = q;
}

void listener_not_late(struct listener *l)
{
	if (l->waits_from)
		DL_DELETE2(l->all->unanswered, l, prev_unanswered, next_unanswered);
	l->waits_from = 0;
}

void listener_may_be_late(struct listener *l)
{
	struct admissions *all = l->all;

	if (l->waits_from)
		return;
	l->waits_from = admit_clock(all);
	DL_APPEND2(all->unanswered, l, prev_unanswered, next_unanswered);
	admit_wake(all, ADMIT_AFTER_A_TICK);
}

void listener_left_round(struct listener *l)
{
	if (l->in_round)
		rounds_left(&l->all->rounds);
	l->in_round = false;
}

/* --- its answer ----------------------------------------------------------------------------------------------------- */

void answer_unref(struct answer *a)
{
	if (!a || --a->refs > 0)
		return;
	sqlrows_free(a->rows);
	free(a);
}

void listener_forget_answer(struct listener *l)
{
	answer_unref(l->answer);
	l->answer = NULL;
}

void listener_leave_question(struct listener *l)
{
	listener_move(l, NULL);
	l->batch = NULL;
	listener_left_round(l);
	verdict_drop(&l->verdict);
	listener_forget_answer(l);
	listener_not_late(l);
	if (l->state != LISTENER_STANDING)
		listener_to(l, LISTENER_STANDING);
}

/* --- what its hub is told ------------------------------------------------------------------------------------------- */

void listener_post(const struct listener *l, struct mail *mail)
{
	mail->connection = l->key.connection;
	mail->number = l->number;
	mail->published = topiclog_published(l->all->present->log);
	l->all->calls->post(l->all->ctx, (unsigned)l->key.hub, mail);
}

void listener_count(const struct listener *l, const char *result)
{
	struct metrics_counts *counts = l->all->present->counts;

	metrics_count(counts, METRICS_ADMISSIONS, result);
	if (l->waits_from)
		metrics_observe(counts, METRICS_ADMISSION_SECONDS, admit_clock(l->all) - l->waits_from, 1);
}

struct audit_client listener_client(const struct listener *l)
{
	const struct rules_stream *s = listener_stream(l);

	return (struct audit_client){ l->ticket->user, &l->ticket->peer, s ? s->conf->name : NULL };
}

const struct rules_stream *listener_stream(const struct listener *l)
{
	return ticket_stream(l->ticket, l->all->present->plain);
}

const char *listener_stream_name(const struct listener *l)
{
	const struct rules_stream *s = listener_stream(l);

	return s ? s->conf->name : "";
}

void listener_limit(struct listener *l, lsn_t limit)
{
	struct mail mail = { .kind = MAIL_LIMIT, .limit = limit };

	l->is_limited = limit != LSN_MAX;
	listener_post(l, &mail);
}

void listener_note_change(const struct listener *l, lsn_t commit)
{
	struct mail mail = { .kind = MAIL_CHANGED, .limit = commit };

	listener_post(l, &mail);
}

/* --- refusal ---------------------------------------------------------------------------------------------------------- */

/* A connection without a limit, which was asked again as time passed, gets one here. */
static void stop_here(struct listener *l)
{
	lsn_t here = topiclog_published(l->all->present->log);

	if (!l->is_open || l->is_limited)
		return;
	verdict_changed(&l->verdict, here, false);
	listener_limit(l, here);
}

/* The token in force is refused while a renewed token waits for its answer: the renewed token decides. Until then nothing is delivered. */
static void deny(struct listener *l, unsigned code, const char *reason)
{
	log_debug("not admitted any more, but by the token that is asked about", WHO(l), log_n("code", code),
		  log_s("reason", reason));
	listener_leave_question(l);
	listener_to(l, LISTENER_DENIED);
	stop_here(l);
}

/* What the client is told: less than the log. NULL: no more than the code says. */
static const char *words_of(const char *why)
{
	static const struct {
		const char *why, *words;
	} table[] = {
		{ "reload", "the stream was configured anew" },
		{ "offline", "not streaming now" },
		{ "timeout", "the database does not answer" },
		{ "query", "admission failed" },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (strcmp(table[i].why, why) == 0)
			return table[i].words;
	return NULL;
}

static void refuse(struct listener *l, unsigned code, const char *why, const char *reason)
{
	struct audit_client client = listener_client(l);
	struct mail mail = { .kind = MAIL_REFUSED, .code = code, .words = words_of(why) };

	stop_here(l);
	listener_count(l, "refused");
	metrics_count(l->all->present->counts, METRICS_REFUSALS, why);
	if (l->is_open || l->of)
		flood_info("not admitted any more", WHO(l), log_n("code", code), log_s("reason", reason));
	else
		flood_info("not admitted", WHO(l), log_n("code", code), log_s("reason", reason));
	audit_ended(l->all->present->audit, l->is_open || l->of ? "revoked" : "refused", &client, code, why);
	listener_post(l, &mail);
}

bool listener_is_told(const struct listener *l)
{
	return l->state == LISTENER_DENIED && !l->renewal;
}

void listener_refuse(struct listener *l, unsigned code, const char *why, const char *reason)
{
	if (l->renewal) {
		deny(l, code, reason);
		return;
	}
	refuse(l, code, why, reason);
	if (l->of) { /* the connection, which keeps the token in force until it ends */
		l->of->renewal = NULL;
		listener_free_renewal(l);
	} else if (code == 4429) {
		listener_free(l);
	} else {
		listener_leave_question(l);
		listener_to(l, LISTENER_DENIED);
	}
}

void listener_unanswered(struct listener *l, const char *why, const char *reason)
{
	outage_failed(&l->all->outage, l->member->id, admit_clock(l->all));
	listener_refuse(l, 1013, why, reason);
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

struct listener *listener_new(struct admissions *all, struct mail *mail)
{
	struct listener *l = mem_new(sizeof(*l));

	l->all = all;
	l->key.connection = mail->connection;
	l->key.hub = mail->hub;
	l->ticket = mail->asked.ticket;
	l->has_since = mail->asked.has_since;
	l->since = mail->asked.since;
	l->epoch = mem_text(mail->asked.epoch);
	l->verdict = VERDICT_NONE;
	HASH_ADD(hh, all->listeners, key, sizeof(l->key), l);
	member_join(member_of(all, l->ticket->user), l);
	return l;
}

struct listener *listener_new_renewal(struct listener *of)
{
	struct listener *renewal = mem_new(sizeof(*renewal));

	renewal->all = of->all;
	renewal->key = of->key;
	renewal->member = of->member;
	renewal->of = of;
	renewal->verdict = VERDICT_NONE;
	return renewal;
}

void listener_free_renewal(struct listener *renewal)
{
	if (!renewal)
		return;
	listener_move(renewal, NULL);
	listener_not_late(renewal);
	listener_forget_answer(renewal);
	ticket_unref(renewal->ticket);
	free(renewal);
}

void listener_free(struct listener *l)
{
	listener_free_renewal(l->renewal);
	HASH_DELETE(hh, l->all->listeners, l);
	member_leave(l);
	listener_left_round(l);
	ring_leave(l);
	listener_move(l, NULL);
	listener_not_late(l);
	listener_forget_answer(l);
	ticket_unref(l->ticket);
	free(l->topics);
	free(l->epoch);
	free(l);
}

struct listener *listener_find(struct admissions *all, const struct mail *mail)
{
	struct listener_key key = { .connection = mail->connection, .hub = mail->hub };
	struct listener *l;

	/* The analyzer does not see that the bytes of two numbers are all there. */
	HASH_FIND(hh, all->listeners, &key, sizeof(key), l); /* NOLINT(clang-analyzer-core.*) */
	return l;
}
