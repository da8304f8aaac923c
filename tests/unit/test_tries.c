/* When is a place of the stream given up, and for how long has nothing moved? */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "walpush/progress.h"
#include "walpush/tries.h"

#define S 1000000

/* --- tries -------------------------------------------------------------------------------------------------------- */

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

/* --- progress ----------------------------------------------------------------------------------------------------- */

struct look {
	int64_t at; /* s */
	struct progress_facts facts;
	int64_t stalled; /* s, afterwards */
};

static void play(const struct look *all, size_t n)
{
	struct progress p = { 0 };

	for (size_t i = 0; i < n; i++) {
		progress_look(&p, &all[i].facts, all[i].at * S);
		if (progress_stalled(&p, all[i].at * S) != all[i].stalled * S)
			fail_msg("look %zu at %lld s: %lld", i, (long long)all[i].at,
				 (long long)progress_stalled(&p, all[i].at * S) / S);
	}
}

#define PLAY(...) play((struct look[])__VA_ARGS__, sizeof((struct look[])__VA_ARGS__) / sizeof(struct look))

static void nothing_stalls_while_nothing_waits(void **state)
{
	(void)state;
	PLAY({ { 1, { false, 10, 10, false, false }, 0 },
	       { 100, { false, 10, 10, false, false }, 0 },
	       { 200, { true, 10, 10, false, false }, 100 } });
}

static void what_moves_does_not_stall(void **state)
{
	(void)state;
	PLAY({ { 1, { true, 10, 10, false, false }, 0 },
	       { 11, { true, 10, 10, false, false }, 10 },
	       { 12, { true, 11, 11, false, false }, 0 }, /* handled */
	       { 22, { true, 11, 11, false, false }, 10 },
	       { 23, { true, 11, 15, false, false }, 0 }, /* received */
	       { 33, { true, 11, 15, true, false }, 0 },  /* at work */
	       { 43, { true, 11, 15, false, false }, 10 } });
}

/* A commit that nobody may see yet: others come behind it, and the walsender is at work for them. */
static void what_comes_behind_one_that_waits_is_no_progress(void **state)
{
	(void)state;
	PLAY({ { 1, { true, 10, 20, false, true }, 0 },
	       { 11, { true, 10, 25, false, true }, 10 },
	       { 21, { true, 10, 30, true, true }, 20 },
	       { 22, { true, 20, 30, false, true }, 0 }, /* handled */
	       { 23, { true, 20, 35, false, true }, 1 },
	       { 24, { true, 30, 40, false, false }, 0 },
	       { 25, { true, 30, 45, false, false }, 0 } }); /* a long one comes */
}

/* The stream comes again and again up to the same record: furthest does not grow, and handled does not either. */
static void what_comes_again_is_no_progress(void **state)
{
	(void)state;
	PLAY({ { 1, { true, 10, 20, false, false }, 0 },
	       { 2, { true, 10, 12, false, false }, 1 },
	       { 3, { true, 10, 20, false, false }, 2 },
	       { 33, { true, 10, 20, false, false }, 32 },
	       { 34, { true, 10, 21, false, false }, 0 } });
}

/* Another slot, or a server restored from a backup: positions may go back. */
static void what_goes_back_is_no_progress_and_what_follows_is(void **state)
{
	(void)state;
	PLAY({ { 1, { true, 10, 10, false, false }, 0 },
	       { 5, { true, 3, 10, false, false }, 4 },
	       { 6, { true, 4, 10, false, false }, 0 } });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_place_is_given_up_after_three_times_and_half_a_minute),
		cmocka_unit_test(another_place_begins_anew),
		cmocka_unit_test(nothing_stalls_while_nothing_waits),
		cmocka_unit_test(what_moves_does_not_stall),
		cmocka_unit_test(what_comes_behind_one_that_waits_is_no_progress),
		cmocka_unit_test(what_comes_again_is_no_progress),
		cmocka_unit_test(what_goes_back_is_no_progress_and_what_follows_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
