/* Arrays, ranges and hstore: PostgreSQL's "{1,NULL,\"a b\"}", "[1,5)" and "\"a\"=>\"1\"" become what DRF prints. Texts
 * come without JSON's escapes. */
#include "pgvalue.h"

/* PostgreSQL's MAXDIM */
#define DIMENSIONS_MAX 6

struct scanner {
	struct slice left;
	uint32_t part;       /* OID of the elements, or of a range's bounds */
	char delimiter;      /* between elements */
	struct buf unquoted; /* of an element that had escapes */
};

static char peek(const struct scanner *s)
{
	return s->left.len ? *s->left.at : '\0';
}

static void skip(struct scanner *s, size_t n)
{
	s->left.at += n;
	s->left.len -= n;
}

/* A quoted text, s->left at its quote. Arrays escape with a backslash, ranges double. False: it does not end. */
static bool take_quoted(struct scanner *s, struct slice *out)
{
	buf_clear(&s->unquoted);
	for (skip(s, 1); s->left.len; skip(s, 1)) {
		char c = *s->left.at;

		if (c == '"' && (s->left.len < 2 || s->left.at[1] != '"')) {
			skip(s, 1);
			*out = buf_slice(&s->unquoted);
			return true;
		}
		if (c == '"' || c == '\\') {
			skip(s, 1);
			if (s->left.len == 0)
				return false;
		}
		buf_add_char(&s->unquoted, *s->left.at);
	}
	return false;
}

/* Up to one of the characters that end an unquoted text; false where it is empty. */
static bool take_plain(struct scanner *s, const char *ends, struct slice *out)
{
	size_t n = 0;

	while (n < s->left.len && s->left.at[n] != s->delimiter && s->left.at[n] != '\0' &&
	       !strchr(ends, s->left.at[n]))
		n++;
	*out = (struct slice){ s->left.at, n };
	skip(s, n);
	return n > 0;
}

static bool add_element(struct scanner *s, struct buf *out)
{
	struct slice text;
	bool quoted = peek(s) == '"';

	if (!(quoted ? take_quoted(s, &text) : take_plain(s, "{}\"\\", &text)))
		return false;
	if (!quoted && slice_equal(text, SLICE("NULL")))
		buf_add_text(out, "null");
	else
		pgvalue_scalar((struct pgtext){ text, false }, s->part, out);
	return true;
}

/* "[0:1][-2:3]=", which stands before an array whose lower bound is not 1. */
static bool skip_bounds(struct scanner *s)
{
	const char *equals;

	if (peek(s) != '[')
		return true;
	equals = memchr(s->left.at, '=', s->left.len);
	if (!equals)
		return false;
	for (const char *at = s->left.at; at < equals; at++)
		if (!strchr("[]:-0123456789", *at) || *at == '\0')
			return false;
	skip(s, (size_t)(equals - s->left.at) + 1);
	return true;
}

/* Braces become brackets; a value and a comma take turns, whatever the depth. */
static bool add_elements(struct scanner *s, struct buf *out)
{
	size_t depth = 0;
	bool wants_value = true, may_close = false;

	do {
		char c = peek(s);

		if (wants_value && c == '{') {
			if (depth++ == DIMENSIONS_MAX)
				return false;
			buf_add_char(out, '[');
			skip(s, 1);
			may_close = true;
		} else if (c == '}' && may_close) {
			depth--;
			buf_add_char(out, ']');
			skip(s, 1);
			wants_value = false;
		} else if (!wants_value && c == s->delimiter) {
			buf_add_char(out, ',');
			skip(s, 1);
			wants_value = true;
			may_close = false;
		} else if (wants_value && depth && add_element(s, out)) {
			wants_value = false;
			may_close = true;
		} else {
			return false;
		}
	} while (depth);
	return s->left.len == 0;
}

bool pgvalue_array(struct slice text, uint32_t element, struct buf *out)
{
	struct scanner s = { .left = text, .part = element, .delimiter = element == PG_BOX ? ';' : ',' };
	size_t start = out->len;
	bool ok = skip_bounds(&s) && add_elements(&s, out);

	buf_fini(&s.unquoted);
	if (!ok)
		out->len = start;
	return ok;
}

/*
 * As Python's str() of a Decimal: PostgreSQL never prints an exponent, Python does where six zeros or more follow the
 * point. False: it is the same, and nothing is written.
 */
static bool add_decimal(struct slice text, struct buf *out)
{
	size_t sign = text.len && *text.at == '-', zeros = 0;
	struct slice places = { text.at + sign + 2, 0 };

	if (text.len > sign + 2 && memcmp(text.at + sign, "0.", 2) == 0)
		places.len = text.len - sign - 2;
	/* The last digit counts, be it a zero. */
	while (zeros + 1 < places.len && places.at[zeros] == '0')
		zeros++;
	if (zeros < 6) {
		return false;
	}
	buf_add(out, text.at, sign);
	buf_add_char(out, places.at[zeros]);
	if (zeros + 1 < places.len) {
		buf_add_char(out, '.');
		buf_add(out, places.at + zeros + 1, places.len - zeros - 1);
	}
	buf_add_text(out, "E-");
	buf_add_u64(out, zeros + 1);
	return true;
}

/* One bound of a range, up to `ends`, as a string; none is null. */
static bool add_bound(struct scanner *s, const char *ends, struct buf *out)
{
	struct slice text;
	bool added = false;

	if (peek(s) == '"') {
		if (!take_quoted(s, &text))
			return false;
	} else if (!take_plain(s, ends, &text)) {
		buf_add_text(out, "null");
		return true;
	}
	buf_add_char(out, '"');
	/* Django reads them in UTC, whatever zone it prints other times in. */
	if (s->part == PG_TIMESTAMPTZ)
		added = pgvalue_utc(text, out);
	else if (s->part == PG_TIMESTAMP)
		added = pgvalue_timestamp(text, false, out);
	else if (s->part == PG_NUMERIC)
		added = add_decimal(text, out);
	if (!added)
		buf_add_json(out, text);
	buf_add_char(out, '"');
	return true;
}

/* The bounds' brackets stand at the ends of the text, and come first in the document. */
static bool add_range(struct scanner *s, struct buf *out)
{
	char open = peek(s), close = s->left.len ? s->left.at[s->left.len - 1] : '\0';

	if ((open != '[' && open != '(') || (close != ']' && close != ')'))
		return false;
	skip(s, 1);
	buf_add_text(out, "{\"bounds\": \"");
	buf_add_char(out, open);
	buf_add_char(out, close);
	buf_add_text(out, "\", \"lower\": ");
	if (!add_bound(s, ")]", out) || peek(s) != ',')
		return false;
	skip(s, 1);
	buf_add_text(out, ", \"upper\": ");
	if (!add_bound(s, ")]", out))
		return false;
	buf_add_char(out, '}');
	return s->left.len == 1;
}

/* DRF has no field of its own for ranges and shows what Django's RangeField serializes them to: a string of JSON. */
bool pgvalue_range(struct slice text, uint32_t bound_type, struct buf *out)
{
	struct scanner s = { .left = text, .part = bound_type, .delimiter = ',' };
	struct buf document = { 0 };
	bool ok = true;

	if (slice_equal(text, SLICE("empty")))
		buf_add_text(&document, "{\"empty\": true}");
	else
		ok = add_range(&s, &document);
	if (ok) {
		buf_add_char(out, '"');
		buf_add_json(out, buf_slice(&document));
		buf_add_char(out, '"');
	}
	buf_fini(&document);
	buf_fini(&s.unquoted);
	return ok;
}

static bool take_word(struct scanner *s, struct slice word)
{
	if (s->left.len < word.len || memcmp(s->left.at, word.at, word.len) != 0)
		return false;
	skip(s, word.len);
	return true;
}

static bool add_quoted(struct scanner *s, struct buf *out)
{
	struct slice text;

	if (peek(s) != '"' || !take_quoted(s, &text))
		return false;
	buf_add_char(out, '"');
	buf_add_json(out, text);
	buf_add_char(out, '"');
	return true;
}

static bool add_pairs(struct scanner *s, struct buf *out)
{
	while (s->left.len) {
		if (!add_quoted(s, out) || !take_word(s, SLICE("=>")))
			return false;
		buf_add_char(out, ':');
		if (take_word(s, SLICE("NULL")))
			buf_add_text(out, "null");
		else if (!add_quoted(s, out))
			return false;
		if (s->left.len == 0)
			return true;
		if (!take_word(s, SLICE(", ")) || s->left.len == 0)
			return false;
		buf_add_char(out, ',');
	}
	return true;
}

bool pgvalue_hstore(struct slice text, uint32_t unused, struct buf *out)
{
	struct scanner s = { .left = text };
	size_t start = out->len;
	bool ok;

	(void)unused;
	buf_add_char(out, '{');
	ok = add_pairs(&s, out);
	buf_add_char(out, '}');
	buf_fini(&s.unquoted);
	if (!ok)
		out->len = start;
	return ok;
}
