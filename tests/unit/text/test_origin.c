/* The origins that may connect: an exact list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/text/origin.h"

static bool admits(const char *entry, const char *origin)
{
	struct text texts[] = { { .text = (char *)"https://first.example" }, { .text = (char *)entry } };
	struct texts allowed = { texts, 2 };

	return origin_admits(&allowed, origin);
}

static const struct {
	const char *entry, *origin;
	bool admitted;
} cases[] = {
	{ "https://dms.example.org", "https://dms.example.org", true },
	{ "https://dms.example.org", "https://first.example", true },
	{ "https://dms.example.org", "HTTPS://DMS.Example.ORG", true },
	{ "HTTPS://DMS.example.org", "https://dms.example.org", true },
	{ "https://dms.example.org", "https://dms.example.org:443", true },
	{ "https://dms.example.org:443", "https://dms.example.org", true },
	{ "http://dms.example.org:80", "http://dms.example.org", true },
	{ "http://localhost:5173", "http://localhost:5173", true },
	{ "http://127.0.0.1", "http://127.0.0.1:80", true },
	{ "http://[::1]:5173", "http://[::1]:5173", true },
	{ "http://[::1]", "http://[::1]:80", true },
	{ "http://[FE80::1]", "http://[fe80::1]", true },
	{ "capacitor://localhost", "capacitor://localhost", true },
	{ "chrome-extension://abcdef", "chrome-extension://abcdef", true },
	{ "https://dms.example.org", NULL, true },
	{ "*", "https://anything.example", true },
	{ "*", "null", true },
	{ "*", NULL, true },

	{ "https://dms.example.org", "null", false },
	{ "null", "null", false },
	{ "https://dms.example.org", "", false },
	{ "", "", false },
	{ "https://dms.example.org", "http://dms.example.org", false },
	{ "https://dms.example.org", "wss://dms.example.org", false },
	{ "https://dms.example.org", "https://dms.example.org:8443", false },
	{ "https://dms.example.org:8443", "https://dms.example.org", false },
	{ "https://dms.example.org", "http://dms.example.org:443", false },
	{ "https://dms.example.org", "https://example.org", false },
	{ "https://dms.example.org", "https://evil.dms.example.org", false },
	{ "https://dms.example.org", "https://evildms.example.org", false },
	{ "https://dms.example.org", "https://dms.example.org.evil.example", false },
	{ "https://dms.example.org", "https://dms.example.or", false },
	{ "https://dms.example.org", "https://dms.example.org.", false },
	{ "https://dms.example.org", "https://dms.example.org/", false },
	{ "https://dms.example.org", "https://dms.example.org/x", false },
	{ "https://dms.example.org", "https://dms.example.org?", false },
	{ "https://dms.example.org", "https://dms.example.org#", false },
	{ "https://dms.example.org", "https://user@dms.example.org", false },
	{ "https://dms.example.org", "https://dms.example.org@evil.example", false },
	{ "https://dms.example.org", "https://evil.example#https://dms.example.org", false },
	{ "https://dms.example.org", "https://dms.example.org https://evil.example", false },
	{ "https://dms.example.org", " https://dms.example.org", false },
	{ "https://dms.example.org", "https://dms.example.org\t", false },
	{ "https://dms.example.org", "https://dms.example.org:", false },
	{ "https://dms.example.org", "https://dms.example.org:0443", false },
	{ "https://dms.example.org", "https://dms.example.org:4430", false },
	{ "https://dms.example.org", "https://dms.example.org:65979", false }, /* 443 + 2^16 */
	{ "https://dms.example.org", "https://dms.example.org:-443", false },
	{ "https://dms.example.org", "https://dms.example.org:443:443", false },
	{ "https://dms.example.org", "//dms.example.org", false },
	{ "https://dms.example.org", "dms.example.org", false },
	{ "https://dms.example.org", "https:dms.example.org", false },
	{ "https://dms.example.org", "https:/dms.example.org", false },
	{ "https://dms.example.org", "https://*", false },
	{ "https://*.example.org", "https://dms.example.org", false },
	{ "https://dms.example.org", "*", false },
	{ "https://dms.example.org", "https://dms.ex\xC3\xA4mple.org", false },
	{ "http://[::1]", "http://[::2]", false },
	{ "http://[::1]", "http://::1", false },
	{ "http://[::1]", "http://[::1", false },
	{ "http://[::1]", "http://[::1]x", false },
	{ "http://[::1]", "http://[]", false },
	{ "capacitor://localhost", "capacitor://localhost:80", false },
	{ "https://dms.example.org/", "https://dms.example.org", false },
};

static void origins_are_compared_exactly(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (admits(cases[i].entry, cases[i].origin) != cases[i].admitted)
			fail_msg("%s against %s", cases[i].origin ? cases[i].origin : "(none)", cases[i].entry);
}

static void an_empty_list_admits_no_page(void **state)
{
	struct texts none = { 0 };

	(void)state;
	assert_true(origin_admits(&none, NULL));
	assert_false(origin_admits(&none, "https://dms.example.org"));
}

static void useless_entries_are_found(void **state)
{
	struct fail why;

	(void)state;
	assert_true(origin_check("*", &why));
	assert_true(origin_check("https://dms.example.org", &why));
	assert_true(origin_check("http://localhost:5173", &why));
	assert_false(origin_check("https://dms.example.org/", &why));
	assert_non_null(strstr(why.text, "https://dms.example.org/"));
	assert_false(origin_check("https://*.example.org", &why));
	assert_false(origin_check("dms.example.org", &why));
	assert_false(origin_check("null", &why));
	assert_false(origin_check("", &why));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(origins_are_compared_exactly),
		cmocka_unit_test(an_empty_list_admits_no_page),
		cmocka_unit_test(useless_entries_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
