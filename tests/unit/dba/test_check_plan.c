/* check_plan: what EXPLAIN prints, read. The documents are PostgreSQL's, shortened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "check_plan.h"

#define PLAN(node) "[{\"Plan\": " node "}]"

static struct plan parsed(const char *json)
{
	struct fail why = { 0 };
	struct plan plan;

	if (!plan_parse(json, &plan, &why))
		fail_msg("%s", why.text);
	return plan;
}

static void test_an_index_scan(void **state)
{
	struct plan plan = parsed(PLAN("{\"Node Type\": \"Index Scan\", \"Schema\": \"public\", \"Relation Name\": "
				       "\"users\", \"Total Cost\": 8.17, \"Index Cond\": \"(users.id = $1)\"}"));

	(void)state;
	assert_true(plan.cost > 8.1 && plan.cost < 8.2);
	assert_int_equal(plan.n_scans, 0);
	assert_false(plan.writes);
	plan_fini(&plan);
}

static void test_scans_below_other_nodes(void **state)
{
	struct plan plan =
		parsed(PLAN("{\"Node Type\": \"Nested Loop\", \"Total Cost\": 500, \"Plans\": ["
			    "{\"Node Type\": \"Seq Scan\", \"Schema\": \"public\", \"Relation Name\": \"user\","
			    " \"Filter\": \"(u.active AND (u.unit_id = $2))\"},"
			    "{\"Node Type\": \"Hash\", \"Plans\": [{\"Node Type\": \"Seq Scan\", \"Schema\": \"Odd\","
			    " \"Relation Name\": \"units\"}]}]}"));

	(void)state;
	assert_int_equal(plan.n_scans, 2);
	assert_string_equal(plan.scans[0].table, "public.\"user\"");
	assert_string_equal(plan.scans[0].column, "unit_id");
	assert_string_equal(plan.scans[1].table, "\"Odd\".units");
	assert_null(plan.scans[1].column);
	plan_fini(&plan);
}

static void test_the_column_of_a_filter(void **state)
{
	static const struct {
		const char *filter, *column;
	} cases[] = {
		{ "(u.unit_id = $1)", "unit_id" },
		{ "((name)::text = $1)", "name" },
		{ "(((u.name)::text = $1) AND (id > 3))", NULL },
		{ "(lower(name) = $1)", NULL },
		{ "(lower((name)::text) = $1)", NULL },
		{ "(\\\"Odd\\\" = $1)", NULL },
		{ "(a > 3)", NULL },
		{ " = $1", NULL },
		{ ")::t = $1", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct buf json = { 0 };
		struct plan plan;

		buf_addf(&json,
			 PLAN("{\"Node Type\": \"Seq Scan\", \"Schema\": \"s\", \"Relation Name\": \"t\","
			      " \"Filter\": \"%s\"}"),
			 cases[i].filter);
		plan = parsed(json.data);
		if (cases[i].column)
			assert_string_equal(plan.scans[0].column, cases[i].column);
		else
			assert_null(plan.scans[0].column);
		plan_fini(&plan);
		buf_fini(&json);
	}
}

static void test_what_writes_or_locks(void **state)
{
	static const char *const types[] = { "ModifyTable", "LockRows" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct buf json = { 0 };
		struct plan plan;

		buf_addf(&json, PLAN("{\"Node Type\": \"Limit\", \"Plans\": [{\"Node Type\": \"%s\"}]}"), types[i]);
		plan = parsed(json.data);
		assert_true(plan.writes);
		plan_fini(&plan);
		buf_fini(&json);
	}
}

static void test_more_scans_than_are_kept(void **state)
{
	struct buf json = { 0 };
	struct plan plan;

	(void)state;
	buf_add_text(&json, "[{\"Plan\": {\"Node Type\": \"Append\", \"Plans\": [");
	for (int i = 0; i < 3 * PLAN_SCANS_MOST; i++)
		buf_addf(&json, "%s{\"Node Type\": \"Seq Scan\", \"Schema\": \"s\", \"Relation Name\": \"t\"}",
			 i ? "," : "");
	buf_add_text(&json, "]}}]");
	plan = parsed(json.data);
	assert_int_equal(plan.n_scans, PLAN_SCANS_MOST);
	plan_fini(&plan);
	buf_fini(&json);
}

static void test_what_is_no_plan(void **state)
{
	static const char *const texts[] = { "", "[]", "{}", "[{}]", "[{\"Plan\": ", "null" };
	struct fail why;
	struct plan plan;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_false(plan_parse(texts[i], &plan, &why));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_index_scan),
		cmocka_unit_test(test_scans_below_other_nodes),
		cmocka_unit_test(test_the_column_of_a_filter),
		cmocka_unit_test(test_what_writes_or_locks),
		cmocka_unit_test(test_more_scans_than_are_kept),
		cmocka_unit_test(test_what_is_no_plan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
