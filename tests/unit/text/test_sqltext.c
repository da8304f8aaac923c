/* Names and literals as SQL writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "walpush/text/sqltext.h"

static void names(void **state)
{
	static const struct {
		const char *name, *written;
	} cases[] = {
		{ "people_2", "people_2" },
		{ "_x", "_x" },
		{ "users", "users" },
		{ "name", "name" }, /* a keyword that is not reserved */
		{ "user", "\"user\"" },
		{ "all", "\"all\"" },   /* the first of the list, */
		{ "with", "\"with\"" }, /* and the last */
		{ "where", "\"where\"" },
		{ "desc", "\"desc\"" },
		{ "authorization", "\"authorization\"" },
		{ "Order", "\"Order\"" },
		{ "2nd", "\"2nd\"" },
		{ "with space", "\"with space\"" },
		{ "O\"Brien", "\"O\"\"Brien\"" },
		{ "caf\xC3\xA9", "\"caf\xC3\xA9\"" },
		{ "", "\"\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct buf out = { 0 };

		sqltext_ident(&out, cases[i].name);
		assert_string_equal(out.data, cases[i].written);
		buf_fini(&out);
	}
}

static void literals(void **state)
{
	struct buf out = { 0 };

	(void)state;
	sqltext_literal(&out, "");
	sqltext_literal(&out, "it's 'so'");
	assert_string_equal(out.data, "'''it''s ''so'''");
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(literals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
