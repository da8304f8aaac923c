/* What is asked, and how it is written into a URL; and keys as a person writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "parts.h"

static void a_question_survives_the_url(void **state)
{
	char user[] = "a b&c=%", path[] = "/ws/x%20y/?z";
	struct explain_question q = { .kind = EXPLAIN_USER, .user = user, .path = path };
	struct explain_question again;
	struct fail why;
	struct buf out = { 0 };

	(void)state;
	q.claims = json_pack("{s:s}", "role", "ü&+");
	explain_question_write(&q, &out);
	assert_true(explain_question_read(buf_slice(&out), &again, &why));
	assert_int_equal(again.kind, EXPLAIN_USER);
	assert_string_equal(again.user, q.user);
	assert_string_equal(again.path, q.path);
	assert_true(json_equal(again.claims, q.claims));
	json_decref(q.claims);
	explain_question_fini(&again);
	buf_fini(&out);
}

static void each_kind_is_read(void **state)
{
	struct explain_question q;
	struct fail why;

	(void)state;
	assert_true(explain_question_read(SLICE("table=requests&key=1"), &q, &why) && q.kind == EXPLAIN_ROW);
	explain_question_fini(&q);
	assert_true(explain_question_read(SLICE("event=0/16B3748-2"), &q, &why) && q.kind == EXPLAIN_EVENT);
	assert_true(q.event.lsn == 0x16B3748 && q.event.index == 2);
	assert_true(explain_question_read(SLICE("find=x"), &q, &why) && q.kind == EXPLAIN_FIND);
	explain_question_fini(&q);
}

static void what_is_no_question_is_refused(void **state)
{
	static const char *const bad[] = { "",
					   "user=7",
					   "path=/",
					   "user=7&path=",
					   "table=a",
					   "key=1",
					   "event=7",
					   "find=",
					   "find=%FF",
					   "find=%00",
					   "find=x&event=0/1-1",
					   "user=1&path=/&table=a&key=1",
					   "user=1&path=/&claims=",
					   "user=1&path=/&claims=[]",
					   "user=1&path=/&claims={%22a%22:1}",
					   "user=1&path=/&claims={%22a%22:%22b%22,%22a%22:%22c%22}" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct explain_question q;
		struct fail why = { 0 };

		if (explain_question_read(slice_of(bad[i]), &q, &why))
			fail_msg("%s is read", bad[i]);
		assert_true(*why.text && !q.user && !q.claims);
	}
}

static void expect_key(const char *text, size_t n, const char *values)
{
	json_t *key = explain_key_read(text, n), *wanted = values ? json_loads(values, 0, NULL) : NULL;

	assert_int_equal(key != NULL, wanted != NULL);
	assert_true(!wanted || json_equal(key, wanted));
	json_decref(key);
	json_decref(wanted);
}

static void keys_are_read_as_they_are_written(void **state)
{
	(void)state;
	expect_key("123", 1, "[\"123\"]");
	expect_key("it's", 1, "[\"it's\"]");
	expect_key("\"a\\\"b\"", 1, "[\"a\\\"b\"]");
	expect_key("[x]", 1, "[\"[x]\"]");
	expect_key("\"", 1, "[\"\\\"\"]");
	expect_key("[1, \"a\", true]", 3, "[\"1\",\"a\",\"true\"]");
	expect_key("[1]", 2, NULL);
	expect_key("1", 2, NULL);
	expect_key("[1", 2, NULL);
}

static void keys_of_messages_are_known_again(void **state)
{
	(void)state;
	assert_true(explain_key_is("123", "123"));
	assert_true(explain_key_is("\"ab\"", "ab"));
	assert_true(explain_key_is("\"ab\"", "\"ab\""));
	assert_true(explain_key_is("\"a\\\"b\"", "a\"b"));
	assert_true(explain_key_is("[1,\"a\"]", "[1, \"a\"]"));
	assert_false(explain_key_is("\"ab\"", "a"));
	assert_false(explain_key_is("\"ab\"", "abc"));
	assert_false(explain_key_is("1234", "123"));
	assert_false(explain_key_is("[1,\"a\"]", "[2,\"a\"]"));
	assert_false(explain_key_is("", "1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_question_survives_the_url),      cmocka_unit_test(each_kind_is_read),
		cmocka_unit_test(what_is_no_question_is_refused),   cmocka_unit_test(keys_are_read_as_they_are_written),
		cmocka_unit_test(keys_of_messages_are_known_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
