/*
 * world: what is around admit, for its tests: a clock that the test holds, a real topic log, and a server whose answers the test gives.
 *
 * Nothing happens by itself: mails wait in `mails` until the test takes them, questions in `asked` until it answers, and turns of the loop that
 * were asked for in `wanted`.
 */
#ifndef TEST_WORLD_H
#define TEST_WORLD_H

#include <assert.h>
#include <jansson.h>
#include <stdio.h>

#include "mapping.h"
#include "parts.h"
#include "walpush/admit/admit.h"

#define WORLD_S 1000000 /* µs */
#define WORLD_EPOCH "epoch"
#define WORLD_MOST 512
#define WORLD_FROM_START 1000

struct world_question {
	const char *statement; /* "position", or the admit query's name */
	char *user;            /* {token.user_id}; of a position "" */
	unsigned lane;
	sqlpipe_done *done;
	void *ctx;
	bool is_forgotten, is_let_go;
	int64_t runs_since; /* µs; for a test that plays a server: 0: it does not run yet */
	bool is_made;       /* for a test that makes answers before it gives them: this one */
	struct sqlrows *rows;
	const char *sqlstate;
};

struct world {
	struct mapping m; /* m.rules: bound */
	struct edition *edition;
	struct metrics *metrics;
	struct admit_present present;
	struct admissions *all;
	int64_t now;
	bool is_fed, may_come;
	lsn_t before;
	bool wanted[ADMIT_AFTER_A_TICK + 1];
	struct mail mails[WORLD_MOST];
	size_t n_mails;
	struct world_question *asked[WORLD_MOST]; /* the oldest first */
	size_t n_asked;
	unsigned opened[LANES_MOST], cancelled[LANES_MOST]; /* calls, by lane */
	int by;                                             /* of the last cancel */
	bool cannot_cancel;
};

static inline int64_t world_clock(void *ctx)
{
	return ((struct world *)ctx)->now;
}

static inline bool world_is_fed(void *ctx)
{
	return ((struct world *)ctx)->is_fed;
}

static inline bool world_may_come(void *ctx, lsn_t commit, int64_t waited)
{
	(void)commit;
	return ((struct world *)ctx)->may_come && waited < 2 * WORLD_S;
}

static inline lsn_t world_before(void *ctx, int64_t at)
{
	(void)at;
	return ((struct world *)ctx)->before;
}

static inline void world_post(void *ctx, unsigned hub, struct mail *mail)
{
	struct world *w = ctx;

	mail->hub = hub;
	assert(w->n_mails < WORLD_MOST);
	w->mails[w->n_mails++] = *mail;
}

static inline void world_hear(void *ctx, struct topic *topic, unsigned hub)
{
	topic_subscribe(((struct world *)ctx)->present.log, topic, hub);
}

/* The handle is the question. */
static inline struct sqlpipe_query *world_ask(void *ctx, unsigned lane, const struct admit_query *query,
					      sqlpipe_done *done, void *done_ctx)
{
	struct world *w = ctx;
	struct world_question *q = mem_new(sizeof(*q));

	q->statement = query->name;
	q->user = mem_text(query->n_values ? query->values[0] : "");
	q->lane = lane;
	q->done = done;
	q->ctx = done_ctx;
	assert(w->n_asked < WORLD_MOST);
	w->asked[w->n_asked++] = q;
	return (struct sqlpipe_query *)q;
}

static inline void world_let_go(void *ctx, unsigned lane, struct sqlpipe_query *query)
{
	struct world *w = ctx;
	bool is_there = false;

	for (size_t i = 0; i < w->n_asked; i++) {
		if ((struct sqlpipe_query *)w->asked[i] != query)
			continue;
		assert(w->asked[i]->lane == lane && !w->asked[i]->is_let_go);
		w->asked[i]->is_let_go = is_there = true;
	}
	assert(is_there);
}

static inline void world_drop(void *ctx, unsigned lane)
{
	struct world *w = ctx;

	for (size_t i = 0; i < w->n_asked; i++)
		if (w->asked[i]->lane == lane)
			w->asked[i]->is_forgotten = true;
}

static inline void world_open_lane(void *ctx, unsigned lane)
{
	((struct world *)ctx)->opened[lane]++;
}

static inline bool world_cancel(void *ctx, unsigned lane, int by)
{
	struct world *w = ctx;

	if (w->cannot_cancel)
		return false;
	w->cancelled[lane]++;
	w->by = by;
	return true;
}

static inline void world_wake(void *ctx, enum admit_wake when)
{
	((struct world *)ctx)->wanted[when] = true;
}

static const struct admit_calls world_calls = { world_clock, world_is_fed,    world_may_come, world_before,
						world_post,  world_hear,      world_ask,      world_let_go,
						world_drop,  world_open_lane, world_cancel,   world_wake };

/* The n-th question is off the wire; the caller frees it. */
static inline struct world_question *world_take_question(struct world *w, size_t n)
{
	struct world_question *q = w->asked[n];

	assert(n < w->n_asked);
	memmove(&w->asked[n], &w->asked[n + 1], (--w->n_asked - n) * sizeof(*w->asked));
	return q;
}

static inline void world_free_question(struct world_question *q)
{
	free(q->user);
	free(q);
}

/* The n-th question is answered. `rows` NULL: it failed with this SQLSTATE. */
static inline void world_answer_nth(struct world *w, size_t n, struct sqlrows *rows, const char *sqlstate)
{
	struct world_question *q = world_take_question(w, n);
	struct fail why = { 0 };

	if (sqlstate)
		mem_copy_text(why.sqlstate, sizeof(why.sqlstate), sqlstate);
	if (q->is_forgotten)
		sqlrows_free(rows);
	else
		q->done(q->ctx, rows, &why);
	world_free_question(q);
}

/* The oldest question is answered. */
static inline void world_answer(struct world *w, struct sqlrows *rows, const char *sqlstate)
{
	world_answer_nth(w, 0, rows, sqlstate);
}

/* One row a unit: "5,7" or "" for no row. */
static inline struct sqlrows *world_units(const char *units)
{
	char text[64];

	snprintf(text, sizeof(text), "unit=%s", units);
	return mapping_rows(text);
}

/* The answer to the position: flushed and inserted up to there, wal_writer_delay 0.2 s. */
static inline struct sqlrows *world_position(lsn_t flush, lsn_t insert)
{
	struct sqlrows *rows = sqlrows_new(1, 4);
	char text[LSN_TEXT_MAX];

	lsn_format(text, flush);
	sqlrows_set(rows, 0, 1, text);
	lsn_format(text, insert);
	sqlrows_set(rows, 0, 2, text);
	sqlrows_set(rows, 0, 3, "200000");
	return rows;
}

/* The same of a standby. */
static inline struct sqlrows *world_standby(lsn_t replayed, lsn_t received)
{
	struct sqlrows *rows = sqlrows_new(1, 4);
	char text[LSN_TEXT_MAX];

	lsn_format(text, received);
	sqlrows_set(rows, 0, 0, text);
	lsn_format(text, replayed);
	sqlrows_set(rows, 0, 1, text);
	return rows;
}

/* What the loop was asked for happens, and what that asks for. */
static inline void world_turn(struct world *w)
{
	while (w->wanted[ADMIT_SOON] || w->wanted[ADMIT_WHEN_READ]) {
		if (w->wanted[ADMIT_SOON]) {
			w->wanted[ADMIT_SOON] = false;
			admissions_soon(w->all);
			continue;
		}
		w->wanted[ADMIT_WHEN_READ] = false;
		admissions_read(w->all);
	}
}

/* Time passes; the tick comes if it was asked for. */
static inline void world_pass(struct world *w, int64_t us)
{
	w->now += us;
	if (!w->wanted[ADMIT_AFTER_A_TICK])
		return;
	w->wanted[ADMIT_AFTER_A_TICK] = false;
	admissions_tick(w->all);
}

static inline struct ticket *world_ticket_for(const struct world *w, const char *stream, const char *claims)
{
	struct token token = { .user = NULL, .expires = 1, .claims = json_loads(claims, 0, NULL) };
	struct path_values path;
	const char *missing;
	struct ticket *t;
	char at[64];
	int n;

	snprintf(at, sizeof(at), "/ws/%s/", stream);
	n = rules_match_path(w->present.plain, slice_of(at), &path);
	assert(n >= 0);
	token.user = (char *)(uintptr_t)json_string_value(json_object_get(token.claims, "user_id"));
	t = ticket_new(rules_stream(w->present.plain, (size_t)n), &path, &token, &(struct address){ { 1 } }, &missing);
	assert(t);
	json_decref(token.claims);
	return t;
}

/* {"user_id": user, "role": role} */
static inline struct ticket *world_ticket(const struct world *w, const char *user, const char *role)
{
	char claims[128];

	snprintf(claims, sizeof(claims), "{\"user_id\":\"%s\",\"role\":\"%s\"}", user, role);
	return world_ticket_for(w, "units", claims);
}

/* `since` NULL: it says nothing of what it knows. */
static inline void world_come(struct world *w, uint64_t connection, struct ticket *ticket, const struct event_id *since)
{
	struct mail mail = { .kind = MAIL_ADMIT, .connection = connection, .asked = { .ticket = ticket } };

	if (since) {
		mail.asked.has_since = true;
		mail.asked.since = *since;
		ticket_epoch(ticket, WORLD_EPOCH, mail.asked.epoch);
	}
	admit_came(w->all, &mail);
}

static inline void world_end(struct world *w, uint64_t connection)
{
	admit_ended(w->all, &(struct mail){ .kind = MAIL_ENDED, .connection = connection });
}

static inline struct topic *world_group(const struct world *w, unsigned unit)
{
	char name[32];

	snprintf(name, sizeof(name), "unit_{%u}", unit);
	return topiclog_topic(w->present.log, slice_of(name));
}

/* A message is in the log of that unit; it is published when the position is behind it. */
static inline void world_message(const struct world *w, unsigned unit, lsn_t commit)
{
	topic_append(w->present.log, world_group(w, unit), (struct event_id){ commit, 1 }, SLICE("h"), SLICE("m"),
		     w->now);
}

static inline void world_reach(struct world *w, lsn_t upto)
{
	if (upto > topiclog_published(w->present.log))
		topiclog_publish(w->present.log, upto);
	admit_reached(w->all);
}

/* What a hub does with a mail that it does not want. */
static inline void world_drop_mail(struct world *w, struct mail *mail)
{
	if (mail->kind == MAIL_ADMITTED || mail->kind == MAIL_MOVED || mail->kind == MAIL_RENEWED)
		for (size_t i = 0; i < mail->given.n_seats; i++)
			topic_unsubscribe(w->present.log, mail->given.seats[i].topic, mail->hub);
	mail_fini(mail);
}

#define WORLD_STREAMS                                                                                                  \
	"streams = {\n"                                                                                                \
	"  units = { path = \"/ws/units/\"\n"                                                                          \
	"    admit = \"SELECT unit FROM members WHERE id = {token.user_id} AND role = {token.role}\"\n"                \
	"    groups = [ \"unit_{admit.unit}\" ] }\n"                                                                   \
	"  timed = { path = \"/ws/timed/\" recheck = 60\n"                                                             \
	"    admit = \"SELECT 7 AS unit WHERE {token.user_id} = {token.role}\" groups = [ \"unit_{admit.unit}\" ] }\n" \
	"  shared = { path = \"/ws/shared/\"\n"                                                                        \
	"    admit = \"SELECT 7 AS unit WHERE {token.role} = 'r'\" groups = [ \"unit_{admit.unit}\" ] }\n"             \
	"}\n"

#define WORLD_MEMBERSHIP "membership = { user_units = { user = \"user_id\" }  roles = { } }\n"

/* With so many open lanes. */
static inline void world_lanes(struct world *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		admit_lane(w->all, i, true);
}

static inline void world_open(struct world *w, const char *more)
{
	struct topic_limits limits = { 1 << 20, 16 << 20, 3600 * (int64_t)WORLD_S };
	struct hub_shared shared = { 0 };
	struct fail why;
	struct buf conf = { 0 };

	memset(w, 0, sizeof(*w));
	buf_addf(&conf, "%s%s%s%s", MAPPING_BASE, WORLD_STREAMS, MAPPING_TABLES_ALONE, more);
	mapping_open(&w->m, conf.data);
	buf_fini(&conf);
	w->metrics = shared.metrics = metrics_new(1);
	w->edition = edition_new(&shared, w->m.conf, false, &why);
	if (!w->edition)
		mapping_die("edition_new", &why);
	w->present = (struct admit_present){ .conf = w->m.conf,
					     .edition = w->edition,
					     .plain = w->edition->rules,
					     .rules = w->m.rules,
					     .log = topiclog_new(&limits),
					     .epoch = WORLD_EPOCH,
					     .counts = metrics_of_tap(w->metrics),
					     .audit = audit_new() };
	w->now = 1000 * (int64_t)WORLD_S;
	w->is_fed = w->may_come = true;
	topiclog_reset(w->present.log, WORLD_FROM_START);
	topiclog_publish(w->present.log, WORLD_FROM_START);
	w->all = admissions_new(&w->present, &world_calls, w);
	admit_recheck(w->all);
	world_lanes(w, (unsigned)w->m.conf->database.admit_connections);
	w->all->lanes.batch = LANE_QUESTIONS; /* the database has been quick so far */
}

static inline void world_close(struct world *w)
{
	for (size_t i = 0; i < w->n_mails; i++)
		world_drop_mail(w, &w->mails[i]);
	admissions_free(w->all);
	while (w->n_asked)
		world_free_question(world_take_question(w, 0));
	topiclog_free(w->present.log);
	edition_unref(w->edition);
	metrics_free(w->metrics);
	audit_free(w->present.audit);
	mapping_close(&w->m);
}

#endif
