#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "walpush/pg/position.h"

/* The columns of an answer, separated by blanks; - is null. */
static bool reads(const char *columns, struct position *out)
{
	char copy[128], *rest = copy, *word;
	const char *words[6];
	struct sqlrows *rows;
	struct fail why = { 0 };
	size_t n = 0;
	bool ok;

	strcpy(copy, columns);
	while ((word = strtok_r(rest, " ", &rest)))
		words[n++] = word;
	rows = sqlrows_new(1, n);
	for (size_t i = 0; i < n; i++)
		if (*words[i] != '-')
			sqlrows_set(rows, 0, i, words[i]);
	ok = position_read(rows, NULL, out, &why);
	assert_true(ok || *why.text);
	sqlrows_free(rows);
	return ok;
}

static void on_a_primary_commits_are_flushed_or_inserted(void **state)
{
	struct position p;

	(void)state;
	assert_true(reads("- 0/2000 0/3000 200000 false", &p));
	assert_int_equal(position_certain(&p, false), 0x2000);
	assert_int_equal(position_certain(&p, true), 0x3000);
	assert_true(position_may_fall(&p, 0x3000));
	assert_false(position_may_fall(&p, 0x2000));
	assert_int_equal(p.delay, 600000);
	assert_false(p.is_async);
	assert_true(reads("- 0/2000 0/3000 200000 true", &p));
	assert_true(p.is_async);
	assert_true(reads("- 0/2000 0/3000 200000", &p));
}

/* The next record begins at the replayed position, or behind a page's header. */
static void on_a_standby_a_record_may_be_under_way(void **state)
{
	static const char *const answers[] = { "0/2010 0/2000 - 200000", "0/1FF0 0/2000 - 200000 true",
					       "0/0 0/2000 - 200000" };
	struct position p;

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		assert_true(reads(answers[i], &p));
		assert_true(position_certain(&p, false) > 0x2000 + 40);
		assert_true(position_certain(&p, true) == position_certain(&p, false));
		assert_true(position_may_fall(&p, position_certain(&p, true)));
		assert_true(p.insert >= position_certain(&p, true));
	}
}

static void on_a_standby_that_has_received_no_more_none_is(void **state)
{
	struct position earlier, p;

	(void)state;
	assert_true(reads("0/2000 0/2000 - 200000", &p));
	assert_int_equal(position_certain(&p, true), 0x2000);
	assert_false(position_may_fall(&p, 0x2000));
	/* It is the same server, so it is not behind what it said before. */
	assert_true(reads("0/2010 0/2000 - 200000", &earlier));
	assert_true(p.insert >= position_certain(&earlier, true));
}

static void what_is_no_answer_is_refused(void **state)
{
	static const char *const answers[] = { "- 0/2000 0/3000",    "- - 0/3000 200000",      "- 0/2000 - 200000",
					       "- 0/2000 0/3000 -",  "0/2000 - - 200000",      "x 0/2000 - 200000",
					       "- 0/2 0/3 200000 -", "- 0/2 0/3 200000 true x" };
	struct position p;

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++)
		assert_false(reads(answers[i], &p));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_a_primary_commits_are_flushed_or_inserted),
		cmocka_unit_test(on_a_standby_a_record_may_be_under_way),
		cmocka_unit_test(on_a_standby_that_has_received_no_more_none_is),
		cmocka_unit_test(what_is_no_answer_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
