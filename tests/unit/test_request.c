/* The headers of an upgrade, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "walpush/request.h"

static void keys(void **state)
{
	static const char *const bad[] = { "",
					   "==",
					   "dGhlIHNhbXBsZSBub25jZQ=",
					   "dGhlIHNhbXBsZSBub25jZQ",
					   "dGhlIHNhbXBsZSBub25jZQ===",
					   "dGhlIHNhbXBsZSBub25jZQ==,dGhlIHNhbXBsZSBub25jZQ==",
					   "dGhlIHNhbXBsZSBub25jZ-==",
					   "dGhlIHNhbXBsZSBub25 ZQ==",
					   "dGhlIHNhbXBsZSBub25jZ===",
					   "AAAAAAAAAAAAAAAAAAAAAAAA" };

	(void)state;
	assert_true(request_key_is_sound(SLICE("dGhlIHNhbXBsZSBub25jZQ==")));
	assert_true(request_key_is_sound(SLICE("++++++++++++++//////AA==")));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(request_key_is_sound(slice_of(bad[i])));
	assert_false(request_key_is_sound(SLICE("dGhlIHNhbXBsZSBub\0jjZQ==")));
}

static void lists(void **state)
{
	(void)state;
	assert_true(request_list_has(SLICE("Upgrade"), SLICE("upgrade"), true));
	assert_true(request_list_has(SLICE("keep-alive, Upgrade"), SLICE("upgrade"), true));
	assert_true(request_list_has(SLICE(" ,, \tUPGRADE ,x"), SLICE("upgrade"), true));
	assert_false(request_list_has(SLICE(""), SLICE("upgrade"), true));
	assert_false(request_list_has(SLICE(","), SLICE(""), true));
	assert_false(request_list_has(SLICE("keep-alive"), SLICE("upgrade"), true));
	assert_false(request_list_has(SLICE("upgraded, up, x-upgrade, up grade"), SLICE("upgrade"), true));
	assert_false(request_list_has(SLICE("upgrade;q=1"), SLICE("upgrade"), true));
	assert_true(request_list_has(SLICE("other, walpush"), SLICE("walpush"), false));
	assert_false(request_list_has(SLICE("other, Walpush"), SLICE("walpush"), false));
	assert_false(request_list_has((struct slice){ NULL, 0 }, SLICE("upgrade"), true));
}

static void assert_bearer(const char *header, const char *token)
{
	assert_true(slice_equal(request_bearer(slice_of(header)), slice_of(token)));
}

static void bearers(void **state)
{
	(void)state;
	assert_bearer("Bearer a.b.c", "a.b.c");
	assert_bearer("bearer   a.b.c ", "a.b.c");
	assert_bearer("Bearer a.b.c,Bearer d.e.f", "a.b.c,Bearer d.e.f");
	assert_bearer("Bearer", "");
	assert_bearer("Bearer ", "");
	assert_bearer("Bearera.b.c", "");
	assert_bearer("Basic a.b.c", "");
	assert_bearer(" Bearer a.b.c", "");
	assert_bearer("", "");
}

static void arguments(void **state)
{
	struct slice value;

	(void)state;
	assert_true(request_argument(SLICE("token=a=b"), SLICE("token"), &value));
	assert_true(slice_equal(value, SLICE("a=b")));
	assert_true(request_argument(SLICE("token="), SLICE("token"), &value));
	assert_int_equal(value.len, 0);
	assert_false(request_argument(SLICE("token"), SLICE("token"), &value));
	assert_false(request_argument(SLICE("tokens=x"), SLICE("token"), &value));
	assert_false(request_argument(SLICE("Token=x"), SLICE("token"), &value));
	assert_false(request_argument(SLICE("xtoken=x"), SLICE("token"), &value));
	assert_false(request_argument(SLICE(""), SLICE("token"), &value));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys),
		cmocka_unit_test(lists),
		cmocka_unit_test(bearers),
		cmocka_unit_test(arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
