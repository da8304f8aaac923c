#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "walpush/text/jsontmpl.h"

#define SCOPES (1u << TMPL_ROW | 1u << TMPL_OLD | 1u << TMPL_LOOKUP | 1u << TMPL_EVENT)

/* The value of a column is its own name, read as JSON; '?' stands for a quote. */
static void add_value(void *ctx, const struct tmpl_part *part, struct buf *out)
{
	(void)ctx;
	if (part->scope == TMPL_EVENT) {
		buf_addf(out, "\"<%d>\"", part->slot);
		return;
	}
	for (const char *c = part->text; *c; c++)
		buf_add_char(out, *c == '?' ? '"' : *c);
}

static void expect(const char *json, size_t most, const char *wanted)
{
	struct fail why = { 0 };
	struct buf out = { 0 };
	struct jsontmpl t;

	if (!jsontmpl_parse(&t, json, SCOPES, &why))
		fail_msg("%s: %s", json, why.text);
	jsontmpl_fill(&t, add_value, NULL, most, &out);
	assert_string_equal(out.data, wanted);
	buf_fini(&out);
	jsontmpl_fini(&t);
}

static void what_is_no_placeholder_stays_as_written(void **state)
{
	(void)state;
	expect("{}", 0, "{}");
	expect(" { \"a\" : [ 1.50, 123456789012345678901234567890, -0e+07, true, null ],\n\"b\":{\"c\":\"d e\\n\"} } ",
	       0, "{\"a\":[1.50,123456789012345678901234567890,-0e+07,true,null],\"b\":{\"c\":\"d e\\n\"}}");
	expect("{\"a\":\"{{x}}\",\"{{b}}\":\"\\u00e4\\ud83d\\ude00\"}", 0, "{\"a\":\"{x}\",\"{b}\":\"ä😀\"}");
}

static void a_string_that_is_a_placeholder_becomes_a_value(void **state)
{
	(void)state;
	expect("{\"a\":\"{5}\",\"b\":[\"{null}\",\"{\\\"?x?\\\"}\",\"{old.true}\",\"{lookup.\\\"{}\\\"}\"]}", 0,
	       "{\"a\":5,\"b\":[null,\"x\",true,{}]}");
}

static void text_is_asked_for_or_shown_by_what_stands_around(void **state)
{
	(void)state;
	expect("{\"a\":\"{5:text}\",\"b\":\"{null:text}\",\"c\":\"{\\\"?x?\\\":text}\",\"d\":\"{true:text}\"}", 0,
	       "{\"a\":\"5\",\"b\":null,\"c\":\"x\",\"d\":\"true\"}");
	expect("{\"a\":\"Room {5}\",\"b\":\"<{null}>\",\"c\":\"{\\\"?x?\\\"}{5}\",\"d\":\"\\\"{\\\"[?a?]\\\"}\"}", 0,
	       "{\"a\":\"Room 5\",\"b\":\"<>\",\"c\":\"x5\",\"d\":\"\\\"[\\\"a\\\"]\"}");
}

static void words_tell_of_the_event_and_quotes_of_a_column(void **state)
{
	(void)state;
	expect("{\"a\":\"{op}\",\"b\":\"{action} {table}\",\"c\":\"{commit_time}\",\"d\":\"{event_id}\"}", 0,
	       "{\"a\":\"<0>\",\"b\":\"<1> <2>\",\"c\":\"<3>\",\"d\":\"<4>\"}");
	expect("{\"a\":\"{\\\"op\\\":text}\"}", 0, "{\"a\":\"op\"}");
}

static void a_value_that_would_pass_the_bound_is_null(void **state)
{
	(void)state;
	expect("{\"a\":\"{12345}\",\"b\":\"{6}\",\"c\":\"<{789}>\"}", 16, "{\"a\":12345,\"b\":6,\"c\":\"<>\"}");
	expect("{\"a\":\"{1234567890123}\",\"b\":\"{6}\"}", 16, "{\"a\":null,\"b\":6}");
}

static void refuses(const char *json, const char *text)
{
	struct fail why = { 0 };
	struct jsontmpl t;

	assert_false(jsontmpl_parse(&t, json, SCOPES, &why));
	if (!strstr(why.text, text))
		fail_msg("%s: %s", json, why.text);
	assert_int_equal(t.n, 0);
}

static void says_what_is_wrong(void **state)
{
	(void)state;
	refuses("", "JSON");
	refuses("[1]", "no JSON object");
	refuses("{\"a\":1,}", "JSON");
	refuses("{\"a\":1,\"a\":2}", "JSON");
	refuses("{\"a\":\"{path.x}\"}",
		"the string \"{path.x}\": {path.x} cannot stand here; what can: {op}, {action}");
	refuses("{\"{x}\":1}", "the member \"{x}\": {x} cannot stand here; what can: no placeholder");
	refuses("{\"a\":\"{x\"}", "not closed");
	refuses("{\"a\":\"\\u0000\"}", "u0000");
}

static void knows_what_it_uses(void **state)
{
	struct fail why;
	struct jsontmpl t;

	(void)state;
	assert_true(jsontmpl_parse(&t, "{\"a\":\"{lookup.x} lookup\"}", SCOPES, &why));
	assert_true(jsontmpl_uses(&t, TMPL_LOOKUP));
	assert_false(jsontmpl_uses(&t, TMPL_ROW));
	jsontmpl_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_placeholder_stays_as_written),
		cmocka_unit_test(a_string_that_is_a_placeholder_becomes_a_value),
		cmocka_unit_test(text_is_asked_for_or_shown_by_what_stands_around),
		cmocka_unit_test(words_tell_of_the_event_and_quotes_of_a_column),
		cmocka_unit_test(a_value_that_would_pass_the_bound_is_null),
		cmocka_unit_test(says_what_is_wrong),
		cmocka_unit_test(knows_what_it_uses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
