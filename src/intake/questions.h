/*
 * questions: the SQL that rows want answered, each question asked once for all rows that share it.
 *
 * Two rows of the same crate ask the same lookup, two of the same approver the same name. An answer is shared among those who
 * ask until the next questions_forget, and lives until the last of them has let go of it. The caller forgets each time that what is
 * asked from then on must see more than what was asked before.
 *
 * A question that fails has no rows. One that finds the connection lost waits for the next. Tap thread.
 */
#ifndef WALPUSH_QUESTIONS_H
#define WALPUSH_QUESTIONS_H

#include "walpush/watch/metrics.h"
#include "walpush/rules/rules.h"
#include "outside.h"

struct questions;
struct question;

struct question_kind {
	const char *failed; /* for the log: what an error means */
	const char *fix;    /* and what to do */
	/* The answer is one JSON value, which counts as questions_bytes while it is held. NULL, no row and what is no JSON are no answer; the
	 * latter is said in the log like this. NULL: rows of any kind. */
	const char *no_json;
};

/* `answered` is called behind each answer, from the loop. `counts`: the tap's. `outside` must outlive it. */
struct questions *questions_new(const struct outside *outside, struct metrics_counts *counts,
				void (*answered)(void *ctx), void *ctx);
/* After all references were given back. */
void questions_free(struct questions *qs);

/* A reference, for the caller to give back. Values are copied; NULL is SQL's. The kind must live on. */
struct question *questions_ask(struct questions *qs, const struct question_kind *kind, const struct rules_query *query,
			       size_t n_values, const char *const *values);
/* Each question from now on is asked again, whatever was answered. */
void questions_forget(struct questions *qs);
/* Those with the server or on the way to it. */
unsigned questions_open(const struct questions *qs);
/* Of JSON that is held. */
size_t questions_bytes(const struct questions *qs);

bool question_is_answered(const struct question *q);
/* NULL: it failed, or there is none. */
const struct sqlrows *question_rows(const struct question *q);
/* NULL is fine. */
void question_unref(struct question *q);

#endif
