/* files: from which limit on a start is possible, and what its refusal says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "walpush/base/files.h"

static void test_the_least_limit(void **state)
{
	static const struct {
		unsigned hubs;
		uint64_t least;
	} cases[] = { { 1, 120 }, { 2, 128 }, { 4, 144 }, { 64, 624 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fail why = { 0 };
		char needs[64];

		assert_true(files_suffice(cases[i].least, cases[i].hubs, &why));
		assert_true(files_suffice(UINT64_MAX, cases[i].hubs, &why));
		assert_string_equal(why.text, "");
		assert_false(files_suffice(cases[i].least - 1, cases[i].hubs, &why));
		snprintf(needs, sizeof(needs), "needs %u ", (unsigned)cases[i].least);
		assert_non_null(strstr(why.text, needs));
		assert_false(files_suffice(0, cases[i].hubs, &why));
	}
}

static void test_the_refusal_names_limit_need_and_fix(void **state)
{
	struct fail why = { 0 };

	(void)state;
	assert_false(files_suffice(24, 1, &why));
	assert_string_equal(why.text,
			    "the limit of open files is 24, and walpush with 1 thread needs 120 to serve its first "
			    "clients; raise it (ulimit -n, LimitNOFILE)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_least_limit),
		cmocka_unit_test(test_the_refusal_names_limit_need_and_fix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
