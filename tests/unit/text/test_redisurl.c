/* relay.url: what it says, and that a password written as it is never becomes a host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/text/redisurl.h"

static void same(const char *a, const char *b)
{
	if (!a || !b)
		assert_true(a == b);
	else
		assert_string_equal(a, b);
}

static void parts(void **state)
{
	static const struct {
		const char *url, *host;
		int port;
		const char *user, *password, *database;
	} cases[] = {
		{ "redis://redis", "redis", 6379, NULL, NULL, NULL },
		{ "redis://redis:6380/3", "redis", 6380, NULL, NULL, "3" },
		{ "redis://:secret@10.0.0.1", "10.0.0.1", 6379, NULL, "secret", NULL },
		{ "redis://secret@redis/", "redis", 6379, NULL, "secret", NULL },
		{ "redis://walpush:p%40%3A%2F%3F%23%25@redis:1/0", "redis", 1, "walpush", "p@:/?#%", "0" },
		{ "redis://walpush:pa:ss@redis", "redis", 6379, "walpush", "pa:ss", NULL },
		{ "redis://[::1]", "::1", 6379, NULL, NULL, NULL },
		{ "redis://:secret@[fd00::5]:6380/2", "fd00::5", 6380, NULL, "secret", "2" },
		{ "redis://redis/0?protocol=3", "redis", 6379, NULL, NULL, "0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fail why = { 0 };
		struct redisurl u;

		if (!redisurl_parse(cases[i].url, &u, &why))
			fail_msg("%s: %s", cases[i].url, why.text);
		same(u.host, cases[i].host);
		assert_int_equal(u.port, cases[i].port);
		same(u.user, cases[i].user);
		same(u.password, cases[i].password);
		same(u.database, cases[i].database);
		redisurl_fini(&u);
	}
}

/* Pieces of the password are "qxj1", "qxj2"; ports and databases are digits. */
static void passwords_that_are_split(void **state)
{
	static const char *const cases[] = {
		"redis://walpush:qxj1@qxj2@redis",
		"redis://:qxj1@qxj2:6379@redis:6379/0",
		"redis://walpush:qxj1/qxj2@redis",
		"redis://walpush:12/3@redis",
		"redis://walpush:12/3?qxj1@redis",
		"redis://walpush:12/3#qxj1@redis",
		"redis://walpush:12?qxj1@redis",
		"redis://walpush:12#qxj1@redis",
		"redis://walpush:qxj1?qxj2@redis",
		"redis://:qxj1#qxj2@redis",
		"redis://walpush:qxj1%zz@redis",
		"redis://walpush:qxj1%00qxj2@redis",
		"redis://walpush:qxj1 qxj2@redis",
		"redis://walpush:qxj1[qxj2@redis",
		"redis://walpush%3Aqxj1%40redis:qxj2",
		"redis://walpush%3Aqxj1%40redis:6379",
		"redis://redis/qxj1",
		"redis://:qxj1@",
		"redis://",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fail why = { 0 };

		if (redisurl_check(cases[i], &why))
			fail_msg("%s is taken", cases[i]);
		assert_null(strstr(why.text, "qxj"));
		assert_non_null(strstr(why.text, "relay.url"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts),
		cmocka_unit_test(passwords_that_are_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
