/* The world of the program: the loop's timer, the clock, and a connection that never comes up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "outside.h"
#include "parts.h"
#include "walpush/base/clock.h"

static struct event_base *loop;
static struct resolve *names;
static struct outside_pipes pipes;
static struct conf_database conf;
static struct outside *outside;

static void on_state(void *ctx, bool up, const struct fail *why)
{
	(void)ctx;
	(void)up;
	(void)why;
}

static int open_outside(void **state)
{
	static char url[] = "postgresql:///x?host=/nowhere", zone[] = "UTC";

	(void)state;
	conf = (struct conf_database){ .url = url, .timezone = zone, .connect_timeout = 1000, .statement_timeout = 1 };
	loop = event_base_new();
	names = resolve_new(loop, false);
	pipes.rows = sqlpipe_new(loop, names, "visibility", &conf, NULL, on_state, NULL);
	for (size_t i = 0; i < 2; i++)
		pipes.questions[i] = sqlpipe_new(loop, names, "lookups", &conf, NULL, on_state, NULL);
	outside = outside_new(loop, &pipes);
	return 0;
}

static int close_outside(void **state)
{
	(void)state;
	outside_free(outside);
	sqlpipe_free(pipes.rows);
	for (size_t i = 0; i < 2; i++)
		sqlpipe_free(pipes.questions[i]);
	resolve_free(names);
	event_base_free(loop);
	return 0;
}

static void count(void *ctx)
{
	++*(unsigned *)ctx;
}

static void the_timer_is_due_once(void **state)
{
	unsigned n = 0;

	(void)state;
	outside->wake(outside->at, OUTSIDE_TIMER_ROWS, 1, count, &n);
	assert_int_equal(n, 0);
	while (!n)
		event_base_loop(loop, EVLOOP_NONBLOCK);
	event_base_loop(loop, EVLOOP_NONBLOCK);
	assert_int_equal(n, 1);
	outside->wake(outside->at, OUTSIDE_TIMER_ROWS, 1000000, count, &n); /* one that runs goes with the rest */
}

static void the_time_is_that_of_the_clock(void **state)
{
	int64_t before = clock_us(), now = outside->now(outside->at);

	(void)state;
	assert_in_range(now, before, clock_us());
}

static void memory_is_there_or_is_not(void **state)
{
	(void)state;
	assert_true(outside->has_memory(outside->at, 4096));
}

static void on_answer(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	(void)ctx;
	(void)rows;
	(void)why;
	fail_msg("nobody can answer");
}

static void a_question_can_be_forgotten(void **state)
{
	struct sqlpipe_query *q;

	(void)state;
	for (unsigned session = OUTSIDE_ROWS; session <= OUTSIDE_SPARE; session++) {
		q = outside->ask(outside->at, session, "snapshot", "SELECT 1", 0, NULL, on_answer, NULL);
		assert_non_null(q);
		outside->forget(outside->at, session, q);
	}
	event_base_loop(loop, EVLOOP_NONBLOCK);
}

static void the_spare_takes_the_place_of_the_session(void **state)
{
	(void)state;
	assert_true(outside_questions_on(outside, pipes.questions[0]));
	outside->replace(outside->at);
	assert_true(outside_questions_on(outside, pipes.questions[1]));
	assert_false(outside_questions_on(outside, pipes.questions[0]));
	event_base_loop(loop, EVLOOP_NONBLOCK);
	outside->replace(outside->at);
	outside->replace(outside->at);
	event_base_loop(loop, EVLOOP_NONBLOCK);
	assert_true(outside_questions_on(outside, pipes.questions[1]));
	assert_false(outside_questions_on(outside, pipes.rows));
}

static void an_intake_brings_its_own(void **state)
{
	static const struct conf_limits limits = { .bulk = 1, .record_bytes = 1000 };
	static const struct intake_calls calls = { 0 };
	struct intake *in = intake_new(loop, &limits, pipes.rows, pipes.questions, NULL, &calls, NULL);

	(void)state;
	assert_true(intake_is_idle(in));
	intake_free(in);
	intake_free(NULL);
	outside_free(NULL);
}

#define OUTSIDE(test) cmocka_unit_test_setup_teardown(test, open_outside, close_outside)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OUTSIDE(the_timer_is_due_once),     OUTSIDE(the_time_is_that_of_the_clock),
		OUTSIDE(memory_is_there_or_is_not), OUTSIDE(a_question_can_be_forgotten),
		OUTSIDE(an_intake_brings_its_own),  OUTSIDE(the_spare_takes_the_place_of_the_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
