/* For how long has nothing moved? */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "progress.h"

#define S 1000000

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
		cmocka_unit_test(nothing_stalls_while_nothing_waits),
		cmocka_unit_test(what_moves_does_not_stall),
		cmocka_unit_test(what_comes_behind_one_that_waits_is_no_progress),
		cmocka_unit_test(what_comes_again_is_no_progress),
		cmocka_unit_test(what_goes_back_is_no_progress_and_what_follows_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
