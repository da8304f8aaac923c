/* Is a text the secret? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/base/secret.h"

static void only_the_whole_secret_is_equal(void **state)
{
	const struct slice secret = SLICE("0123456789abcdef");

	(void)state;
	assert_true(secret_equal(SLICE("0123456789abcdef"), secret));
	assert_false(secret_equal(SLICE("0123456789abcdeF"), secret));
	assert_false(secret_equal(SLICE("1123456789abcdef"), secret));
	assert_false(secret_equal(SLICE("0123456789abcde"), secret));
	assert_false(secret_equal(SLICE("0123456789abcdef0"), secret));
	assert_false(secret_equal(SLICE("0123456789abcdef0123456789abcdef"), secret));
	assert_false(secret_equal(SLICE(""), secret));
}

static void nothing_equals_an_empty_secret(void **state)
{
	(void)state;
	assert_false(secret_equal(SLICE(""), SLICE("")));
	assert_false(secret_equal(SLICE("x"), SLICE("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_whole_secret_is_equal),
		cmocka_unit_test(nothing_equals_an_empty_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
