/* What is well-formed UTF-8, beside a decoder that computes the code point and judges that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "walpush/base/utf8.h"

/* Bytes of the sequence whose first byte is this; 0: none begins with it. */
static size_t wanted(unsigned char lead)
{
	if (lead < 0x80)
		return 1;
	if (lead < 0xC0 || lead > 0xF7)
		return 0;
	return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

static size_t oracle(const unsigned char *s, size_t left)
{
	static const uint32_t first[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = wanted(s[0]);
	uint32_t c;

	if (n < 2)
		return n;
	if (n > left)
		return 0;
	c = s[0] & (0x7Fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3F);
	}
	return c < first[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF) ? 0 : n;
}

/* The bytes at which a range of table 3-7 begins or ends. */
static const unsigned char edges[] = { 0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xFF };

static void each_lead_with_what_follows(void **state)
{
	enum { N = sizeof(edges) };

	(void)state;
	for (unsigned lead = 0; lead < 256; lead++)
		for (unsigned i = 0; i < N * N * N; i++) {
			const unsigned char s[] = { (unsigned char)lead, edges[i % N], edges[i / N % N],
						    edges[i / N / N] };

			if (utf8_length(s, 4) != oracle(s, 4))
				fail_msg("%02x %02x %02x %02x", s[0], s[1], s[2], s[3]);
		}
}

/* It is not read past its end: the sanitizers see a byte more. */
static void a_sequence_may_be_cut(void **state)
{
	static const unsigned char euro[] = { 0xE2, 0x82, 0xAC }, clef[] = { 0xF0, 0x9D, 0x84, 0x9E };

	(void)state;
	for (size_t left = 1; left <= 3; left++)
		assert_int_equal(utf8_length(euro, left), left == 3 ? 3 : 0);
	for (size_t left = 1; left <= 4; left++)
		assert_int_equal(utf8_length(clef, left), left == 4 ? 4 : 0);
}

static const struct {
	struct slice text;
	bool is_valid;
} texts[] = {
	{ { NULL, 0 }, true },
	{ { "", 0 }, true },
	{ { "12345678\0", 9 }, true },
	{ { "1234567\xC3\xA9", 9 }, true }, /* across the steps of eight */
	{ { "\xC3\xA9"
	    "12345678\xE2\x82\xAC",
	    13 },
	  true },
	{ { "12345678\xC3", 9 }, false },
	{ { "1234567\xFF", 8 }, false },
	{ { "\xFF"
	    "12345678",
	    9 },
	  false },
	{ { "\xC0\x80", 2 }, false },         /* a zero, not in its shortest form */
	{ { "\xED\xA0\x80", 3 }, false },     /* a surrogate */
	{ { "\xF4\x90\x80\x80", 4 }, false }, /* U+110000 */
	{ { "\xF4\x8F\xBF\xBF", 4 }, true },  /* U+10FFFF */
};

static void each_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		if (utf8_is_valid(texts[i].text) != texts[i].is_valid)
			fail_msg("text %zu", i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_lead_with_what_follows),
		cmocka_unit_test(a_sequence_may_be_cut),
		cmocka_unit_test(each_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
