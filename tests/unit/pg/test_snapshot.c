#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "walpush/pg/snapshot.h"

#define WRAP (UINT64_C(1) << 32)

static bool parse(const char *text, struct snapshot *out, struct fail *why)
{
	size_t n = strlen(text);
	char *block = malloc(n ? n : 1);
	bool good;

	memcpy(block, text, n);
	good = snapshot_parse((struct slice){ block, n }, out, why);
	free(block);
	return good;
}

static struct snapshot must_parse(const char *text)
{
	struct snapshot s = { 0 };
	struct fail why;

	if (!parse(text, &s, &why))
		fail_msg("%s: %s", text, why.text);
	return s;
}

static void test_parse(void **state)
{
	struct snapshot s = must_parse("741:750:741,743,749");

	(void)state;
	assert_int_equal(s.xmin, 741);
	assert_int_equal(s.xmax, 750);
	assert_int_equal(s.n_running, 3);
	assert_int_equal(s.running[0], 741);
	assert_int_equal(s.running[1], 743);
	assert_int_equal(s.running[2], 749);
	snapshot_fini(&s);
	assert_null(s.running);
	s = must_parse("18446744073709551614:18446744073709551615:");
	assert_true(s.xmax == UINT64_MAX);
	assert_int_equal(s.n_running, 0);
	snapshot_fini(&s);
}

static void test_many_running(void **state)
{
	char text[4000];
	size_t n = (size_t)snprintf(text, sizeof(text), "1000:1600:");
	struct snapshot s;

	(void)state;
	for (int i = 0; i < 300; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%d", i ? "," : "", 1000 + 2 * i);
	s = must_parse(text);
	assert_int_equal(s.n_running, 300);
	for (uint32_t xid = 1000; xid < 1600; xid++)
		assert_int_equal(snapshot_sees(&s, xid), xid % 2 == 1);
	snapshot_fini(&s);
}

static void test_parse_again_replaces(void **state)
{
	struct snapshot s = must_parse("5:9:5,8");
	struct fail why;

	(void)state;
	assert_false(parse("5:9:x", &s, &why)); /* a refused text leaves the snapshot alone */
	assert_int_equal(s.n_running, 2);
	assert_true(parse("9:9:", &s, &why));
	assert_int_equal(s.n_running, 0);
	assert_int_equal(s.xmax, 9);
	snapshot_fini(&s);
}

static void test_errors(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "", "snapshot, offset 0: expected a transaction id" },
		{ "1", "snapshot, offset 1: expected ':' behind xmin" },
		{ "1:", "snapshot, offset 2: expected a transaction id" },
		{ "1:2", "snapshot, offset 3: expected ':' behind xmax" },
		{ "2:1:", "snapshot, offset 3: expected xmax not before xmin" },
		{ "0:1:", "snapshot, offset 0: expected a transaction id" },
		{ "01:2:", "snapshot, offset 0: expected a transaction id" },
		{ "-1:2:", "snapshot, offset 0: expected a transaction id" },
		{ "+1:2:", "snapshot, offset 0: expected a transaction id" },
		{ " 1:2:", "snapshot, offset 0: expected a transaction id" },
		{ "1:2: ", "snapshot, offset 4: expected a transaction id" },
		{ "1:2:\n", "snapshot, offset 4: expected a transaction id" },
		{ "1:18446744073709551616:", "snapshot, offset 2: expected a transaction id of 64 bits" },
		{ "1:99999999999999999999:", "snapshot, offset 2: expected a transaction id of 64 bits" },
		{ "10:20:9", "snapshot, offset 6: expected the running ids in ascending order between xmin and xmax" },
		{ "10:20:20", "snapshot, offset 6: expected the running ids in ascending order between xmin and xmax" },
		{ "10:20:12,11",
		  "snapshot, offset 9: expected the running ids in ascending order between xmin and xmax" },
		{ "10:20:12,12",
		  "snapshot, offset 9: expected the running ids in ascending order between xmin and xmax" },
		{ "10:20:12,", "snapshot, offset 9: expected a transaction id" },
		{ "10:20:,12", "snapshot, offset 6: expected a transaction id" },
		{ "10:20:12;13", "snapshot, offset 8: expected ',' or the end" },
		{ "10:20:12:", "snapshot, offset 8: expected ',' or the end" },
		{ "10:10:10", "snapshot, offset 6: expected the running ids in ascending order between xmin and xmax" },
	};
	struct snapshot s = { 0 };
	struct fail why;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (parse(cases[i].text, &s, &why))
			fail_msg("\"%s\" was accepted", cases[i].text);
		assert_string_equal(why.text, cases[i].error);
		assert_null(s.running);
	}
}

static void test_sees(void **state)
{
	struct snapshot s = must_parse("741:750:741,743");

	(void)state;
	assert_true(snapshot_sees(&s, 3));
	assert_true(snapshot_sees(&s, 740));
	assert_false(snapshot_sees(&s, 741));
	assert_true(snapshot_sees(&s, 742));
	assert_false(snapshot_sees(&s, 743));
	assert_true(snapshot_sees(&s, 749));
	assert_false(snapshot_sees(&s, 750));
	assert_false(snapshot_sees(&s, 751));
	snapshot_fini(&s);
}

/* wal2json prints 32 bits; the server counts in 64. */
static void test_sees_across_the_wrap(void **state)
{
	struct snapshot s = must_parse("4294967290:4294967300:4294967295,4294967299"); /* 2^32 is 4294967296 */

	(void)state;
	assert_true(snapshot_sees(&s, 4294967289u)); /* before xmin */
	assert_true(snapshot_sees(&s, 4294967294u));
	assert_false(snapshot_sees(&s, 4294967295u)); /* running */
	assert_true(snapshot_sees(&s, 0));            /* 2^32 */
	assert_true(snapshot_sees(&s, 2));
	assert_false(snapshot_sees(&s, 3)); /* 2^32 + 3, running */
	assert_false(snapshot_sees(&s, 4)); /* xmax */
	assert_false(snapshot_sees(&s, 1000));
	snapshot_fini(&s);
}

static void test_sees_in_a_late_epoch(void **state)
{
	char text[100];
	struct snapshot s;

	(void)state;
	snprintf(text, sizeof(text), "%llu:%llu:%llu", 7ull * WRAP + 100, 7ull * WRAP + 110, 7ull * WRAP + 105);
	s = must_parse(text);
	assert_true(snapshot_sees(&s, 99));
	assert_true(snapshot_sees(&s, 104));
	assert_false(snapshot_sees(&s, 105));
	assert_true(snapshot_sees(&s, 109));
	assert_false(snapshot_sees(&s, 110));
	assert_true(snapshot_sees(&s, 4294967295u)); /* of the epoch before */
	snapshot_fini(&s);
}

/* 2^31 behind xmax is still the past; one further would be the future. */
static void test_the_nearest_id_decides(void **state)
{
	char text[100];
	struct snapshot s;

	(void)state;
	snprintf(text, sizeof(text), "%llu:%llu:", 3ull * WRAP, 3ull * WRAP);
	s = must_parse(text);
	assert_true(snapshot_sees(&s, UINT32_C(1) << 31));
	assert_false(snapshot_sees(&s, (UINT32_C(1) << 31) - 1));
	assert_true(snapshot_sees(&s, UINT32_MAX));
	assert_false(snapshot_sees(&s, 0));
	snapshot_fini(&s);
}

/* In the first epoch no id can lie before 0. */
static void test_young_cluster(void **state)
{
	struct snapshot s = must_parse("740:741:740");

	(void)state;
	assert_false(snapshot_sees(&s, 4294967295u));
	assert_false(snapshot_sees(&s, 741));
	assert_true(snapshot_sees(&s, 739));
	snapshot_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_many_running),
		cmocka_unit_test(test_parse_again_replaces),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_sees),
		cmocka_unit_test(test_sees_across_the_wrap),
		cmocka_unit_test(test_sees_in_a_late_epoch),
		cmocka_unit_test(test_the_nearest_id_decides),
		cmocka_unit_test(test_young_cluster),
	};

	return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
