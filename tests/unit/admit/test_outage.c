/* When admissions that fail are an outage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "outage.h"

#define S 1000000
#define ANSWER 0 /* in the place of a user */

struct step {
	int64_t at; /* s */
	uint64_t user;
};

#define STEPS 12

static void expect(const struct step steps[STEPS], int64_t at, bool is)
{
	struct outage o = { 0 };

	for (unsigned i = 0; i < STEPS && steps[i].at; i++) {
		if (steps[i].user == ANSWER)
			outage_answered(&o);
		else
			outage_failed(&o, steps[i].user, steps[i].at * S);
	}
	assert_int_equal(outage_is(&o, at * S), is);
}

static void when_it_is_one(void **state)
{
	static const struct {
		struct step steps[STEPS];
		int64_t at;
		bool is;
	} cases[] = {
		{ { { 0, 0 } }, 100, false },
		/* a minute, and not before */
		{ { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 5, 5 } }, 60, false },
		{ { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 5, 5 } }, 61, true },
		/* four users, however often */
		{ { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 5, 4 }, { 30, 3 }, { 60, 1 } }, 61, false },
		{ { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 5, 4 }, { 30, 3 }, { 60, 7 } }, 61, true },
		/* one answer, to whomever */
		{ { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 5, 5 }, { 50, ANSWER } }, 61, false },
		{ { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 5, 5 }, { 50, ANSWER }, { 51, 1 } }, 61, false },
		{ { { 1, ANSWER }, { 10, 1 }, { 11, 2 }, { 12, 3 }, { 13, 4 }, { 14, 5 } }, 69, false },
		{ { { 1, ANSWER }, { 10, 1 }, { 11, 2 }, { 12, 3 }, { 13, 4 }, { 14, 5 } }, 70, true },
		/* nobody tries any more: nobody knows */
		{ { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 5, 5 } }, 65, true },
		{ { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 5, 5 } }, 66, false },
		/* and what failed before counts no more */
		{ { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 5, 5 }, { 100, 6 } }, 101, false },
		{ { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 65, 5 } }, 66, false },
		{ { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 50, 4 }, { 65, 5 } }, 66, true },
		/* more than it counts */
		{ { { 1, 1 }, { 2, 2 }, { 3, 3 }, { 4, 4 }, { 5, 5 }, { 6, 6 }, { 7, 7 }, { 60, 8 } }, 110, true },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		expect(cases[i].steps, cases[i].at, cases[i].is);
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(when_it_is_one) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
