/*
 * questions: the queries of rows. A query runs once for all rows that share its question.
 *
 * Two rows of the same crate ask the same lookup, and two rows of the same approver ask the same name. Rows share an answer until the next
 * questions_forget; the answer lives until its last reference is given back. The caller calls questions_forget each time when later questions
 * must see more than the earlier ones.
 *
 * A question that fails has no rows. While the breaker of its text is open (breaker.h), it fails without being asked. When breakers open, the
 * open questions of their texts fail at once; if there are such, another session takes the place of the one that holds them, and the other open
 * questions are asked again there. If the session is lost, they are asked again too. Private to the intake. Tap thread.
 */
#ifndef WALPUSH_QUESTIONS_H
#define WALPUSH_QUESTIONS_H

#include "walpush/watch/metrics.h"
#include "walpush/rules/rules.h"
#include "breaker.h"
#include "horizon.h"
#include "outside.h"

struct questions;
struct question;

struct question_kind {
	const char *failed; /* for the log: the meaning of an error */
	const char *fix;    /* for the log: what to do */
	/* Set: the answer must be one JSON value; its bytes count in questions_bytes while it is held. SQL NULL, no row and invalid JSON are no
	 * answer, and this text is logged for invalid JSON. NULL: rows of any kind. */
	const char *no_json;
};

struct questions_calls {
	/* There are more answers. From the loop, and from within questions_late and questions_session_lost. */
	void (*answered)(void *ctx);
	/* The session is about to be replaced: forget everything else that was asked of it. */
	void (*leaves)(void *ctx);
	/* Another session has taken its place. The open questions follow. */
	void (*replaced)(void *ctx);
};

/* `counts` belong to the tap. `outside` and `calls` must outlive the questions. */
struct questions *questions_new(const struct outside *outside, struct metrics_counts *counts,
				const struct questions_calls *calls, void *ctx);
/* Called after all references were given back. */
void questions_free(struct questions *qs);

/* Is this query asked at present? Its breaker is closed. */
bool questions_may_ask(const struct questions *qs, const struct rules_query *query);
/* Returns a reference, which the caller gives back. Values are copied; NULL is SQL NULL. `kind` must outlive the question. */
struct question *questions_ask(struct questions *qs, const struct question_kind *kind, const struct rules_query *query,
			       size_t n_values, const char *const *values);
/* A row has waited for longer than limits.answer. The oldest open question is the reason. */
void questions_late(struct questions *qs);
/* The session OUTSIDE_QUESTIONS was lost: the spare takes its place. */
void questions_session_lost(struct questions *qs);
/* So many texts, whose breakers are closed. As breakers_reset. `limit`: limits.answer, µs. */
void questions_texts(struct questions *qs, uint32_t n, breaker_share *share, void *ctx);
void questions_limit(struct questions *qs, int64_t limit);
/* As horizons_async. */
void questions_async(struct questions *qs, bool is_async);
const struct breakers *questions_breakers(const struct questions *qs);
/* Earlier answers are not shared with later questions. */
void questions_forget(struct questions *qs);
/* The turn of the loop has sent its questions. */
void questions_sent(struct questions *qs);
/* How many questions have no answer yet. */
unsigned questions_open(const struct questions *qs);
/* Bytes of the JSON answers that are held. */
size_t questions_bytes(const struct questions *qs);

/* It failed, or there is an answer, and it is known which commits it may know. */
bool question_is_answered(const struct question *q);
/* Everything that the answer knows commits below. 0: it failed; LSN_MAX: nobody can tell. */
lsn_t question_upto(const struct question *q);
/* It failed, or was not asked: it says nothing about the row. */
bool question_has_failed(const struct question *q);
/* NULL: the question failed, or has no answer. */
const struct sqlrows *question_rows(const struct question *q);
/* NULL does nothing. */
void question_unref(struct question *q);

#endif
