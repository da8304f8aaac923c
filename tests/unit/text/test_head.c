/* The head of a request, as far as it has come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/text/head.h"

#define LIMIT 400
#define GET "GET /ws/requests/1/ HTTP/1.1\r\n"

static enum head_verdict judge(const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1); /* what stands behind it is not its own */
	enum head_verdict verdict;

	memcpy(copy, text, len);
	verdict = head_judge((struct slice){ copy, len }, LIMIT);
	free(copy);
	return verdict;
}

static const struct {
	const char *text;
	enum head_verdict verdict;
} cases[] = {
	{ GET "\r\n", HEAD_WHOLE },
	{ GET "Host: localhost\r\nX:\r\nY: \xC3\xA4\tz\r\n\r\n", HEAD_WHOLE },
	{ GET "Host: localhost\n\n", HEAD_WHOLE },
	{ GET "Host: localhost\r\n\r\n\x81\x80\x01\x02\x03\x04", HEAD_WHOLE },
	{ "OPTIONS / HTTP/1.0\r\n\r\n", HEAD_WHOLE },
	{ "GET /?token=a%2Eb&since=0/1-2 HTTP/1.1\r\n\r\n", HEAD_WHOLE },
	{ "GET /%c3%a4%ff HTTP/1.1\r\n\r\n", HEAD_WHOLE },

	{ "", HEAD_MORE },
	{ "G", HEAD_MORE },
	{ "GET", HEAD_MORE },
	{ "GET ", HEAD_MORE },
	{ "GET /%", HEAD_MORE },
	{ GET, HEAD_MORE },
	{ GET "Host: localhost\r\n", HEAD_MORE },
	{ GET "Host: localhost\r\n\r", HEAD_MORE },
	{ GET "a\x01", HEAD_MORE }, /* the line has not ended */

	{ "\r\n" GET "\r\n", HEAD_MALFORMED },
	{ "\n", HEAD_MALFORMED },
	{ " GET", HEAD_MALFORMED },
	{ "get / HTTP/1.1\r\n\r\n", HEAD_MALFORMED },
	{ "GET\t/ HTTP/1.1\r\n\r\n", HEAD_MALFORMED },
	{ "GET\r\n\r\n", HEAD_MALFORMED },
	{ "ABCDEFGHIJKLMNOPQ", HEAD_MALFORMED },
	{ "\x16\x03\x01\x02", HEAD_MALFORMED },
	{ "PRI * HTTP/2.0\r\n\r\n", HEAD_MALFORMED },
	{ "GET /\r\n\r\n", HEAD_MALFORMED },
	{ "GET  / HTTP/1.1\r\n\r\n", HEAD_MALFORMED },
	{ "GET /  HTTP/1.1\r\n\r\n", HEAD_MALFORMED },
	{ "GET / HTTP/1.1 \r\n\r\n", HEAD_MALFORMED },
	{ "GET / HTTP/1.11\r\n\r\n", HEAD_MALFORMED },
	{ "GET / HTTP/1.x\r\n\r\n", HEAD_MALFORMED },
	{ "GET / HTTP/2.0\r\n\r\n", HEAD_MALFORMED },
	{ "GET / http/1.1\r\n\r\n", HEAD_MALFORMED },
	{ "GET /a b HTTP/1.1\r\n\r\n", HEAD_MALFORMED },
	{ "GET http://localhost/ HTTP/1.1\r\n\r\n", HEAD_MALFORMED },
	{ "CONNECT localhost:80 HTTP/1.1\r\n\r\n", HEAD_MALFORMED },
	{ "GET /ws/requests/1/%00 HTTP/1.1\r\n\r\n", HEAD_MALFORMED },
	{ "GET /ws/requests/1/%0a HTTP/1.1\r\n\r\n", HEAD_MALFORMED },
	{ "GET /ws/requests/1/%0aHTTP/1.1 HTTP/1.1\r\n\r\n", HEAD_MALFORMED },
	{ "GET /ws/requests/1/%0D HTTP/1.1\r\n\r\n", HEAD_MALFORMED },
	{ "GET /?token=abc%00def HTTP/1.1\r\n\r\n", HEAD_MALFORMED },
	{ "GET /\x01 HTTP/1.1\r\n", HEAD_MALFORMED },
	{ "GET /\rx HTTP/1.1\r\n", HEAD_MALFORMED },
	{ "GET /%zz HTTP/1.1\r\n", HEAD_MALFORMED },
	{ GET "Host : localhost\r\n", HEAD_MALFORMED },
	{ GET " Host: localhost\r\n", HEAD_MALFORMED },
	{ GET "Host: a\r\n b\r\n", HEAD_MALFORMED },
	{ GET "Host\r\n", HEAD_MALFORMED },
	{ GET ": x\r\n", HEAD_MALFORMED },
	{ GET "H\xC3\xB6st: x\r\n", HEAD_MALFORMED },
	{ GET "Host: a\rb\r\n", HEAD_MALFORMED },
	{ GET "Host: a\x01\r\n", HEAD_MALFORMED },
	{ GET "Host: a\x7F\r\n", HEAD_MALFORMED },
};

static void table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		enum head_verdict verdict = judge(cases[i].text, strlen(cases[i].text));

		if (verdict != cases[i].verdict)
			fail_msg("number %zu, %s: %d", i, cases[i].text, verdict);
	}
	assert_int_equal(judge("GET /\0 HTTP/1.1\r\n\r\n", 19), HEAD_MALFORMED);
	assert_int_equal(judge(GET "Host: a\0b\r\n\r\n", sizeof(GET) - 1 + 13), HEAD_MALFORMED);
}

/* However it is cut, a fine head is never refused on the way, and one that is refused stays so. */
static void every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		size_t len = strlen(cases[i].text);
		enum head_verdict last = cases[i].verdict;

		for (size_t n = 0; n < len; n++) {
			enum head_verdict verdict = judge(cases[i].text, n);

			assert_true(verdict == HEAD_MORE || verdict == last);
		}
	}
}

static void limits(void **state)
{
	char text[2 * LIMIT];
	size_t n = (size_t)sprintf(text, GET "Cookie: ");

	(void)state;
	memset(text + n, 'x', sizeof(text) - n);
	assert_int_equal(judge(text, LIMIT - 1), HEAD_MORE);
	assert_int_equal(judge(text, LIMIT), HEAD_TOO_LONG);
	assert_int_equal(judge(text, sizeof(text)), HEAD_TOO_LONG);
	/* The longest that there may be, and one byte more. */
	memcpy(text + LIMIT - 4, "\r\n\r\n", 4);
	assert_int_equal(judge(text, LIMIT), HEAD_WHOLE);
	assert_int_equal(judge(text, sizeof(text)), HEAD_WHOLE);
	text[LIMIT - 4] = 'x';
	memcpy(text + LIMIT - 3, "\r\n\r\n", 4);
	assert_int_equal(judge(text, LIMIT + 1), HEAD_TOO_LONG);
}

static enum head_verdict of_lines(unsigned headers, unsigned arguments)
{
	char text[8192] = "GET /?a";
	size_t n = strlen(text);

	while (--arguments)
		n += (size_t)sprintf(text + n, arguments % 2 ? "&a" : ";a");
	n += (size_t)sprintf(text + n, " HTTP/1.1\r\n");
	while (headers--)
		n += (size_t)sprintf(text + n, "a:\r\n");
	n += (size_t)sprintf(text + n, "\r\n");
	return head_judge((struct slice){ text, n }, sizeof(text));
}

static void many_lines(void **state)
{
	(void)state;
	assert_int_equal(of_lines(HEAD_LINES_MOST - 1, 1), HEAD_WHOLE);
	assert_int_equal(of_lines(HEAD_LINES_MOST, 1), HEAD_TOO_LONG);
	assert_int_equal(of_lines(0, HEAD_LINES_MOST), HEAD_WHOLE);
	assert_int_equal(of_lines(0, HEAD_LINES_MOST + 1), HEAD_TOO_LONG);
	assert_int_equal(of_lines(40, 40), HEAD_WHOLE);
	assert_int_equal(of_lines(41, 40), HEAD_TOO_LONG);
}

/* For the log, so it is taken from any bytes. */
static void the_target_is_found_as_far_as_it_is_there(void **state)
{
	static const struct {
		const char *bytes, *target;
	} targets[] = {
		{ "GET /a?b HTTP/1.1\r\n", "/a?b" },
		{ "GET /a", "/a" },
		{ "GET /a\r\n/b", "/a" },
		{ "GET /%zz x", "/%zz" },
		{ "GET /\xFF", "/\xFF" },
		{ "GET ", "" },
		{ "GET  /a", "" },
		{ "GET", "" },
		{ "", "" },
		{ "\x16\x03\x01 /a", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
		struct slice target = head_target(slice_of(targets[i].bytes));

		assert_true(slice_equal(target, slice_of(targets[i].target)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(every_cut),
		cmocka_unit_test(limits),
		cmocka_unit_test(many_lines),
		cmocka_unit_test(the_target_is_found_as_far_as_it_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
