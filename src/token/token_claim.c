/*
 * token_claim: the text of a claim, for a placeholder.
 *
 * A number that is not an integer is sent to the database as the token spells it, because jansson keeps a double: 0.10 would become
 * 0.10000000000000001. The payload was parsed before, so the scan here reads well-formed JSON in which no name is twice.
 */
#include <string.h>

#include "walpush/text/jsontext.h"
#include "walpush/token/token.h"

/* The text of the string whose opening quote is at `*at`. `*at` moves to the position after the closing quote. */
static struct slice take_string(const char **at)
{
	const char *start = ++*at;

	while (**at != '"')
		*at += **at == '\\' ? 2 : 1;
	return (struct slice){ start, (size_t)((*at)++ - start) };
}

static bool is_name(struct slice body, const char *name)
{
	struct buf text = { 0 };
	bool same = jsontext_unescape(body, &text) && slice_equal(buf_slice(&text), slice_of(name));

	buf_fini(&text);
	return same;
}

/* `at`: after a string. Returns the value if the string is the name of a member; else NULL. */
static const char *value_behind(const char *at)
{
	at += strspn(at, " \t\r\n");
	return *at == ':' ? at + 1 + strspn(at + 1, " \t\r\n") : NULL;
}

/* The beginning of the member's value. NULL: the object has no member of this name. */
static const char *find_member(const char *json, const char *name)
{
	const char *at = json, *value;
	unsigned depth = 0;
	struct slice body;

	while (*at) {
		if (*at == '"') {
			body = take_string(&at);
			value = depth == 1 ? value_behind(at) : NULL;
			if (value && is_name(body, name))
				return value;
			continue;
		}
		depth += *at == '{' || *at == '[';
		depth -= *at == '}' || *at == ']';
		at++;
	}
	return NULL;
}

static bool add_spelling(const struct token *t, const char *name, struct buf *out)
{
	const char *number = t->payload ? find_member(t->payload, name) : NULL;

	if (!number)
		return false;
	buf_add(out, number, strspn(number, "+-.0123456789Ee"));
	return true;
}

bool token_claim(const struct token *t, const char *name, struct buf *out)
{
	const json_t *value = json_object_get(t->claims, name);

	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_STRING:
		buf_add(out, json_string_value(value), json_string_length(value));
		return true;
	case JSON_INTEGER:
		buf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return true;
	case JSON_REAL:
		return add_spelling(t, name, out);
	case JSON_TRUE:
	case JSON_FALSE:
		buf_add_text(out, json_is_true(value) ? "true" : "false");
		return true;
	default:
		return false;
	}
}
