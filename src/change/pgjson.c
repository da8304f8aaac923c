/* Is a text JSON? json and jsonb values are checked before they go into a message without quotes, because one bad byte
 * would break the message. */
#include "pgvalue.h"

#include "walpush/text/jsontext.h"

/* Deeper values are passed on as strings, because a browser's parser has its limits too. */
#define DEPTH_MAX 512

struct checker {
	struct slice left;
	unsigned depth;
	unsigned char is_object[DEPTH_MAX / 8]; /* a bit for each open bracket */
};

static void skip(struct checker *c, size_t n)
{
	c->left.at += n;
	c->left.len -= n;
}

static void skip_blank(struct checker *c)
{
	while (c->left.len && (*c->left.at == ' ' || *c->left.at == '\t' || *c->left.at == '\n' || *c->left.at == '\r'))
		skip(c, 1);
}

static bool take_char(struct checker *c, char wanted)
{
	if (c->left.len == 0 || *c->left.at != wanted)
		return false;
	skip(c, 1);
	return true;
}

static bool take_word(struct checker *c, struct slice word)
{
	if (c->left.len < word.len || memcmp(c->left.at, word.at, word.len) != 0)
		return false;
	skip(c, word.len);
	return true;
}

static size_t count_digits(struct slice text)
{
	size_t n = 0;

	while (n < text.len && text.at[n] >= '0' && text.at[n] <= '9')
		n++;
	return n;
}

static bool take_digits(struct checker *c)
{
	size_t n = count_digits(c->left);

	skip(c, n);
	return n > 0;
}

static bool take_number(struct checker *c)
{
	take_char(c, '-');
	if (!take_char(c, '0') && !take_digits(c))
		return false;
	if (take_char(c, '.') && !take_digits(c))
		return false;
	if (take_char(c, 'e') || take_char(c, 'E')) {
		if (!take_char(c, '+'))
			take_char(c, '-');
		return take_digits(c);
	}
	return true;
}

static bool take_string(struct checker *c)
{
	size_t len;

	if (!take_char(c, '"') || jsontext_scan(c->left, &len) != JSONTEXT_SOUND)
		return false;
	skip(c, len + 1);
	return true;
}

static bool in_object(const struct checker *c)
{
	unsigned at = c->depth - 1;

	return c->is_object[at / 8] >> at % 8 & 1;
}

static bool open_bracket(struct checker *c, bool object)
{
	unsigned at = c->depth, bit = 1u << at % 8;

	if (at == DEPTH_MAX)
		return false;
	skip(c, 1);
	c->is_object[at / 8] = (unsigned char)(object ? c->is_object[at / 8] | bit : c->is_object[at / 8] & ~bit);
	c->depth++;
	return true;
}

static bool take_scalar(struct checker *c)
{
	switch (c->left.len ? *c->left.at : '\0') {
	case '"':
		return take_string(c);
	case 't':
		return take_word(c, SLICE("true"));
	case 'f':
		return take_word(c, SLICE("false"));
	case 'n':
		return take_word(c, SLICE("null"));
	default:
		return take_number(c);
	}
}

static bool take_member_name(struct checker *c)
{
	skip_blank(c);
	if (!take_string(c))
		return false;
	skip_blank(c);
	return take_char(c, ':');
}

/* Takes one value, with the brackets that open before it. *complete: it is a scalar or an empty container. */
static bool take_value(struct checker *c, bool *complete)
{
	char first;

	skip_blank(c);
	first = c->left.len ? *c->left.at : '\0';
	*complete = true;
	if (first != '{' && first != '[')
		return take_scalar(c);
	if (!open_bracket(c, first == '{'))
		return false;
	skip_blank(c);
	if (take_char(c, first == '{' ? '}' : ']')) {
		c->depth--;
		return true;
	}
	*complete = false;
	return first == '[' || take_member_name(c);
}

/* After a value: closing brackets, then a comma and, in an object, the next name; or the end. */
static bool take_separator(struct checker *c, bool *done)
{
	*done = false;
	for (skip_blank(c); c->depth; skip_blank(c)) {
		if (take_char(c, ','))
			return !in_object(c) || take_member_name(c);
		if (!take_char(c, in_object(c) ? '}' : ']'))
			return false;
		c->depth--;
	}
	*done = true;
	return c->left.len == 0;
}

bool pgvalue_is_json(struct slice text)
{
	struct checker c = { .left = text };
	bool complete, done = false;

	while (!done) {
		if (!take_value(&c, &complete) || (complete && !take_separator(&c, &done)))
			return false;
	}
	return true;
}

bool pgvalue_is_number(struct slice text)
{
	struct checker c = { .left = text };

	return take_number(&c) && c.left.len == 0;
}
