#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "walpush/text/jsontext.h"
#include "walpush/base/utf8.h"

/* Scans a heap block of exactly n bytes. */
static enum jsontext_flaw scan(struct slice text, size_t *len)
{
	char *block = malloc(text.len ? text.len : 1);
	enum jsontext_flaw flaw;

	memcpy(block, text.at, text.len);
	flaw = jsontext_scan((struct slice){ block, text.len }, len);
	free(block);
	return flaw;
}

/* At every distance from the start and from the end, since eight bytes are looked at in one go. */
static void assert_scan(struct slice core, enum jsontext_flaw flaw, size_t at)
{
	char bytes[200];

	for (size_t before = 0; before < 18; before++)
		for (size_t behind = 0; behind < 18; behind++) {
			size_t len;

			memset(bytes, 'x', sizeof(bytes));
			memcpy(bytes + before, core.at, core.len);
			assert_int_equal(scan((struct slice){ bytes, before + core.len + behind }, &len), flaw);
			assert_int_equal(len, before + at);
		}
}

static void test_scan_finds_the_end(void **state)
{
	(void)state;
	assert_scan(SLICE("\""), JSONTEXT_SOUND, 0);
	assert_scan(SLICE("\\\"\""), JSONTEXT_SOUND, 2);
	assert_scan(SLICE("\\\\\""), JSONTEXT_SOUND, 2);
	assert_scan(SLICE("\\b\\f\\n\\r\\t\\/\\u00e9\""), JSONTEXT_SOUND, 18);
	assert_scan(SLICE("\\uD83D\\ude00\""), JSONTEXT_SOUND, 12);
	assert_scan(SLICE("\xC3\xA9\xE2\x80\xA8\xF0\x9F\x98\x80\x7F\""), JSONTEXT_SOUND, 10);
	assert_scan(SLICE("!#[]~ \""), JSONTEXT_SOUND, 6); /* the neighbours of what needs a look */
}

static void test_scan_finds_the_flaw(void **state)
{
	(void)state;
	for (char c = 0; c < 0x20; c++)
		assert_scan((struct slice){ &c, 1 }, JSONTEXT_CONTROL, 0);
	assert_scan(SLICE("ab\\q\""), JSONTEXT_ESCAPE, 2);
	assert_scan(SLICE("\\U0041\""), JSONTEXT_ESCAPE, 0);
	assert_scan(SLICE("\\u00g1\""), JSONTEXT_ESCAPE, 0);
	assert_scan(SLICE("\\u004\""), JSONTEXT_ESCAPE, 0);
	assert_scan(SLICE("\\u0000\""), JSONTEXT_ESCAPE, 0);
	assert_scan(SLICE("\\ud83d\""), JSONTEXT_ESCAPE, 0);
	assert_scan(SLICE("\\ud83d\\u0041\""), JSONTEXT_ESCAPE, 0);
	assert_scan(SLICE("\\ud83d\\ud83d\""), JSONTEXT_ESCAPE, 0);
	assert_scan(SLICE("\\ude00\""), JSONTEXT_ESCAPE, 0);
	assert_scan(SLICE("\x80\""), JSONTEXT_UTF8, 0);
	assert_scan(SLICE("\xC3\xC3\xA9\""), JSONTEXT_UTF8, 0);
	assert_scan(SLICE("\xE2\x82\""), JSONTEXT_UTF8, 0);
	assert_scan(SLICE("\xED\xA0\x80\""), JSONTEXT_UTF8, 0);
	assert_scan(SLICE("\xF5\x80\x80\x80\""), JSONTEXT_UTF8, 0);
}

static void test_scan_stops_at_the_end(void **state)
{
	static const char whole[] = "plain text, \\u00e9 \\ud83d\\ude00 \\n \xF0\x9F\x98\x80 \xC3\xA9 and more";

	(void)state;
	for (size_t n = 0; n < sizeof(whole); n++) {
		size_t len;

		assert_int_not_equal(scan((struct slice){ whole, n }, &len), JSONTEXT_SOUND);
		assert_true(len <= n);
	}
}

static void assert_unescapes(struct slice body, struct slice expected)
{
	struct buf out = { 0 };

	assert_true(jsontext_unescape(body, &out));
	assert_int_equal(out.len, expected.len);
	if (expected.len)
		assert_memory_equal(out.data, expected.at, expected.len);
	buf_fini(&out);
}

static void test_unescape(void **state)
{
	(void)state;
	assert_unescapes((struct slice){ NULL, 0 }, SLICE(""));
	assert_unescapes(SLICE("plain"), SLICE("plain"));
	assert_unescapes(SLICE("\\\"\\\\\\/\\b\\f\\n\\r\\t"), SLICE("\"\\/\b\f\n\r\t"));
	assert_unescapes(SLICE("\\u0041\\u00E9\\u20ac\\uFFFF"), SLICE("A\xC3\xA9\xE2\x82\xAC\xEF\xBF\xBF"));
	assert_unescapes(SLICE("\\u007f\\u0080\\u07ff\\u0800"), SLICE("\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80"));
	assert_unescapes(SLICE("\\ud800\\udc00\\udbff\\udfff"), SLICE("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"));
	assert_unescapes(SLICE("a\\u0000b"), SLICE("a\0b"));
	assert_unescapes(SLICE("\\\\u0041"), SLICE("\\u0041"));
}

static void test_lone_surrogates_are_replaced(void **state)
{
	(void)state;
	assert_unescapes(SLICE("\\ud83d"), SLICE("\xEF\xBF\xBD"));
	assert_unescapes(SLICE("\\ude00x"), SLICE("\xEF\xBF\xBDx"));
	assert_unescapes(SLICE("\\ud83dx"), SLICE("\xEF\xBF\xBDx"));
	assert_unescapes(SLICE("\\ud83d\\n"), SLICE("\xEF\xBF\xBD\n"));
	assert_unescapes(SLICE("\\ud83d\\ud83d\\ude00"), SLICE("\xEF\xBF\xBD\xF0\x9F\x98\x80"));
	assert_unescapes(SLICE("\\ude00\\ud83d"), SLICE("\xEF\xBF\xBD\xEF\xBF\xBD"));
}

static void test_malformed_escapes(void **state)
{
	static const char *const bad[] = { "ab\\", "ab\\q", "ab\\u", "ab\\u12", "ab\\u12g4", "ab\\U0041", "ab\\'" };
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		buf_clear(&out);
		assert_false(jsontext_unescape(slice_of(bad[i]), &out));
		assert_string_equal(out.data, "ab");
	}
	buf_clear(&out);
	assert_false(jsontext_unescape(SLICE("\\ud83d\\u12"), &out)); /* the second escape is the malformed one */
	buf_fini(&out);
}

static void test_utf8(void **state)
{
	static const char *const bad[] = { "\x80",
					   "\xC1\xBF",
					   "\xC3",
					   "\xE0\x9F\xBF",
					   "\xED\xBF\xBF",
					   "\xE2\x28\xA1",
					   "\xF0\x8F\xBF\xBF",
					   "\xF4\x90\x80\x80",
					   "\xF8\x88\x80\x80\x80",
					   "\xFE",
					   "12345678\xFF",
					   "1234567\xC3" };

	(void)state;
	assert_true(utf8_is_valid((struct slice){ NULL, 0 }));
	assert_true(utf8_is_valid(SLICE("12345678\0"
					"12345\xC3\xA9\xE2\x80\xA8\xF0\x9F\x98\x80\xF4\x8F\xBF\xBF")));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (utf8_is_valid(slice_of(bad[i])))
			fail_msg("case %zu was accepted", i);
}

/* What is escaped is sound JSON, and unescapes to what it was. */
static void assert_round_trip(struct slice text)
{
	struct buf json = { 0 }, back = { 0 };
	size_t len;

	buf_add_json(&json, text);
	buf_add_char(&json, '"');
	if (!memchr(text.at, '\0', text.len)) {
		assert_int_equal(jsontext_scan(buf_slice(&json), &len), JSONTEXT_SOUND);
		assert_int_equal(len, json.len - 1);
	}
	assert_true(jsontext_unescape((struct slice){ json.data, json.len - 1 }, &back));
	assert_true(utf8_is_valid(buf_slice(&back)));
	if (utf8_is_valid(text))
		assert_true(slice_equal(buf_slice(&back), text));
	buf_fini(&json);
	buf_fini(&back);
}

static void test_json_round_trip(void **state)
{
	(void)state;
	for (int first = 0; first < 256; first++)
		for (int second = 0; second < 256; second++) {
			char pair[2] = { (char)first, (char)second };

			assert_round_trip((struct slice){ pair, 2 });
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scan_finds_the_end),
		cmocka_unit_test(test_scan_finds_the_flaw),
		cmocka_unit_test(test_scan_stops_at_the_end),
		cmocka_unit_test(test_unescape),
		cmocka_unit_test(test_lone_surrogates_are_replaced),
		cmocka_unit_test(test_malformed_escapes),
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_json_round_trip),
	};

	return cmocka_run_group_tests_name("jsontext", tests, NULL, NULL);
}
