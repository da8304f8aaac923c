/* Arrays: PostgreSQL's "{1,NULL,\"a b\"}" becomes what DRF prints. Texts come without JSON's escapes. */
#include "pgscan.h"
#include "pgvalue.h"

/* PostgreSQL's MAXDIM */
#define DIMENSIONS_MAX 6

static bool add_element(struct pgscan *s, struct buf *out)
{
	struct slice text;
	bool quoted = pgscan_peek(s) == '"';

	if (!(quoted ? pgscan_quoted(s, &text) : pgscan_plain(s, "{}\"\\", &text)))
		return false;
	if (!quoted && slice_equal(text, SLICE("NULL")))
		buf_add_text(out, "null");
	else
		pgvalue_scalar((struct pgtext){ text, false }, s->part, out);
	return true;
}

/* "[0:1][-2:3]=" comes before an array whose lower bound is not 1. */
static bool skip_bounds(struct pgscan *s)
{
	const char *equals;

	if (pgscan_peek(s) != '[')
		return true;
	equals = memchr(s->left.at, '=', s->left.len);
	if (!equals)
		return false;
	for (const char *at = s->left.at; at < equals; at++)
		if (!strchr("[]:-0123456789", *at) || *at == '\0')
			return false;
	pgscan_skip(s, (size_t)(equals - s->left.at) + 1);
	return true;
}

/* Braces become brackets. Values and delimiters alternate, at any depth. */
static bool add_elements(struct pgscan *s, struct buf *out)
{
	size_t depth = 0;
	bool wants_value = true, may_close = false;

	do {
		char c = pgscan_peek(s);

		if (wants_value && c == '{') {
			if (depth++ == DIMENSIONS_MAX)
				return false;
			buf_add_char(out, '[');
			pgscan_skip(s, 1);
			may_close = true;
		} else if (c == '}' && may_close) {
			depth--;
			buf_add_char(out, ']');
			pgscan_skip(s, 1);
			wants_value = false;
		} else if (!wants_value && c == s->delimiter) {
			buf_add_char(out, ',');
			pgscan_skip(s, 1);
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
	struct pgscan s = { .left = text, .part = element, .delimiter = element == PG_BOX ? ';' : ',' };
	size_t start = out->len;
	bool ok = skip_bounds(&s) && add_elements(&s, out);

	buf_fini(&s.unquoted);
	if (!ok)
		out->len = start;
	return ok;
}
