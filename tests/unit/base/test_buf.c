#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "walpush/base/buf.h"

static void test_adds(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_int_equal(buf_slice(&b).len, 0);
	assert_non_null(buf_slice(&b).at);
	buf_add_text(&b, "a");
	buf_add_char(&b, '\0');
	buf_add_slice(&b, SLICE("bc"));
	buf_add(&b, NULL, 0);
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.data, "a\0bc", 5); /* terminated */
	buf_clear(&b);
	assert_int_equal(b.len, 0);
	assert_string_equal(b.data, "");
	buf_fini(&b);
	assert_null(b.data);
	buf_clear(&b);
	buf_fini(&b);
}

static void test_numbers(void **state)
{
	static const struct {
		uint64_t n;
		const char *text;
	} cases[] = { { 0, "0" },
		      { 9, "9" },
		      { 10, "10" },
		      { 4294967296, "4294967296" },
		      { UINT64_MAX, "18446744073709551615" } };
	struct buf b = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_clear(&b);
		buf_add_u64(&b, cases[i].n);
		assert_string_equal(b.data, cases[i].text);
	}
	buf_fini(&b);
}

static void test_growth_keeps_the_bytes(void **state)
{
	struct buf b = { 0 };

	(void)state;
	for (int i = 0; i < 100000; i++)
		buf_add_char(&b, (char)('a' + i % 26));
	assert_int_equal(b.len, 100000);
	for (int i = 0; i < 100000; i++)
		assert_int_equal(b.data[i], 'a' + i % 26);
	memset(buf_reserve(&b, 300000), 'z', 300000);
	b.len += 300000;
	assert_int_equal(b.data[99999], 'a' + 99999 % 26);
	buf_fini(&b);
}

static void test_format(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_addf(&b, "%d-", 7);
	buf_addf(&b, "%s", "");
	buf_addf(&b, "%0200d", 1); /* longer than the first allocation */
	assert_int_equal(b.len, 202);
	assert_memory_equal(b.data, "7-000", 5);
	assert_string_equal(b.data + 200, "01");
	buf_fini(&b);
}

static void test_steal(void **state)
{
	struct buf b = { 0 };
	char *text = buf_steal(&b);

	(void)state;
	assert_string_equal(text, "");
	free(text);
	buf_add_text(&b, "mine");
	text = buf_steal(&b);
	assert_string_equal(text, "mine");
	assert_null(b.data);
	assert_int_equal(b.len, 0);
	free(text);
}

static void assert_json(struct slice bytes, const char *expected)
{
	struct buf b = { 0 };

	buf_add_json(&b, bytes);
	assert_string_equal(b.data, expected);
	buf_fini(&b);
}

static void test_json(void **state)
{
	(void)state;
	assert_json(SLICE(""), "");
	assert_json(SLICE("plain"), "plain");
	assert_json(SLICE("\"\\/"), "\\\"\\\\/");
	assert_json(SLICE("\b\f\n\r\t"), "\\b\\f\\n\\r\\t");
	assert_json(SLICE("a\0b\x01\x1F\x7F"), "a\\u0000b\\u0001\\u001f\x7F");
	assert_json(SLICE("\xC3\xA9 \xE2\x80\xA8 \xF0\x9F\x98\x80"), "\xC3\xA9 \xE2\x80\xA8 \xF0\x9F\x98\x80");
}

#define REPLACED "\xEF\xBF\xBD"

static void test_json_replaces_what_is_not_utf8(void **state)
{
	(void)state;
	assert_json(SLICE("a\xFFz"), "a" REPLACED "z");
	assert_json(SLICE("\xC0\xAF"), REPLACED REPLACED);              /* not the shortest form */
	assert_json(SLICE("\xED\xA0\x80"), REPLACED REPLACED REPLACED); /* a surrogate */
	assert_json(SLICE("\xF4\x90\x80\x80"), REPLACED REPLACED REPLACED REPLACED);
	assert_json(SLICE("\xE2\x82"), REPLACED REPLACED); /* cut */
	assert_json(SLICE("\xC3\"x"), REPLACED "\\\"x");   /* a cut sequence swallows no quote */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_adds),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_growth_keeps_the_bytes),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_steal),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_json_replaces_what_is_not_utf8),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
