/* When a round begins, how much of it goes out at a time, and how evenly what is asked again is spread. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "rounds.h"
#include "verdict.h"

#define MS ((int64_t)1000)
#define S (1000 * MS)

/* --- rounds ------------------------------------------------------------------------------------------------------- */

struct moment {
	int64_t at;     /* ms */
	size_t waiting; /* that a change stopped since the last round */
	size_t answers; /* that come then */
	uint64_t n;     /* rounds afterwards */
};

static void play(const struct moment *all, size_t n)
{
	struct rounds r = { 0 };
	size_t waiting = 0;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < all[i].answers; k++)
			rounds_left(&r);
		waiting += all[i].waiting;
		if (waiting && rounds_may_begin(&r, all[i].at * MS)) {
			rounds_begin(&r, waiting, all[i].at * MS);
			waiting = 0;
		}
		if (r.n != all[i].n)
			fail_msg("moment %zu: %llu rounds", i, (unsigned long long)r.n);
	}
}

#define PLAY(...) play((struct moment[])__VA_ARGS__, sizeof((struct moment[])__VA_ARGS__) / sizeof(struct moment))

static void the_first_begins_at_once_and_the_next_5_s_later(void **state)
{
	(void)state;
	PLAY({ { 7, 2, 0, 1 }, { 20, 0, 2, 1 }, { 30, 2, 0, 1 }, { 5006, 0, 0, 1 }, { 5007, 0, 0, 2 } });
	/* After a rest at once. */
	PLAY({ { 7, 2, 0, 1 }, { 20, 0, 2, 1 }, { 9000, 2, 0, 2 } });
	/* A clock that begins at zero. */
	PLAY({ { 0, 2, 0, 1 }, { 20, 0, 2, 1 }, { 30, 2, 0, 1 }, { 5000, 0, 0, 2 } });
}

static void changes_during_a_round_make_one_more(void **state)
{
	(void)state;
	PLAY({ { 7, 3, 0, 1 },
	       { 200, 1, 1, 1 },
	       { 400, 1, 1, 1 },
	       { 600, 1, 1, 1 },
	       { 5007, 0, 0, 2 },
	       { 5010, 0, 3, 2 },
	       { 20000, 0, 0, 2 } });
}

static void a_long_round_is_not_overtaken(void **state)
{
	(void)state;
	PLAY({ { 7, 3, 0, 1 }, { 200, 1, 1, 1 }, { 30000, 0, 1, 1 }, { 60000, 0, 0, 1 }, { 60001, 0, 1, 2 } });
}

/* Five changes a second for a minute, which everybody hears of. */
static void a_minute_of_changes_is_twelve_rounds(void **state)
{
	struct rounds r = { 0 };
	uint64_t n;

	(void)state;
	for (int64_t at = 0; at < 60 * S; at += 200 * MS) {
		if (rounds_may_begin(&r, at))
			rounds_begin(&r, 10000, at);
		while (r.left)
			rounds_left(&r);
	}
	n = r.n;
	assert_int_equal(n, 12);
}

/* A void answer is no answer; but a round ends, whatever changes. */
static void who_has_a_void_answer_is_asked_three_times_a_round(void **state)
{
	struct rounds r = { 0 };
	struct round_tries one, two;

	(void)state;
	rounds_begin(&r, 2, 7 * MS);
	one = two = rounds_tried(&r);
	rounds_left(&r);
	rounds_left(&r);
	for (int i = 1; i < ROUND_TRIES; i++) { /* also when it was the last that the round waited for */
		assert_true(rounds_again(&r, &one));
		assert_false(rounds_may_begin(&r, 60 * S));
		rounds_left(&r);
	}
	assert_false(rounds_again(&r, &one));
	assert_true(rounds_may_begin(&r, 60 * S));
	rounds_begin(&r, 1, 60 * S);
	assert_false(rounds_again(&r, &two)); /* which is not in this one */
	one = rounds_tried(&r);
	rounds_left(&r);
	assert_true(rounds_again(&r, &one));
}

static void who_was_in_no_round_waits_for_one(void **state)
{
	struct rounds r = { 0 };
	struct round_tries none = { 0 };

	(void)state;
	assert_false(rounds_again(&r, &none));
	rounds_begin(&r, 1, 7 * MS);
	assert_false(rounds_again(&r, &none));
}

/* --- shares ------------------------------------------------------------------------------------------------------- */

static void answer_all(struct share *s, int64_t now)
{
	while (s->left) {
		bool done = rounds_share_answered(s, now);

		assert_int_equal(done, s->left == 0);
	}
}

static void one_share_is_out_at_a_time(void **state)
{
	struct share s = { 0 };

	(void)state;
	assert_int_equal(rounds_share_room(&s, 0), SHARE_QUERIES);
	rounds_share_sent(&s, 3, S);
	assert_int_equal(rounds_share_room(&s, 3), 0);
	assert_false(rounds_share_answered(&s, S));
	assert_false(rounds_share_answered(&s, S));
	assert_int_equal(rounds_share_room(&s, 1), 0);
	assert_true(rounds_share_answered(&s, S));
	assert_int_equal(rounds_share_room(&s, 0), SHARE_QUERIES);
}

static void who_comes_is_first(void **state)
{
	struct share s = { 0 };

	(void)state;
	assert_int_equal(rounds_share_room(&s, SHARE_BEHIND - 1), SHARE_QUERIES);
	assert_int_equal(rounds_share_room(&s, SHARE_BEHIND), 0);
}

static void a_slow_database_gets_smaller_shares(void **state)
{
	static const struct {
		int64_t took;
		unsigned size;
	} all[] = { { SHARE_US, 16 }, { SHARE_US + 1, 8 }, { S, 4 },  { S, 2 },        { S, 1 },
		    { S, 1 },         { MS, 2 },           { MS, 4 }, { SHARE_US, 8 }, { MS, 16 } };
	struct share s = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		rounds_share_sent(&s, rounds_share_room(&s, 0), S);
		answer_all(&s, S + all[i].took);
		assert_int_equal(rounds_share_room(&s, 0), all[i].size);
	}
}

static void a_queue_that_stands_is_given_up_and_one_that_moves_is_not(void **state)
{
	struct share s = { .moved = S };
	int64_t limit = 5 * S, now = S;

	(void)state;
	assert_false(rounds_share_stands(&s, now + VERDICT_PATIENCE * limit - 1, limit));
	assert_true(rounds_share_stands(&s, now + VERDICT_PATIENCE * limit, limit));
	for (int i = 0; i < 100; i++) { /* slow, and long */
		now += 4 * S;
		rounds_share_sent(&s, 1, now - 4 * S);
		answer_all(&s, now);
		assert_false(rounds_share_stands(&s, now + 4 * S, limit));
	}
}

/* --- as time passes ----------------------------------------------------------------------------------------------- */

static void rechecks_are_spread_evenly(void **state)
{
	static const struct {
		size_t n;
		int64_t every, tick;
	} all[] = { { 10000, 60 * S, 100 * MS }, { 3, S, 100 * MS }, { 1, 3600 * S, 100 * MS }, { 7, S, 130 * MS } };

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct recheck r = { 0 };
		size_t sum = 0, most = 0;

		for (int64_t at = S; at <= S + 10 * all[i].every; at += all[i].tick) {
			size_t due = rounds_recheck_due(&r, all[i].n, all[i].every, at);

			sum += due;
			most = due > most ? due : most;
		}
		assert_in_range(sum, 10 * all[i].n - 1 - 10 * all[i].n / 100, 10 * all[i].n);
		assert_in_range(most, 1, (size_t)((int64_t)all[i].n * all[i].tick / all[i].every) + 1);
	}
}

static void after_a_pause_nobody_is_asked_twice(void **state)
{
	struct recheck r = { 0 };

	(void)state;
	assert_int_equal(rounds_recheck_due(&r, 100, S, S), 0);
	assert_int_equal(rounds_recheck_due(&r, 100, S, 50 * S), 100);
	assert_int_equal(rounds_recheck_due(&r, 100, S, 50 * S), 0);
	assert_int_equal(rounds_recheck_due(&r, 0, S, 51 * S), 0);
	assert_int_equal(rounds_recheck_due(&r, 2, S, 51 * S + 500 * MS), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_begins_at_once_and_the_next_5_s_later),
		cmocka_unit_test(changes_during_a_round_make_one_more),
		cmocka_unit_test(a_long_round_is_not_overtaken),
		cmocka_unit_test(a_minute_of_changes_is_twelve_rounds),
		cmocka_unit_test(who_has_a_void_answer_is_asked_three_times_a_round),
		cmocka_unit_test(who_was_in_no_round_waits_for_one),
		cmocka_unit_test(one_share_is_out_at_a_time),
		cmocka_unit_test(who_comes_is_first),
		cmocka_unit_test(a_slow_database_gets_smaller_shares),
		cmocka_unit_test(a_queue_that_stands_is_given_up_and_one_that_moves_is_not),
		cmocka_unit_test(rechecks_are_spread_evenly),
		cmocka_unit_test(after_a_pause_nobody_is_asked_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
