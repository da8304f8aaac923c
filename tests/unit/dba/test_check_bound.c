/* check_bound: the columns with which a plan compares parameters. The documents are PostgreSQL's, shortened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "check_bound.h"

#define SCAN(schema, table, alias, condition)                                                                          \
	"{\"Node Type\": \"Seq Scan\", \"Schema\": \"" schema "\", \"Relation Name\": \"" table                        \
	"\", \"Alias\": \"" alias "\", \"Filter\": \"" condition "\"}"

/* All comparisons of a plan in one text: "1 public.m.user_id". */
static void expect(const char *json, const char *expected)
{
	struct bounds b;
	char text[512] = "";

	bounds_parse(json, &b);
	for (size_t i = 0; i < b.n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%zu %s.%s", i ? ", " : "",
			 b.at[i].parameter, b.at[i].table, b.at[i].column);
	assert_string_equal(text, expected);
	bounds_fini(&b);
}

static void test_both_sides_casts_and_alternatives(void **state)
{
	static const struct {
		const char *json, *expected;
	} cases[] = {
		{ "[{\"Plan\": " SCAN("public", "m", "m", "(m.user_id = $1)") "}]", "1 public.m.user_id" },
		{ "[{\"Plan\": " SCAN("public", "m", "m", "($2 = m.unit)") "}]", "2 public.m.unit" },
		{ "[{\"Plan\": " SCAN("public", "m", "m", "((m.name)::text = $1)") "}]", "1 public.m.name" },
		{ "[{\"Plan\": " SCAN("public", "m", "x", "(x.good OR ((x.a = $1) AND (x.b = ($12)::integer)))") "}]",
		  "1 public.m.a, 12 public.m.b" },
		{ "[{\"Plan\": " SCAN("Odd", "a b", "m", "(m.\\\"is = $3\\\" = $1)") "}]",
		  "1 \"Odd\".\"a b\".\"is = $3\"" },
		{ "[{\"Plan\": " SCAN("public", "m", "m", "(m.t = '(m.a = $1)'::text)") "}]", "" },
		{ "[{\"Plan\": " SCAN("public", "m", "m", "(lower(m.t) = $1)") "}]", "" },
		{ "[{\"Plan\": " SCAN("public", "m", "m", "((m.a > $1) AND (m.b = m.c))") "}]", "" },
		{ "[{\"Plan\": " SCAN("public", "m", "m", "(m.a = $1") "}]", "" },
		{ "[{\"Plan\": {\"Node Type\": \"Nested Loop\", \"Join Filter\": \"(q.unit = $2)\", \"Plans\": [" SCAN(
			  "public", "m", "m", "(q.a = $1)") "]}}]",
		  "" },
		{ "no plan", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		expect(cases[i].json, cases[i].expected);
}

static void test_no_more_than_there_is_room_for(void **state)
{
	char json[4096] =
		"[{\"Plan\": {\"Schema\": \"s\", \"Relation Name\": \"m\", \"Alias\": \"m\", \"Filter\": \"(true";
	struct bounds b;

	(void)state;
	for (int i = 0; i < BOUND_MOST + 3; i++)
		strcat(json, " AND (m.a = $1)");
	strcat(json, ")\"}}]");
	bounds_parse(json, &b);
	assert_int_equal(b.n, BOUND_MOST);
	bounds_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_sides_casts_and_alternatives),
		cmocka_unit_test(test_no_more_than_there_is_room_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
