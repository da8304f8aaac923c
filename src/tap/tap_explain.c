/*
 * tap_explain: answers /explain, one question at a time; another one meanwhile is answered 503.
 *
 * What needs the database is asked over a connection of its own, which is opened for a question and closed a moment later: nobody who listens
 * waits for it, and it never runs more than one query. What takes longer than ANSWER_LIMIT is given up; as long as the server still runs it, the next
 * question waits behind it. Hubs are asked by mail.
 */
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

#define ANSWER_LIMIT 5000000 /* µs */
#define LOOK 100000          /* µs: how often it is looked whether the connection can be opened */
#define IDLE_LIMIT 2000000   /* µs */

struct explaining {
	struct tap *tap;
	struct ledger *ledger; /* NULL: off, or nothing was published since it is on */
	struct sqlpipe *sql;
	struct event *look;
	/* The question that is being answered. */
	struct admin_reply *reply; /* NULL: none */
	struct explain_question question;
	int64_t until; /* µs */
	struct edition *edition;
	struct group_names *names;
	struct explain *explain; /* of a user or a row */
	json_t *document;        /* of a message */
	uint32_t trace;          /* number of the last trace */
	unsigned waits_for;      /* hubs that have not answered it */
	struct mail_traced traced;
};

/* --- the answer ------------------------------------------------------------------------------------------------------ */

static void end(struct explaining *x, int status, json_t *document)
{
	admin_reply(x->reply, status, document);
	x->reply = NULL;
	event_del(x->look);
	explain_free(x->explain);
	group_names_free(x->names);
	edition_unref(x->edition);
	json_decref(x->document);
	explain_question_fini(&x->question);
	x->explain = NULL;
	x->names = NULL;
	x->edition = NULL;
	x->document = NULL;
	x->waits_for = 0;
}

static void end_with(struct explaining *x, int status, const char *error)
{
	end(x, status, json_pack("{s:s}", "error", error));
}

/* Each replica knows its own connections, and remembers what it has published itself. */
static const char *not_known(const struct tap *t)
{
	return t->relay ? "this replica answers: connections of the others are not counted" : NULL;
}

static void answer(struct explaining *x, json_t *document)
{
	const char *lack = not_known(x->tap);

	json_object_set_new(document, "not_known", lack ? json_string(lack) : json_null());
	end(x, 200, document);
}

/* --- a user, or a row ------------------------------------------------------------------------------------------------- */

static json_t *last_change(const struct explaining *x)
{
	struct ledger_event e;

	for (size_t i = 0; x->ledger && ledger_at(x->ledger, i, &e); i++)
		if (e.has_texts && explain_is_about(x->explain, e.table, e.key))
			return tap_known_event(x->names, &e);
	return json_null();
}

static void answer_explained(struct explaining *x)
{
	json_t *document = explain_document(x->explain);

	if (x->question.kind == EXPLAIN_USER) {
		json_object_set_new(document, "connections", tap_known_connections(x->tap, x->names, x->question.user));
	} else {
		json_object_set_new(document, "last", last_change(x));
		json_object_set_new(document, "receivers",
				    tap_known_receivers(x->tap, x->names, explain_groups(x->explain)));
	}
	answer(x, document);
}

static void on_answer(void *ctx, struct sqlrows *rows, const struct fail *why);

static void go_on(struct explaining *x)
{
	const struct explain_sql *q = explain_next(x->explain);

	if (!q) {
		answer_explained(x);
		return;
	}
	sqlpipe_ask(x->sql, q->name, q->sql, q->n_values, q->values, on_answer, x);
	sqlpipe_open(x->sql);
	event_add(x->look, &(struct timeval){ 0, LOOK });
}

static void on_answer(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct explaining *x = ctx;

	explain_answer(x->explain, rows, why);
	go_on(x);
}

static void give_up(struct explaining *x, const char *text)
{
	struct fail why = { 0 };

	fail_set(&why, "%s", text);
	sqlpipe_forget_all(x->sql);
	explain_answer(x->explain, NULL, &why);
	while (explain_next(x->explain))
		explain_answer(x->explain, NULL, &why);
	answer_explained(x);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct explaining *x = arg;
	const char *trouble = x->explain ? sqlpipe_trouble(x->sql) : NULL;

	(void)fd;
	(void)what;
	if (x->explain && (trouble || clock_us() > x->until)) {
		give_up(x, trouble ? trouble : "no answer in 5 s");
		return;
	}
	if (clock_us() > x->until) {
		end_with(x, 503, "a thread did not answer in 5 s");
		return;
	}
	if (x->explain)
		sqlpipe_open(x->sql);
	event_add(x->look, &(struct timeval){ 0, LOOK });
}

/* Why nobody is admitted; NULL: somebody may be. */
static const char *withheld(struct tap *t)
{
	const char *trouble = t->way->is_fed(t) ? NULL : tap_trouble(t);

	if (t->now.is_withheld)
		return "rows that decide permission do not come";
	return trouble || t->way->is_fed(t) ? trouble : "the logs are not filled yet";
}

static void count(void *ctx, const struct admit_seen *c)
{
	(void)c;
	++*(int64_t *)ctx;
}

static void ask_database(struct explaining *x)
{
	struct tap *t = x->tap;
	struct explain_present now = { t->now.conf, t->now.plain, t->now.rules, withheld(t), 0 };

	if (x->question.user)
		admit_each(t->admissions, x->question.user, count, &now.connections);
	x->explain = explain_new(&now, &x->question);
	go_on(x);
}

/* --- a message -------------------------------------------------------------------------------------------------------- */

static struct mail_trace *trace_of(const struct tap *t, const struct ledger_event *e)
{
	struct mail_trace *trace = mem_new(sizeof(*trace) + e->n_kept * sizeof(struct topic *));
	const char *name = e->groups;

	trace->id = e->id;
	for (size_t i = 0; i < e->n_kept; i++, name += strlen(name) + 1) {
		struct topic *topic = topiclog_find(t->now.log, slice_of(name));

		if (topic)
			trace->topics[trace->n++] = topic;
	}
	return trace;
}

static void ask_hubs(struct explaining *x, const struct ledger_event *e)
{
	struct mail mail = { .kind = MAIL_TRACE, .number = ++x->trace };

	x->traced = (struct mail_traced){ 0 };
	x->waits_for = x->tap->n_hubs;
	for (unsigned i = 0; i < x->tap->n_hubs; i++) {
		mail.trace = trace_of(x->tap, e);
		hub_post(x->tap->hubs[i], &mail);
	}
	event_add(x->look, &(struct timeval){ 0, LOOK });
}

void tap_explain_traced(struct tap *t, const struct mail *mail)
{
	struct explaining *x = t->explaining;
	struct mail_traced *all = &x->traced;

	if (mail->number != x->trace || !x->waits_for)
		return;
	all->n += mail->traced.n;
	if (mail->traced.first && (!all->first || mail->traced.first < all->first))
		all->first = mail->traced.first;
	if (mail->traced.last > all->last)
		all->last = mail->traced.last;
	if (--x->waits_for)
		return;
	json_object_set_new(x->document, "written",
			    json_pack("{s:I, s:o, s:o}", "connections", (json_int_t)all->n, "first",
				      tap_known_time(all->first), "last", tap_known_time(all->last)));
	answer(x, json_incref(x->document));
}

static void ask_event(struct explaining *x)
{
	char id[EVENT_ID_TEXT_MAX];
	struct ledger_event e;
	bool found = x->ledger && ledger_find(x->ledger, x->question.event, &e);

	event_id_format(id, x->question.event);
	x->document = json_pack("{s:s, s:s, s:b, s:o, s:s?, s:n}", "asked", "event", "id", id, "found", found, "event",
				found ? tap_known_event(x->names, &e) : json_null(), "reason",
				found ? NULL
				      : "it is not among the last 10,000 messages that this process has published "
					"since it started or since admin.token is set",
				"fix");
	if (found)
		ask_hubs(x, &e);
	else
		answer(x, json_incref(x->document));
}

/* --- questions -------------------------------------------------------------------------------------------------------- */

static void begin(struct explaining *x)
{
	struct tap *t = x->tap;

	x->edition = edition_ref(t->now.edition);
	x->names = group_names_new(t->now.plain);
	x->until = clock_us() + ANSWER_LIMIT;
	switch (x->question.kind) {
	case EXPLAIN_USER:
	case EXPLAIN_ROW:
		ask_database(x);
		return;
	case EXPLAIN_EVENT:
		ask_event(x);
		return;
	case EXPLAIN_FIND:
		answer(x, tap_known_find(t, x->names, x->ledger, x->question.find));
		return;
	}
}

void tap_explain_ask(void *ctx, struct slice query, struct admin_reply *reply)
{
	struct tap *t = ctx;
	struct explaining *x = t->explaining;
	struct fail why = { 0 };

	if (x->reply || !x->sql) {
		admin_reply(reply, 503, json_pack("{s:s}", "error", "another question is being answered; ask again"));
		return;
	}
	x->reply = reply;
	if (explain_question_read(query, &x->question, &why))
		begin(x);
	else
		end_with(x, 400, why.text);
}

void tap_explain_note(struct tap *t, int64_t at, const struct audit_change *change)
{
	struct explaining *x = t->explaining;

	if (!t->now.conf->admin.token)
		return;
	if (!x->ledger)
		x->ledger = ledger_new();
	ledger_add(x->ledger, at, change);
}

void tap_explain_forget(struct tap *t)
{
	struct explaining *x = t->explaining;

	if (!x->explain)
		return;
	sqlpipe_forget_all(x->sql);
	end_with(x, 503, "the configuration or the catalog has just changed; ask again");
}

/* --- life ------------------------------------------------------------------------------------------------------------- */

static void on_state(void *ctx, bool up, const struct fail *why)
{
	struct explaining *x = ctx;

	(void)why;
	if (up)
		metrics_count(x->tap->counts, METRICS_CONNECTS, "explain");
}

void tap_explain_init(struct tap *t)
{
	struct explaining *x = t->explaining = mem_new(sizeof(*x));

	x->tap = t;
	x->look = event_new(t->loop, -1, 0, on_look, x);
	if (!x->look)
		fail_never("libevent makes no timer for /explain");
}

void tap_explain_start(struct tap *t)
{
	struct explaining *x = t->explaining;

	x->sql = sqlpipe_new_on_demand(t->loop, t->names, "explain", &t->now.conf->database, t->suspects, IDLE_LIMIT,
				       on_state, x);
	sqlpipe_anchor(x->sql, &t->anchor);
}

void tap_explain_fini(struct tap *t)
{
	struct explaining *x = t->explaining;

	if (x->reply)
		end_with(x, 503, "walpush stops");
	sqlpipe_free(x->sql);
	event_free(x->look);
	ledger_free(x->ledger);
	free(x);
}
