/* What admit queries read: which tables count by it, with which columns, and what is left that nobody follows. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "mapping.h"
#include "walpush/base/mem.h"
#include "walpush/rules/reads.h"

#define STREAMS "streams = { s = { path = \"/a/<x>/\" admit = \"SELECT 1\" groups = [ \"g\" ] } }\n"
#define TABLES "tables = { crates = { type = \"c\" key = \"crate_id\" groups = [ \"g\" ] } }\n"

/* "what schema name column text" of each row, as the server sends them; a dash is null. */
static void fill(struct reads *out, const char *const *rows)
{
	struct fail why = { 0 };

	*out = (struct reads){ 0 };
	for (; *rows; rows++) {
		char copy[200], *at = copy;
		const char *row[READS_COLUMNS];

		strcpy(copy, *rows);
		for (int i = 0; i < READS_COLUMNS; i++) {
			row[i] = i + 1 < READS_COLUMNS ? strsep(&at, " ") : at;
			if (row[i] && strcmp(row[i], "-") == 0)
				row[i] = NULL;
		}
		assert_true(reads_add(out, row, &why));
	}
}

static void tell_membership(const struct rules_table *t, struct buf *out)
{
	const struct rules_membership *m = t->memberships[0];

	buf_addf(out, "%s%s:", out->len ? " " : "", t->name);
	if (m->any)
		buf_add_char(out, '*');
	for (size_t i = 0; !m->any && i < m->n_columns; i++)
		buf_addf(out, "%s%s", i ? "," : "", m->table->columns[m->columns[i]].name);
	if (m->user >= 0)
		buf_addf(out, "@%s", m->table->columns[m->user].name);
}

/* "user_units:user_id,unit_id@user_id roles:*": each table that decides, its columns that count, and the user's. */
static void expect(const char *membership, const char *const *rows, const char *failed, const char *wanted,
		   const char *not_followed)
{
	struct catalog *catalog = mapping_catalog();
	struct buf text = { 0 }, got = { 0 };
	struct fail why = { 0 };
	struct reads *reads = mem_new_array(1, sizeof(*reads));
	struct conf *conf;
	struct rules *rules;

	buf_addf(&text, "%s%s%smembership = { %s }\n", MAPPING_BASE, STREAMS, TABLES, membership);
	conf = conf_parse("test.conf", buf_slice(&text), &why);
	assert_non_null(conf);
	rules = rules_new(conf, &why);
	assert_non_null(rules);
	fill(reads, rows);
	if (failed) {
		fail_set(&why, "%s", failed);
		reads_fail(reads, &why);
	}
	rules_reads(rules, reads);
	if (!rules_bind(rules, catalog, &why))
		fail_msg("%s", why.text);
	for (size_t i = 0; i < rules_n_tables(rules); i++)
		if (rules_table(rules, i)->n_memberships)
			tell_membership(rules_table(rules, i), &got);
	assert_string_equal(got.len ? got.data : "", wanted);
	assert_string_equal(rules_stream(rules, 0)->not_followed ? rules_stream(rules, 0)->not_followed : "",
			    not_followed);
	assert_int_equal(rules_has_memberships(rules), *wanted != '\0');
	reads_free(reads, 1);
	rules_free(rules);
	conf_free(conf);
	catalog_free(catalog);
	buf_fini(&text);
	buf_fini(&got);
}

#define ROWS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define NONE ((const char *const[]){ NULL })
#define UNITS                                                                                                          \
	ROWS("row public user_units - -", "column public user_units user_id -", "column public user_units unit_id -")

static void what_is_read_counts(void **state)
{
	(void)state;
	expect("", NONE, NULL, "", "");
	expect("", UNITS, NULL, "user_units:user_id,unit_id", "");
	expect("", ROWS("row public roles - -"), NULL, "roles:", "");
	expect("", ROWS("column public roles id -", "whole public roles - -"), NULL, "roles:*", "");
	expect("", ROWS("column public crates id -"), NULL, "crates:id", "");
}

static void a_section_refines(void **state)
{
	(void)state;
	expect("user_units = { user = \"user_id\" }", UNITS, NULL, "user_units:user_id,unit_id@user_id", "");
	expect("user_units = { user = \"user_id\" columns = [ \"id\" ] }", UNITS, NULL,
	       "user_units:id,user_id,unit_id@user_id", "");
	expect("user_units = { ignore = true }", UNITS, NULL, "", "");
	expect("u = { from = \"public.user_units\" ignore = true }", UNITS, NULL, "", "");
	expect("u = { from = \"other.user_units\" ignore = true }", UNITS, NULL, "user_units:user_id,unit_id", "");
}

static void a_section_adds(void **state)
{
	(void)state;
	expect("roles = { }", NONE, NULL, "roles:*", "");
	expect("roles = { columns = [ \"id\" ] }", UNITS, NULL, "roles:id user_units:user_id,unit_id", "");
}

static void what_is_gone_or_unknown_counts_whole(void **state)
{
	(void)state;
	expect("", ROWS("column public user_units no_more -"), NULL, "user_units:*", "");
	expect("user_units = { user = \"user_id\" columns = [ \"id\" ] }", ROWS("column public user_units no_more -"),
	       NULL, "user_units:*@user_id", "");
}

#define MAY ROWS("unknown public may - function may(integer)")

static void what_is_not_followed_is_told(void **state)
{
	(void)state;
	expect("", MAY, NULL, "", "function may(integer)");
	expect("",
	       ROWS("unknown public may - function may(integer)", "unknown auth kept - materialized view auth.kept"),
	       NULL, "", "function may(integer), materialized view auth.kept");
	expect("may = { ignore = true }", MAY, NULL, "", "");
	expect("may = { from = \"auth.may\" ignore = true }", MAY, NULL, "", "function may(integer)");
	/* What is listed does not stand behind it. */
	expect("roles = { }", MAY, NULL, "roles:*", "function may(integer)");
	expect("", UNITS, "no temporary view", "", "no temporary view");
	expect("roles = { }", UNITS, "no temporary view", "roles:*", "");
}

#define F "function may(integer)"
#define MAY_READ(...) ROWS("unknown public may - " F, __VA_ARGS__)

static void what_stands_behind_is_listed(void **state)
{
	(void)state;
	expect("roles = { }", MAY_READ("behind public roles - " F), NULL, "roles:*", "");
	expect("", MAY_READ("behind public roles - " F), NULL, "", F " (not listed: public.roles)");
	expect("crates = { }", MAY_READ("behind public roles - " F), NULL, "crates:*", F " (not listed: public.roles)");
	expect("roles = { }", MAY_READ("behind public roles - function other()"), NULL, "roles:*", F);
	/* All of it, or ignored. */
	expect("roles = { }", MAY_READ("behind public crates - " F, "behind public roles - " F), NULL, "roles:*",
	       F " (not listed: public.crates)");
	expect("roles = { } crates = { ignore = true }",
	       MAY_READ("behind public crates - " F, "behind public roles - " F), NULL, "roles:*", "");
	expect("roles = { } may = { ignore = true }", MAY_READ("behind public crates - " F), NULL, "roles:*", "");
	/* One of two that cannot be followed. */
	expect("roles = { }",
	       ROWS("behind public roles - " F, "unknown public may - " F, "unknown auth kept - view auth.kept"), NULL,
	       "roles:*", "view auth.kept");
	/* What the query reads too is watched, but with all its columns; that it is all, nobody has said. */
	expect("", MAY_READ("column public user_units user_id -", "behind public user_units - " F), NULL,
	       "user_units:*", F);
	expect("user_units = { user = \"user_id\" }",
	       MAY_READ("column public user_units user_id -", "behind public user_units - " F), NULL,
	       "user_units:*@user_id", "");
}

static void expect_time(const char *membership, const char *const *rows, const char *wanted)
{
	struct buf text = { 0 };
	struct fail why = { 0 };
	struct reads *reads = mem_new_array(1, sizeof(*reads));
	struct conf *conf;
	struct rules *rules;

	buf_addf(&text, "%s%s%smembership = { %s }\n", MAPPING_BASE, STREAMS, TABLES, membership);
	conf = conf_parse("test.conf", buf_slice(&text), &why);
	rules = rules_new(conf, &why);
	assert_non_null(rules);
	fill(reads, rows);
	rules_reads(rules, reads);
	assert_string_equal(rules_stream(rules, 0)->asks_time ? rules_stream(rules, 0)->asks_time : "", wanted);
	reads_free(reads, 1);
	rules_free(rules);
	conf_free(conf);
	buf_fini(&text);
}

static void a_function_that_is_followed_may_ask_the_time(void **state)
{
#define SOURCE(text) MAY_READ("behind public roles - " F, "source public may - " text)
	(void)state;
	expect_time("roles = { }", SOURCE("RETURN t > now();"), "now in function public.may");
	expect_time("roles = { }", SOURCE("RETURN t > 'now()';"), "");
	/* It is asked again all the same, or never answers otherwise. */
	expect_time("", SOURCE("RETURN t > now();"), "");
	expect_time("may = { ignore = true }", SOURCE("RETURN t > now();"), "");
}

static void rows_that_are_none(void **state)
{
	static const char *const rows[][READS_COLUMNS] = {
		{ NULL, "public", "t", NULL, NULL },     { "row", NULL, "t", NULL, NULL },
		{ "row", "public", NULL, NULL, NULL },   { "column", "public", "t", NULL, NULL },
		{ "unknown", "public", "t", "c", NULL }, { "other", "public", "t", "c", "x" },
		{ "behind", "public", "t", "c", NULL },  { "source", "public", "t", "c", NULL },
	};
	struct reads reads = { 0 };
	struct fail why = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_false(reads_add(&reads, rows[i], &why));
	reads_fini(&reads);
}

static void what_may_pass_is_worth_another_question(void **state)
{
	static const struct {
		const char *sqlstate;
		bool may_pass;
	} cases[] = { { "55P03", true },  { "57014", true },  { "40P01", true },  { "53300", true },
		      { "42P01", false }, { "25006", false }, { "42501", false }, { "", false } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct reads reads = { 0 };
		struct fail why = { 0 };

		fail_set(&why, "x");
		strcpy(why.sqlstate, cases[i].sqlstate);
		reads_fail(&reads, &why);
		assert_int_equal(reads_may_pass(&reads, 1), cases[i].may_pass);
		reads_fini(&reads);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_read_counts),
		cmocka_unit_test(a_section_refines),
		cmocka_unit_test(a_section_adds),
		cmocka_unit_test(what_is_gone_or_unknown_counts_whole),
		cmocka_unit_test(what_is_not_followed_is_told),
		cmocka_unit_test(what_stands_behind_is_listed),
		cmocka_unit_test(a_function_that_is_followed_may_ask_the_time),
		cmocka_unit_test(rows_that_are_none),
		cmocka_unit_test(what_may_pass_is_worth_another_question),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
