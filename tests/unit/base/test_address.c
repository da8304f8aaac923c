/* Addresses, networks, and the client behind the proxies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <cmocka.h>

#include "walpush/base/address.h"
#include "walpush/base/texts.h"

static struct address address(const char *text)
{
	struct address a;

	assert_true(address_parse(slice_of(text), &a));
	return a;
}

static void assert_text(const struct address *a, const char *text)
{
	char out[ADDRESS_TEXT_MAX];

	assert_string_equal(address_format(a, out), text);
}

static void texts_come_back(void **state)
{
	static const char *const pairs[][2] = {
		{ "127.0.0.1", "127.0.0.1" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "::ffff:10.1.2.3", "10.1.2.3" },
		{ "::1", "::1" },
		{ "2001:DB8::00:5", "2001:db8::5" },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		struct address a = address(pairs[i][0]);

		assert_text(&a, pairs[i][1]);
	}
}

static void what_is_no_address(void **state)
{
	static const char *const texts[] = { "",        "1.2.3",     "1.2.3.4.5", "1.2.3.256", "01.2.3.4.", "unknown",
					     "::1%lo",  "[::1]",     "1.2.3.4 ",  " 1.2.3.4",  "1.2.3.4:5", ":::",
					     "_hidden", "localhost", "1.2.3.4/8", "0x7f.1" };
	struct address a;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_false(address_parse(slice_of(texts[i]), &a));
	assert_false(address_parse((struct slice){ "1.2.3.4\0x", 9 }, &a));
	assert_false(address_parse(SLICE("0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"), &a));
}

static void socket_addresses(void **state)
{
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0A010203) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr local = { .sa_family = AF_UNIX };
	struct address a;

	(void)state;
	a = address_of((const struct sockaddr *)&four);
	assert_text(&a, "10.1.2.3");
	a = address_of((const struct sockaddr *)&six);
	assert_text(&a, "::1");
	inet_pton(AF_INET6, "::ffff:10.1.2.3", &six.sin6_addr);
	a = address_of((const struct sockaddr *)&six);
	assert_text(&a, "10.1.2.3");
	a = address_of(&local);
	assert_text(&a, "::");
}

static void what_counts_as_one(void **state)
{
	struct address a = address("2001:db8:1:2:3:4:5:6"), b = address("10.1.2.3");

	(void)state;
	a = address_counted(&a);
	assert_text(&a, "2001:db8:1:2::");
	b = address_counted(&b);
	assert_text(&b, "10.1.2.3");
}

static bool in(const char *text, const char *network)
{
	struct text entries[] = { { .text = (char *)"192.0.2.1" }, { .text = (char *)network } };
	struct texts networks = { entries, 2 };
	struct address a = address(text);

	return address_in(&a, &networks);
}

static void networks(void **state)
{
	(void)state;
	assert_true(in("10.200.3.4", "10.0.0.0/8"));
	assert_true(in("10.200.3.4", "10.77.0.0/8"));
	assert_true(in("::ffff:10.200.3.4", "10.0.0.0/8"));
	assert_true(in("10.1.2.3", "10.1.2.3"));
	assert_true(in("10.1.2.3", "10.1.2.2/31"));
	assert_true(in("10.1.2.3", "0.0.0.0/0"));
	assert_true(in("10.1.2.3", "::/0"));
	assert_true(in("2001:db8::9", "2001:db8::/32"));
	assert_true(in("::1", "::1"));
	assert_true(in("192.0.2.1", "::1"));
	assert_false(in("11.0.0.1", "10.0.0.0/8"));
	assert_false(in("10.1.2.4", "10.1.2.2/31"));
	assert_false(in("2001:db9::9", "2001:db8::/32"));
	assert_false(in("2001:db8::9", "0.0.0.0/0"));
	assert_false(in("10.1.2.3", "10.1.2.3/33"));
	assert_false(in("10.1.2.3", "10.1.2.3/"));
	assert_false(in("10.1.2.3", "10.1.2.3/8x"));
	assert_false(in("10.1.2.3", "10.1.2.3/0032"));
	assert_false(in("10.1.2.3", "everybody"));
}

static void the_client_behind_proxies(void **state)
{
	struct text entries[] = { { .text = (char *)"10.0.0.0/8" }, { .text = (char *)"fd00::/8" } };
	struct texts trusted = { entries, 2 }, nobody = { NULL, 0 };
	static const struct {
		const char *peer, *forwarded, *client;
	} cases[] = {
		{ "10.0.0.1", "203.0.113.9", "203.0.113.9" },
		{ "10.0.0.1", "", "10.0.0.1" },
		{ "10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9" },
		{ "10.0.0.1", "127.0.0.1,10.0.0.2", "127.0.0.1" },
		{ "10.0.0.1", "1.1.1.1, 203.0.113.9 , 10.0.0.2,\t10.0.0.3", "203.0.113.9" },
		{ "fd00::1", "2001:db8::5, fd00::2", "2001:db8::5" },
		/* Not a proxy of ours: what it says counts for nothing. */
		{ "203.0.113.9", "1.1.1.1", "203.0.113.9" },
		{ "203.0.113.9", "10.0.0.2", "203.0.113.9" },
		/* All are trusted: the outermost. */
		{ "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3" },
		/* No address: the proxy that wrote it down is all that is known. */
		{ "10.0.0.1", "unknown", "10.0.0.1" },
		{ "10.0.0.1", "1.1.1.1, unknown, 10.0.0.2", "10.0.0.2" },
		{ "10.0.0.1", "1.1.1.1,", "10.0.0.1" },
		{ "10.0.0.1", ",", "10.0.0.1" },
		{ "10.0.0.1", "1.1.1.1,,10.0.0.2", "10.0.0.2" },
		/* With ports. */
		{ "10.0.0.1", "203.0.113.9:4711", "203.0.113.9" },
		{ "10.0.0.1", "[2001:db8::5]:4711", "2001:db8::5" },
		{ "10.0.0.1", "[2001:db8::5]", "2001:db8::5" },
		{ "10.0.0.1", "[", "10.0.0.1" },
		{ "10.0.0.1", ":", "10.0.0.1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct address peer = address(cases[i].peer), client;

		client = address_forwarded(&peer, slice_of(cases[i].forwarded), &trusted);
		assert_text(&client, cases[i].client);
		client = address_forwarded(&peer, slice_of(cases[i].forwarded), &nobody);
		assert_text(&client, cases[i].peer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_come_back),  cmocka_unit_test(what_is_no_address),
		cmocka_unit_test(socket_addresses), cmocka_unit_test(what_counts_as_one),
		cmocka_unit_test(networks),         cmocka_unit_test(the_client_behind_proxies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
