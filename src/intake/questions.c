#include "questions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "walpush/base/buf.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/change/render.h"
#include "walpush/base/repeat.h"

/* Bounds of the answers that are kept for later rows. Beyond them the table is emptied, and the same question is asked again. */
#define ANSWERS_KEPT 8192
#define ANSWERS_KEPT_BYTES (1u << 20)

struct question {
	UT_hash_handle hh;
	struct questions *all;
	struct sqlpipe_query *query; /* NULL: answered */
	struct sqlrows *rows;        /* NULL: not answered yet, or no answer */
	size_t bytes;                /* of the JSON in `rows` */
	const struct question_kind *kind;
	int64_t asked; /* µs */
	unsigned refs; /* of the callers, and one of the table */
	size_t key_len;
	char key[]; /* begins with the query's name */
};

struct questions {
	const struct outside *outside;
	struct metrics_counts *counts;
	void (*answered)(void *ctx);
	void *ctx;
	struct question *table; /* questions that may be shared */
	unsigned n_open;
	size_t bytes;
	struct repeat trouble[REPEAT_TABLE];
	struct buf key; /* scratch */
};

struct questions *questions_new(const struct outside *outside, struct metrics_counts *counts,
				void (*answered)(void *ctx), void *ctx)
{
	struct questions *qs = mem_new(sizeof(*qs));

	*qs = (struct questions){ .outside = outside, .counts = counts, .answered = answered, .ctx = ctx };
	return qs;
}

void questions_free(struct questions *qs)
{
	if (!qs)
		return;
	questions_forget(qs);
	buf_fini(&qs->key);
	free(qs);
}

static int64_t now(const struct questions *qs)
{
	return qs->outside->now(qs->outside->at);
}

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

static void on_answer(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct question *q = ctx;
	struct questions *qs = q->all;

	metrics_observe(qs->counts, METRICS_LOOKUP_SECONDS, now(qs) - q->asked, 1);
	if (!rows)
		metrics_add(qs->counts, METRICS_LOOKUP_FAILURES, 1);
	q->query = NULL;
	q->rows = rows;
	qs->n_open--;
	if (q->kind->no_json)
		take_json(q, why);
	else if (!rows)
		complain(q, q->kind->failed, why);
	qs->answered(qs->ctx);
}

struct question *questions_ask(struct questions *qs, const struct question_kind *kind, const struct rules_query *query,
			       size_t n_values, const char *const *values)
{
	struct question *q;

	if (HASH_COUNT(qs->table) >= ANSWERS_KEPT || qs->bytes >= ANSWERS_KEPT_BYTES)
		questions_forget(qs);
	make_key(&qs->key, query, n_values, values);
	HASH_FIND(hh, qs->table, qs->key.data, qs->key.len, q);
	if (!q) {
		q = mem_new(sizeof(*q) + qs->key.len);
		q->all = qs;
		q->kind = kind;
		q->asked = now(qs);
		q->refs = 1;
		q->key_len = qs->key.len;
		memcpy(q->key, qs->key.data, q->key_len);
		HASH_ADD_KEYPTR(hh, qs->table, q->key, q->key_len, q);
		qs->n_open++;
		q->query = qs->outside->ask(qs->outside->at, query->name, query->sql, n_values, values, on_answer, q);
	}
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
	return !q->query;
}

const struct sqlrows *question_rows(const struct question *q)
{
	return q->rows;
}

void question_unref(struct question *q)
{
	if (!q || --q->refs)
		return;
	if (q->query) {
		q->all->outside->forget(q->all->outside->at, q->query);
		q->all->n_open--;
	}
	q->all->bytes -= q->bytes;
	sqlrows_free(q->rows);
	free(q);
}
