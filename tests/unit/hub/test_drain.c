/* The pace of many closes, and their order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "drain.h"

#define MS INT64_C(1000)
#define S INT64_C(1000000)
#define MANY 1000

static void the_span(void **state)
{
	static const struct {
		uint64_t n;
		int64_t most, span;
	} cases[] = {
		{ 0, 10 * S, 0 },
		{ 1, 10 * S, 10 * MS },
		{ 10, 10 * S, 100 * MS }, /* at the rate, whatever is allowed */
		{ 10, 600 * S, 100 * MS },
		{ 899, 10 * S, 8990 * MS },
		{ 900, 10 * S, 9 * S }, /* from here on faster than the rate: nine tenths */
		{ 901, 10 * S, 9 * S },
		{ 10000, 10 * S, 9 * S },
		{ 10000, 600 * S, 100 * S },
		{ 10, 50 * MS, 45 * MS },
		{ 10, 0, 0 },      /* at once */
		{ 10, -5 * S, 0 }, /* the time was up before */
		{ UINT64_MAX, 600 * S, 540 * S },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(drain_span(cases[i].n, cases[i].most), cases[i].span);
}

static void closes_are_spread_evenly(void **state)
{
	static const struct {
		size_t i, n;
		int64_t span, when;
	} cases[] = {
		{ 0, 1, 10 * MS, 0 },
		{ 0, 10, 100 * MS, 0 },
		{ 1, 10, 100 * MS, 10 * MS },
		{ 9, 10, 100 * MS, 90 * MS },
		{ 9, 10, 0, 0 },
		{ 5000, 10000, 9 * S, 4500 * MS },
		{ 9999, 10000, 9 * S, 8999100 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(drain_when(cases[i].i, cases[i].n, cases[i].span), cases[i].when);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void number(uint64_t ids[MANY])
{
	for (size_t i = 0; i < MANY; i++)
		ids[i] = i;
}

static void a_shuffle_keeps_each_once(void **state)
{
	uint64_t ids[MANY];

	(void)state;
	for (uint64_t seed = 0; seed < 100; seed++) {
		number(ids);
		drain_shuffle(ids, MANY, seed);
		qsort(ids, MANY, sizeof(*ids), by_value);
		for (size_t i = 0; i < MANY; i++)
			assert_int_equal(ids[i], i);
	}
}

/* Of three things each of the six orders comes up as often as the others. */
static void a_shuffle_is_fair(void **state)
{
	unsigned seen[3][3] = { 0 };

	(void)state;
	for (uint64_t seed = 0; seed < 6000; seed++) {
		uint64_t ids[3] = { 0, 1, 2 };

		drain_shuffle(ids, 3, seed);
		seen[ids[0]][ids[1]]++;
	}
	for (size_t a = 0; a < 3; a++)
		for (size_t b = 0; b < 3; b++)
			assert_true(a == b ? seen[a][b] == 0 : seen[a][b] > 850 && seen[a][b] < 1150);
}

static void none_and_one_can_be_shuffled(void **state)
{
	uint64_t id = 7;

	(void)state;
	drain_shuffle(NULL, 0, 1);
	drain_shuffle(&id, 1, 1);
	assert_int_equal(id, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_span),
		cmocka_unit_test(closes_are_spread_evenly),
		cmocka_unit_test(a_shuffle_keeps_each_once),
		cmocka_unit_test(a_shuffle_is_fair),
		cmocka_unit_test(none_and_one_can_be_shuffled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
