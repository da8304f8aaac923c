#include "walpush/text/request.h"

#include <strings.h>

#define KEY_LENGTH 24
#define BEARER "Bearer "

static bool is_base64(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

bool request_key_is_sound(struct slice key)
{
	if (key.len != KEY_LENGTH || key.at[KEY_LENGTH - 1] != '=' || key.at[KEY_LENGTH - 2] != '=')
		return false;
	for (size_t i = 0; i < KEY_LENGTH - 2; i++)
		if (!is_base64(key.at[i]))
			return false;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct slice trim(struct slice s)
{
	while (s.len && is_blank(s.at[0])) {
		s.at++;
		s.len--;
	}
	while (s.len && is_blank(s.at[s.len - 1]))
		s.len--;
	return s;
}

static bool is_same_word(struct slice a, struct slice b)
{
	return a.len == b.len && strncasecmp(a.at, b.at, a.len) == 0;
}

bool request_list_has(struct slice list, struct slice word, bool any_case)
{
	for (;;) {
		const char *comma = list.len ? memchr(list.at, ',', list.len) : NULL;
		size_t n = comma ? (size_t)(comma - list.at) : list.len;
		struct slice one = trim((struct slice){ list.at, n });

		if (one.len && (any_case ? is_same_word(one, word) : slice_equal(one, word)))
			return true;
		if (!comma)
			return false;
		list.at += n + 1;
		list.len -= n + 1;
	}
}

struct slice request_bearer(struct slice authorization)
{
	size_t n = sizeof(BEARER) - 1;

	if (authorization.len <= n || strncasecmp(authorization.at, BEARER, n) != 0)
		return (struct slice){ "", 0 };
	return trim((struct slice){ authorization.at + n, authorization.len - n });
}

bool request_argument(struct slice argument, struct slice name, struct slice *value)
{
	if (argument.len <= name.len || memcmp(argument.at, name.at, name.len) != 0 || argument.at[name.len] != '=')
		return false;
	*value = (struct slice){ argument.at + name.len + 1, argument.len - name.len - 1 };
	return true;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The first byte of the text, or the byte of "%XX" at its start; -1: a '%' without two hexadecimal digits. */
static int first_byte(struct slice text)
{
	int high, low;

	if (text.at[0] != '%')
		return (unsigned char)text.at[0];
	high = text.len > 2 ? hex_value(text.at[1]) : -1;
	low = text.len > 2 ? hex_value(text.at[2]) : -1;
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

bool request_target_is_clean(struct slice target)
{
	for (size_t i = 0; i < target.len; i++) {
		int c = first_byte((struct slice){ target.at + i, target.len - i });

		if (c < 0x20 || c == 0x7F)
			return false;
	}
	return target.len > 0;
}
