#include "check_cond.h"

#include <ctype.h>

#define DEPTH_MOST 100 /* of parentheses; the server's parser has a limit of its own */

static size_t behind_quote(struct slice s, size_t i, char quote)
{
	while (i < s.len && s.at[i] != quote)
		i++;
	return i < s.len ? i + 1 : i;
}

/* An open parenthesis that is never closed reaches to the end. */
static size_t behind_parenthesis(struct slice s, size_t i)
{
	size_t depth = 1;

	while (i < s.len && depth) {
		char c = s.at[i++];

		if (c == '\'' || c == '"')
			i = behind_quote(s, i, c);
		depth += c == '(';
		depth -= c == ')';
	}
	return i;
}

size_t cond_behind(struct slice s, size_t i)
{
	char c = s.at[i++];

	if (c == '\'' || c == '"')
		return behind_quote(s, i, c);
	return c == '(' ? behind_parenthesis(s, i) : i;
}

/* The first position, at `from` or after it, where `word` is outside of parentheses and quotes; s.len: there is none. */
static size_t find(struct slice s, size_t from, struct slice word)
{
	for (size_t i = from; i < s.len; i = cond_behind(s, i))
		if (s.len - i >= word.len && memcmp(s.at + i, word.at, word.len) == 0)
			return i;
	return s.len;
}

static bool is_in_parentheses(struct slice s)
{
	return s.len >= 2 && s.at[0] == '(' && s.at[s.len - 1] == ')' && cond_behind(s, 0) == s.len;
}

static struct slice inside(struct slice s)
{
	return (struct slice){ s.at + 1, s.len - 2 };
}

/* Only the server's own types are printed with these names. A type with a length, such as varchar(3), makes longer values equal. */
static bool is_harmless(struct slice type, enum cond_casts casts)
{
	static const char *const names[] = {
		"text", "character varying", "smallint", "integer", "bigint", "oid", "uuid"
	};
	size_t n = casts == COND_TEXT ? 2 : sizeof(names) / sizeof(*names);

	for (size_t i = 0; i < n; i++)
		if (slice_equal(type, slice_of(names[i])))
			return true;
	return false;
}

/* `rest` may follow an operand's parentheses: it is "", or "::" and the type of a harmless cast. */
static bool is_nothing_more(struct slice rest, enum cond_casts casts)
{
	if (rest.len > 2 && memcmp(rest.at, "::", 2) == 0)
		return is_harmless((struct slice){ rest.at + 2, rest.len - 2 }, casts);
	return rest.len == 0;
}

struct slice cond_bare(struct slice s, enum cond_casts casts)
{
	while (s.len && s.at[0] == '(') {
		struct slice operand = { s.at, cond_behind(s, 0) };

		if (!is_in_parentheses(operand) ||
		    !is_nothing_more((struct slice){ s.at + operand.len, s.len - operand.len }, casts))
			break;
		s = inside(operand);
	}
	return s;
}

static void take_equality(struct slice s, enum cond_casts casts, cond_equality *take, void *ctx)
{
	static const struct slice equals = { " = ", 3 };
	size_t middle = find(s, 0, equals);

	if (middle < s.len && find(s, middle + equals.len, equals) == s.len)
		take(ctx, cond_bare((struct slice){ s.at, middle }, casts),
		     cond_bare((struct slice){ s.at + middle + equals.len, s.len - middle - equals.len }, casts));
}

static void each(struct slice s, enum cond_casts casts, cond_equality *take, void *ctx, unsigned depth)
{
	static const struct slice conjunction = { " AND ", 5 };
	struct slice rest;
	size_t end;

	if (!is_in_parentheses(s) || depth == DEPTH_MOST)
		return;
	rest = inside(s);
	end = find(rest, 0, conjunction);
	if (end == rest.len) {
		if (is_in_parentheses(rest))
			each(rest, casts, take, ctx, depth + 1);
		else
			take_equality(rest, casts, take, ctx);
		return;
	}
	while (end < rest.len) {
		each((struct slice){ rest.at, end }, casts, take, ctx, depth + 1);
		rest = (struct slice){ rest.at + end + conjunction.len, rest.len - end - conjunction.len };
		end = find(rest, 0, conjunction);
	}
	each(rest, casts, take, ctx, depth + 1);
}

void cond_each(struct slice condition, enum cond_casts casts, cond_equality *take, void *ctx)
{
	each(condition, casts, take, ctx, 0);
}

size_t cond_parameter(struct slice s)
{
	size_t number = 0;

	if (s.len < 2 || s.len > 6 || s.at[0] != '$')
		return 0;
	for (size_t i = 1; i < s.len; i++) {
		if (!isdigit((unsigned char)s.at[i]))
			return 0;
		number = number * 10 + (size_t)(s.at[i] - '0');
	}
	return number;
}

struct slice cond_alias(struct slice s)
{
	size_t dots = 0, len = 0;

	for (size_t i = 0; i < s.len; i = cond_behind(s, i)) {
		unsigned char c = (unsigned char)s.at[i];

		if (c == '.' && dots++ == 0)
			len = i;
		if (c != '.' && c != '"' && c != '_' && c != '$' && c < 0x80 && !isalnum(c))
			return (struct slice){ s.at, 0 };
	}
	return (struct slice){ s.at, dots == 1 && s.at[0] != '$' ? len : 0 };
}
