/* Which tables may have a row filter, how it is written, and which conditions let every row through that a section counts. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "mapping.h"
#include "walpush/rules/rowfilter.h"

#define STREAM "streams = { s = { path = \"/a/<x>/\" admit = \"SELECT 1\" groups = [ \"g\" ] } }\n"
#define HEAD "type = \"r\" key = \"k\" groups = [ \"g_{unit_id}\" ] "
#define WHEN "when = ( { column = \"status\" equals = \"A\" } ) "
#define BOTH "when = ( { column = \"status\" equals = \"A\" }, { column = \"unit_id\" equals = 5 } ) "
#define FLAG "when = ( { column = \"Is \\\"It\" equals = true } ) "
#define SECTION(more) "requests = { " HEAD more " } "
#define SECOND(more) "others = { from = \"requests\" " HEAD more " } "
#define CRATES(more) "crates = { " HEAD more " } "
#define CONF(sections) MAPPING_BASE STREAM "tables = { " sections "}\n"

static const struct rules_table *requests_of(const struct rules *r)
{
	size_t i = 0;

	while (strcmp(rules_table(r, i)->name, "requests") != 0)
		i++;
	return rules_table(r, i);
}

static struct rules *rules_of(const char *text, struct conf **conf)
{
	struct fail why = { 0 };
	struct rules *r;

	*conf = conf_parse("t.conf", slice_of(text), &why);
	r = *conf ? rules_new(*conf, &why) : NULL;
	if (!r)
		fail_msg("%s", why.text);
	return r;
}

static void which_tables_may_have_one(void **state)
{
	static const struct {
		const char *conf, *unfit;
	} cases[] = {
		{ CONF(SECTION(WHEN)), NULL },
		{ CONF(SECTION(WHEN) SECOND(BOTH)), NULL },
		{ CONF(SECTION(WHEN "quiet = [ \"note\" ]")), NULL },
		{ CONF(SECTION(WHEN) CRATES("lookup = \"SELECT 1 AS x\"")), NULL },
		{ CONF(SECTION("")), "a section counts all its rows" },
		{ CONF(SECTION(WHEN) SECOND("")), "a section counts all its rows" },
		{ CONF(SECTION(WHEN "actions = { a = { column = \"status\" becomes = \"A\" } }")),
		  "a section has actions, which name the change" },
		{ CONF(SECTION(WHEN "lookup = \"SELECT 1 AS x\"")),
		  "a section asks a query, and what it is told depends on all changes" },
		{ CONF(SECTION(WHEN "data-query = \"SELECT 1\"")),
		  "a section asks a query, and what it is told depends on all changes" },
		{ CONF("requests = { " HEAD WHEN "actor = \"user_id\" } } actor = { query = \"SELECT {id}\" "),
		  "a section asks a query, and what it is told depends on all changes" },
		{ CONF(SECTION(WHEN) CRATES("lookup = \"SELECT 1 AS x\" data-query = \"SELECT 1\"")),
		  "a section has a lookup and a data-query, which may read it" },
		{ CONF("requests = { type = \"r\" key = \"k\" groups = [ \"g_{old.unit_id}\" ] " WHEN "}"),
		  "a section names {old.…}" },
		{ CONF("requests = { groups = [ \"g_{unit_id}\" ] message = \"{ \\\"a\\\": \\\"{old.note}\\\" }\" " WHEN
		       "}"),
		  "a section names {old.…}" },
		{ CONF(SECTION(WHEN)) "membership = { requests = { user = \"user_id\" } }\n", "it decides permission" },
		{ CONF(CRATES(WHEN)) "membership = { requests = { user = \"user_id\" } }\n", "it decides permission" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct conf *conf;
		struct rules *r = rules_of(cases[i].conf, &conf);
		const char *unfit = rowfilter_unfit(r, requests_of(r));

		assert_string_equal(unfit ? unfit : "fit", cases[i].unfit ? cases[i].unfit : "fit");
		rules_free(r);
		conf_free(conf);
	}
}

static void how_it_is_written(void **state)
{
	struct conf *conf;
	struct rules *r = rules_of(CONF(SECTION(FLAG) SECOND(BOTH)), &conf);
	struct buf out = { 0 };

	(void)state;
	rowfilter_add(&out, requests_of(r));
	assert_string_equal(out.data, "(\"Is \"\"It\" = 'true') OR (status = 'A' AND unit_id = '5')");
	buf_fini(&out);
	rules_free(r);
	conf_free(conf);
}

/* As PostgreSQL 13 to 18 print them, and what somebody may have written. */
static void which_conditions_keep_all_that_counts(void **state)
{
	static const struct {
		const char *conf, *condition;
		bool keeps;
	} cases[] = {
		{ CONF(SECTION(WHEN)), "((status)::text = 'A'::text)", true },
		{ CONF(SECTION(WHEN)), "(status = 'A'::text)", true },
		{ CONF(SECTION(WHEN)), "(status = E'A'::text)", true },
		{ CONF(SECTION(WHEN)), "((status)::character varying = 'A'::character varying)", true },
		{ CONF(SECTION(WHEN)), "(status = 'A'::bpchar)", true },
		{ CONF(SECTION(WHEN)), "(status = 'A'::\"char\")", true },
		{ CONF(SECTION(WHEN)), "((status = 'B'::text) OR (status = 'A'::text))", true },
		{ CONF(SECTION(WHEN)), "((unit_id = 1) AND (status = 'B'::text)) OR (status = 'A'::text)", true },
		{ CONF(SECTION(WHEN)), "(status = 'B'::text)", false },
		{ CONF(SECTION(WHEN)), "(status = 'A''B'::text)", false },
		{ CONF(SECTION(WHEN)), "(status = 'A) OR (status = A'::text)", false },
		{ CONF(SECTION(WHEN)), "(status <> 'B'::text)", false },
		{ CONF(SECTION(WHEN)), "(NOT (status = 'A'::text))", false },
		{ CONF(SECTION(WHEN)), "((status = 'A'::text) AND (unit_id = 5))", false },
		{ CONF(SECTION(WHEN)), "((status = 'A'::text) AND note)", false },
		{ CONF(SECTION(WHEN)), "((status = 'A'::text) = true)", false },
		{ CONF(SECTION(WHEN)), "((status)::character varying(1) = 'A'::text)", false },
		{ CONF(SECTION(WHEN)), "((status)::integer = 'A'::text)", false },
		{ CONF(SECTION(WHEN)), "(lower(status) = 'A'::text)", false },
		{ CONF(SECTION(WHEN)), "(status IS NOT NULL)", false },
		{ CONF(SECTION(WHEN)), "(status = ANY (ARRAY['A'::text, 'B'::text]))", false },
		{ CONF(SECTION(WHEN)), "(\"Status\" = 'A'::text)", false },
		{ CONF(SECTION(WHEN)), "('A'::text = 'A'::text)", false },
		{ CONF(SECTION(WHEN)), "(status = 'A'::text", false },
		{ CONF(SECTION(WHEN)), "(status = 'A'::text))", false },
		{ CONF(SECTION(WHEN)), "(status = 'A", false },
		{ CONF(SECTION(WHEN)), "(status = ", false },
		{ CONF(SECTION(WHEN)), "", false },
		{ CONF(SECTION(WHEN)), "true", false },
		{ CONF(SECTION(BOTH)), "((status = 'A'::text) AND (unit_id = 5))", true },
		{ CONF(SECTION(BOTH)), "((status = 'A'::text) AND (unit_id = '5'::bigint))", true },
		{ CONF(SECTION(BOTH)), "((status = 'A'::text) AND (unit_id = (5)::numeric))", true },
		{ CONF(SECTION(BOTH)), "((status = 'A'::text) AND (unit_id = -5))", false },
		{ CONF(SECTION(BOTH)), "(status = 'A'::text)", true },
		{ CONF(SECTION(FLAG)), "\"Is \"\"It\"", true },
		{ CONF(SECTION(FLAG)), "(\"Is \"\"It\" = true)", true },
		{ CONF(SECTION(FLAG)), "(\"Is \"\"It\" = false)", false },
		{ CONF(SECTION(WHEN) SECOND(FLAG)), "((status = 'A'::text) OR \"Is \"\"It\")", true },
		{ CONF(SECTION(WHEN) SECOND(FLAG)), "(status = 'A'::text)", false },
		{ CONF(SECTION("when = ( { column = \"status\" equals = \"it's a\\\\b\" } )")),
		  "(status = E'it''s a\\\\b'::text)", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct conf *conf;
		struct rules *r = rules_of(cases[i].conf, &conf);

		if (rowfilter_keeps(cases[i].condition, requests_of(r)) != cases[i].keeps)
			fail_msg("%zu: %s", i, cases[i].condition);
		rules_free(r);
		conf_free(conf);
	}
}

static void parentheses_are_bounded(void **state)
{
	char deep[10001] = { 0 };
	struct conf *conf;
	struct rules *r = rules_of(CONF(SECTION(WHEN)), &conf);

	(void)state;
	memset(deep, '(', sizeof(deep) - 1);
	assert_false(rowfilter_keeps(deep, requests_of(r)));
	rules_free(r);
	conf_free(conf);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(which_tables_may_have_one),
		cmocka_unit_test(how_it_is_written),
		cmocka_unit_test(which_conditions_keep_all_that_counts),
		cmocka_unit_test(parentheses_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
