/* How far the slot may be confirmed, against a model that remembers every step. Times in µs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "walpush/pg/window.h"

#define AGE 100000
#define PART (AGE / (WINDOW_MARKS - 2) + 1)
#define STEPS 20000

static struct window w;

static int open_window(void **state)
{
	(void)state;
	window_init(&w, AGE, 1000000);
	window_reset(&w, 1000);
	return 0;
}

static void without_an_event_nothing_is_held(void **state)
{
	(void)state;
	assert_int_equal(window_confirm(&w, 0), 1000);
	window_handled(&w, 2000, 10);
	assert_int_equal(window_confirm(&w, 10), 2000);
	window_handled(&w, 3000, AGE);
	assert_int_equal(window_confirm(&w, AGE), 3000);
}

static void what_was_committed_before_lies_below(void **state)
{
	(void)state;
	assert_int_equal(window_before(&w, 0), 1000);
	for (int i = 1; i <= 5; i++)
		window_handled(&w, 1000 + 1000 * (lsn_t)i, i * 2 * PART);
	/* The position stood at 1000 until 2 parts had passed, at 2000 until 4 had. */
	assert_int_equal(window_before(&w, 0), 1000);
	assert_int_equal(window_before(&w, 2 * PART), 1000);
	assert_int_equal(window_before(&w, 2 * PART + 1), 2000);
	assert_int_equal(window_before(&w, 6 * PART), 3000);
	assert_int_equal(window_before(&w, 10 * PART), 5000);
	/* Since the last mark nothing tells one moment from another. */
	assert_int_equal(window_before(&w, 10 * PART + 1), 6000);
	window_reset(&w, 9000);
	assert_int_equal(window_before(&w, 0), 9000);
}

static void an_event_is_held_for_its_age(void **state)
{
	(void)state;
	window_event(&w, 5000);
	window_handled(&w, 2000, 5000);
	assert_int_equal(window_confirm(&w, 5000), 1000);
	window_handled(&w, 3000, 50000);
	assert_int_equal(window_confirm(&w, 5000 + AGE - 1), 1000);
	assert_int_equal(window_confirm(&w, 5000 + AGE), 3000);
}

/* Behind the newest event the slot stands where it stood an age ago, and not before. */
static void what_was_long_ago_is_let_go(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 5; i++) {
		int64_t now = (int64_t)i * 9 * AGE / 10;

		window_event(&w, now);
		window_handled(&w, 1000 + 1000 * i, now);
		assert_int_equal(window_confirm(&w, now), i < 3 ? 1000 : 1000 * (i - 1));
	}
	window_event(&w, 100 * AGE);
	window_handled(&w, 7000, 100 * AGE);
	assert_int_equal(window_confirm(&w, 100 * AGE), 6000);
}

static void the_distance_is_bounded(void **state)
{
	(void)state;
	window_event(&w, 10);
	window_handled(&w, 1001000, 10);
	assert_int_equal(window_confirm(&w, 10), 1000);
	window_handled(&w, 1001001, 20);
	assert_int_equal(window_confirm(&w, 20), 1001);
	window_handled(&w, UINT64_MAX, 30);
	assert_int_equal(window_confirm(&w, 30), UINT64_MAX - 1000000);
}

static void the_handled_position_never_goes_back(void **state)
{
	(void)state;
	window_handled(&w, 3000, 10);
	window_handled(&w, 2000, 20);
	assert_int_equal(w.handled, 3000);
	assert_int_equal(window_confirm(&w, 20), 3000);
}

static void a_reset_forgets_the_history(void **state)
{
	(void)state;
	window_event(&w, 10);
	window_handled(&w, 5000, 10);
	window_reset(&w, 300);
	assert_int_equal(w.handled, 300);
	assert_int_equal(window_confirm(&w, 20), 300);
	window_handled(&w, 400, 30);
	assert_int_equal(window_confirm(&w, 30), 400);
	window_event(&w, 40);
	window_handled(&w, 500, 40);
	assert_int_equal(window_confirm(&w, 40), 300);
}

/* After a restart a backlog is as old as its commits, so what was committed an age ago is let go at once. */
static void a_backlog_is_as_old_as_its_commits(void **state)
{
	int64_t restarted = 50 * AGE;

	(void)state;
	for (unsigned i = 1; i <= 100; i++) { /* one each tenth of an age, the last at `restarted` */
		int64_t at = restarted - (100 - (int64_t)i) * AGE / 10;

		window_event(&w, at);
		window_handled(&w, 1000 + i, at);
	}
	assert_in_range(window_confirm(&w, restarted), 1000 + 89, 1000 + 91);
	assert_int_equal(window_confirm(&w, restarted + AGE), 1100);
}

/* One transaction of long ago holds nothing. */
static void an_old_backlog_is_not_held(void **state)
{
	(void)state;
	window_event(&w, 10);
	window_handled(&w, 5000, 10);
	assert_int_equal(window_confirm(&w, 10 + AGE), 5000);
}

static void nothing_is_held_before_the_first_history(void **state)
{
	(void)state;
	window_init(&w, AGE, 1000000);
	assert_int_equal(window_confirm(&w, 10), 0);
	window_event(&w, 20);
	assert_int_equal(window_confirm(&w, 20), 0);
}

/* Neither bound at all: the slot follows at once. */
static void a_window_may_be_empty(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		window_init(&w, i ? 0 : AGE, i ? 1000000 : 0);
		window_reset(&w, 1000);
		for (unsigned n = 1; n <= 1000; n++) {
			window_event(&w, n);
			window_handled(&w, 1000 + n, n);
			assert_int_equal(window_confirm(&w, n), 1000 + n);
		}
	}
}

/* --- the model -------------------------------------------------------------------------------------------------- */

static struct step {
	int64_t at;
	lsn_t handled; /* from then on */
} steps[STEPS + 1];
static size_t n_steps;
static uint32_t seed;

static uint32_t chance(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

static lsn_t position_at(int64_t at)
{
	size_t low = 0, high = n_steps;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (steps[middle].at <= at)
			low = middle;
		else
			high = middle;
	}
	return steps[low].handled;
}

static lsn_t at_most_behind(lsn_t lsn, lsn_t handled, uint64_t bytes)
{
	return handled - lsn > bytes ? handled - bytes : lsn;
}

static void check(const struct window *of, int64_t now)
{
	struct window copy = *of; /* confirming forgets; the next question may be an earlier one */
	lsn_t got = window_confirm(&copy, now), handled = steps[n_steps - 1].handled;
	lsn_t most = at_most_behind(position_at(now - of->age), handled, of->bytes);
	lsn_t least = at_most_behind(position_at(now - of->age - PART), handled, of->bytes);

	if (!of->has_event || now - of->last_event >= of->age)
		most = least = handled;
	if (got < least || got > most)
		fail_msg("at %lld: %llu is not within %llu and %llu", (long long)now, (unsigned long long)got,
			 (unsigned long long)least, (unsigned long long)most);
}

/* Steps of up to `gap` µs: one in `events` of them is a transaction with messages. */
static void compare_with_the_model(uint32_t gap, uint32_t events, uint64_t bytes)
{
	int64_t now = 7;

	window_init(&w, AGE, bytes);
	window_reset(&w, 1000);
	steps[0] = (struct step){ now, 1000 };
	n_steps = 1;
	while (n_steps <= STEPS) {
		lsn_t lsn = steps[n_steps - 1].handled + 1 + chance(50);

		now += chance(gap);
		if (chance(events) == 0)
			window_event(&w, now);
		window_handled(&w, lsn, now);
		steps[n_steps++] = (struct step){ now, lsn };
		if (chance(10) == 0)
			window_confirm(&w, now);
		check(&w, now);
		check(&w, now + chance(2 * AGE));
	}
}

static void it_agrees_with_a_model_that_forgets_nothing(void **state)
{
	/* From hundreds of steps in each part of the window to none for many windows. */
	static const uint32_t gaps[] = { 2, 10, 300, PART + 2, 3 * PART, 10000, AGE, 5 * AGE };

	(void)state;
	for (size_t i = 0; i < sizeof(gaps) / sizeof(*gaps); i++)
		for (uint32_t run = 1; run < 4; run++) {
			seed = run;
			compare_with_the_model(gaps[i], 1, UINT64_MAX);
			compare_with_the_model(gaps[i], 20, 5000);
			compare_with_the_model(gaps[i], 1000, 100000);
		}
}

static void time_alone_only_lets_go(void **state)
{
	lsn_t last = 0;

	(void)state;
	seed = 1;
	compare_with_the_model(PART, 3, UINT64_MAX);
	for (int64_t now = steps[STEPS].at; now <= steps[STEPS].at + AGE + 10; now += 10) {
		lsn_t got = window_confirm(&w, now);

		assert_true(got >= last);
		last = got;
	}
	assert_int_equal(last, w.handled);
}

#define ON_A_WINDOW(test) cmocka_unit_test_setup(test, open_window)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_A_WINDOW(without_an_event_nothing_is_held),
		ON_A_WINDOW(what_was_committed_before_lies_below),
		ON_A_WINDOW(an_event_is_held_for_its_age),
		ON_A_WINDOW(what_was_long_ago_is_let_go),
		ON_A_WINDOW(the_distance_is_bounded),
		ON_A_WINDOW(the_handled_position_never_goes_back),
		ON_A_WINDOW(a_reset_forgets_the_history),
		ON_A_WINDOW(a_backlog_is_as_old_as_its_commits),
		ON_A_WINDOW(an_old_backlog_is_not_held),
		cmocka_unit_test(nothing_is_held_before_the_first_history),
		cmocka_unit_test(a_window_may_be_empty),
		cmocka_unit_test(it_agrees_with_a_model_that_forgets_nothing),
		cmocka_unit_test(time_alone_only_lets_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
