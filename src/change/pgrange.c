/* Ranges and hstore: PostgreSQL's "[1,5)" and "\"a\"=>\"1\"" become what DRF prints. Texts come without JSON's escapes. */
#include "pgscan.h"
#include "pgvalue.h"

/*
 * As Python's str() of a Decimal: PostgreSQL never prints an exponent, Python does if six zeros or more follow the
 * point. False: both print the same, and nothing is written.
 */
static bool add_decimal(struct slice text, struct buf *out)
{
	size_t sign = text.len && *text.at == '-', zeros = 0;
	struct slice places = { text.at + sign + 2, 0 };

	if (text.len > sign + 2 && memcmp(text.at + sign, "0.", 2) == 0)
		places.len = text.len - sign - 2;
	/* The last digit counts, even if it is a zero. */
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

/* One bound of a range, up to `ends`, as a string; a missing bound is null. */
static bool add_bound(struct pgscan *s, const char *ends, struct buf *out)
{
	struct slice text;
	bool added = false;

	if (pgscan_peek(s) == '"') {
		if (!pgscan_quoted(s, &text))
			return false;
	} else if (!pgscan_plain(s, ends, &text)) {
		buf_add_text(out, "null");
		return true;
	}
	buf_add_char(out, '"');
	/* Django reads these times in UTC, whatever zone it prints other times in. */
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

/* The brackets of the bounds are at the ends of the text, but come first in the document. */
static bool add_range(struct pgscan *s, struct buf *out)
{
	char open = pgscan_peek(s), close = s->left.len ? s->left.at[s->left.len - 1] : '\0';

	if ((open != '[' && open != '(') || (close != ']' && close != ')'))
		return false;
	pgscan_skip(s, 1);
	buf_add_text(out, "{\"bounds\": \"");
	buf_add_char(out, open);
	buf_add_char(out, close);
	buf_add_text(out, "\", \"lower\": ");
	if (!add_bound(s, ")]", out) || pgscan_peek(s) != ',')
		return false;
	pgscan_skip(s, 1);
	buf_add_text(out, ", \"upper\": ");
	if (!add_bound(s, ")]", out))
		return false;
	buf_add_char(out, '}');
	return s->left.len == 1;
}

/* DRF has no field of its own for ranges. It shows the serialized form of Django's RangeField: a string of JSON. */
bool pgvalue_range(struct slice text, uint32_t bound_type, struct buf *out)
{
	struct pgscan s = { .left = text, .part = bound_type, .delimiter = ',' };
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

static bool take_word(struct pgscan *s, struct slice word)
{
	if (s->left.len < word.len || memcmp(s->left.at, word.at, word.len) != 0)
		return false;
	pgscan_skip(s, word.len);
	return true;
}

static bool add_quoted(struct pgscan *s, struct buf *out)
{
	struct slice text;

	if (pgscan_peek(s) != '"' || !pgscan_quoted(s, &text))
		return false;
	buf_add_char(out, '"');
	buf_add_json(out, text);
	buf_add_char(out, '"');
	return true;
}

static bool add_pairs(struct pgscan *s, struct buf *out)
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
	struct pgscan s = { .left = text };
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
