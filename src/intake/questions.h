/*
 * questions: the queries of rows. A query runs once for all rows that share its question.
 *
 * Two rows of the same crate ask the same lookup, and two rows of the same approver ask the same name. Rows share an answer until the next
 * questions_forget; the answer lives until its last reference is given back. The caller calls questions_forget each time when later questions
 * must see more than the earlier ones.
 *
 * A question that fails has no rows. If the connection is lost, a question waits for the next connection. Tap thread.
 */
#ifndef WALPUSH_QUESTIONS_H
#define WALPUSH_QUESTIONS_H

#include "walpush/watch/metrics.h"
#include "walpush/rules/rules.h"
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

/* `answered` is called after each answer, from the loop. `counts` belong to the tap. `outside` must outlive the questions. */
struct questions *questions_new(const struct outside *outside, struct metrics_counts *counts,
				void (*answered)(void *ctx), void *ctx);
/* Called after all references were given back. */
void questions_free(struct questions *qs);

/* Returns a reference, which the caller gives back. Values are copied; NULL is SQL NULL. `kind` must outlive the question. */
struct question *questions_ask(struct questions *qs, const struct question_kind *kind, const struct rules_query *query,
			       size_t n_values, const char *const *values);
/* Earlier answers are not shared with later questions. */
void questions_forget(struct questions *qs);
/* How many questions have no answer yet. */
unsigned questions_open(const struct questions *qs);
/* Bytes of the JSON answers that are held. */
size_t questions_bytes(const struct questions *qs);

bool question_is_answered(const struct question *q);
/* NULL: the question failed, or has no answer. */
const struct sqlrows *question_rows(const struct question *q);
/* NULL does nothing. */
void question_unref(struct question *q);

#endif
