/* A cancel that was meant for one query and hits another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "cancels.h"

#define PATIENCE 100
#define TIMEOUT 50

/* Letters of a script, one each unit of time: a cancel is asked for (c), nothing happens (.), a query ends with 57014: it was meant (m), it was not
 * (n), it was not and had run for as long as statement_timeout (t). Told of each query: it is asked again (A), or its failure is reported (-). */
static const struct {
	const char *script, *told;
} cases[] = {
	{ "n", "-" },                                          /* somebody else's cancel */
	{ "cm", "-" },                                         /* as it was meant */
	{ "cn", "A" },                                         /* too late: its successor was hit */
	{ "cnn", "A-" },                                       /* once for each cancel */
	{ "ccnn", "AA" }, { "ccnnn", "AA-" }, { "cmn", "--" }, /* it is spent */
	{ "ccmn", "-A" }, { "ccnm", "A-" },   { "ct", "-" },   /* the timeout of the successor */
	{ "ctn", "-A" },                                       /* which does not spend it */
	{ "cn.n", "A-" },
};

static void scripts_are_played(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cancels c = { 0 };
		char told[16] = "";

		for (int at = 0; cases[i].script[at]; at++) {
			char letter = cases[i].script[at];

			if (letter == 'c')
				cancels_add(&c, at, PATIENCE);
			else if (letter != '.')
				strcat(told, cancels_hit(&c, letter == 'm', letter == 't' ? TIMEOUT : 1, TIMEOUT, at)
						     ? "A"
						     : "-");
		}
		if (strcmp(told, cases[i].told) != 0)
			fail_msg("%s: told %s, wanted %s", cases[i].script, told, cases[i].told);
	}
}

static void one_that_hit_nothing_is_forgotten(void **state)
{
	struct cancels c = { 0 };

	(void)state;
	cancels_add(&c, 1000, PATIENCE);
	assert_false(cancels_hit(&c, false, 1, TIMEOUT, 1000 + PATIENCE));
	cancels_add(&c, 2000, PATIENCE); /* without the one before */
	assert_true(cancels_hit(&c, false, 1, TIMEOUT, 2000 + PATIENCE - 1));
	assert_false(cancels_hit(&c, false, 1, TIMEOUT, 2000 + PATIENCE - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scripts_are_played),
		cmocka_unit_test(one_that_hit_nothing_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
