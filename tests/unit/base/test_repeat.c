/* A trouble that continues is logged once, and then from time to time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/base/repeat.h"

static enum log_level level_of(struct repeat *r, const char *text, int64_t now, unsigned times)
{
	unsigned got;
	enum log_level level = repeat_level(r, LOG_LEVEL_ERROR, text, now, &got);

	assert_int_equal(got, times);
	return level;
}

static void the_same_is_logged_again_after_a_while(void **state)
{
	struct repeat r = { 0 };

	(void)state;
	assert_false(repeat_end(&r));
	assert_int_equal(level_of(&r, "it fails", 1, 1), LOG_LEVEL_ERROR);
	assert_int_equal(level_of(&r, "it fails", 2, 1), LOG_LEVEL_DEBUG);
	assert_int_equal(level_of(&r, "it fails", REPEAT_EVERY, 2), LOG_LEVEL_DEBUG);
	assert_int_equal(level_of(&r, "it fails", REPEAT_EVERY + 1, 3), LOG_LEVEL_ERROR);
	assert_int_equal(level_of(&r, "it fails", REPEAT_EVERY + 2, 1), LOG_LEVEL_DEBUG);
	assert_int_equal(level_of(&r, "it fails otherwise", REPEAT_EVERY + 3, 1), LOG_LEVEL_ERROR);
	assert_true(repeat_end(&r));
	assert_int_equal(level_of(&r, "it fails otherwise", REPEAT_EVERY + 4, 1), LOG_LEVEL_ERROR);
}

/* There are more streams than entries. What is said of one says nothing of another, even if the words are the same. */
static void things_that_share_an_entry_are_all_logged(void **state)
{
	struct repeat table[REPEAT_TABLE] = { 0 };
	char name[32];

	(void)state;
	for (int i = 0; i < 3 * REPEAT_TABLE; i++) {
		snprintf(name, sizeof(name), "stream %d", i);
		assert_int_equal(level_of(repeat_for(table, name), "reads a view", i + 1, 1), LOG_LEVEL_ERROR);
		assert_int_equal(level_of(repeat_for(table, name), "reads a view", i + 1, 1), LOG_LEVEL_DEBUG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_is_logged_again_after_a_while),
		cmocka_unit_test(things_that_share_an_entry_are_all_logged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
