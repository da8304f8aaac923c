/*
 * jsontmpl: a JSON template with {placeholders} in its strings: `message`, `hello`, `resync`.
 *
 * The template is JSON first; then each string is a template of tmpl.h. A string that is exactly one placeholder becomes a
 * typed value; "{x:text}", or a placeholder inside a longer string, its text. What is not a string, digits of numbers
 * included, is kept as written, blanks between the tokens are dropped. Members' names have no placeholders.
 *
 * It is compiled into literals and placeholders in a row, so that filling it in is one pass. Pure; immutable once parsed, but
 * for the slots that the compiler of the rules sets.
 */
#ifndef WALPUSH_JSONTMPL_H
#define WALPUSH_JSONTMPL_H

#include "walpush/text/tmpl.h"

enum jsontmpl_kind {
	JSONTMPL_LITERAL, /* bytes of JSON */
	JSONTMPL_VALUE,   /* a JSON value stands here */
	JSONTMPL_TEXT,    /* a JSON string, or null */
	JSONTMPL_INSIDE   /* characters of a JSON string; nothing for null */
};

struct jsontmpl_piece {
	enum jsontmpl_kind kind;
	struct tmpl_part part; /* of a literal: text alone */
	size_t len;            /* of a literal's text */
};

struct jsontmpl {
	struct jsontmpl_piece *pieces;
	size_t n;
};

/* `why` says what is wrong with it; `scopes` as for tmpl_parse. */
bool jsontmpl_parse(struct jsontmpl *t, const char *json, unsigned scopes, struct fail *why);
void jsontmpl_fini(struct jsontmpl *t);
bool jsontmpl_uses(const struct jsontmpl *t, enum tmpl_scope scope);

/* Appends the placeholder's value as JSON: a string, a number, null, an object. */
typedef void jsontmpl_value_fn(void *ctx, const struct tmpl_part *part, struct buf *out);
/* `most`: a value that would make the message longer than this becomes null; 0: no bound. */
void jsontmpl_fill(const struct jsontmpl *t, jsontmpl_value_fn *value, void *ctx, size_t most, struct buf *out);

#endif
