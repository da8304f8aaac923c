/*
 * explain_question: what somebody wants explained, and its spelling as the query of a URL: for `walpush explain`, which asks, and for /explain, which
 * answers. Pure.
 *
 *   user=7&path=/ws/requests/5/&claims={"role":"x"}   may this user listen there?
 *   table=requests&key=123                             who would receive this row?
 *   event=0/16B3748-2                                  who received this message?
 *   find=TEXT                                          what is known of this user, group or key?
 */
#ifndef WALPUSH_EXPLAIN_QUESTION_H
#define WALPUSH_EXPLAIN_QUESTION_H

#include <jansson.h>

#include "walpush/base/buf.h"
#include "walpush/base/event_id.h"
#include "walpush/base/fail.h"

#define QUESTION_TEXT 1024 /* bytes of each text at most; a longer one is refused */

enum explain_kind { EXPLAIN_USER, EXPLAIN_ROW, EXPLAIN_EVENT, EXPLAIN_FIND };

struct explain_question { /* what does not belong to the kind is NULL */
	enum explain_kind kind;
	char *user, *path; /* a path as a browser sends it, percent-encoded */
	json_t *claims;    /* an object of texts; NULL: none */
	char *table, *key;
	struct event_id event;
	char *find;
};

void explain_question_fini(struct explain_question *q);
bool explain_question_read(struct slice query, struct explain_question *out, struct fail *why);
void explain_question_write(const struct explain_question *q, struct buf *out);

#endif
