/* Times as text: in UTC, whatever the zone of the machine, and cut, never rounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "walpush/base/timetext.h"

static const struct {
	int64_t us;
	const char *s, *ms, *whole;
} cases[] = {
	{ 0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.000000Z" },
	{ 1763123696123456, "2025-11-14T12:34:56Z", "2025-11-14T12:34:56.123Z", "2025-11-14T12:34:56.123456Z" },
	{ 1763123696999999, "2025-11-14T12:34:56Z", "2025-11-14T12:34:56.999Z", "2025-11-14T12:34:56.999999Z" },
	{ 951782400000001, "2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000Z", "2000-02-29T00:00:00.000001Z" },
	{ 253402300800000000, "10000-01-01T00:00:00Z", "10000-01-01T00:00:00.000Z", "10000-01-01T00:00:00.000000Z" },
	{ -1, "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999999Z" },
};

static void each_time(void **state)
{
	char out[TIMETEXT_MAX];

	(void)state;
	setenv("TZ", "Asia/Kolkata", 1);
	tzset();
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int64_t seconds = cases[i].us < 0 ? -1 : cases[i].us / 1000000;

		assert_string_equal(timetext_s(out, seconds), cases[i].s);
		assert_string_equal(timetext_ms(out, cases[i].us), cases[i].ms);
		assert_string_equal(timetext_us(out, cases[i].us), cases[i].whole);
	}
}

/* A token may say that it expires in any second that 64 bits can name. */
static void no_year_is_too_far(void **state)
{
	char out[TIMETEXT_MAX];

	(void)state;
	assert_string_equal(timetext_s(out, INT64_MAX), "");
	assert_string_equal(timetext_s(out, INT64_MIN), "");
	assert_string_equal(timetext_s(out, INT64_C(67767976233532799)), "2147483647-12-31T23:59:59Z");
	assert_string_equal(timetext_us(out, INT64_MAX), "294247-01-10T04:00:54.775807Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_time),
		cmocka_unit_test(no_year_is_too_far),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
