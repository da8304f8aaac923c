/*
 * check_cond: which equalities hold for each row that passes a condition, as EXPLAIN (VERBOSE) prints conditions. These are the conjuncts
 * at the top, split at AND. A part below OR, NOT, CASE or a function's parentheses may be false for a row that passes.
 *
 * A cast is ignored if it does not change which values are equal. This depends on the column with the user: users are compared by the
 * column's text (user_key.h). If the column itself is text, a cast to integer or uuid makes two spellings equal. No plan shows COLLATE: it
 * looks like a cast to text.
 *
 * Pure. The slices point into the condition.
 */
#ifndef WALPUSH_CHECK_COND_H
#define WALPUSH_CHECK_COND_H

#include <stdbool.h>

#include "walpush/base/slice.h"

enum cond_casts { COND_TEXT, COND_ALL }; /* only casts to text; also casts to integers and uuid */

typedef void cond_equality(void *ctx, struct slice left, struct slice right);

/* Calls `take` with each `left = right` at the top, without harmless casts around either side. A side may be any expression. */
void cond_each(struct slice condition, enum cond_casts casts, cond_equality *take, void *ctx);
/* "((u.id)::text)" is "u.id". */
struct slice cond_bare(struct slice s, enum cond_casts casts);
/* Returns the position after the item that begins at `i`: a literal, a quoted name, a parenthesis with its content, or a byte. */
size_t cond_behind(struct slice s, size_t i);
/* "$2" is 2; 0: it is no parameter. */
size_t cond_parameter(struct slice s);
/* "alias" of "alias.column", as the plan spells it. Empty: `s` is not a column, but for example an expression. */
struct slice cond_alias(struct slice s);

#endif
