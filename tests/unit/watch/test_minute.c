/* What counters say of the last minute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "walpush/watch/minute.h"

static void expect(const struct minute *m, unsigned bad, unsigned all)
{
	assert_int_equal(minute_sum(m).bad, bad);
	assert_int_equal(minute_sum(m).all, all);
}

static void a_minute_and_no_more(void **state)
{
	struct minute m = { 0 };

	(void)state;
	expect(&m, 0, 0);
	minute_take(&m, 3, 10);
	expect(&m, 3, 10);
	for (unsigned i = 1; i < MINUTE_SECONDS; i++)
		minute_take(&m, 3, 10);
	expect(&m, 3, 10);
	minute_take(&m, 3, 11);
	expect(&m, 0, 1);
	for (unsigned i = 0; i < MINUTE_SECONDS; i++)
		minute_take(&m, 3, 11);
	expect(&m, 0, 0);
}

static void each_second_counts(void **state)
{
	struct minute m = { 0 };

	(void)state;
	for (unsigned i = 1; i <= 1000; i++)
		minute_take(&m, i, 2 * i);
	expect(&m, MINUTE_SECONDS, 2 * MINUTE_SECONDS);
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(a_minute_and_no_more),
						   cmocka_unit_test(each_second_counts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
