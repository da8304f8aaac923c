#include "walpush/text/user_key.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define UUID_DIGITS 32

static bool is_space(char c)
{
	return c && strchr(" \t\n\v\f\r", c);
}

/* 0 to 15; -1: not a hexadecimal digit. */
static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* --- integers ----------------------------------------------------------------------------------------------------- */

static unsigned base_of(const char **at)
{
	static const struct {
		char letters[3];
		unsigned base;
	} prefixes[] = { { "xX", 16 }, { "oO", 8 }, { "bB", 2 } };

	for (size_t i = 0; (*at)[0] == '0' && (*at)[1] && i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		if (!strchr(prefixes[i].letters, (*at)[1]))
			continue;
		*at += 2;
		return prefixes[i].base;
	}
	return 10;
}

/* Digits, with single underscores between them, as PostgreSQL 16 and later accept. After a prefix the first character may be an underscore. */
static bool read_digits(const char **at, unsigned base, uint64_t *out)
{
	bool any = false;

	*out = 0;
	for (;; (*at)++) {
		int d;

		if (**at == '_' && (any || base != 10))
			(*at)++;
		d = digit(**at);
		if (d < 0 || (unsigned)d >= base)
			return any && (*at)[-1] != '_';
		if (*out > (UINT64_MAX - (unsigned)d) / base)
			return false;
		*out = *out * base + (unsigned)d;
		any = true;
	}
}

/* As int8 reads it. */
static bool read_int(const char *at, bool *negative, uint64_t *out)
{
	unsigned base;

	while (is_space(*at))
		at++;
	*negative = *at == '-';
	if (*at == '-' || *at == '+')
		at++;
	base = base_of(&at);
	if (!read_digits(&at, base, out))
		return false;
	while (is_space(*at))
		at++;
	return !*at && *out <= (uint64_t)INT64_MAX + *negative;
}

static void add_int(struct buf *out, bool negative, uint64_t n)
{
	buf_addf(out, "%s%" PRIu64, negative && n ? "-" : "", n);
}

/* --- UUIDs -------------------------------------------------------------------------------------------------------- */

/* 32 digits, with or without braces; a hyphen may follow each group of four digits. */
static bool read_uuid(const char *at, char digits[UUID_DIGITS + 1])
{
	bool braces = *at == '{';
	int n = 0;

	at += braces;
	while (n < UUID_DIGITS) {
		int d = digit(*at++);

		if (d < 0)
			return false;
		digits[n++] = "0123456789abcdef"[d];
		if (*at == '-' && n % 4 == 0 && n < UUID_DIGITS)
			at++;
	}
	digits[n] = '\0';
	if (braces && *at++ != '}')
		return false;
	return !*at;
}

static void add_uuid(struct buf *out, const char *digits)
{
	buf_addf(out, "%.8s-%.4s-%.4s-%.4s-%.12s", digits, digits + 8, digits + 12, digits + 16, digits + 20);
}

void user_key(const char *text, struct buf *out)
{
	char digits[UUID_DIGITS + 1];
	bool is_uuid = read_uuid(text, digits), negative;
	uint64_t n;

	/* The digits of a UUID may be a number too. Then all spellings of this UUID and of this number have the number's key. */
	if (read_int(is_uuid ? digits : text, &negative, &n))
		add_int(out, negative, n);
	else if (is_uuid)
		add_uuid(out, digits);
	else
		buf_add_text(out, text);
}
