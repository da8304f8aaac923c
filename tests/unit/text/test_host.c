/* Whom a request to the admin port may name in its Host header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/text/host.h"

static struct text names_of_the_list[] = { { .text = (char *)"walpush" },
					   { .text = (char *)"Metrics.Example.org." },
					   { .text = (char *)"app_1.default.svc" } };
static const struct texts list = { names_of_the_list, 3 };
static const struct texts nothing;

#define LABEL "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"

static const struct {
	const char *host;
	enum host_verdict with, without; /* the list, and an empty one */
} cases[] = {
	{ "127.0.0.1", HOST_ADMITTED, HOST_ADMITTED },
	{ "127.0.0.1:8002", HOST_ADMITTED, HOST_ADMITTED },
	{ "10.1.2.3:80", HOST_ADMITTED, HOST_ADMITTED },
	{ "0.0.0.0", HOST_ADMITTED, HOST_ADMITTED },
	{ "[::1]", HOST_ADMITTED, HOST_ADMITTED },
	{ "[::1]:8002", HOST_ADMITTED, HOST_ADMITTED },
	{ "[FE80::1]:8002", HOST_ADMITTED, HOST_ADMITTED },
	{ "[::ffff:10.0.0.1]", HOST_ADMITTED, HOST_ADMITTED },
	{ "localhost", HOST_ADMITTED, HOST_ADMITTED },
	{ "LocalHost:8002", HOST_ADMITTED, HOST_ADMITTED },
	{ "localhost.", HOST_ADMITTED, HOST_ADMITTED },
	{ "localhost.:8002", HOST_ADMITTED, HOST_ADMITTED },
	{ "localhost:", HOST_ADMITTED, HOST_ADMITTED },
	{ "walpush", HOST_ADMITTED, HOST_FOREIGN },
	{ "WALPUSH:8002", HOST_ADMITTED, HOST_FOREIGN },
	{ "walpush.", HOST_ADMITTED, HOST_FOREIGN },
	{ "metrics.example.org", HOST_ADMITTED, HOST_FOREIGN },
	{ "metrics.example.ORG.:1", HOST_ADMITTED, HOST_FOREIGN },
	{ "app_1.default.svc", HOST_ADMITTED, HOST_FOREIGN },

	{ "evil.example", HOST_FOREIGN, HOST_FOREIGN },
	{ "evil.example:8002", HOST_FOREIGN, HOST_FOREIGN },
	{ "walpush.evil.example", HOST_FOREIGN, HOST_FOREIGN },
	{ "evilwalpush", HOST_FOREIGN, HOST_FOREIGN },
	{ "localhost.evil.example", HOST_FOREIGN, HOST_FOREIGN },
	{ "127.0.0.1.evil.example", HOST_FOREIGN, HOST_FOREIGN },
	{ "127.0.0.1.", HOST_FOREIGN, HOST_FOREIGN },
	{ "127.1", HOST_FOREIGN, HOST_FOREIGN }, /* other spellings of addresses are names here */
	{ "2130706433", HOST_FOREIGN, HOST_FOREIGN },
	{ "0x7f000001", HOST_FOREIGN, HOST_FOREIGN },
	{ "0177.0.0.1", HOST_FOREIGN, HOST_FOREIGN },
	{ "256.0.0.1", HOST_FOREIGN, HOST_FOREIGN },
	{ "xn--bcher-kva.example", HOST_FOREIGN, HOST_FOREIGN },
	{ LABEL ".example", HOST_FOREIGN, HOST_FOREIGN },

	{ "", HOST_MALFORMED, HOST_MALFORMED },
	{ ".", HOST_MALFORMED, HOST_MALFORMED },
	{ ":8002", HOST_MALFORMED, HOST_MALFORMED },
	{ "localhost..", HOST_MALFORMED, HOST_MALFORMED },
	{ ".localhost", HOST_MALFORMED, HOST_MALFORMED },
	{ "evil..example", HOST_MALFORMED, HOST_MALFORMED },
	{ "localhost:http", HOST_MALFORMED, HOST_MALFORMED },
	{ "localhost:800200", HOST_MALFORMED, HOST_MALFORMED },
	{ "localhost:80:02", HOST_MALFORMED, HOST_MALFORMED },
	{ "localhost:-1", HOST_MALFORMED, HOST_MALFORMED },
	{ "localhost, evil.example", HOST_MALFORMED, HOST_MALFORMED },
	{ "localhost evil.example", HOST_MALFORMED, HOST_MALFORMED },
	{ "localhost\t", HOST_MALFORMED, HOST_MALFORMED },
	{ "localhost/", HOST_MALFORMED, HOST_MALFORMED },
	{ "http://localhost", HOST_MALFORMED, HOST_MALFORMED },
	{ "user@localhost", HOST_MALFORMED, HOST_MALFORMED },
	{ "evil.example@127.0.0.1", HOST_MALFORMED, HOST_MALFORMED },
	{ "b\xC3\xBC"
	  "cher.example",
	  HOST_MALFORMED, HOST_MALFORMED },
	{ "%6cocalhost", HOST_MALFORMED, HOST_MALFORMED },
	{ "::1", HOST_MALFORMED, HOST_MALFORMED },
	{ "[::1", HOST_MALFORMED, HOST_MALFORMED },
	{ "[]", HOST_MALFORMED, HOST_MALFORMED },
	{ "[", HOST_MALFORMED, HOST_MALFORMED },
	{ "[127.0.0.1]", HOST_MALFORMED, HOST_MALFORMED },
	{ "[localhost]", HOST_MALFORMED, HOST_MALFORMED },
	{ "[::1]evil.example", HOST_MALFORMED, HOST_MALFORMED },
	{ "[::1].evil.example", HOST_MALFORMED, HOST_MALFORMED },
	{ "[fe80::1%25eth0]", HOST_MALFORMED, HOST_MALFORMED },
	{ "[::1]:x", HOST_MALFORMED, HOST_MALFORMED },
	{ LABEL "h.example", HOST_MALFORMED, HOST_MALFORMED },
};

static void table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		/* In memory of its own, without a zero behind it. */
		struct slice host = { malloc(strlen(cases[i].host) + 1), strlen(cases[i].host) };
		enum host_verdict with, without;

		memcpy((char *)host.at, cases[i].host, host.len);
		with = host_judge(host, &list);
		without = host_judge(host, &nothing);
		if (with != cases[i].with || without != cases[i].without)
			fail_msg("\"%s\": %d and %d", cases[i].host, with, without);
		free((char *)host.at);
	}
}

static void a_zero_byte_ends_no_name(void **state)
{
	(void)state;
	assert_int_equal(host_judge(SLICE("localhost\0.evil.example"), &list), HOST_MALFORMED);
	assert_int_equal(host_judge(SLICE("127.0.0.1\0"), &list), HOST_MALFORMED);
	assert_int_equal(host_judge(SLICE("[::1\0]"), &list), HOST_MALFORMED);
}

static void names_for_the_list(void **state)
{
	(void)state;
	assert_true(host_is_name("walpush"));
	assert_true(host_is_name("walpush.default.svc.cluster.local."));
	for (const char *const *bad = (const char *const[]){ "", ".", "*", "*.example.org", "walpush:8002",
							     "http://walpush", "a b", "a/", "[::1]", NULL };
	     *bad; bad++)
		if (host_is_name(*bad))
			fail_msg("\"%s\" is taken for a name", *bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(a_zero_byte_ends_no_name),
		cmocka_unit_test(names_for_the_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
