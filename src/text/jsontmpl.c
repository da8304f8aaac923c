#include "walpush/text/jsontmpl.h"

#include <jansson.h>
#include <stdlib.h>

#include "walpush/base/fail.h"
#include "walpush/text/jsontext.h"
#include "walpush/base/mem.h"

struct compiler {
	struct jsontmpl *t;
	struct buf literal; /* the text before the next placeholder */
	unsigned scopes;
	struct fail *why;
};

static struct jsontmpl_piece *add_piece(struct jsontmpl *t, enum jsontmpl_kind kind)
{
	struct jsontmpl_piece *piece;

	t->pieces = mem_resize(t->pieces, t->n + 1, sizeof(*t->pieces));
	piece = &t->pieces[t->n++];
	*piece = (struct jsontmpl_piece){ .kind = kind, .part = { .slot = -1 } };
	return piece;
}

static void end_literal(struct compiler *c)
{
	struct jsontmpl_piece *piece;

	if (c->literal.len == 0)
		return;
	piece = add_piece(c->t, JSONTMPL_LITERAL);
	piece->len = c->literal.len;
	piece->part.text = buf_steal(&c->literal);
}

/* Takes over the part's text. */
static void add_placeholder(struct compiler *c, enum jsontmpl_kind kind, struct tmpl_part *part)
{
	struct jsontmpl_piece *piece;

	end_literal(c);
	piece = add_piece(c->t, kind);
	piece->part = *part;
	part->text = NULL;
}

static void add_string(struct compiler *c, struct tmpl *string)
{
	if (string->n_parts == 1 && string->n_refs == 1) {
		add_placeholder(c, string->parts[0].as_text ? JSONTMPL_TEXT : JSONTMPL_VALUE, &string->parts[0]);
		return;
	}
	buf_add_char(&c->literal, '"');
	for (size_t i = 0; i < string->n_parts; i++) {
		if (string->parts[i].is_ref)
			add_placeholder(c, JSONTMPL_INSIDE, &string->parts[i]);
		else
			buf_add_json(&c->literal, slice_of(string->parts[i].text));
	}
	buf_add_char(&c->literal, '"');
}

/* `body`: of a string of the template. is_name: it is the name of a member. */
static bool compile_string(struct compiler *c, struct slice body, bool is_name)
{
	struct buf text = { 0 };
	struct tmpl string;
	struct fail inner;
	bool ok;

	buf_add_text(&text, "");
	if (!jsontext_unescape(body, &text))
		fail_never("a string of a template that was parsed before is malformed");
	ok = tmpl_parse(&string, text.data, is_name ? 0 : c->scopes, &inner);
	if (ok) {
		add_string(c, &string);
		tmpl_fini(&string);
	} else {
		fail_set(c->why, is_name ? "the member \"%.100s\": %s" : "the string \"%.100s\": %s", text.data,
			 inner.text);
	}
	buf_fini(&text);
	return ok;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* `json` is well-formed, so a quote outside a string begins a string, and a string before a colon is a name. */
static bool compile(struct compiler *c, const char *json)
{
	for (const char *at = json; *at; at++) {
		const char *behind;
		size_t len;

		if (*at != '"') {
			if (!is_blank(*at))
				buf_add_char(&c->literal, *at);
			continue;
		}
		if (jsontext_scan(slice_of(at + 1), &len) != JSONTEXT_SOUND)
			return fail_set(c->why, "a string of it holds \\u0000, which no text can");
		for (behind = at + 1 + len + 1; is_blank(*behind);)
			behind++;
		if (!compile_string(c, (struct slice){ at + 1, len }, *behind == ':'))
			return false;
		at += len + 1;
	}
	end_literal(c);
	return true;
}

bool jsontmpl_parse(struct jsontmpl *t, const char *json, unsigned scopes, struct fail *why)
{
	struct compiler c = { .t = t, .scopes = scopes, .why = why };
	json_error_t error;
	/* Numbers stay as written, so jansson may read them as reals, which accepts integers beyond 64 bits. */
	json_t *parsed = json_loads(json, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error);
	bool ok = json_is_object(parsed);

	*t = (struct jsontmpl){ 0 };
	if (!ok)
		fail_set(why, "it is no JSON object: %.120s", parsed ? "it begins with another bracket" : error.text);
	json_decref(parsed);
	ok = ok && compile(&c, json);
	buf_fini(&c.literal);
	if (!ok)
		jsontmpl_fini(t);
	return ok;
}

void jsontmpl_fini(struct jsontmpl *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->pieces[i].part.text);
	free(t->pieces);
	*t = (struct jsontmpl){ 0 };
}

bool jsontmpl_uses(const struct jsontmpl *t, enum tmpl_scope scope)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->pieces[i].kind != JSONTMPL_LITERAL && t->pieces[i].part.scope == scope)
			return true;
	return false;
}

/* --- filling in ------------------------------------------------------------------------------------------------- */

/* Replaces everything from `start` on with `text`. */
static void replace(struct buf *out, size_t start, struct slice text)
{
	out->len = start;
	buf_add_slice(out, text);
}

/* The value from `start` on becomes the characters of a string: a string loses its quotes, null becomes nothing, and any other value becomes
 * its JSON text. */
static void make_text(struct buf *out, size_t start)
{
	char *value = out->data + start;
	size_t len = out->len - start;

	if (len >= 2 && *value == '"') {
		memmove(value, value + 1, len - 2);
		out->len -= 2;
	} else if (len == 4 && memcmp(value, "null", 4) == 0) {
		out->len = start;
	} else if (memchr(value, '"', len)) {
		char *copy = mem_text_of((struct slice){ value, len });

		out->len = start;
		buf_add_json(out, (struct slice){ copy, len });
		free(copy);
	}
	out->data[out->len] = '\0';
}

static bool is_null(const struct buf *out, size_t start)
{
	return out->len - start == 4 && memcmp(out->data + start, "null", 4) == 0;
}

static void fill(const struct jsontmpl_piece *piece, jsontmpl_value_fn *value, void *ctx, size_t limit, struct buf *out)
{
	size_t start = out->len;

	value(ctx, &piece->part, out);
	if (limit && out->len > limit)
		replace(out, start, SLICE("null"));
	if (piece->kind == JSONTMPL_VALUE || (piece->kind == JSONTMPL_TEXT && is_null(out, start)))
		return;
	make_text(out, start);
	if (piece->kind == JSONTMPL_TEXT) {
		buf_reserve(out, 2);
		memmove(out->data + start + 1, out->data + start, out->len - start);
		out->data[start] = '"';
		out->len++;
		buf_add_char(out, '"');
	}
}

void jsontmpl_fill(const struct jsontmpl *t, jsontmpl_value_fn *value, void *ctx, size_t most, struct buf *out)
{
	size_t limit = most ? out->len + most : 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct jsontmpl_piece *piece = &t->pieces[i];

		if (piece->kind == JSONTMPL_LITERAL)
			buf_add(out, piece->part.text, piece->len);
		else
			fill(piece, value, ctx, limit, out);
	}
}
