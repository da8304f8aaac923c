#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "walpush/base/fails.h"

static void they_are_in_the_order_of_lines(void **state)
{
	struct fails all = { 0 };

	(void)state;
	assert_false(fails_add(&all, "f", 9, "third"));
	assert_false(fails_add(&all, "f", 2, "first, %d", 1));
	assert_false(fails_add(&all, "f", 9, "fourth"));
	assert_false(fails_add(&all, "f", 5, "second"));
	assert_int_equal(all.n, 4);
	assert_int_equal(all.more, 0);
	assert_string_equal(all.at[0].text, "f:2: first, 1");
	assert_string_equal(all.at[1].text, "f:5: second");
	assert_string_equal(all.at[2].text, "f:9: third");
	assert_string_equal(all.at[3].text, "f:9: fourth");
	assert_int_equal(all.at[2].line, 9);
	fails_fini(&all);
}

/* Whatever the order in which they are found. */
static void those_of_the_first_lines_are_kept(void **state)
{
	struct fails all = { 0 };

	(void)state;
	for (unsigned line = 1; line <= 40; line++)
		fails_add(&all, "f", 1000 + line, "x");
	for (unsigned line = 30; line > 0; line--)
		fails_add(&all, "f", line, "x");
	fails_add(&all, "f", 2000, "x");
	assert_int_equal(all.n, FAILS_MOST);
	assert_int_equal(all.more, 71 - FAILS_MOST);
	for (unsigned i = 0; i < FAILS_MOST; i++)
		assert_int_equal(all.at[i].line, i < 30 ? i + 1 : 1000 + i - 29);
	fails_fini(&all);
}

static void expect_line(const unsigned *lines, size_t n, const char *wanted)
{
	struct fails all = { 0 };
	struct fail why;

	for (size_t i = 0; i < n; i++)
		fails_add(&all, "f", lines[i], "%0*u", lines[i] == 1 ? 600 : 1, lines[i]);
	assert_false(fails_end(&all, &why));
	assert_non_null(strstr(why.text, wanted));
	assert_int_equal(all.n, 0);
	assert_null(all.at);
}

static void one_line_says_the_first_and_how_many_there_are(void **state)
{
	struct fails none = { 0 };
	struct fail why;

	(void)state;
	assert_true(fails_end(&none, &why));
	expect_line((const unsigned[]){ 7 }, 1, "f:7: 7");
	expect_line((const unsigned[]){ 7, 3 }, 2, "f:3: 3; and 1 more error: walpush check lists them");
	expect_line((const unsigned[]){ 7, 3, 1 }, 3, "00; and 2 more errors: walpush check lists them");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(they_are_in_the_order_of_lines),
		cmocka_unit_test(those_of_the_first_lines_are_kept),
		cmocka_unit_test(one_line_says_the_first_and_how_many_there_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
