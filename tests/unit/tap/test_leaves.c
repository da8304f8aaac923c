/* What happened to partitions alone, from two looks at the catalog and from what was told. 61 is "a", 2e a dot. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "leaves.h"

static void what_is_gone_or_has_another_file_names_its_root(void **state)
{
	static const struct {
		const char *before, *now, *roots;
	} cases[] = {
		{ "", "", "" },
		{ "", "5:7:61", "" },
		{ "5:7:61", "5:7:61", "" },
		{ "5:7:61", "5:7:61,6:8:61", "" }, /* attached */
		{ "5:7:61,6:8:61", "5:7:61,6:8:61,9:9:62", "" },
		/* All leaves of a root: it may have been truncated itself. */
		{ "5:7:61", "5:17:61", "61," },
		{ "5:7:61,6:8:61", "5:17:61,6:18:61", "61,61," },
		{ "5:7:61", "", "61," },
		{ "5:7:61,6:8:62", "5:17:61,6:8:62", "61," },
		/* One of several was: nobody tells. */
		{ "5:7:61,6:8:61", "5:17:61,6:8:61", "!61," },
		{ "5:7:61,6:8:61", "6:8:61", "!61," },
		{ "5:7:61,6:8:61", "5:7:61", "!61," },
		{ "5:7:61,6:8:61,7:9:62", "4:1:61,6:8:61", "!61,62," },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct buf roots = { 0 };

		buf_add_text(&roots, "");
		leaves_compare(cases[i].before, cases[i].now, &roots);
		if (strcmp(roots.data, cases[i].roots) != 0)
			fail_msg("%s, then %s: \"%s\"", cases[i].before, cases[i].now, roots.data);
		buf_fini(&roots);
	}
}

static void what_was_told_is_no_reason(void **state)
{
	static const struct {
		const char *roots, *told;
		bool is_untold;
	} cases[] = {
		{ "", "", false },         { "61,", "", true },
		{ "61,", "61,", false },   { "61,61,", "62,61,", false },
		{ "61,62,", "61,", true }, { "!61,", "61,", true },
		{ "61,", "6161,", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (leaves_untold(slice_of(cases[i].roots), slice_of(cases[i].told)) != cases[i].is_untold)
			fail_msg("\"%s\" of \"%s\"", cases[i].roots, cases[i].told);
}

static void a_root_is_spelled_as_the_server_does(void **state)
{
	struct buf roots = { 0 };

	(void)state;
	leaves_add_root(&roots, "a", "\xc3\xa4,");
	assert_string_equal(roots.data, "612ec3a42c,");
	buf_fini(&roots);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_gone_or_has_another_file_names_its_root),
		cmocka_unit_test(what_was_told_is_no_reason),
		cmocka_unit_test(a_root_is_spelled_as_the_server_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
