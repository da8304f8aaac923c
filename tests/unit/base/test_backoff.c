/* How long to wait before the next try. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "walpush/base/backoff.h"

#define DRAWS 2000

/* The shortest and the longest of many waits at that number of tries. */
static void draw(struct backoff b, int64_t *least, int64_t *most)
{
	*least = INT64_MAX;
	*most = INT64_MIN;
	for (unsigned i = 0; i < DRAWS; i++) {
		struct backoff again = b;
		int64_t wait = backoff_next(&again);

		assert_int_equal(again.tries, b.tries + 1);
		*least = wait < *least ? wait : *least;
		*most = wait > *most ? wait : *most;
	}
}

/* Anywhere between nothing and the bound: a chance of 0.9^2000 that this fails by accident. */
static void expect_spread(struct backoff b, int64_t bound)
{
	int64_t least, most;

	draw(b, &least, &most);
	assert_true(least >= 1);
	assert_true(least <= bound / 10);
	assert_true(most <= bound);
	assert_true(most >= bound - bound / 10);
}

static void the_bound_doubles_up_to_the_cap(void **state)
{
	struct backoff b = { .base = 1000, .cap = 50000 };
	static const int64_t bounds[] = { 1000, 2000, 4000, 8000, 16000, 32000, 50000, 50000, 50000 };

	(void)state;
	for (size_t i = 0; i < sizeof(bounds) / sizeof(*bounds); i++) {
		assert_int_equal(b.tries, i);
		expect_spread(b, bounds[i]);
		backoff_next(&b);
	}
	backoff_reset(&b);
	expect_spread(b, 1000);
}

/* A minute, after any number of tries. */
static void many_tries_do_not_overflow(void **state)
{
	(void)state;
	for (unsigned tries = 15; tries < 200; tries++) {
		struct backoff b = { .base = 1000000, .cap = 60000000, .tries = tries };
		int64_t least, most;

		draw(b, &least, &most);
		assert_in_range(least, 1, 60000000);
		assert_in_range(most, 50000000, 60000000);
	}
	expect_spread((struct backoff){ .base = 1000, .cap = 60000000, .tries = UINT32_MAX - 1 }, 60000000);
}

static void the_base_is_capped_too(void **state)
{
	(void)state;
	expect_spread((struct backoff){ .base = 1000, .cap = 100 }, 100);
	for (unsigned i = 0; i < 100; i++) {
		struct backoff b = { .base = 1, .cap = 1 };

		assert_int_equal(backoff_next(&b), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_bound_doubles_up_to_the_cap),
		cmocka_unit_test(many_tries_do_not_overflow),
		cmocka_unit_test(the_base_is_capped_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
