/* The steps of an admission and of a row: what is asked, and what is said of the answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "mapping.h"
#include "walpush/explain/explain.h"

static struct mapping m;
static struct explain_present now;

static int open_mapping(void **state)
{
	(void)state;
	mapping_open(&m, MAPPING_CONF);
	now = (struct explain_present){ m.conf, m.rules, m.rules, NULL, 0 };
	return 0;
}

static int close_mapping(void **state)
{
	(void)state;
	mapping_close(&m);
	return 0;
}

static void expect_text(const json_t *document, const char *name, const char *text)
{
	const json_t *value = json_object_get(document, name);

	if (text)
		assert_string_equal(json_string_value(value), text);
	else
		assert_true(json_is_null(value));
}

static void expect_groups(const json_t *document, const char *groups)
{
	char *text = json_dumps(json_object_get(document, "groups"), JSON_COMPACT);

	assert_string_equal(text, groups);
	free(text);
}

/* The document at the end; the test frees both. */
static json_t *end(struct explain *e)
{
	json_t *document;

	assert_null(explain_next(e));
	document = explain_document(e);
	explain_free(e);
	return document;
}

/* --- a user ---------------------------------------------------------------------------------------------------------- */

static struct explain *ask_user(const char *user, const char *path)
{
	static struct explain_question q;

	q = (struct explain_question){ .kind = EXPLAIN_USER, .user = (char *)user, .path = (char *)path };
	return explain_new(&now, &q);
}

static void the_query_of_admission_is_asked_with_its_values(void **state)
{
	struct explain *e = ask_user("7", "/ws/requests/005/?token=x");
	const struct explain_sql *q = explain_next(e);
	json_t *document;

	(void)state;
	assert_string_equal(q->name, "admit of requests");
	assert_string_equal(q->sql, rules_stream(m.rules, 0)->admit.sql);
	assert_int_equal(q->n_values, 2);
	assert_string_equal(q->values[0], "7");
	assert_string_equal(q->values[1], "5");
	explain_answer(e, sqlrows_new(2, 1), NULL);
	document = end(e);
	assert_true(json_is_true(json_object_get(document, "admitted")) && explain_says_yes(document));
	expect_groups(document, "[\"requests_unit_5\"]");
	json_decref(document);
}

static void no_row_is_a_no(void **state)
{
	struct explain *e = ask_user("7", "/ws/requests/5/");
	json_t *document;

	(void)state;
	explain_answer(e, sqlrows_new(0, 1), NULL);
	document = end(e);
	assert_false(explain_says_yes(document));
	expect_text(document, "step", "admit");
	assert_int_equal(json_integer_value(json_object_get(document, "code")), 4403);
	json_decref(document);
}

static void an_error_says_whose_it_is(void **state)
{
	struct fail value = { .sqlstate = "22003", .text = "x" },
		    denied = { .sqlstate = "42501", .text = "users \xFF" };
	struct explain *e = ask_user("7", "/ws/requests/5/");
	json_t *document;

	(void)state;
	explain_answer(e, NULL, &value);
	document = end(e);
	assert_int_equal(json_integer_value(json_object_get(document, "code")), 4403);
	json_decref(document);
	e = ask_user("7", "/ws/requests/5/");
	explain_answer(e, NULL, &denied);
	document = end(e);
	expect_text(document, "step", "database");
	assert_int_equal(json_integer_value(json_object_get(document, "code")), 1013);
	assert_non_null(json_object_get(document, "reason")); /* although the server's words are not UTF-8 */
	json_decref(document);
}

static void nothing_is_asked_where_nobody_is_admitted(void **state)
{
	json_t *document;

	(void)state;
	now.withheld = "not streaming";
	document = end(ask_user("7", "/ws/requests/5/"));
	now.withheld = NULL;
	expect_text(document, "step", "withheld");
	expect_text(document, "reason", "nobody is admitted: not streaming");
	json_decref(document);
	now.connections = m.conf->limits.per_user;
	document = end(ask_user("7", "/ws/requests/5/"));
	now.connections = 0;
	expect_text(document, "step", "limit");
	assert_int_equal(json_integer_value(json_object_get(document, "code")), 4429);
	json_decref(document);
	document = end(ask_user("7", "/ws/requests/x/"));
	expect_text(document, "step", "path");
	expect_text(document, "stream", NULL);
	json_decref(document);
	document = end(ask_user("7\n", "/ws/requests/5/"));
	expect_text(document, "step", "token");
	json_decref(document);
}

/* --- a row ------------------------------------------------------------------------------------------------------------ */

static struct explain *ask_row(const char *table, const char *key)
{
	static struct explain_question q;

	q = (struct explain_question){ .kind = EXPLAIN_ROW, .table = (char *)table, .key = (char *)key };
	return explain_new(&now, &q);
}

static void only_what_the_groups_need_is_read(void **state)
{
	struct explain *e = ask_row("requests", "123");
	const struct explain_sql *q = explain_next(e);
	struct sqlrows *rows = sqlrows_new(1, 2);
	json_t *document;

	(void)state;
	assert_string_equal(q->sql,
			    "SELECT 1, unit_id FROM public.requests WHERE id OPERATOR(pg_catalog.=) $1 LIMIT 1");
	assert_string_equal(q->values[0], "123");
	sqlrows_set(rows, 0, 0, "1");
	sqlrows_set(rows, 0, 1, "5");
	explain_answer(e, rows, NULL);
	assert_int_equal(explain_groups(e)->n, 1);
	assert_true(groups_has(explain_groups(e), SLICE("requests_unit_{5}")));
	assert_true(explain_is_about(e, "requests", "123"));
	assert_false(explain_is_about(e, "crates", "123") || explain_is_about(e, "requests", "124"));
	document = end(e);
	expect_groups(document, "[\"requests_unit_5\"]");
	assert_true(explain_says_yes(document));
	json_decref(document);
}

static void a_row_outside_of_when_has_no_groups(void **state)
{
	struct explain *e = ask_row("public.crates", "1");
	struct sqlrows *rows = sqlrows_new(1, 3);
	json_t *document, *section;

	(void)state;
	assert_non_null(strstr(explain_next(e)->sql, "SELECT 1, unit_id, status FROM"));
	sqlrows_set(rows, 0, 1, "5");
	sqlrows_set(rows, 0, 2, "Lost");
	explain_answer(e, rows, NULL);
	document = end(e);
	section = json_array_get(json_object_get(document, "sections"), 0);
	assert_true(json_is_false(json_object_get(section, "counts")));
	expect_groups(document, "[]");
	json_decref(document);
}

static void the_lookup_is_asked_with_the_values_of_the_row(void **state)
{
	struct explain *e = ask_row("sendbacks", "9");
	struct sqlrows *rows = sqlrows_new(1, 2), *found = sqlrows_new(2, 1);
	json_t *document;

	(void)state;
	sqlrows_set(rows, 0, 1, "77");
	explain_answer(e, rows, NULL);
	assert_string_equal(explain_next(e)->name, "lookup of sendbacks");
	assert_int_equal(explain_next(e)->n_values, 1);
	assert_string_equal(explain_next(e)->values[0], "77");
	sqlrows_name(found, 0, "user_id");
	sqlrows_set(found, 0, 0, "3");
	sqlrows_set(found, 1, 0, "4");
	explain_answer(e, found, NULL);
	document = end(e);
	expect_groups(document, "[\"notifications_user_3\",\"notifications_user_4\"]");
	json_decref(document);
}

static void a_lookup_that_fails_leaves_its_groups_out(void **state)
{
	struct fail why = { .sqlstate = "57014", .text = "canceled" };
	struct explain *e = ask_row("sendbacks", "9");
	struct sqlrows *rows = sqlrows_new(1, 2);
	json_t *document, *section;

	(void)state;
	sqlrows_set(rows, 0, 1, "77");
	explain_answer(e, rows, NULL);
	explain_answer(e, NULL, &why);
	document = end(e);
	section = json_array_get(json_object_get(document, "sections"), 0);
	expect_text(json_object_get(section, "lookup"), "error", "canceled");
	expect_groups(document, "[]");
	json_decref(document);
}

static void what_is_not_there_is_said(void **state)
{
	struct explain *e = ask_row("requests", "1");
	json_t *document;

	(void)state;
	explain_answer(e, sqlrows_new(0, 2), NULL);
	document = end(e);
	assert_true(json_is_false(json_object_get(document, "found")));
	json_decref(document);
	document = end(ask_row("nothing", "1"));
	expect_text(document, "step", "table");
	json_decref(document);
	document = end(ask_row("user_units", "1")); /* it decides permission, and is not pushed */
	expect_text(document, "step", "table");
	json_decref(document);
	now.bound = NULL;
	document = end(ask_row("requests", "1"));
	now.bound = m.rules;
	expect_text(document, "step", "catalog");
	json_decref(document);
}

/* --- for a person ------------------------------------------------------------------------------------------------------ */

static void the_text_has_the_verdict_first(void **state)
{
	struct explain *e = ask_user("7", "/ws/requests/5/");
	struct buf out = { 0 };
	json_t *document;

	(void)state;
	explain_answer(e, sqlrows_new(0, 1), NULL);
	document = end(e);
	json_object_set_new(document, "not_known", json_string("the rest"));
	explain_print(document, &out);
	assert_string_equal(out.data, "user 7 at /ws/requests/5/: not admitted, close code 4403\n"
				      "because      the admit query returns no row for this user and path\n"
				      "do           run it in psql with these values, one condition after the other\n"
				      "stream       requests\n"
				      "path         unit_id=5\n"
				      "claims       user_id=7\n"
				      "admit        0 rows\n"
				      "not known    the rest\n");
	buf_fini(&out);
	json_decref(document);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_query_of_admission_is_asked_with_its_values),
		cmocka_unit_test(no_row_is_a_no),
		cmocka_unit_test(an_error_says_whose_it_is),
		cmocka_unit_test(nothing_is_asked_where_nobody_is_admitted),
		cmocka_unit_test(only_what_the_groups_need_is_read),
		cmocka_unit_test(a_row_outside_of_when_has_no_groups),
		cmocka_unit_test(the_lookup_is_asked_with_the_values_of_the_row),
		cmocka_unit_test(a_lookup_that_fails_leaves_its_groups_out),
		cmocka_unit_test(what_is_not_there_is_said),
		cmocka_unit_test(the_text_has_the_verdict_first),
	};

	return cmocka_run_group_tests(tests, open_mapping, close_mapping);
}
