/*
 * jsontmpl: a JSON template with {placeholders} in its strings: `message`, `hello`, `resync`.
 *
 * The template is JSON, and each of its strings is a template of tmpl.h. A string that is exactly one placeholder becomes a typed value.
 * "{x:text}", or a placeholder inside a longer string, becomes text. Everything else, also the digits of numbers, stays as written; blanks
 * between the tokens are dropped. Members' names have no placeholders.
 *
 * The template is compiled to a list of literals and placeholders, so that filling it is one pass. Pure; immutable after jsontmpl_parse,
 * except for the slots that the compiler of the rules sets.
 */
#ifndef WALPUSH_JSONTMPL_H
#define WALPUSH_JSONTMPL_H

#include "walpush/text/tmpl.h"

enum jsontmpl_kind {
	JSONTMPL_LITERAL, /* bytes of JSON */
	JSONTMPL_VALUE,   /* a JSON value */
	JSONTMPL_TEXT,    /* a JSON string, or null */
	JSONTMPL_INSIDE   /* characters of a JSON string; nothing for null */
};

struct jsontmpl_piece {
	enum jsontmpl_kind kind;
	struct tmpl_part part; /* a literal has only its text */
	size_t len;            /* of a literal's text, in bytes */
};

struct jsontmpl {
	struct jsontmpl_piece *pieces;
	size_t n;
};

/* `scopes` as for tmpl_parse. False: `why` is filled. */
bool jsontmpl_parse(struct jsontmpl *t, const char *json, unsigned scopes, struct fail *why);
void jsontmpl_fini(struct jsontmpl *t);
bool jsontmpl_uses(const struct jsontmpl *t, enum tmpl_scope scope);

/* Appends the placeholder's value as JSON: a string, a number, null, an object. */
typedef void jsontmpl_value_fn(void *ctx, const struct tmpl_part *part, struct buf *out);
/* `most`: a value that makes the message longer than so many bytes becomes null; 0: no limit. */
void jsontmpl_fill(const struct jsontmpl *t, jsontmpl_value_fn *value, void *ctx, size_t most, struct buf *out);

#endif
