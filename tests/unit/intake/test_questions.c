/* Questions that rows share: who asks once, who asks again, and what is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "held.h"
#include "questions.h"

static const struct question_kind rows_kind = { .failed = "failed", .fix = "fix it" };
static const struct question_kind json_kind = { .failed = "failed", .fix = "fix it", .no_json = "no JSON" };

static char query_name[] = "lookup of x", query_sql[] = "SELECT $1", other_name[] = "lookup of y";
static const struct rules_query query = { .name = query_name, .sql = query_sql };
static const struct rules_query other = { .name = other_name, .sql = query_sql };

static struct questions *questions;
static unsigned answered;

static void on_answered(void *ctx)
{
	(void)ctx;
	answered++;
}

static void nothing(void *ctx)
{
	(void)ctx;
}

static const struct questions_calls calls = { on_answered, nothing, nothing };

static int open_questions(void **state)
{
	(void)state;
	held_open_rules();
	questions = questions_new(&held.outside, metrics_of_tap(held.metrics), &calls, NULL);
	answered = 0;
	return 0;
}

static int close_questions(void **state)
{
	(void)state;
	questions_free(questions);
	questions_free(NULL);
	assert_int_equal(held_n_asked(), 0);
	metrics_free(held.metrics);
	mapping_close(&held.rules);
	buf_fini(&held.told);
	return 0;
}

static struct question *ask(const struct question_kind *kind, const struct rules_query *q, const char *value)
{
	struct question *asked = questions_ask(questions, kind, q, 1, &value);

	questions_sent(questions);
	return asked;
}

/* And the position behind it. */
static void answer(const char *value)
{
	held_answer(false, value);
	while (held_answer_position(NULL)) {
	}
}

static void the_same_question_is_asked_once(void **state)
{
	static const struct {
		const struct rules_query *query;
		const char *value;
		bool is_shared;
	} cases[] = {
		{ &query, "5", true },  { &query, "6", false }, { &query, NULL, false },
		{ &other, "5", false }, { &query, "", false },
	};
	struct question *first = ask(&rows_kind, &query, "5");

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct question *q = ask(&rows_kind, cases[i].query, cases[i].value);

		assert_int_equal(q == first, cases[i].is_shared);
		question_unref(q);
	}
	assert_int_equal(questions_open(questions), 5);
	questions_forget(questions);
	assert_int_equal(questions_open(questions), 1); /* nobody waits for the others */
	question_unref(first);
	question_unref(NULL);
	assert_int_equal(questions_open(questions), 0);
}

static void an_answer_is_shared_until_it_is_forgotten(void **state)
{
	struct question *first = ask(&rows_kind, &query, "5"), *same, *next;

	(void)state;
	assert_false(question_is_answered(first));
	answer("six");
	assert_true(question_is_answered(first));
	assert_int_equal(answered, 2); /* the second time, it is known which commits it may know */
	same = ask(&rows_kind, &query, "5");
	assert_ptr_equal(same, first);
	questions_forget(questions);
	next = ask(&rows_kind, &query, "5");
	assert_ptr_not_equal(next, first);
	assert_string_equal(sqlrows_get(question_rows(first), 0, 0), "six");
	question_unref(first);
	question_unref(same);
	question_unref(next);
}

static void an_answer_that_is_json_counts_while_it_is_held(void **state)
{
	static const struct {
		const char *answer;
		size_t bytes;
	} cases[] = { { "{\"x\":1}", 7 }, { "null", 4 }, { "nonsense", 0 }, { "", 0 }, { "!", 0 }, { "{}{}", 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct question *q = ask(&json_kind, &query, "5");

		answer(cases[i].answer);
		assert_int_equal(questions_bytes(questions), cases[i].bytes);
		assert_int_equal(question_rows(q) != NULL, cases[i].bytes > 0);
		questions_forget(questions);
		assert_int_equal(questions_bytes(questions), cases[i].bytes);
		question_unref(q);
		assert_int_equal(questions_bytes(questions), 0);
	}
}

static void a_failure_has_no_rows_and_is_counted(void **state)
{
	struct question *q = ask(&rows_kind, &query, "5");

	(void)state;
	answer("!");
	assert_true(question_is_answered(q));
	assert_null(question_rows(q));
	assert_int_equal(metrics_of_tap(held.metrics)->cells[METRICS_LOOKUP_FAILURES][0], 1);
	question_unref(q);
}

/* What is kept only because it may be shared has a bound, of questions and of bytes. */
static void so_much_is_shared_and_no_more(void **state)
{
	char value[16];
	struct question *q;

	(void)state;
	for (unsigned i = 0; i < 8191; i++) {
		snprintf(value, sizeof(value), "%u", i);
		question_unref(ask(&rows_kind, &query, value));
		answer("x");
	}
	question_unref(ask(&rows_kind, &query, "0"));
	assert_int_equal(held_n_asked(), 0); /* its answer is kept */
	question_unref(ask(&rows_kind, &query, "last"));
	question_unref(ask(&rows_kind, &query, "more"));
	assert_int_equal(held_n_asked(), 1); /* the last one has gone with the rest, which nobody waits for */
	question_unref(ask(&rows_kind, &query, "0"));
	assert_int_equal(held_n_asked(), 2); /* and is not any more */
	questions_forget(questions);
	assert_int_equal(held_n_asked(), 0);
	q = ask(&json_kind, &query, "large");
	{
		char *large = mem_new(((size_t)1 << 20) + 3);

		memset(large, ' ', (size_t)1 << 20);
		memcpy(large, "[]", 2);
		answer(large);
		free(large);
	}
	question_unref(q);
	question_unref(ask(&json_kind, &query, "large"));
	assert_int_equal(held_n_asked(), 1);
}

#define QUESTIONS(test) cmocka_unit_test_setup_teardown(test, open_questions, close_questions)

int main(void)
{
	const struct CMUnitTest tests[] = {
		QUESTIONS(the_same_question_is_asked_once),
		QUESTIONS(an_answer_is_shared_until_it_is_forgotten),
		QUESTIONS(an_answer_that_is_json_counts_while_it_is_held),
		QUESTIONS(a_failure_has_no_rows_and_is_counted),
		QUESTIONS(so_much_is_shared_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
