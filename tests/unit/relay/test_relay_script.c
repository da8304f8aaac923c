/* Answers of the tail script, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedlink.h"
#include "relay_script.h"

static const struct {
	const char *wire;
	struct event_id tail;
	lsn_t end;
	const char *error; /* NULL: it is an answer */
} cases[] = {
	{ "*2\r\n$3\r\n0-0\r\n$0\r\n\r\n", { 0, 0 }, 0, NULL },
	{ "*2\r\n$4\r\n12-3\r\n$2\r\n13\r\n", { 12, 3 }, 13, NULL },
	{ "*2\r\n$31\r\n18446744073709551615-4294967295\r\n$20\r\n18446744073709551615\r\n",
	  { UINT64_MAX, UINT32_MAX },
	  UINT64_MAX,
	  NULL },
	{ "*2\r\n$4\r\n12-x\r\n$2\r\n13\r\n", { 0, 0 }, 0, "it is no stream of walpush's" },
	{ "*2\r\n$4\r\n12-3\r\n$2\r\n1x\r\n", { 0, 0 }, 0, "it is no stream of walpush's" },
	{ "*1\r\n$4\r\n12-3\r\n", { 0, 0 }, 0, "it is no stream of walpush's" },
	{ "*2\r\n:1\r\n$2\r\n13\r\n", { 0, 0 }, 0, "it is no stream of walpush's" },
	{ "*2\r\n$4\r\n12-3\r\n:1\r\n", { 0, 0 }, 0, "it is no stream of walpush's" },
	{ ":1\r\n", { 0, 0 }, 0, "it is no stream of walpush's" },
	{ "-WRONGTYPE Operation\r\n", { 0, 0 }, 0, "WRONGTYPE Operation" },
};

static size_t at;

static void on_tail(void *ctx, const redisReply *reply)
{
	struct event_id tail = { 0 };
	lsn_t end = 0;

	(void)ctx;
	assert_int_equal(relay_script_take_tail(reply, &tail, &end), !cases[at].error);
	if (cases[at].error) {
		assert_string_equal(relay_script_tail_error(reply), cases[at].error);
		return;
	}
	assert_int_equal(event_id_compare(tail, cases[at].tail), 0);
	assert_int_equal(end, cases[at].end);
}

static void on_link(void *ctx, bool up)
{
	(void)ctx;
	(void)up;
}

static void each_answer(void **state)
{
	struct redislink *l = redislink_new(NULL, NULL, "read", NULL, 5000000, on_link, NULL);

	(void)state;
	fed_up(l);
	for (at = 0; at < sizeof(cases) / sizeof(*cases); at++) {
		relay_script_ask_tail(l, "key", on_tail, NULL);
		assert_open(l, "TAIL key");
		fed_answer(l, cases[at].wire);
	}
	redislink_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_answer) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
