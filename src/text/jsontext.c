#include "walpush/text/jsontext.h"

#include <stdint.h>

#include "walpush/base/utf8.h"

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))
#define TOP_BITS EACH(0x80)

/* Sets the top bit of each byte of `w` that is less than `limit` (at most 0x80). The result is exact from the lowest byte to the first hit;
 * above the first hit a borrow may set more bits. Zero only if there is no hit. */
static inline uint64_t below(uint64_t w, unsigned limit)
{
	return (w - EACH(limit)) & ~w & TOP_BITS;
}

/* How many of the eight bytes at `s` are plain, before a quote, a backslash, a control character or a byte that is not ASCII. */
static inline size_t plain8(const unsigned char *s)
{
	uint64_t w, hits;

	memcpy(&w, s, sizeof(w));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	w = __builtin_bswap64(w);
#endif
	hits = (w & TOP_BITS) | below(w, 0x20) | below(w ^ EACH('"'), 1) | below(w ^ EACH('\\'), 1);
	return hits ? (size_t)__builtin_ctzll(hits) / 8 : 8;
}

static int hex_value(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The value of the four digits of \uXXXX; -1 if one of them is not a digit. */
static long unit_at(const unsigned char *s)
{
	long unit = 0;

	for (size_t i = 0; i < 4; i++) {
		int digit = hex_value(s[i]);

		if (digit < 0)
			return -1;
		unit = unit << 4 | digit;
	}
	return unit;
}

/* The character that a backslash and this letter mean; 0: they are not an escape. */
static unsigned char short_escape(unsigned char letter)
{
	switch (letter) {
	case '"':
	case '\\':
	case '/':
		return letter;
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	default:
		return 0;
	}
}

static bool is_high(long unit)
{
	return unit >= 0xD800 && unit < 0xDC00;
}

static bool is_low(long unit)
{
	return unit >= 0xDC00 && unit < 0xE000;
}

/* The code unit of the \uXXXX that begins at s; -1 if there is none. */
static long escaped_unit(const unsigned char *s, size_t left)
{
	return left >= 6 && s[0] == '\\' && s[1] == 'u' ? unit_at(s + 2) : -1;
}

/* Length of the escape whose backslash is at `s`; a surrogate pair is one escape. 0: it is malformed or not allowed. */
static size_t escape_length(const unsigned char *s, size_t left)
{
	long unit;

	if (left < 2)
		return 0;
	if (s[1] != 'u')
		return short_escape(s[1]) ? 2 : 0;
	unit = escaped_unit(s, left);
	if (is_high(unit))
		return is_low(escaped_unit(s + 6, left - 6)) ? 12 : 0;
	return unit <= 0 || is_low(unit) ? 0 : 6;
}

/* The byte at `s` is neither plain nor the closing quote. Returns how many bytes its character or escape has; 0 if it is not allowed, with
 * `flaw` set. */
static size_t step(const unsigned char *s, size_t left, enum jsontext_flaw *flaw)
{
	if (*s == '\\') {
		*flaw = JSONTEXT_ESCAPE;
		return escape_length(s, left);
	}
	if (*s < 0x20) {
		*flaw = JSONTEXT_CONTROL;
		return 0;
	}
	*flaw = JSONTEXT_UTF8;
	return utf8_length(s, left);
}

enum jsontext_flaw jsontext_scan(struct slice bytes, size_t *len)
{
	const unsigned char *s = (const unsigned char *)bytes.at;
	enum jsontext_flaw flaw = JSONTEXT_OPEN;
	size_t at = 0, n;

	for (;;) {
		while (bytes.len - at >= 8 && (n = plain8(s + at)) > 0)
			at += n;
		*len = at;
		if (at == bytes.len)
			return JSONTEXT_OPEN;
		if (s[at] == '"')
			return JSONTEXT_SOUND;
		n = step(s + at, bytes.len - at, &flaw);
		if (n == 0)
			return flaw;
		at += n;
	}
}

static void add_code_point(struct buf *out, unsigned long c)
{
	char utf8[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char lead[] = { 0, 0, 0xC0, 0xE0, 0xF0 };

	for (size_t i = n; i-- > 1; c >>= 6)
		utf8[i] = (char)(0x80 | (c & 0x3F));
	utf8[0] = (char)(lead[n] | c);
	buf_add(out, utf8, n);
}

/* Appends the character of the \uXXXX at `s`, or of the surrogate pair that begins there. Returns the bytes read; 0: malformed. */
static size_t add_unicode(struct buf *out, const unsigned char *s, size_t left)
{
	long high = escaped_unit(s, left), low;

	if (high < 0)
		return 0;
	low = is_high(high) ? escaped_unit(s + 6, left - 6) : -1;
	if (is_low(low)) {
		add_code_point(out, 0x10000UL + ((unsigned long)(high - 0xD800) << 10) + (unsigned long)(low - 0xDC00));
		return 12;
	}
	add_code_point(out, is_high(high) || is_low(high) ? 0xFFFD : (unsigned long)high);
	return 6;
}

static size_t add_escape(struct buf *out, const unsigned char *s, size_t left)
{
	unsigned char c;

	if (left < 2)
		return 0;
	if (s[1] == 'u')
		return add_unicode(out, s, left);
	c = short_escape(s[1]);
	if (c)
		buf_add(out, &c, 1);
	return c ? 2 : 0;
}

bool jsontext_unescape(struct slice body, struct buf *out)
{
	size_t at = 0;

	while (at < body.len) {
		const char *plain = body.at + at;
		const char *backslash = memchr(plain, '\\', body.len - at);
		size_t n = backslash ? (size_t)(backslash - plain) : body.len - at;

		buf_add(out, plain, n);
		at += n;
		if (!backslash)
			break;
		n = add_escape(out, (const unsigned char *)backslash, body.len - at);
		if (n == 0)
			return false;
		at += n;
	}
	return true;
}

/* --- numbers ------------------------------------------------------------------------------------------------------ */

static bool take_any(struct slice bytes, size_t *at, const char *characters)
{
	if (*at >= bytes.len || !bytes.at[*at] || !strchr(characters, bytes.at[*at]))
		return false;
	++*at;
	return true;
}

static bool take_digits(struct slice bytes, size_t *at)
{
	size_t before = *at;

	while (*at < bytes.len && bytes.at[*at] >= '0' && bytes.at[*at] <= '9')
		++*at;
	return *at > before;
}

bool jsontext_number(struct slice bytes, size_t *len)
{
	*len = 0;
	take_any(bytes, len, "-");
	if (!take_any(bytes, len, "0") && !take_digits(bytes, len))
		return false;
	if (take_any(bytes, len, ".") && !take_digits(bytes, len))
		return false;
	if (!take_any(bytes, len, "eE"))
		return true;
	take_any(bytes, len, "+-");
	return take_digits(bytes, len);
}
