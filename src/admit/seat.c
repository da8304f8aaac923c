/*
 * seat: the groups of an answer, a cursor in the log of each, and the mail to the hub.
 *
 * The cursors are placed after what the client knows, if the logs reach back that far, the permission did not change since, the claims are
 * the same and no commit is known by half. Otherwise they are placed at the position at which the query was sent; or, if the logs have dropped that, at the current one.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/flood.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

/* --- groups, and a place in each ---------------------------------------------------------------------------------- */

static int compare_topics(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t) * (struct topic *const *)a, y = (uintptr_t) * (struct topic *const *)b;

	return x < y ? -1 : x > y;
}

static void tell_audit(const struct listener *l, const struct mail *mail)
{
	struct audit *audit = l->all->present->audit;
	struct audit_client client = listener_client(l);
	struct buf names = { 0 };

	if (!audit_is_on(audit))
		return;
	for (size_t i = 0; i < l->n_topics; i++) {
		buf_add_slice(&names, topic_name(l->topics[i]));
		buf_add_char(&names, '\0');
	}
	audit_admitted(audit, &client, buf_slice(&names).at, l->n_topics, mail->given.resumed);
	buf_fini(&names);
}

/* The logs of the answer's groups, sorted by address. */
static struct topic **topics_of(const struct listener *l, size_t *n)
{
	const struct admit_present *present = l->all->present;
	const struct rules_stream *s = listener_stream(l);
	struct groups groups = { 0 };
	struct topic **topics;
	const char *name;

	ticket_groups(l->ticket, s, l->answer->rows, &groups);
	topics = mem_new_array(groups.n, sizeof(*topics));
	name = groups.names.data;
	for (size_t i = 0; i < groups.n; i++, name += strlen(name) + 1)
		topics[i] = topiclog_topic(present->log, slice_of(name));
	qsort(topics, groups.n, sizeof(*topics), compare_topics);
	if (groups.missing)
		flood_error("a group names a column that the admit query does not return; the group is left out",
			    log_s("column", groups.missing), log_s("query", s->admit.name),
			    log_fix("add the column to the query's SELECT list"));
	*n = groups.n;
	groups_fini(&groups);
	return topics;
}

static bool place_all(struct topiclog *log, struct mail *mail, struct event_id after)
{
	for (size_t i = 0; i < mail->given.n_seats; i++) {
		if (topic_place(log, mail->given.seats[i].topic, after, &mail->given.seats[i].cursor))
			continue;
		while (i--)
			cursor_release(&mail->given.seats[i].cursor);
		return false;
	}
	mail->given.id = after;
	return true;
}

/* With other claims the client may have had other groups. Before the last change of memberships the user may not have been allowed to receive
 * what the client missed. */
static bool may_resume(const struct listener *l)
{
	const struct admit_present *present = l->all->present;

	return l->has_since && ticket_knows_epoch(l->ticket, present->epoch, l->epoch) &&
	       l->since.lsn <= topiclog_published(present->log) && l->since.lsn >= member_unchanged_since(l);
}

/* A permission that ended by time and came back left no trace in the WAL. So a client that comes back resumes over a stretch in which an open
 * connection would have been asked once, and not over a longer one. */
static bool is_known_throughout(const struct listener *l)
{
	const struct admit_present *present = l->all->present;
	int64_t every = ring_every(l->all, l->ticket->stream);
	struct event_id upto = { 0, UINT32_MAX };

	if (!every)
		return true;
	upto.lsn = l->all->calls->before(l->all->ctx, admit_clock(l->all) - every) - 1;
	for (size_t i = 0; i < l->n_topics; i++)
		if (!topic_is_empty_between(present->log, l->topics[i], l->since, upto))
			return false;
	return true;
}

/* The client has a part of a commit from another process. Messages that had to do without an answer there stood at the commit's end, and may be
 * among those that the client is taken to have here. */
static bool has_half(const struct listener *l)
{
	const struct admit_present *present = l->all->present;
	struct event_id upto = { l->since.lsn, UINT32_MAX };

	if (l->since.lsn >= present->told_before)
		return false;
	for (size_t i = 0; i < l->n_topics; i++)
		if (!topic_is_empty_between(present->log, l->topics[i], l->since, upto))
			return true;
	return false;
}

static void place_at_head(struct topiclog *log, struct mail *mail)
{
	mail->given.id = (struct event_id){ topiclog_published(log), 0 };
	for (size_t i = 0; i < mail->given.n_seats; i++)
		topic_place_at_head(log, mail->given.seats[i].topic, &mail->given.seats[i].cursor);
}

/* See the head of the file. */
static void place(const struct listener *l, struct mail *mail)
{
	struct topiclog *log = l->all->present->log;

	mail->given.resumed = may_resume(l) && is_known_throughout(l) && !has_half(l) && place_all(log, mail, l->since);
	if (mail->given.resumed)
		return;
	mail->given.resync = l->has_since;
	if (place_all(log, mail, (struct event_id){ l->from, 0 }))
		return;
	mail->given.resync = true;
	place_at_head(log, mail);
}

/* Takes over `topics`, and adds seats for them to the mail. */
static void take_topics(struct listener *l, struct topic **topics, size_t n, struct mail *mail)
{
	free(l->topics);
	l->topics = topics;
	l->n_topics = n;
	mail->given.n_seats = n;
	mail->given.seats = mem_new_array(n, sizeof(struct seat));
	for (size_t i = 0; i < n; i++) {
		mail->given.seats[i].topic = topics[i];
		l->all->calls->hear(l->all->ctx, topics[i], (unsigned)l->key.hub);
	}
}

/* --- what the hub is told ----------------------------------------------------------------------------------------- */

void seat_admit(struct listener *l, bool on_hold)
{
	struct mail mail = { .kind = MAIL_ADMITTED };
	struct topic **topics;
	size_t n;

	assert(!l->is_open && l->answer);
	topics = topics_of(l, &n);
	take_topics(l, topics, n, &mail);
	place(l, &mail);
	mail.given.limit = on_hold ? mail.given.id.lsn : l->upto;
	mail.given.admitted = l->from;
	mail.given.ticket = ticket_ref(l->ticket);
	flood_info("admitted", WHO(l), log_n("groups", (int64_t)n),
		   log_s("resumed", mail.given.resumed ? "true" : "false"));
	listener_count(l, mail.given.resumed ? "resumed" : "fresh");
	tell_audit(l, &mail);
	l->is_open = true;
	l->is_limited = mail.given.limit != LSN_MAX;
	if (on_hold)
		verdict_held(&l->verdict, mail.given.id.lsn);
	free(l->epoch);
	l->epoch = NULL;
	listener_post(l, &mail);
}

static void tell_renewed(const struct listener *l, struct mail *mail)
{
	mail->kind = MAIL_RENEWED;
	mail->given.ticket = ticket_ref(l->ticket);
	flood_info("renewed with other claims", WHO(l), log_s("moved", mail->given.resync ? "true" : "false"));
	listener_post(l, mail);
}

void seat_renewed(const struct listener *l)
{
	tell_renewed(l, &(struct mail){ 0 });
}

/* A connection without a limit has received everything up to now, so it continues here and not where its answer begins to count. */
static void move_over(struct listener *l, struct topic **topics, size_t n, bool is_renewed)
{
	struct mail mail = { .kind = MAIL_MOVED, .given = { .resync = true, .limit = l->upto } };

	take_topics(l, topics, n, &mail);
	if (!l->is_limited || !place_all(l->all->present->log, &mail, (struct event_id){ l->from, 0 }))
		place_at_head(l->all->present->log, &mail);
	l->is_limited = mail.given.limit != LSN_MAX;
	l->is_apart = l->is_apart && !is_renewed; /* only a mail about the renewed token is taken by its hub */
	mail.given.reason = l->skips ? resync_reason(l->skips) : RESYNC_MEMBERSHIP;
	flood_info("admitted anew", WHO(l), log_n("groups", (int64_t)n),
		   log_s("reason", resync_name(mail.given.reason)));
	l->skips = NULL;
	tell_audit(l, &mail);
	if (is_renewed)
		tell_renewed(l, &mail);
	else
		listener_post(l, &mail);
}

static bool must_move(const struct listener *l, struct topic *const *topics, size_t n)
{
	return l->skips || l->is_apart || n != l->n_topics ||
	       (n && memcmp(topics, l->topics, n * sizeof(*topics)) != 0);
}

/* What was skipped matters if it is in the connection's own logs, and if it may be in others: of a membership that came and went the answer
 * says nothing. If only changes that name no user came together, its groups count as they are: otherwise each of these would be a resync for everybody. */
void seat_note_skips(struct listener *l)
{
	struct event_id from = { l->verdict.from, 0 }, known = { l->verdict.known, 0 };

	if (verdict_hides(&l->verdict))
		l->skips = l->skips ? l->skips : "membership";
	if (l->skips || !verdict_skips(&l->verdict))
		return;
	for (size_t i = 0; i < l->n_topics; i++)
		if (!topic_is_empty_between(l->all->present->log, l->topics[i], from, known))
			l->skips = "membership";
}

/* Without l->answer the connection was admitted on hold by the same answer, and only waited for the logs. */
void seat_go_on(struct listener *l)
{
	struct topic **topics;
	size_t n;

	if (!l->answer) {
		listener_limit(l, l->upto);
		return;
	}
	listener_count(l, "kept");
	topics = topics_of(l, &n);
	if (must_move(l, topics, n)) {
		move_over(l, topics, n, false);
		return;
	}
	free(topics);
	if (l->is_limited || l->upto != LSN_MAX)
		listener_limit(l, l->upto);
}

/*
 * The renewal was asked again at each change, so its yes is valid from the last change on. What lies between the first and the last change is
 * skipped. So is everything since the token in force was denied, because changes are not noted for a DENIED connection.
 */
static void count_from_the_last_change(struct listener *l, bool was_denied)
{
	struct verdict *v = &l->verdict;
	lsn_t last = was_denied ? topiclog_published(l->all->present->log) : v->last;

	verdict_know(v, last > v->known ? last : v->known);
	l->from = v->known;
	l->upto = LSN_MAX;
	if (l->is_limited)
		seat_note_skips(l);
	verdict_drop(v);
	verdict_take(v);
}

/* The answer is newer than every change of permission, so it decides about what those held back too. */
void seat_take_over(struct listener *renewal)
{
	struct listener *l = renewal->of;
	bool was_denied = l->state == LISTENER_DENIED;
	struct topic **topics;
	size_t n;

	listener_count(renewal, "kept");
	topics = topics_of(renewal, &n);
	ticket_unref(l->ticket);
	l->ticket = ticket_ref(renewal->ticket);
	l->number = renewal->number;
	l->renewal = NULL;
	listener_free_renewal(renewal);
	listener_leave_question(l);
	count_from_the_last_change(l, was_denied);
	if (must_move(l, topics, n)) {
		move_over(l, topics, n, true);
		return;
	}
	free(topics);
	seat_renewed(l);
	if (l->is_limited)
		listener_limit(l, LSN_MAX);
}
