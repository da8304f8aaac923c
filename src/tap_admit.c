/*
 * tap_admit: may this connection listen, and to which groups?
 *
 * The stream's admit query is asked on a connection of its own. The place in the stream is the published position at the
 * moment of asking: whatever is published afterwards is delivered. Open admissions are bounded by the connections; each ends within
 * limits.admit-timeout.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tap_impl.h"
#include "walpush/clock.h"
#include "walpush/log.h"
#include "walpush/mem.h"

#define LIMIT_TICK 100000 /* µs */

struct admission {
	struct admission *prev, *next;
	struct tap *tap;
	unsigned hub;
	uint64_t connection;
	struct ticket *ticket; /* a reference */
	bool has_since;
	struct event_id since;
	char epoch[48];
	lsn_t asked_at;              /* the published position */
	int64_t came;                /* µs */
	struct sqlpipe_query *query; /* NULL: not asked yet, or answered */
	struct sqlrows *rows;        /* the answer, while it waits for the stream to reach `since` */
};

static void admission_free(struct admission *a)
{
	DL_DELETE(a->tap->admissions, a);
	ticket_unref(a->ticket);
	sqlrows_free(a->rows);
	free(a);
}

static void count(const struct admission *a, const char *result)
{
	metrics_count(a->tap->counts, METRICS_ADMISSIONS, result);
	metrics_observe(a->tap->counts, METRICS_ADMISSION_SECONDS, clock_us() - a->came, 1);
}

static struct audit_client client_of(const struct admission *a)
{
	const struct rules_stream *s = ticket_stream(a->ticket, a->tap->plain);

	return (struct audit_client){ a->ticket->user, &a->ticket->peer, s ? s->conf->name : NULL };
}

/* `why`: as the metric's row spells it. */
static void refuse(struct admission *a, unsigned code, const char *why, const char *reason)
{
	struct audit_client client = client_of(a);
	struct mail mail = { .kind = MAIL_REFUSED, .connection = a->connection, .code = code };

	log_info("not admitted", log_n("hub", a->hub), log_n("connection", a->connection), log_peer(&a->ticket->peer),
		 log_s("user", a->ticket->user), log_n("code", code), log_s("reason", reason));
	count(a, "refused");
	audit_ended(a->tap->shared.audit, "refused", &client, code, why);
	metrics_count(a->tap->counts, METRICS_REFUSALS, why);
	hub_post(a->tap->hubs[a->hub], &mail);
	admission_free(a);
}

/* --- a place in the stream -------------------------------------------------------------------------------------- */

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

static bool may_resume(const struct admission *a)
{
	return a->has_since && strcmp(a->epoch, a->tap->epoch) == 0 && a->since.lsn <= topiclog_published(a->tap->log);
}

/* Behind what the client knows; else where the stream stood when admission was asked; else, should even that have left the logs,
 * where it stands now. */
static void place(const struct admission *a, struct mail *mail)
{
	struct tap *t = a->tap;

	mail->resumed = may_resume(a) && place_all(t, mail, a->since);
	if (mail->resumed)
		return;
	mail->resync = a->has_since;
	if (place_all(t, mail, (struct event_id){ a->asked_at, 0 }))
		return;
	mail->resync = true;
	if (!place_all(t, mail, (struct event_id){ topiclog_published(t->log), 0 }))
		abort(); /* the head is always there */
}

static void admit(struct admission *a, const struct sqlrows *rows)
{
	struct tap *t = a->tap;
	const struct rules_stream *stream = ticket_stream(a->ticket, t->plain);
	struct mail mail = { .kind = MAIL_ADMITTED, .connection = a->connection };
	struct route_groups groups = { 0 };
	struct audit_client client = client_of(a);
	const char *name;

	if (!stream) {
		refuse(a, 1012, "reload", "the stream has changed");
		return;
	}
	ticket_groups(a->ticket, stream, rows, &groups);
	mail.n_seats = groups.n;
	mail.seats = mem_new_array(groups.n, sizeof(struct seat));
	name = groups.names.data;
	for (size_t i = 0; i < groups.n; i++, name += strlen(name) + 1)
		mail.seats[i].topic = topiclog_topic(t->log, slice_of(name));
	place(a, &mail);
	for (size_t i = 0; i < groups.n; i++)
		topic_subscribe(mail.seats[i].topic, a->hub);
	if (groups.missing)
		log_error("a group names a column that the admit query does not return; the group is left out",
			  log_s("column", groups.missing), log_s("query", stream->admit.name),
			  log_s("mend", "add the column to the query's SELECT list"));
	audit_admitted(t->shared.audit, &client, groups.names.data, groups.n, mail.resumed);
	route_groups_fini(&groups);
	mail.admitted = a->asked_at;
	mail.published = topiclog_published(t->log);
	log_info("admitted", log_n("hub", a->hub), log_n("connection", a->connection), log_peer(&a->ticket->peer),
		 log_s("user", a->ticket->user), log_s("stream", stream->conf->name), log_n("groups", mail.n_seats),
		 log_s("resumed", mail.resumed ? "true" : "false"));
	count(a, mail.resumed ? "resumed" : "fresh");
	hub_post(t->hubs[a->hub], &mail);
	admission_free(a);
}

/* --- asking ------------------------------------------------------------------------------------------------------ */

static void cannot_ask(struct admission *a, const struct rules_query *q, const struct fail *why)
{
	enum log_level level;
	unsigned times;
	char same[128];

	/* A value that does not fit its type names nothing that exists: no. */
	if (strncmp(why->sqlstate, "22", 2) == 0) {
		refuse(a, 4403, "value", "a value does not fit the query");
		return;
	}
	snprintf(same, sizeof(same), "%s %s", why->sqlstate, q->name);
	level = repeat_level(repeat_for(a->tap->admit_trouble, same), LOG_LEVEL_ERROR, same, clock_us(), &times);
	log_write(level, "an admit query fails; nobody is admitted by it",
		  LOG_FIELDS(log_s("query", q->name), log_s("file", a->tap->conf->file), log_n("line", q->line),
			     log_s("sqlstate", why->sqlstate), log_s("error", why->text),
			     log_s("mend", "correct the query, or grant SELECT on what it reads"),
			     log_n("times", times)));
	refuse(a, 1013, "query", "the admit query failed");
}

/* The client has heard of a commit that this process has yet to read: from another process that had the slot until now. */
static bool is_ahead(const struct admission *a)
{
	const struct tap *t = a->tap;

	return a->has_since && strcmp(a->epoch, t->epoch) == 0 && a->since.lsn >= topiclog_published(t->log) &&
	       a->since.index > 0 && a->since.lsn <= source_server_end(t->source);
}

static void on_answer(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct admission *a = ctx;
	const struct rules_stream *s = ticket_stream(a->ticket, a->tap->plain);

	a->query = NULL;
	a->rows = rows; /* goes with the admission */
	if (!s)
		refuse(a, 1012, "reload", "the stream has changed");
	else if (!rows)
		cannot_ask(a, &s->admit, why);
	else if (rows->n_rows == 0)
		refuse(a, 4403, "forbidden", "the admit query says no");
	else if (!is_ahead(a))
		admit(a, rows);
}

static void ask(struct admission *a)
{
	const struct rules_stream *s = ticket_stream(a->ticket, a->tap->plain);
	const char **values;

	if (!s) {
		refuse(a, 1012, "reload", "the stream has changed");
		return;
	}
	values = mem_new_array(s->admit.source.n_refs, sizeof(char *));

	ticket_params(a->ticket, s, values);
	a->asked_at = topiclog_published(a->tap->log);
	a->query = sqlpipe_ask(a->tap->admissions_sql, s->admit.name, s->admit.sql, s->admit.source.n_refs, values,
			       on_answer, a);
	free(values);
}

void tap_admit_waiting(struct tap *t)
{
	struct admission *a, *next;

	if (!tap_is_fed(t))
		return;
	DL_FOREACH_SAFE(t->admissions, a, next)
		if (!a->query && !a->rows)
			ask(a);
}

void tap_admit_reached(struct tap *t)
{
	struct admission *a, *next;

	DL_FOREACH_SAFE(t->admissions, a, next)
		if (a->rows && !is_ahead(a))
			admit(a, a->rows);
}

void tap_admit(struct tap *t, struct mail *mail)
{
	struct admission *a = mem_new(sizeof(*a));

	a->tap = t;
	a->hub = mail->hub;
	a->connection = mail->connection;
	a->ticket = mail->ticket;
	a->has_since = mail->has_since;
	a->since = mail->id;
	memcpy(a->epoch, mail->text, sizeof(a->epoch));
	a->came = clock_us();
	DL_APPEND(t->admissions, a);
	if (!event_pending(t->admit_limit, EV_TIMEOUT, NULL))
		event_add(t->admit_limit, &(struct timeval){ 0, LIMIT_TICK });
	if (tap_is_fed(t))
		ask(a);
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;
	int64_t oldest = clock_us() - t->conf->limits.admit_timeout * 1000;

	(void)fd;
	(void)what;
	while (t->admissions && t->admissions->came < oldest) {
		struct admission *a = t->admissions;

		if (a->query)
			sqlpipe_forget(t->admissions_sql, a->query);
		if (tap_is_fed(t))
			refuse(a, 1013, "timeout", "the database does not answer");
		else
			refuse(a, 1013, "offline", "not streaming");
	}
	if (t->admissions)
		event_add(t->admit_limit, &(struct timeval){ 0, LIMIT_TICK });
}

void tap_admit_init(struct tap *t)
{
	t->admit_limit = event_new(t->loop, -1, 0, on_limit, t);
	if (!t->admit_limit)
		abort();
}

void tap_admit_fini(struct tap *t)
{
	struct admission *a, *next;

	event_free(t->admit_limit);
	DL_FOREACH_SAFE(t->admissions, a, next) {
		if (a->query)
			sqlpipe_forget(t->admissions_sql, a->query);
		admission_free(a);
	}
}
