/*
 * check_cond: which equalities hold for each row that passes a condition, as EXPLAIN (VERBOSE) prints conditions. Those are the conjuncts
 * at the top, split at AND: what stands below OR, NOT, CASE or a function's parentheses may be false for a row that passes.
 *
 * A cast is passed over where it leaves alone what is equal. That depends on the column for which all this is asked: users are compared by
 * the column's text (user_key.h), and where that is text itself, a cast to integer or uuid makes two spellings one. COLLATE shows in no
 * plan: it looks like a cast to text.
 *
 * Pure. The slices lie in the condition.
 */
#ifndef WALPUSH_CHECK_COND_H
#define WALPUSH_CHECK_COND_H

#include <stdbool.h>

#include "walpush/base/slice.h"

enum cond_casts { COND_TEXT, COND_ALL }; /* casts to text alone; to integers and uuid too */

typedef void cond_equality(void *ctx, struct slice left, struct slice right);

/* Each `left = right` at the top, without harmless casts around either side. A side may be any expression. */
void cond_each(struct slice condition, enum cond_casts casts, cond_equality *take, void *ctx);
/* "((u.id)::text)" is "u.id". */
struct slice cond_bare(struct slice s, enum cond_casts casts);
/* Behind what begins at `i` and is one thing: a literal, a quoted name, a parenthesis with what it holds, or a byte. */
size_t cond_behind(struct slice s, size_t i);

#endif
