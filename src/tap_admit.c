/*
 * tap_admit: may this connection listen, and to which groups? Asked when it comes, and again when a membership of its user changes.
 *
 * The place of a new connection is the published position at the moment of asking: whatever is published afterwards is delivered. That of
 * one asked again is the commit that changed the membership.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "admit_impl.h"
#include "walpush/clock.h"
#include "walpush/fail.h"
#include "walpush/log.h"
#include "walpush/mem.h"

/* How long a client may be ahead of the relay's stream: replicas are milliseconds apart, not seconds. */
#define AHEAD_LIMIT 2000000 /* µs */

static const char *const state_names[] = { "waiting", "asked", "answered", "standing", "denied" };

/* --- listeners ---------------------------------------------------------------------------------------------------- */

void listener_to(struct listener *l, enum listener_state next)
{
	log_debug("admission", log_n("hub", (int64_t)l->key.hub), log_n("connection", (int64_t)l->key.connection),
		  log_s("from", state_names[l->state]), log_s("to", state_names[next]));
	l->state = next;
}

void listener_move(struct listener *l, struct listener **queue)
{
	if (l->queue)
		DL_DELETE(*l->queue, l);
	l->queue = queue;
	if (queue)
		DL_APPEND(*queue, l);
}

static struct listener *listener_new(struct admissions *all, struct mail *mail)
{
	struct listener *l = mem_new(sizeof(*l));

	l->all = all;
	l->key.connection = mail->connection;
	l->key.hub = mail->hub;
	l->ticket = mail->ticket;
	l->has_since = mail->has_since;
	l->since = mail->id;
	l->epoch = mem_text(mail->text);
	l->verdict = VERDICT_NONE;
	HASH_ADD(hh, all->listeners, key, sizeof(l->key), l);
	member_join(member_of(all, l->ticket->user), l);
	return l;
}

static void listener_free(struct listener *l)
{
	renewal_free(l->renewal);
	HASH_DELETE(hh, l->all->listeners, l);
	member_leave(l);
	turn_leave(l);
	listener_move(l, NULL);
	listener_not_late(l);
	listener_forget_answer(l);
	ticket_unref(l->ticket);
	free(l->topics);
	free(l->epoch);
	free(l);
}

static void post(const struct listener *l, struct mail *mail)
{
	struct tap *t = l->all->tap;

	mail->connection = l->key.connection;
	mail->number = l->number;
	mail->published = topiclog_published(t->log);
	hub_post(t->hubs[l->key.hub], mail);
}

static void count(const struct listener *l, const char *result)
{
	struct metrics_counts *counts = l->all->tap->counts;

	metrics_count(counts, METRICS_ADMISSIONS, result);
	if (l->since_us)
		metrics_observe(counts, METRICS_ADMISSION_SECONDS, clock_us() - l->since_us, 1);
}

#define WHO(l)                                                                                                         \
	log_n("hub", (int64_t)(l)->key.hub), log_n("connection", (int64_t)(l)->key.connection),                        \
		log_peer(&(l)->ticket->peer), log_s("user", (l)->ticket->user)

static struct audit_client client_of(const struct listener *l)
{
	const struct rules_stream *s = listener_stream(l);

	return (struct audit_client){ l->ticket->user, &l->ticket->peer, s ? s->conf->name : NULL };
}

/* It was asked again as time passed; it has heard up to here. */
static void stop_here(struct listener *l)
{
	lsn_t here = topiclog_published(l->all->tap->log);

	if (!l->is_open || l->is_limited)
		return;
	verdict_changed(&l->verdict, here, false);
	listener_limit(l, here);
}

/* The token in force is no good any more, and a newer one is asked about: that decides. Until then nothing is heard. */
static void deny(struct listener *l, unsigned code, const char *reason)
{
	log_debug("not admitted any more, but by the token that is asked about", WHO(l), log_n("code", code),
		  log_s("reason", reason));
	listener_leave_question(l);
	listener_to(l, LISTENER_DENIED);
	stop_here(l);
}

static void refuse(struct listener *l, unsigned code, const char *why, const char *reason)
{
	struct audit_client client = client_of(l);
	struct mail mail = { .kind = MAIL_REFUSED, .code = code };

	stop_here(l);
	count(l, "refused");
	metrics_count(l->all->tap->counts, METRICS_REFUSALS, why);
	if (l->is_open || l->of)
		flood_info("not admitted any more", WHO(l), log_n("code", code), log_s("reason", reason));
	else
		flood_info("not admitted", WHO(l), log_n("code", code), log_s("reason", reason));
	audit_ended(l->all->tap->shared.audit, l->is_open || l->of ? "revoked" : "refused", &client, code, why);
	post(l, &mail);
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
	if (l->of) { /* which stands by the token in force until it ends */
		l->of->renewal = NULL;
		renewal_free(l);
	} else if (code == 4429) {
		listener_free(l);
	} else {
		listener_leave_question(l);
		listener_to(l, LISTENER_DENIED);
	}
}

void listener_limit(struct listener *l, lsn_t limit)
{
	struct mail mail = { .kind = MAIL_LIMIT, .limit = limit, .committed = l->all->tap->committed };

	l->is_limited = limit != LSN_MAX;
	post(l, &mail);
}

void listener_frozen(const struct listener *l, lsn_t commit)
{
	struct mail mail = { .kind = MAIL_FROZEN, .limit = commit };

	post(l, &mail);
}

/* --- groups, and a place in each ---------------------------------------------------------------------------------- */

static int compare_topics(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t) * (struct topic *const *)a, y = (uintptr_t) * (struct topic *const *)b;

	return x < y ? -1 : x > y;
}

static void tell_audit(const struct listener *l, const struct mail *mail)
{
	struct audit *audit = l->all->tap->shared.audit;
	struct audit_client client = client_of(l);
	struct buf names = { 0 };

	if (!audit_is_on(audit))
		return;
	for (size_t i = 0; i < l->n_topics; i++) {
		buf_add_slice(&names, topic_name(l->topics[i]));
		buf_add_char(&names, '\0');
	}
	audit_admitted(audit, &client, buf_slice(&names).at, l->n_topics, mail->resumed);
	buf_fini(&names);
}

/* What the answer gives, in the order of addresses. */
static struct topic **topics_of(const struct listener *l, size_t *n)
{
	struct tap *t = l->all->tap;
	const struct rules_stream *s = listener_stream(l);
	struct route_groups groups = { 0 };
	struct topic **topics;
	const char *name;

	ticket_groups(l->ticket, s, l->answer->rows, &groups);
	topics = mem_new_array(groups.n, sizeof(*topics));
	name = groups.names.data;
	for (size_t i = 0; i < groups.n; i++, name += strlen(name) + 1)
		topics[i] = topiclog_topic(t->log, slice_of(name));
	qsort(topics, groups.n, sizeof(*topics), compare_topics);
	if (groups.missing)
		flood_error("a group names a column that the admit query does not return; the group is left out",
			    log_s("column", groups.missing), log_s("query", s->admit.name),
			    log_s("mend", "add the column to the query's SELECT list"));
	*n = groups.n;
	route_groups_fini(&groups);
	return topics;
}

static bool place_all(struct tap *t, struct mail *mail, struct event_id after)
{
	for (size_t i = 0; i < mail->n_seats; i++) {
		if (topic_place(t->log, mail->seats[i].topic, after, &mail->seats[i].cursor))
			continue;
		while (i--)
			cursor_release(&mail->seats[i].cursor);
		return false;
	}
	mail->id = after;
	return true;
}

/* With other claims the client may have heard other groups. Before the last change of its memberships the user may not have been allowed to hear what the client has missed. */
static bool may_resume(const struct listener *l)
{
	const struct tap *t = l->all->tap;

	return l->has_since && ticket_knows_epoch(l->ticket, t->epoch, l->epoch) &&
	       l->since.lsn <= topiclog_published(t->log) && l->since.lsn >= member_unchanged_since(l);
}

/* What only time or what the log does not tell of has taken away, and given again, left no trace. So who comes back is told of a stretch
 * that an open connection would have been asked about in, and not of one that is longer. */
static bool is_known_throughout(const struct listener *l)
{
	struct tap *t = l->all->tap;
	int64_t every = tap_rechecks(t, l->ticket->stream);
	struct event_id upto = { 0, UINT32_MAX };

	if (!every)
		return true;
	upto.lsn = window_before(&t->window, clock_us() - every) - 1;
	for (size_t i = 0; i < l->n_topics; i++)
		if (!topic_is_empty_between(t->log, l->topics[i], l->since, upto))
			return false;
	return true;
}

static void place_at_head(struct tap *t, struct mail *mail)
{
	mail->id = (struct event_id){ topiclog_published(t->log), 0 };
	for (size_t i = 0; i < mail->n_seats; i++)
		topic_place_at_head(t->log, mail->seats[i].topic, &mail->seats[i].cursor);
}

/* Behind what the client knows; else where the stream stood when it was asked; else, should even that have left the logs, where it stands
 * now. */
static void place(const struct listener *l, struct mail *mail)
{
	struct tap *t = l->all->tap;

	mail->resumed = may_resume(l) && is_known_throughout(l) && place_all(t, mail, l->since);
	if (mail->resumed)
		return;
	mail->resync = l->has_since;
	if (place_all(t, mail, (struct event_id){ l->from, 0 }))
		return;
	mail->resync = true;
	place_at_head(t, mail);
}

/* Takes over `topics`, and puts seats for them into the mail. */
static void take_topics(struct listener *l, struct topic **topics, size_t n, struct mail *mail)
{
	free(l->topics);
	l->topics = topics;
	l->n_topics = n;
	mail->n_seats = n;
	mail->seats = mem_new_array(n, sizeof(struct seat));
	for (size_t i = 0; i < n; i++) {
		mail->seats[i].topic = topics[i];
		tap_feed_hear(l->all->tap, topics[i], (unsigned)l->key.hub);
	}
}

/* --- what the hub is told ----------------------------------------------------------------------------------------- */

void listener_admit(struct listener *l, bool on_hold)
{
	struct mail mail = { .kind = MAIL_ADMITTED };
	struct topic **topics;
	size_t n;

	assert(!l->is_open && l->answer);
	topics = topics_of(l, &n);
	take_topics(l, topics, n, &mail);
	place(l, &mail);
	mail.limit = on_hold ? mail.id.lsn : l->upto;
	mail.admitted = l->from;
	mail.ticket = ticket_ref(l->ticket);
	flood_info("admitted", WHO(l), log_s("stream", listener_stream(l)->conf->name), log_n("groups", (int64_t)n),
		   log_s("resumed", mail.resumed ? "true" : "false"));
	count(l, mail.resumed ? "resumed" : "fresh");
	tell_audit(l, &mail);
	l->is_open = true;
	l->is_limited = mail.limit != LSN_MAX;
	if (on_hold)
		verdict_held(&l->verdict, mail.id.lsn);
	free(l->epoch);
	l->epoch = NULL;
	post(l, &mail);
}

static void tell_renewed(const struct listener *l, struct mail *mail)
{
	mail->kind = MAIL_RENEWED;
	mail->ticket = ticket_ref(l->ticket);
	flood_info("renewed with other claims", WHO(l), log_s("moved", mail->resync ? "true" : "false"));
	post(l, mail);
}

void listener_renewed(const struct listener *l)
{
	tell_renewed(l, &(struct mail){ 0 });
}

/* Who was not limited has heard up to now: it goes on there, and not where its answer counts from. */
static void move_over(struct listener *l, struct topic **topics, size_t n, bool is_renewed)
{
	struct mail mail = { .kind = MAIL_MOVED, .resync = true, .limit = l->upto };

	take_topics(l, topics, n, &mail);
	if (!l->is_limited || !place_all(l->all->tap, &mail, (struct event_id){ l->from, 0 }))
		place_at_head(l->all->tap, &mail);
	l->is_limited = mail.limit != LSN_MAX;
	l->is_apart =
		l->is_apart && !is_renewed; /* nothing else that it is told is of the token by which its hub goes */
	mem_copy_text(mail.text, sizeof(mail.text), l->skips ? l->skips : "membership");
	flood_info("admitted anew", WHO(l), log_n("groups", (int64_t)n), log_s("reason", mail.text));
	l->skips = NULL;
	tell_audit(l, &mail);
	if (is_renewed)
		tell_renewed(l, &mail);
	else
		post(l, &mail);
}

static bool must_move(const struct listener *l, struct topic *const *topics, size_t n)
{
	return l->skips || l->is_apart || n != l->n_topics ||
	       (n && memcmp(topics, l->topics, n * sizeof(*topics)) != 0);
}

void listener_skips(struct listener *l)
{
	struct event_id from = { l->verdict.from, 0 }, known = { l->verdict.known, 0 };

	if (l->skips || !verdict_skips(&l->verdict))
		return;
	for (size_t i = 0; i < l->n_topics; i++)
		if (!topic_is_empty_between(l->all->tap->log, l->topics[i], from, known))
			l->skips = "membership";
}

/* Without an answer to look at it was admitted by this one, and only the log was waited for. */
void listener_go_on(struct listener *l)
{
	struct topic **topics;
	size_t n;

	if (!l->answer) {
		listener_limit(l, l->upto);
		return;
	}
	count(l, "kept");
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
 * The renewal was asked again at each change, so its yes counts from the last one on. What lies between the first and that is skipped; so is
 * all that came since the token in force was denied: of a connection that is about to end nobody notes the changes.
 */
static void count_from_the_last_change(struct listener *l, bool was_denied)
{
	struct verdict *v = &l->verdict;
	lsn_t last = was_denied ? topiclog_published(l->all->tap->log) : v->last;

	v->known = last > v->known ? last : v->known;
	l->from = v->known;
	l->upto = LSN_MAX;
	if (l->is_limited)
		listener_skips(l);
	verdict_drop(v);
	verdict_take(v);
}

/* The answer is not older than any change of permission, so it is good for what those have held back too. */
void listener_take_over(struct listener *renewal)
{
	struct listener *l = renewal->of;
	bool was_denied = l->state == LISTENER_DENIED;
	struct topic **topics;
	size_t n;

	count(renewal, "kept");
	topics = topics_of(renewal, &n);
	ticket_unref(l->ticket);
	l->ticket = ticket_ref(renewal->ticket);
	l->number = renewal->number;
	l->renewal = NULL;
	renewal_free(renewal);
	listener_leave_question(l);
	count_from_the_last_change(l, was_denied);
	if (must_move(l, topics, n)) {
		move_over(l, topics, n, true);
		return;
	}
	free(topics);
	listener_renewed(l);
	if (l->is_limited)
		listener_limit(l, LSN_MAX);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* Is there such a commit? A replica that only reads the relay's stream does not know how far the server is, so it waits and sees. */
static bool may_come(const struct listener *l)
{
	const struct tap *t = l->all->tap;

	return l->since.lsn <= source_server_end(t->source) || (t->relay && clock_us() - l->since_us < AHEAD_LIMIT);
}

/* The client has heard of a commit that this process has yet to read: from another process that had the slot until now, or from another
 * replica. */
static bool is_ahead(const struct listener *l)
{
	const struct tap *t = l->all->tap;

	return !l->is_open && l->has_since && ticket_knows_epoch(l->ticket, t->epoch, l->epoch) &&
	       l->since.lsn >= topiclog_published(t->log) && l->since.index > 0 && may_come(l);
}

const struct rules_stream *listener_stream(const struct listener *l)
{
	return ticket_stream(l->ticket, l->all->tap->plain);
}

/* Of a stream that is not the same any more its hub takes care. */
static bool may_ask(const struct listener *l)
{
	return tap_is_fed(l->all->tap) && !is_ahead(l) && listener_stream(l);
}

static void ask_or_wait(struct listener *l)
{
	if (may_ask(l))
		ask_join(l);
	else
		listener_move(l, &l->all->unasked);
}

void listener_leave_question(struct listener *l)
{
	listener_move(l, NULL);
	l->question = NULL;
	l->batch = NULL;
	turn_done(l);
	verdict_drop(&l->verdict);
	listener_forget_answer(l);
	listener_not_late(l);
	if (l->state != LISTENER_STANDING)
		listener_to(l, LISTENER_STANDING);
}

void listener_ask(struct listener *l)
{
	l->all->n_asked++;
	l->question = NULL;
	l->batch = NULL;
	listener_to(l, LISTENER_WAITING);
	listener_may_be_late(l);
	ask_or_wait(l);
}

void listener_again(struct listener *l)
{
	int64_t limit = l->all->tap->conf->limits.admit_timeout * 1000;

	if (!l->is_open) {
		listener_ask(l);
		return;
	}
	switch (verdict_act(&l->verdict, clock_us(), limit)) {
	case VERDICT_HEARS:
		listener_move(l, NULL);
		listener_to(l, LISTENER_STANDING);
		return;
	case VERDICT_ASK:
		listener_ask(l);
		return;
	case VERDICT_WAIT:
		turn_wait(l);
		return;
	case VERDICT_LATE:
		listener_refuse(l, 1013, "timeout", "permission changes faster than the database answers");
		return;
	}
}

void tap_admit(struct tap *t, struct mail *mail)
{
	struct listener *l = listener_new(t->admissions, mail);
	int64_t most = t->conf->limits.per_user;

	if (most > 0 && l->member->n > most)
		listener_refuse(l, 4429, "user", "too many connections of this user");
	else if (!listener_stream(l))
		listener_refuse(l, 1012, "reload", "the stream has changed");
	else
		listener_ask(l);
}

struct listener *listener_find(struct admissions *all, const struct mail *mail)
{
	struct listener_key key = { .connection = mail->connection, .hub = mail->hub };
	struct listener *l;

	/* The analyzer does not see that the bytes of two numbers are all there. */
	HASH_FIND(hh, all->listeners, &key, sizeof(key), l); /* NOLINT(clang-analyzer-core.*) */
	return l;
}

void tap_admit_ended(struct tap *t, const struct mail *mail)
{
	struct listener *l = listener_find(t->admissions, mail);

	if (l) /* else it was one too many */
		listener_free(l);
}

void listeners_ask(struct admissions *all)
{
	struct listener *l, *next;

	DL_FOREACH_SAFE(all->unasked, l, next)
		if (may_ask(l))
			ask_join(l);
	if (all->turn || all->awaiting)
		event_active(all->ask, EV_TIMEOUT, 0);
}

void tap_admit_reached(struct tap *t)
{
	ask_reached(t->admissions);
	listeners_ask(t->admissions);
}

json_t *tap_admit_status(const struct tap *t)
{
	const struct admissions *all = t->admissions;
	const struct listener *l;
	const struct batch *b;
	int waiting = tap_admit_waiting(t), unanswered = waiting, held = 0;

	DL_FOREACH2(all->late, l, next_late)
		unanswered++;
	DL_FOREACH(all->batches, b)
		DL_FOREACH(b->listeners, l)
			held += !l->since_us;
	return json_pack("{s:i, s:i, s:i, s:I, s:I, s:I, s:i}", "connections", (int)HASH_COUNT(all->listeners),
			 "unanswered", unanswered, "held", held, "asked", (json_int_t)all->n_asked, "queries",
			 (json_int_t)all->n_queries, "rounds", (json_int_t)all->rounds.n, "waiting", waiting);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

void tap_admit_init(struct tap *t)
{
	t->admissions = mem_new(sizeof(*t->admissions));
	t->admissions->tap = t;
	ask_init(t->admissions);
	turn_init(t->admissions);
}

void tap_admit_fini(struct tap *t)
{
	struct listener *l, *next;

	HASH_ITER(hh, t->admissions->listeners, l, next)
		listener_free(l);
	ask_fini(t->admissions);
	turn_fini(t->admissions);
	member_fini(t->admissions);
	free(t->admissions);
}
