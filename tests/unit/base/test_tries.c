/* When is a place of the stream given up? */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "walpush/base/tries.h"

#define S 1000000

struct failure {
	lsn_t place;
	int64_t at; /* s */
	bool given_up;
};

static void play_tries(const struct failure *all, size_t n)
{
	struct tries t = { 0 };

	for (size_t i = 0; i < n; i++)
		if (tries_failed(&t, all[i].place, all[i].at * S, 30 * S) != all[i].given_up)
			fail_msg("failure %zu at %lld s", i, (long long)all[i].at);
}

#define PLAY_TRIES(...)                                                                                                \
	play_tries((struct failure[])__VA_ARGS__, sizeof((struct failure[])__VA_ARGS__) / sizeof(struct failure))

static void a_place_is_given_up_after_three_times_and_half_a_minute(void **state)
{
	(void)state;
	PLAY_TRIES({ { 7, 100, false }, { 7, 115, false }, { 7, 130, true }, { 7, 131, true } });
	/* Often, but not long; long, but not often. */
	PLAY_TRIES({ { 7, 100, false }, { 7, 101, false }, { 7, 102, false }, { 7, 129, false }, { 7, 130, true } });
	PLAY_TRIES({ { 7, 100, false }, { 7, 500, false }, { 7, 501, true } });
}

static void another_place_begins_anew(void **state)
{
	(void)state;
	PLAY_TRIES({ { 7, 100, false }, { 7, 131, false }, { 8, 132, false }, { 8, 133, false }, { 8, 162, true } });
	PLAY_TRIES({ { 7, 100, false }, { 8, 110, false }, { 7, 131, false }, { 7, 140, false }, { 7, 161, true } });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_is_given_up_after_three_times_and_half_a_minute),
		cmocka_unit_test(another_place_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
