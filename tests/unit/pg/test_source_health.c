/* How long the source waits, what it says of itself, and what counts as success. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "source_health.h"

#define SECOND 1000000

static struct source_health health;

static int open_health(void **state)
{
	(void)state;
	source_health_init(&health);
	return 0;
}

static int64_t fails(const char *sqlstate, const char *text, bool slow, int64_t now)
{
	struct fail why = { 0 };

	fail_set(&why, "%s", text);
	strcpy(why.sqlstate, sqlstate);
	return source_health_fails(&health, "walpush", &why, slow, now);
}

/* The random part is full, so each wait is known by its upper bound alone. */
static void waits_grow_up_to_a_bound(void **state)
{
	static const struct {
		const char *sqlstate;
		bool slow;
		int64_t first, most;
	} cases[] = {
		{ "57P03", false, SECOND / 10, 5 * SECOND }, { "", false, SECOND / 10, 5 * SECOND },
		{ "42704", false, 5 * SECOND, 15 * SECOND }, { "", true, 5 * SECOND, 15 * SECOND },
		{ "55006", false, SECOND / 10, 5 * SECOND },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int64_t bound = cases[i].first, longest = 0;

		source_health_init(&health);
		for (int k = 0; k < 200; k++) {
			int64_t wait = fails(cases[i].sqlstate, "x", cases[i].slow, k);

			assert_in_range(wait, 1, bound);
			bound = 2 * bound < cases[i].most ? 2 * bound : cases[i].most;
			longest = wait > longest ? wait : longest;
		}
		assert_true(longest > cases[i].most / 2);
	}
}

static void another_process_may_hold_the_slot(void **state)
{
	(void)state;
	fails("55006", "active", false, 0);
	assert_true(health.held_by_other);
	assert_non_null(health.fix);
	fails("08006", "gone", false, 0);
	assert_false(health.held_by_other);
	assert_null(health.fix);
	assert_string_equal(health.trouble.text, "gone");
}

/* f: it fails, D: a stream ends, p: something new came, r: the owner refuses a record, h1: it has handled what commits before 1. */
static void only_progress_ends_the_trouble(void **state)
{
	static const struct {
		const char *events;
		unsigned deaths;
		bool is_well;
	} cases[] = {
		{ "p", 0, true },        { "f", 0, false },       { "fp", 0, true },     { "fDfD", 2, false },
		{ "fDfDp", 0, true },    { "fDrp", 1, false },    { "fDrh1p", 0, true }, { "h5fDrh4p", 1, false },
		{ "h5fDrh6p", 0, true }, { "fDrph9fp", 0, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		source_health_init(&health);
		for (const char *c = cases[i].events; *c; c++) {
			if (*c == 'f')
				fails("", "x", false, 0);
			else if (*c == 'D')
				health.deaths++;
			else if (*c == 'p')
				source_health_progress(&health);
			else if (*c == 'r')
				source_health_refuse(&health);
			else if (*c == 'h')
				source_health_handled(&health, (lsn_t)(*++c - '0'));
		}
		if (health.deaths != cases[i].deaths || !health.trouble.text[0] != cases[i].is_well)
			fail_msg("%s", cases[i].events);
		assert_true(!cases[i].is_well || (health.soon.tries == 0 && health.slow.tries == 0));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(waits_grow_up_to_a_bound, open_health),
		cmocka_unit_test_setup(another_process_may_hold_the_slot, open_health),
		cmocka_unit_test_setup(only_progress_ends_the_trouble, open_health),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
