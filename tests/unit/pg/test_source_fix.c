/* What an error of the replication connection means: who must act, and whether it speaks of the record that comes next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "source_fix.h"

static struct fail error(const char *sqlstate, const char *text)
{
	struct fail why = { 0 };

	fail_set(&why, "%s", text);
	strcpy(why.sqlstate, sqlstate);
	return why;
}

static void each_error_has_its_fix(void **state)
{
	static const struct {
		const char *sqlstate, *what; /* NULL: not known */
		bool slow;
	} cases[] = {
		{ "55006", "another process holds the slot", false },
		{ "55P03", "a lock_timeout", false },
		{ "57014", "a statement_timeout", false },
		{ "57P05", "an idle_session_timeout", false },
		{ "57P01", "the server is stopping, or somebody ended", false },
		{ "57P03", "the server is starting, stopping or recovering", false },
		{ "55000", "the slot cannot be used", true },
		{ "42501", "the role lacks a privilege", true },
		{ "28P01", "the server does not let this role in", true },
		{ "28000", "the server does not let this role in", true },
		{ "3D000", "the database in the connection string", true },
		{ "58P01", "the server has no wal2json", true },
		{ "0A000", "the server is too old or wal_level", true },
		{ "22023", "the slot's plugin refused", true },
		{ "54000", "a row is too large", false },
		{ "XX000", "a row may be too large", false },
		{ "25P03", "a timeout of the server", false },
		{ "53300", "no connection or walsender slot", false },
		{ "53200", NULL, false },
		{ "", NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fail why = error(cases[i].sqlstate, "x");
		const struct source_fix *fix = source_fix_for(&why);

		if (!cases[i].what) {
			assert_null(fix);
			continue;
		}
		assert_non_null(fix);
		if (strncmp(fix->what, cases[i].what, strlen(cases[i].what)) != 0)
			fail_msg("%s: %s", cases[i].sqlstate, fix->what);
		assert_int_equal(fix->slow, cases[i].slow);
	}
}

/* The server's texts come in its own language; walpush's text about the slot does not. */
static void a_missing_publication_is_not_a_missing_slot(void **state)
{
	static const struct {
		const char *text, *what;
	} cases[] = {
		{ "slot \"w\" does not exist", "the slot does not exist" },
		{ "replication slot \"w\" does not exist", "the slot does not exist" },
		{ "publication \"slot\" does not exist", "the slot has changes from a time without the publication" },
		{ "Publikation »w« existiert nicht", "the slot has changes from a time without the publication" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fail why = error("42704", cases[i].text);
		const struct source_fix *fix = source_fix_for(&why);

		if (strncmp(fix->what, cases[i].what, strlen(cases[i].what)) != 0)
			fail_msg("%s: %s", cases[i].text, fix->what);
		assert_true(fix->slow);
	}
}

static void few_errors_are_about_the_record(void **state)
{
	static const struct {
		const char *sqlstate, *text;
		bool is_poison;
	} cases[] = {
		{ "54000", "out of memory: Cannot enlarge string buffer", true },
		{ "XX000", "invalid memory alloc request size 1073741824", true },
		{ "XX000", "cache lookup failed for type 123", false },
		{ "", "cannot allocate memory for input buffer", true },
		{ "", "out of memory", true },
		{ "", "lost synchronization with server: got message type", true },
		{ "", "server closed the connection unexpectedly", false },
		{ "53200", "out of memory", false }, /* the server's own, which passes */
		{ "57P01", "terminating connection", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fail why = error(cases[i].sqlstate, cases[i].text);

		if (source_fix_is_poison(&why) != cases[i].is_poison)
			fail_msg("case %zu", i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_error_has_its_fix),
		cmocka_unit_test(a_missing_publication_is_not_a_missing_slot),
		cmocka_unit_test(few_errors_are_about_the_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
