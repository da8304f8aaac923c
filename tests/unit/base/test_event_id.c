#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "walpush/base/event_id.h"

static struct slice exact(const char *text)
{
	char *block = malloc(strlen(text) + !*text);

	memcpy(block, text, strlen(text));
	return (struct slice){ block, strlen(text) };
}

static bool parse_lsn(const char *text, lsn_t *out)
{
	struct slice s = exact(text);
	bool good = lsn_parse(s, out);

	free((char *)s.at);
	return good;
}

static bool parse_id(const char *text, struct event_id *out)
{
	struct slice s = exact(text);
	bool good = event_id_parse(s, out);

	free((char *)s.at);
	return good;
}

static void test_format(void **state)
{
	char text[EVENT_ID_TEXT_MAX];

	(void)state;
	assert_int_equal(event_id_format(text, (struct event_id){ 0x16B3748, 2 }), 11);
	assert_string_equal(text, "0/16B3748-2");
	event_id_format(text, (struct event_id){ 0, 0 });
	assert_string_equal(text, "0/0-0");
	assert_int_equal(event_id_format(text, (struct event_id){ UINT64_MAX, UINT32_MAX }), EVENT_ID_TEXT_MAX - 1);
	assert_string_equal(text, "FFFFFFFF/FFFFFFFF-4294967295");
	assert_int_equal(lsn_format(text, UINT64_MAX), LSN_TEXT_MAX - 1);
	assert_int_equal(lsn_format(text, UINT64_C(0x100000000)), 3);
	assert_string_equal(text, "1/0");
}

static void test_round_trip(void **state)
{
	static const lsn_t lsns[] = {
		0, 1, 0x16B3748, UINT32_MAX, UINT64_C(1) << 32, UINT64_C(0xABCDEF0123456789), UINT64_MAX
	};
	static const uint32_t indexes[] = { 0, 1, 9, 10, 4294967294u, UINT32_MAX };
	char text[EVENT_ID_TEXT_MAX];
	struct event_id id;
	lsn_t lsn;

	(void)state;
	for (size_t i = 0; i < sizeof(lsns) / sizeof(lsns[0]); i++) {
		lsn_format(text, lsns[i]);
		assert_true(parse_lsn(text, &lsn));
		assert_true(lsn == lsns[i]);
		for (size_t j = 0; j < sizeof(indexes) / sizeof(indexes[0]); j++) {
			event_id_format(text, (struct event_id){ lsns[i], indexes[j] });
			assert_true(parse_id(text, &id));
			assert_true(id.lsn == lsns[i]);
			assert_true(id.index == indexes[j]);
		}
	}
}

static void test_lower_case_and_leading_zeros(void **state)
{
	struct event_id id;

	(void)state;
	assert_true(parse_id("0000000a/00ff00FF-007", &id));
	assert_true(id.lsn == UINT64_C(0xA00FF00FF));
	assert_int_equal(id.index, 7);
}

static void test_hostile_lsns(void **state)
{
	static const char *const bad[] = { "",      "/",     "0",           "0/",          "/0",          "0//0",
					   "0/0/0", "0/0 ",  " 0/0",        "0 /0",        "-1/0",        "+1/0",
					   "0/-1",  "0x1/0", "000000001/0", "0/000000001", "1/123456789", "g/0",
					   "0/g",   "0\\0",  "0/0-",        "0/0\n",       "٠/٠",         "@/0",
					   "`/0",   ":/0",   "G/0" };
	lsn_t lsn;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse_lsn(bad[i], &lsn))
			fail_msg("\"%s\" was accepted", bad[i]);
	assert_false(lsn_parse((struct slice){ "0/0\0", 4 }, &lsn));
	assert_false(lsn_parse((struct slice){ NULL, 0 }, &lsn));
}

static void test_hostile_ids(void **state)
{
	static const char *const bad[] = { "",
					   "-",
					   "-1",
					   "0/0",
					   "0/0-",
					   "0/0--1",
					   "0/0-+1",
					   "0/0- 1",
					   "0/0-1 ",
					   "0/0-1-1",
					   "0/0-a",
					   "0/0-4294967296",
					   "0/0-18446744073709551616",
					   "0/0-99999999999999999999999999",
					   "0/0-1.0",
					   "0/0-1\n",
					   "000000000/0-1",
					   "0/0-0x1",
					   "0-0",
					   "0/0–1" };
	struct event_id id;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse_id(bad[i], &id))
			fail_msg("\"%s\" was accepted", bad[i]);
	assert_false(event_id_parse((struct slice){ "0/0-1\0", 6 }, &id));
}

static void test_order(void **state)
{
	static const struct event_id ascending[] = {
		{ 0, 0 }, { 0, UINT32_MAX }, { 1, 0 }, { 1, 1 }, { 1, 2 }, { UINT64_C(1) << 32, 0 }, { UINT64_MAX, 0 },
	};
	size_t n = sizeof(ascending) / sizeof(ascending[0]);

	(void)state;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n; j++)
			assert_int_equal(event_id_compare(ascending[i], ascending[j]), i < j ? -1 : i > j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_lower_case_and_leading_zeros),
		cmocka_unit_test(test_hostile_lsns),
		cmocka_unit_test(test_hostile_ids),
		cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests_name("event_id", tests, NULL, NULL);
}
