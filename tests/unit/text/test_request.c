/* The headers of an upgrade, one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "walpush/text/request.h"

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
					   "dGhlIHNhbXBsZSBub25jZQ=A",
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

static void targets(void **state)
{
	static const char *const clean[] = { "/",
					     "/ws/requests/1/",
					     "/ws/%72equests/%31/?token=a%2Eb&since=%200",
					     "/%20%7e%80%ff%c3%a4",
					     "/\xC3\xA4",
					     "/a?b#c",
					     "*",
					     "http://localhost/x" };
	static const char *const unclean[] = { "",        "/%00",        "/ws/requests/1/%00",
					       "/%00x",   "/%01",        "/%1f",
					       "/%1F",    "/%7f",        "/%7F",
					       "/%0a",    "/%0d%0aX: y", "/?token=abc%00def",
					       "/?a=%09", "/\x01",       "/a\x7F",
					       "/\t",     "/\n",         "/%",
					       "/%0",     "/%zz",        "/%3",
					       "/%g1",    "/%1g",        "/%%41",
					       "/% 41",   "/\x1F" };

	(void)state;
	for (size_t i = 0; i < sizeof(clean) / sizeof(*clean); i++)
		if (!request_target_is_clean(slice_of(clean[i])))
			fail_msg("\"%s\" is refused", clean[i]);
	for (size_t i = 0; i < sizeof(unclean) / sizeof(*unclean); i++)
		if (request_target_is_clean(slice_of(unclean[i])))
			fail_msg("number %zu, \"%s\", passes", i, unclean[i]);
	assert_false(request_target_is_clean(SLICE("/ws/requests/1/\0")));
	assert_false(request_target_is_clean(SLICE("/a\0b")));
	/* What stands behind the slice is not its own. */
	assert_false(request_target_is_clean((struct slice){ "/%41", 3 }));
	for (unsigned c = 0; c < 256; c++) {
		char text[8];

		snprintf(text, sizeof(text), "/%%%02x", c);
		assert_int_equal(request_target_is_clean(slice_of(text)), c >= 0x20 && c != 0x7F);
		text[1] = (char)c;
		if (c != '%')
			assert_int_equal(request_target_is_clean((struct slice){ text, 2 }), c >= 0x20 && c != 0x7F);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys),      cmocka_unit_test(lists),   cmocka_unit_test(bearers),
		cmocka_unit_test(arguments), cmocka_unit_test(targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
