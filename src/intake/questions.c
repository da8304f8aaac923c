#include "questions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "walpush/base/buf.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/change/render.h"
#include "walpush/base/repeat.h"
#include "probe.h"

/* Bounds of the answers that are kept for later rows. Beyond them the table is emptied, and the same question is asked again. */
#define ANSWERS_KEPT 8192
#define ANSWERS_KEPT_BYTES (1u << 20)

struct question {
	UT_hash_handle hh;
	struct question *prev, *next; /* in `open` */
	struct questions *all;
	struct sqlpipe_query *query; /* NULL: not sent, or answered */
	struct horizon *horizon;     /* NULL: not sent */
	struct sqlrows *rows;        /* NULL: not answered yet, or no answer */
	size_t bytes;                /* of the JSON in `rows` */
	const struct question_kind *kind;
	char *sql;
	uint32_t text; /* for its breaker */
	bool is_open, has_failed;
	int64_t asked; /* µs */
	unsigned refs; /* of the callers, and one of the table */
	size_t n_values;
	size_t key_len;
	char key[]; /* begins with the query's name */
};

struct questions {
	const struct outside *outside;
	struct metrics_counts *counts;
	const struct questions_calls *calls;
	void *ctx;
	struct question *table; /* questions that may be shared */
	struct question *open;  /* in the order in which they were sent */
	unsigned n_open;
	int64_t answered_at; /* µs: the last answer; since then the oldest open question has run */
	size_t bytes;
	struct breakers *breakers;
	struct probe *probe;
	struct horizons *horizons;
	struct repeat trouble[REPEAT_TABLE];
	struct buf key; /* scratch */
};

static int64_t now(const struct questions *qs)
{
	return qs->outside->now(qs->outside->at);
}

/* --- keys --------------------------------------------------------------------------------------------------------- */

/* The query's name, then for each value a letter, which distinguishes NULL from a text, and the text. Zeros end name and texts; no text contains
 * one. */
static void make_key(struct buf *key, const struct rules_query *query, size_t n_values, const char *const *values)
{
	buf_clear(key);
	buf_add(key, query->name, strlen(query->name) + 1);
	for (size_t i = 0; i < n_values; i++) {
		buf_add_char(key, values[i] ? 'v' : 'n');
		if (values[i])
			buf_add(key, values[i], strlen(values[i]) + 1);
	}
}

/* The caller frees the array; the values point into the key. */
static const char **values_of(const struct question *q)
{
	const char **values = mem_new_array(q->n_values, sizeof(char *));
	const char *at = q->key + strlen(q->key) + 1;

	for (size_t i = 0; i < q->n_values; i++) {
		values[i] = *at == 'v' ? at + 1 : NULL;
		at += *at == 'v' ? strlen(at) + 1 : 1;
	}
	return values;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void on_answer(void *ctx, struct sqlrows *rows, const struct fail *why);

static void send_question(struct question *q)
{
	const struct outside *o = q->all->outside;
	const char **values = values_of(q);

	q->query = o->ask(o->at, OUTSIDE_QUESTIONS, q->key, q->sql, q->n_values, values, on_answer, q);
	free(values);
	horizon_unref(q->horizon);
	q->horizon = horizons_take(q->all->horizons);
}

void questions_sent(struct questions *qs)
{
	horizons_seal(qs->horizons);
}

static void withdraw(struct question *q)
{
	const struct outside *o = q->all->outside;

	if (q->query)
		o->forget(o->at, OUTSIDE_QUESTIONS, q->query);
	q->query = NULL;
}

static void leave_open(struct question *q)
{
	if (!q->is_open)
		return;
	q->is_open = false;
	q->all->n_open--;
	DL_DELETE(q->all->open, q);
}

/* --- what fails, and what is not asked ---------------------------------------------------------------------------- */

static void complain(struct question *q, const char *what, const struct fail *why)
{
	unsigned times;
	enum log_level level;
	char same[128];

	snprintf(same, sizeof(same), "%s %s %s", what, why ? why->sqlstate : "", q->key);
	level = repeat_level(repeat_for(q->all->trouble, same), LOG_LEVEL_ERROR, same, now(q->all), &times);
	log_write(level, what,
		  LOG_FIELDS(log_s("query", q->key), log_s("sqlstate", why ? why->sqlstate : ""),
			     log_s("error", why ? why->text : ""), log_fix(q->kind->fix), log_n("times", times)));
}

/* Keeps the question for the probe of its text. False: there is one already. */
static bool keep(struct question *q)
{
	const char **values = values_of(q);
	bool is_kept = breakers_keep(q->all->breakers, q->text, q->key, q->sql, q->n_values, values);

	free(values);
	return is_kept;
}

/* Who asks later is not to fail for it. The question may be freed. */
static void stop_sharing(struct question *q)
{
	struct questions *qs = q->all;
	struct question *shared;

	HASH_FIND(hh, qs->table, q->key, q->key_len, shared);
	if (shared != q)
		return;
	HASH_DEL(qs->table, q);
	question_unref(q);
}

static void fail_unanswered(struct question *q)
{
	withdraw(q);
	leave_open(q);
	q->has_failed = true;
	metrics_add(q->all->counts, METRICS_LOOKUPS_LEFT_OUT, 1);
	stop_sharing(q);
}

static void say_open(struct questions *qs, const struct question *cause)
{
	struct breaker_state state;

	if (cause && breakers_state(qs->breakers, cause->text, &state))
		log_error("rows do not ask a query for now, nor those that read the same tables; clients are told to "
			  "refetch",
			  log_s("query", cause->key), log_s("reason", breaker_reason_text(state.reason)),
			  log_ms("again_ms", state.wait), log_n("queries", breakers_open(qs->breakers)),
			  log_fix("see \"A query is not asked\" in docs/operations.md"));
	else if (!cause)
		log_error("rows ask no query for now: the session for queries does not answer; clients are told to "
			  "refetch",
			  log_n("queries", breakers_open(qs->breakers)),
			  log_fix("see \"A query is not asked\" in docs/operations.md"));
}

static void replace(struct questions *qs)
{
	struct question *q;

	DL_FOREACH(qs->open, q)
		withdraw(q);
	horizons_withdraw(qs->horizons);
	probe_withdraw(qs->probe);
	qs->calls->leaves(qs->ctx);
	qs->outside->replace(qs->outside->at);
	qs->answered_at = now(qs);
	qs->calls->replaced(qs->ctx);
	DL_FOREACH(qs->open, q)
		send_question(q);
	horizons_replaced(qs->horizons);
	questions_sent(qs);
}

/* Breakers were opened. The open questions of their texts fail; if there are any, the session holds them and is replaced. */
static void go_around(struct questions *qs, const struct question *cause, bool is_held)
{
	struct question *q, *next;

	say_open(qs, cause);
	DL_FOREACH_SAFE(qs->open, q, next) {
		if (breakers_may_ask(qs->breakers, q->text))
			continue;
		is_held = true;
		keep(q);
		fail_unanswered(q);
	}
	if (is_held)
		replace(qs);
	probe_look(qs->probe);
}

void questions_late(struct questions *qs)
{
	struct question *q = qs->open;
	bool opened = false;

	if (q)
		opened = breakers_failed(qs->breakers, q->text, BREAKER_LATE, now(qs));
	else
		opened = breakers_failed_all(qs->breakers, BREAKER_LATE, now(qs));
	if (q && !opened)
		fail_unanswered(q); /* it has no breaker: its configuration is no longer in force */
	if (opened)
		go_around(qs, q, true);
	else
		replace(qs);
}

void questions_session_lost(struct questions *qs)
{
	replace(qs);
}

static void on_closed(void *ctx)
{
	const struct questions *qs = ctx;

	log_info("queries are asked again", log_n("queries_left_out", breakers_open(qs->breakers)));
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

/* Keeps the answer if it is JSON. */
static void take_json(struct question *q, const struct fail *why)
{
	struct questions *qs = q->all;
	const char *json = q->rows && q->rows->n_rows && q->rows->n_columns ? sqlrows_get(q->rows, 0, 0) : NULL;
	bool is_json = json && render_is_json(json);

	if (is_json) {
		q->bytes = strlen(json);
		qs->bytes += q->bytes;
		return;
	}
	if (!q->rows || json)
		complain(q, q->rows ? q->kind->no_json : q->kind->failed, why);
	sqlrows_free(q->rows);
	q->rows = NULL;
}

/* True: breakers were opened. */
static bool judge(struct question *q, const struct fail *why, int64_t us)
{
	struct questions *qs = q->all;
	enum breaker_reason reason;
	bool opened;

	if (!q->has_failed)
		opened = breakers_answered(qs->breakers, q->text, us, now(qs));
	else
		opened = breaker_concerns(why->sqlstate, &reason) &&
			 breakers_failed(qs->breakers, q->text, reason, now(qs));
	if (opened)
		keep(q);
	return opened;
}

/* The server may answer the same question later. */
static bool is_passing(const struct question *q, const struct fail *why)
{
	enum breaker_reason reason;

	return q->has_failed && breaker_concerns(why->sqlstate, &reason);
}

static void on_answer(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct question *q = ctx;
	struct questions *qs = q->all;
	int64_t at = now(qs), since = q->asked > qs->answered_at ? q->asked : qs->answered_at;

	q->refs++; /* go_around may ask for another snapshot, and what was shared is forgotten then */
	metrics_observe(qs->counts, METRICS_LOOKUP_SECONDS, at - q->asked, 1);
	if (!rows)
		metrics_add(qs->counts, METRICS_LOOKUP_FAILURES, 1);
	qs->answered_at = at;
	q->query = NULL;
	q->rows = rows;
	q->has_failed = !rows;
	leave_open(q);
	if (q->kind->no_json)
		take_json(q, why);
	else if (!rows)
		complain(q, q->kind->failed, why);
	if (judge(q, why, at - since))
		go_around(qs, q, false);
	if (is_passing(q, why))
		stop_sharing(q);
	question_unref(q);
	qs->calls->answered(qs->ctx);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static struct question *question_new(struct questions *qs, const struct question_kind *kind,
				     const struct rules_query *query, size_t n_values)
{
	struct question *q = mem_new(sizeof(*q) + qs->key.len);

	q->all = qs;
	q->kind = kind;
	q->sql = mem_text(query->sql);
	q->text = query->at;
	q->n_values = n_values;
	q->asked = now(qs);
	q->key_len = qs->key.len;
	memcpy(q->key, qs->key.data, q->key_len);
	return q;
}

/* The breaker of its text is open: the question has failed, and belongs to the caller alone. */
static struct question *leave_out(struct question *q)
{
	q->refs = 1;
	if (keep(q))
		probe_soon(q->all->probe);
	fail_unanswered(q);
	free(q->sql); /* any number of rows may be left out */
	q->sql = NULL;
	return q;
}

bool questions_may_ask(const struct questions *qs, const struct rules_query *query)
{
	return breakers_may_ask(qs->breakers, query->at);
}

static struct question *ask_new(struct questions *qs, const struct question_kind *kind, const struct rules_query *query,
				size_t n_values)
{
	struct question *q = question_new(qs, kind, query, n_values);

	q->refs = 1;
	HASH_ADD_KEYPTR(hh, qs->table, q->key, q->key_len, q);
	q->is_open = true;
	qs->n_open++;
	DL_APPEND(qs->open, q);
	send_question(q);
	return q;
}

/* While the breaker is open, not even an answer that others have is taken: the caller did not wait for a snapshot. */
struct question *questions_ask(struct questions *qs, const struct question_kind *kind, const struct rules_query *query,
			       size_t n_values, const char *const *values)
{
	struct question *q;

	if (HASH_COUNT(qs->table) >= ANSWERS_KEPT || qs->bytes >= ANSWERS_KEPT_BYTES)
		questions_forget(qs);
	make_key(&qs->key, query, n_values, values);
	if (!questions_may_ask(qs, query))
		return leave_out(question_new(qs, kind, query, n_values));
	HASH_FIND(hh, qs->table, qs->key.data, qs->key.len, q);
	if (!q)
		q = ask_new(qs, kind, query, n_values);
	q->refs++;
	return q;
}

void questions_forget(struct questions *qs)
{
	struct question *q, *next;

	HASH_ITER(hh, qs->table, q, next) {
		HASH_DEL(qs->table, q);
		question_unref(q);
	}
}

unsigned questions_open(const struct questions *qs)
{
	return qs->n_open;
}

size_t questions_bytes(const struct questions *qs)
{
	return qs->bytes;
}

bool question_is_answered(const struct question *q)
{
	return q->has_failed || (!q->is_open && q->horizon && horizon_is_known(q->horizon));
}

lsn_t question_upto(const struct question *q)
{
	return q->has_failed ? 0 : horizon_upto(q->horizon);
}

bool question_has_failed(const struct question *q)
{
	return q->has_failed;
}

const struct sqlrows *question_rows(const struct question *q)
{
	return q->rows;
}

void question_unref(struct question *q)
{
	if (!q || --q->refs)
		return;
	withdraw(q);
	leave_open(q);
	horizon_unref(q->horizon);
	q->all->bytes -= q->bytes;
	sqlrows_free(q->rows);
	free(q->sql);
	free(q);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

void questions_texts(struct questions *qs, uint32_t n, breaker_share *share, void *ctx)
{
	struct question *q;

	probe_forget(qs->probe);
	breakers_reset(qs->breakers, n, share, ctx);
	DL_FOREACH(qs->open, q)
		q->text = BREAKER_NONE; /* it belongs to an earlier configuration */
}

void questions_limit(struct questions *qs, int64_t limit)
{
	probe_limit(qs->probe, limit);
	breakers_limit(qs->breakers, limit);
}

void questions_async(struct questions *qs, bool is_async)
{
	horizons_async(qs->horizons, is_async);
}

const struct breakers *questions_breakers(const struct questions *qs)
{
	return qs->breakers;
}

struct questions *questions_new(const struct outside *outside, struct metrics_counts *counts,
				const struct questions_calls *calls, void *ctx)
{
	struct questions *qs = mem_new(sizeof(*qs));

	*qs = (struct questions){ .outside = outside, .counts = counts, .calls = calls, .ctx = ctx };
	qs->breakers = breakers_new();
	qs->horizons = horizons_new(outside, calls->answered, ctx);
	qs->probe = probe_new(outside, qs->breakers, on_closed, qs);
	return qs;
}

void questions_free(struct questions *qs)
{
	if (!qs)
		return;
	questions_forget(qs);
	probe_free(qs->probe);
	breakers_free(qs->breakers);
	horizons_free(qs->horizons);
	buf_fini(&qs->key);
	free(qs);
}
