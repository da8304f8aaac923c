/*
 * tap_ask: one admit query for all who want to know the same, and how far the log must be before its answer counts.
 *
 * What one turn of the loop wants to know is asked at its end: the same question once, and behind up to BATCH_QUESTIONS of them the
 * position of the WAL. A question that is with the server is not joined any more, because its snapshot may be older than what made
 * one ask; who comes then waits for the next. So there are at most two queries for each pair of a stream and its parameters, however
 * many connect, and open admissions are bounded by the connections.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "admit_impl.h"
#include "walpush/clock.h"
#include "walpush/fail.h"
#include "walpush/log.h"
#include "walpush/mem.h"

#define LIMIT_TICK 100000 /* µs */

/* On a standby everything that is visible has been replayed. */
#define POSITION_SQL                                                                                                   \
	"SELECT CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_flush_lsn() END,"  \
	" CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END,"       \
	" (EXTRACT(epoch FROM pg_catalog.current_setting('wal_writer_delay')::interval)::numeric * "                   \
	"1000000::numeric)::bigint"                                                                                    \
	" FROM pg_catalog.pg_is_in_recovery() r"
/* The longest that a commit without synchronous_commit stays unflushed, in wal_writer_delay. Source: PostgreSQL's manual. */
#define WRITER_DELAYS 3

struct position {
	lsn_t flush, insert;
	int64_t delay; /* µs */
};

static void on_answer(void *ctx, struct sqlrows *rows, const struct fail *why);
static void on_position(void *ctx, struct sqlrows *rows, const struct fail *why);

/* --- questions ---------------------------------------------------------------------------------------------------- */

static struct question *question_new(struct listener *l, const struct rules_stream *s, const char **values,
				     struct buf *key)
{
	struct question *q = mem_new(sizeof(*q) + key->len);
	char *at = q->key + strlen(key->data) + 1;

	q->all = l->all;
	q->edition = edition_ref(l->all->tap->edition);
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

static void question_free(struct question *q)
{
	HASH_DEL(q->all->questions, q);
	edition_unref(q->edition);
	free(q->values);
	free(q);
}

void ask_now(struct question *q)
{
	if (q->query || q->is_due)
		return;
	if (q->in_turn)
		DL_DELETE2(q->all->turn, q, prev_due, next_due);
	q->in_turn = false;
	q->is_due = true;
	DL_APPEND2(q->all->due, q, prev_due, next_due);
	event_active(q->all->ask, EV_TIMEOUT, 0);
}

void ask_join(struct listener *l)
{
	l->question = question_of(l);
	listener_move(l, &l->question->next);
	ask_now(l->question);
}

void ask_in_turn(struct listener *l)
{
	struct admissions *all = l->all;
	struct question *q = l->question = question_of(l);

	listener_move(l, &q->next);
	if (q->query || q->is_due || q->in_turn)
		return;
	if (!all->turn && !all->share.left)
		all->share.moved = clock_us();
	q->in_turn = true;
	DL_APPEND2(all->turn, q, prev_due, next_due);
	event_active(all->ask, EV_TIMEOUT, 0);
	ask_tick(all);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* Of this turn; NULL: permission never changes, so where the log is does not matter. */
static struct batch *batch_of_turn(struct admissions *all)
{
	if (!all->batch && (!all->tap->rules || rules_has_memberships(all->tap->rules))) {
		all->batch = mem_new(sizeof(*all->batch));
		all->batch->all = all;
		all->batch->need = NEED_UNKNOWN;
		DL_APPEND(all->batches, all->batch);
	}
	return all->batch;
}

/* No more questions: the position behind them. */
static void seal(struct admissions *all)
{
	struct batch *b = all->batch;

	all->batch = NULL;
	if (b)
		b->query = sqlpipe_ask(all->tap->admissions_sql, "position", POSITION_SQL, 0, NULL, on_position, b);
}

/* A stranger would decide. Known of the rules in force, which were bound behind the edition's. */
static bool is_trusted(const struct tap *t, const struct rules_stream *s)
{
	int at = t->rules ? rules_stream_index(t->rules, s->identity) : -1;

	return at < 0 || !rules_stream(t->rules, (size_t)at)->strangers;
}

static void question_refuse(struct question *q)
{
	while (q->next)
		listener_refuse(q->next, 1013, "query", "the admit query calls what a stranger owns");
	question_free(q);
}

static void question_send(struct question *q)
{
	struct admissions *all = q->all;
	struct tap *t = all->tap;
	const struct rules_query *admit = &q->stream->admit;
	struct listener *l;
	int64_t now = clock_us();

	while ((l = q->next)) {
		listener_move(l, &q->asked);
		listener_to(l, LISTENER_ASKED);
		verdict_asked(&l->verdict, l->is_open ? 0 : topiclog_published(t->log), now);
		l->from = l->verdict.known;
		listener_may_be_late(l);
	}
	all->n_out++;
	q->batch = batch_of_turn(all);
	q->query = sqlpipe_ask(t->admissions_sql, admit->name, admit->sql, admit->source.n_refs,
			       (const char *const *)q->values, on_answer, q);
	all->n_queries++;
	metrics_add(t->counts, METRICS_ADMIT_QUERIES, 1);
	if (q->batch && ++q->batch->n_questions == BATCH_QUESTIONS)
		seal(all);
}

static void send_due(struct admissions *all)
{
	struct question *q;

	while ((q = all->due)) {
		DL_DELETE2(all->due, q, prev_due, next_due);
		q->is_due = false;
		if (!q->next)
			question_free(q); /* all who asked have gone */
		else if (is_trusted(all->tap, q->stream))
			question_send(q);
		else
			question_refuse(q);
	}
	seal(all);
}

/* Who comes is first. */
static void on_ask(evutil_socket_t fd, short what, void *arg)
{
	struct admissions *all = arg;

	(void)fd;
	(void)what;
	send_due(all);
	if (turn_share(all))
		send_due(all);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

/* A value that does not fit its type names nothing that exists: no. */
static bool is_bad_value(const struct fail *why)
{
	return strncmp(why->sqlstate, "22", 2) == 0;
}

static void say_failed(const struct question *q, const struct fail *why)
{
	const struct rules_query *admit = &q->stream->admit;
	struct tap *t = q->all->tap;
	enum log_level level;
	unsigned times;
	char same[128];

	if (is_bad_value(why))
		return;
	snprintf(same, sizeof(same), "%s %s", why->sqlstate, admit->name);
	level = repeat_level(repeat_for(t->admit_trouble, same), LOG_LEVEL_ERROR, same, clock_us(), &times);
	flood_log(level, "an admit query fails; nobody is admitted by it", log_s("query", admit->name),
		  log_s("file", t->conf->file), log_n("line", admit->line), log_s("sqlstate", why->sqlstate),
		  log_s("error", why->text), log_s("mend", "correct the query, or grant SELECT on what it reads"),
		  log_n("times", times));
}

/* Of what decides, the log does not hold all: nobody knows since when it is as the answer says, so it counts from its own position on. What
 * was held back before that is skipped. */
static void count_from_the_answer(struct listener *l)
{
	struct verdict *v = &l->verdict;

	if (!l->all->tap->watch.is_blind || !l->is_open || !l->is_limited || !l->batch || l->batch->need <= v->known)
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
		listener_take_over(l);
		return;
	}
	l->upto = l->verdict.next;
	listener_skips(l);
	if (l->is_open)
		listener_go_on(l);
	else
		listener_admit(l, false);
	verdict_take(&l->verdict);
	listener_not_late(l);
	listener_forget_answer(l);
	listener_to(l, LISTENER_STANDING);
	turn_stand(l);
	if (l->is_limited) {
		listener_frozen(l, l->verdict.last);
		listener_again(l);
	}
}

void ask_void(struct listener *l)
{
	verdict_drop(&l->verdict);
	listener_forget_answer(l);
	if (l->is_open) /* asked again, the time begins anew; verdict.h has the bound */
		listener_not_late(l);
	if (!turn_again(l))
		listener_again(l);
}

static void said_yes(struct listener *l, struct answer *a, struct batch *b)
{
	l->question = NULL;
	l->answer = a;
	a->refs++;
	listener_to(l, LISTENER_ANSWERED);
	l->batch = b;
	if (b)
		listener_move(l, &b->listeners);
	else if (verdict_counts(&l->verdict, LSN_MAX))
		settle(l);
	else
		ask_void(l);
}

static void said_no(struct listener *l)
{
	if (!verdict_no_counts(&l->verdict)) {
		ask_void(l);
		return;
	}
	if (l->is_open)
		member_lost(l);
	listener_refuse(l, 4403, "forbidden", "the admit query says no");
}

static void answer_unref(struct answer *a)
{
	if (!a || --a->refs > 0)
		return;
	sqlrows_free(a->rows);
	free(a);
}

static void question_back(struct question *q)
{
	struct admissions *all = q->all;

	q->query = NULL;
	all->n_out--;
	if (q->in_share)
		share_answered(&all->share, clock_us());
	q->in_share = false;
	if (all->turn || all->awaiting)
		event_active(all->ask, EV_TIMEOUT, 0);
}

static void on_answer(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct question *q = ctx;
	struct answer *a = mem_new(sizeof(*a));
	struct listener *l;

	*a = (struct answer){ 1, rows };
	question_back(q);
	if (!rows)
		say_failed(q, why);
	while ((l = q->asked)) {
		turn_done(l);
		if (rows && rows->n_rows > 0)
			said_yes(l, a, q->batch);
		else if (rows)
			said_no(l);
		else if (is_bad_value(why))
			listener_refuse(l, 4403, "value", "a value does not fit the query");
		else
			listener_refuse(l, 1013, "query", "the admit query failed");
	}
	answer_unref(a);
	q->batch = NULL;
	if (q->next)
		ask_now(q);
	else
		question_free(q);
}

/* --- until the log is there --------------------------------------------------------------------------------------- */

static void batch_drop(struct batch *b)
{
	if (b->query)
		sqlpipe_forget(b->all->tap->admissions_sql, b->query);
	DL_DELETE(b->all->batches, b);
	free(b);
}

/* Whatever the answers saw, the log has met it. */
static void batch_settle(struct batch *b)
{
	while (b->listeners)
		settle(b->listeners);
	batch_drop(b);
}

static bool is_reached(const struct batch *b)
{
	return topiclog_published(b->all->tap->log) >= b->need;
}

/* The wait for the log is no missing answer. A new connection says hello at once, and delivers nothing yet. */
static void batch_hold(struct batch *b)
{
	struct listener *l;

	DL_FOREACH(b->listeners, l) {
		if (!l->is_open && !l->of && listener_stream(l)) {
			listener_admit(l, true);
			listener_forget_answer(l);
		}
		listener_not_late(l);
	}
}

/* Of a change below the position that was told since they were asked, nobody knows whether the answer has seen it. */
static void batch_void(struct batch *b)
{
	struct listener *l, *next;

	DL_FOREACH_SAFE(b->listeners, l, next)
		if (!verdict_counts(&l->verdict, b->need))
			ask_void(l);
}

static bool read_position(struct sqlrows *rows, const struct fail *why, struct position *out)
{
	bool ok = rows && rows->n_rows == 1 && rows->n_columns == 3 && sqlrows_get(rows, 0, 2) &&
		  lsn_parse(slice_of(sqlrows_get(rows, 0, 0)), &out->flush) &&
		  lsn_parse(slice_of(sqlrows_get(rows, 0, 1)), &out->insert);

	if (ok)
		out->delay = strtoll(sqlrows_get(rows, 0, 2), NULL, 10);
	else
		flood_error("cannot tell how far the WAL is; nobody is admitted",
			    log_s("sqlstate", why ? why->sqlstate : ""),
			    log_s("error", why ? why->text : "a strange answer"),
			    log_s("mend", "grant EXECUTE on pg_current_wal_flush_lsn and pg_current_wal_insert_lsn"));
	sqlrows_free(rows);
	return ok;
}

static void on_position(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct batch *b = ctx;
	struct position p;

	b->query = NULL;
	if (!read_position(rows, why, &p)) {
		while (b->listeners)
			listener_refuse(b->listeners, 1013, "query", "the WAL's position is not known");
		batch_drop(b);
		return;
	}
	b->need = p.insert;
	if (p.insert > p.flush)
		b->settled_at = clock_us() + WRITER_DELAYS * p.delay;
	batch_void(b);
	if (is_reached(b))
		batch_settle(b);
	else
		batch_hold(b);
}

static void on_flushed(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct batch *b = ctx;
	struct position p;

	b->query = NULL;
	if (!read_position(rows, why, &p))
		return;
	if (p.flush < b->need)
		b->need = p.flush;
	if (is_reached(b))
		batch_settle(b);
}

void ask_reached(struct admissions *all)
{
	struct batch *b, *next;

	DL_FOREACH_SAFE(all->batches, b, next)
		if (is_reached(b) || (!b->listeners && b->need != NEED_UNKNOWN))
			batch_settle(b);
}

void ask_passed(struct admissions *all, lsn_t commit)
{
	struct batch *b, *next;

	DL_FOREACH_SAFE(all->batches, b, next)
		if (commit >= b->need)
			batch_settle(b);
}

/* --- what takes too long ------------------------------------------------------------------------------------------ */

static void refuse_late(struct admissions *all, int64_t now)
{
	int64_t oldest = now - all->tap->conf->limits.admit_timeout * 1000;

	while (all->late && all->late->since_us < oldest) {
		if (!listener_stream(all->late))
			listener_refuse(all->late, 1012, "reload", "the stream has changed");
		else if (tap_is_fed(all->tap))
			listener_refuse(all->late, 1013, "timeout", "the database does not answer");
		else
			listener_refuse(all->late, 1013, "offline", "not streaming");
	}
}

static void look_again(struct admissions *all, int64_t now)
{
	struct batch *b;

	DL_FOREACH(all->batches, b) {
		if (!b->settled_at || now < b->settled_at)
			continue;
		b->settled_at = 0;
		b->query = sqlpipe_ask(all->tap->admissions_sql, "position", POSITION_SQL, 0, NULL, on_flushed, b);
	}
}

static void on_limit(evutil_socket_t fd, short what, void *arg)
{
	struct admissions *all = arg;
	int64_t now = clock_us();

	(void)fd;
	(void)what;
	refuse_late(all, now);
	listeners_ask(all);
	look_again(all, now);
	turn_look(all, now);
	if (all->late || all->batches || turn_waits(all))
		ask_tick(all);
}

void ask_tick(struct admissions *all)
{
	if (!event_pending(all->limit, EV_TIMEOUT, NULL))
		event_add(all->limit, &(struct timeval){ 0, LIMIT_TICK });
}

void listener_not_late(struct listener *l)
{
	if (l->since_us)
		DL_DELETE2(l->all->late, l, prev_late, next_late);
	l->since_us = 0;
}

void listener_may_be_late(struct listener *l)
{
	struct admissions *all = l->all;

	if (l->since_us)
		return;
	l->since_us = clock_us();
	DL_APPEND2(all->late, l, prev_late, next_late);
	ask_tick(all);
}

void listener_forget_answer(struct listener *l)
{
	answer_unref(l->answer);
	l->answer = NULL;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

void ask_init(struct admissions *all)
{
	all->ask = event_new(all->tap->loop, -1, 0, on_ask, all);
	all->limit = event_new(all->tap->loop, -1, 0, on_limit, all);
	if (!all->ask || !all->limit)
		fail_never("libevent makes no timers for admissions");
}

/* After the listeners are gone. */
void ask_fini(struct admissions *all)
{
	struct question *q, *next_question;
	struct batch *b, *next;

	event_free(all->ask);
	event_free(all->limit);
	HASH_ITER(hh, all->questions, q, next_question) {
		if (q->query)
			sqlpipe_forget(all->tap->admissions_sql, q->query);
		question_free(q);
	}
	DL_FOREACH_SAFE(all->batches, b, next)
		batch_drop(b);
}
