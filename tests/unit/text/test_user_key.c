/* One user, spelled in many ways: two keys where PostgreSQL sees one are a revocation that is not noticed. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "walpush/text/user_key.h"

#define UUID "6fa459ea-ee8a-3ca4-894e-db77e160355e"

static void each_has_its_key(void **state)
{
	static const struct {
		const char *text, *key;
	} cases[] = {
		{ UUID, UUID },
		{ "6FA459EA-EE8A-3CA4-894E-DB77E160355E", UUID },
		{ "{6fa459ea-ee8a-3ca4-894e-db77e160355e}", UUID },
		{ "6fa459eaee8a3ca4894edb77e160355e", UUID },
		{ "6fa4-59ea-ee8a-3ca4-894e-db77-e160-355e", UUID },
		{ "{6FA459ea-ee8a3ca4-894edb77e160355e}", UUID },
		/* What uuid refuses is a text. */
		{ "6fa459ea-ee8a-3ca4-894e-db77e160355", "6fa459ea-ee8a-3ca4-894e-db77e160355" },
		{ "6fa459ea-ee8a-3ca4-894e-db77e160355e-", "6fa459ea-ee8a-3ca4-894e-db77e160355e-" },
		{ "{6fa459ea-ee8a-3ca4-894e-db77e160355e", "{6fa459ea-ee8a-3ca4-894e-db77e160355e" },
		{ "6fa459ea-ee8a-3ca4-894e-db77e160355e}", "6fa459ea-ee8a-3ca4-894e-db77e160355e}" },
		{ " 6fa459ea-ee8a-3ca4-894e-db77e160355e", " 6fa459ea-ee8a-3ca4-894e-db77e160355e" },
		{ "6f-a459eaee8a3ca4894edb77e160355e", "6f-a459eaee8a3ca4894edb77e160355e" },
		{ "7", "7" },
		{ "+7", "7" },
		{ "007", "7" },
		{ " \t\n7\r ", "7" },
		{ "0x7", "7" },
		{ "0X1f", "31" },
		{ "0o17", "15" },
		{ "0b101", "5" },
		{ "1_000", "1000" },
		{ "0x_ff", "255" },
		{ "-0", "0" },
		{ "0", "0" },
		{ "-12", "-12" },
		{ "9223372036854775807", "9223372036854775807" },
		{ "-9223372036854775808", "-9223372036854775808" },
		{ "09223372036854775807", "9223372036854775807" },
		/* What int8 refuses is a text. */
		{ "9223372036854775808", "9223372036854775808" },
		{ "-9223372036854775809", "-9223372036854775809" },
		{ "99999999999999999999999", "99999999999999999999999" },
		{ "1__0", "1__0" },
		{ "1_", "1_" },
		{ "_1", "_1" },
		{ "0x", "0x" },
		{ "7.0", "7.0" },
		{ "- 7", "- 7" },
		{ "7 7", "7 7" },
		{ "", "" },
		{ " ", " " },
		{ "bob", "bob" },
		{ "Bob", "Bob" },
		/* Both a number and a UUID without hyphens. */
		{ "00000000000000000000000000000005", "5" },
		{ "00000000-0000-0000-0000-000000000005", "5" },
		{ "0000000000000000000000000000000a", "00000000-0000-0000-0000-00000000000a" },
		{ "11111111111111111111111111111111", "11111111-1111-1111-1111-111111111111" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct buf key = { 0 }, again = { 0 };

		buf_add_text(&key, "");
		buf_add_text(&again, "");
		user_key(cases[i].text, &key);
		assert_string_equal(key.len ? key.data : "", cases[i].key);
		/* What PostgreSQL prints for it has the same key. */
		user_key(cases[i].key, &again);
		assert_string_equal(again.len ? again.data : "", cases[i].key);
		buf_fini(&key);
		buf_fini(&again);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_has_its_key) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
