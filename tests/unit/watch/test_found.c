/* What comes and what goes from one report of the checks to the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/base/buf.h"
#include "walpush/watch/found.h"

#define BAD(state, check, text)                                                                                        \
	"{\"check\":\"" check "\",\"state\":\"" state "\",\"stops\":false,\"text\":\"" text                            \
	"\",\"fix\":{\"kind\":\"sql\",\"text\":\"mend " check "\"}},"
#define FAILS(check, text) BAD("failure", check, text)
#define WARNS(check, text) BAD("warning", check, text)
#define OK(check) "{\"check\":\"" check "\",\"state\":\"ok\",\"stops\":false,\"text\":\"fine\",\"fix\":null},"
#define SKIPPED(check) "{\"check\":\"" check "\",\"state\":\"skipped\",\"stops\":false,\"text\":\"\",\"fix\":null},"

static struct buf told;

static void on_told(void *ctx, const struct found *f, bool came)
{
	(void)ctx;
	buf_addf(&told, "%s%c%s %s: %s", told.len ? "\n" : "", came ? '+' : '-', f->is_failure ? "failure" : "warning",
		 f->check, f->text);
}

static void take(struct found_set *s, const char *findings, int64_t now, const char *wanted)
{
	struct buf text = { 0 };
	json_t *report;

	buf_addf(&text, "{\"findings\":[%s", findings);
	text.len -= text.data[text.len - 1] == ',';
	text.data[text.len] = '\0';
	buf_add_text(&text, "]}");
	report = json_loads(text.data, 0, NULL);
	assert_non_null(report);
	buf_clear(&told);
	found_take(s, report, now, on_told, NULL);
	assert_string_equal(told.len ? told.data : "", wanted);
	json_decref(report);
	buf_fini(&text);
}

static int make(void **state)
{
	*state = found_set_new();
	return 0;
}

static int drop(void **state)
{
	found_set_free(*state);
	buf_fini(&told);
	return 0;
}

static void a_finding_comes_once_and_goes_once(void **state)
{
	struct found_set *s = *state;

	take(s, OK("a") FAILS("b", "no slot"), 10, "+failure b: no slot");
	take(s, OK("a") FAILS("b", "no slot"), 20, "");
	assert_int_equal(found_count(s), 1);
	assert_int_equal(found_at(s, 0)->since, 10);
	assert_string_equal(found_at(s, 0)->fix, "mend b");
	take(s, OK("a") OK("b"), 30, "-failure b: no slot");
	assert_int_equal(found_count(s), 0);
	take(s, FAILS("b", "no slot"), 40, "+failure b: no slot");
}

static void another_number_is_the_same_finding(void **state)
{
	struct found_set *s = *state;

	take(s, WARNS("wal", "holds 9 MB of 10"), 10, "+warning wal: holds 9 MB of 10");
	take(s, WARNS("wal", "holds 203 MB of 1"), 20, "");
	assert_string_equal(found_at(s, 0)->text, "holds 203 MB of 1");
	take(s, WARNS("wal", "holds 203 MB"), 30, "+warning wal: holds 203 MB\n-warning wal: holds 203 MB of 1");
	take(s, WARNS("wal", "holds 203 MB "), 30, "+warning wal: holds 203 MB \n-warning wal: holds 203 MB");
	take(s, WARNS("wal", "7"), 30, "+warning wal: 7\n-warning wal: holds 203 MB ");
	take(s, WARNS("wal", "17"), 30, "");
}

static void two_of_a_kind_are_two(void **state)
{
	struct found_set *s = *state;

	take(s, FAILS("line", "line 7 is wrong") FAILS("line", "line 9 is wrong"), 10,
	     "+failure line: line 7 is wrong\n+failure line: line 9 is wrong");
	take(s, FAILS("line", "line 9 is wrong"), 20, "-failure line: line 9 is wrong");
	assert_string_equal(found_at(s, 0)->text, "line 9 is wrong");
}

static void another_severity_or_check_is_another_finding(void **state)
{
	struct found_set *s = *state;

	take(s, FAILS("a", "x"), 10, "+failure a: x");
	take(s, WARNS("a", "x"), 20, "+warning a: x\n-failure a: x");
	take(s, WARNS("b", "x"), 30, "+warning b: x\n-warning a: x");
}

static void what_was_not_looked_at_stays(void **state)
{
	struct found_set *s = *state;

	take(s, FAILS("slot", "lost") WARNS("secrets", "ssn"), 10, "+failure slot: lost\n+warning secrets: ssn");
	take(s, FAILS("connection", "refused") SKIPPED("slot") SKIPPED("secrets"), 20, "+failure connection: refused");
	take(s, OK("connection") OK("slot") WARNS("secrets", "ssn"), 30,
	     "-failure slot: lost\n-failure connection: refused");
}

static void there_is_a_bound(void **state)
{
	struct found_set *s = *state;
	struct buf many = { 0 };

	for (int i = 0; i < FOUND_MOST + 50; i++)
		buf_addf(&many, FAILS("t", "%c%c is unlogged"), 'a' + i / 26, 'a' + i % 26);
	for (int i = 0; i < 2; i++) {
		json_t *report;
		struct buf text = { 0 };

		buf_addf(&text, "{\"findings\":[%.*s]}", (int)many.len - 1, many.data);
		report = json_loads(text.data, 0, NULL);
		found_take(s, report, 10, on_told, NULL);
		json_decref(report);
		buf_fini(&text);
		assert_int_equal(found_count(s), FOUND_MOST);
	}
	buf_fini(&many);
}

static void what_is_no_report_has_no_findings(void **state)
{
	struct found_set *s = *state;
	json_t *strange = json_pack("{s:[i,n,{s:i},{s:s}]}", "findings", 7, "state", 7, "state", "failure");

	found_take(s, strange, 10, on_told, NULL);
	assert_int_equal(found_count(s), 1);
	assert_string_equal(found_at(s, 0)->check, "");
	json_decref(strange);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make, drop)
	static const struct CMUnitTest tests[] = {
		CASE(a_finding_comes_once_and_goes_once),
		CASE(another_number_is_the_same_finding),
		CASE(two_of_a_kind_are_two),
		CASE(another_severity_or_check_is_another_finding),
		CASE(what_was_not_looked_at_stays),
		CASE(there_is_a_bound),
		CASE(what_is_no_report_has_no_findings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
