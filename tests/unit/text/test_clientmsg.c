/* What a browser may say, and what is made of all the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/text/clientmsg.h"

/* `answer`: the pong of a ping, the token of an auth, NULL: neither. */
static const struct {
	const char *text, *answer;
} messages[] = {
	{ "{\"type\":\"ping\"}", "{\"type\":\"pong\"}" },
	{ " { \"type\" : \"ping\" }\r\n", "{\"type\":\"pong\"}" },
	{ "{\"t\\u0079pe\":\"pin\\u0067\"}", "{\"type\":\"pong\"}" },
	{ "{\"type\":\"ping\",\"more\":[1]}", "{\"type\":\"pong\"}" },
	{ "{\"timestamp\":1731587696123,\"type\":\"ping\"}", "{\"type\":\"pong\",\"timestamp\":1731587696123}" },
	{ "{\"type\":\"ping\",\"timestamp\":\"2025-11-14T12:34:56Z\"}",
	  "{\"type\":\"pong\",\"timestamp\":\"2025-11-14T12:34:56Z\"}" },
	{ "{\"type\":\"ping\",\"timestamp\":null}", "{\"type\":\"pong\",\"timestamp\":null}" },
	{ "{\"type\":\"ping\",\"timestamp\":true}", "{\"type\":\"pong\",\"timestamp\":true}" },
	{ "{\"type\":\"ping\",\"timestamp\":[ 1, {\"a\": \"b\"} ]}",
	  "{\"type\":\"pong\",\"timestamp\":[1,{\"a\":\"b\"}]}" },
	{ "{\"type\":\"ping\",\"timestamp\":9223372036854775807}",
	  "{\"type\":\"pong\",\"timestamp\":9223372036854775807}" },
	{ "{\"type\":\"ping\",\"timestamp\":-9223372036854775808}",
	  "{\"type\":\"pong\",\"timestamp\":-9223372036854775808}" },
	{ "{\"type\":\"ping\",\"timestamp\":0.1}", "{\"type\":\"pong\",\"timestamp\":0.1}" },
	{ "{\"type\":\"ping\",\"timestamp\":1234.5678901234567}",
	  "{\"type\":\"pong\",\"timestamp\":1234.5678901234567}" },
	{ "{\"type\":\"ping\",\"timestamp\":[0.1,0.30000000000000004]}",
	  "{\"type\":\"pong\",\"timestamp\":[0.10000000000000001,0.30000000000000004]}" },
	{ "{\"type\":\"ping\",\"timestamp\":\"a\\\"\\\\\\n\\u0001\xE2\x82\xAC\"}",
	  "{\"type\":\"pong\",\"timestamp\":\"a\\\"\\\\\\n\\u0001\xE2\x82\xAC\"}" },
	{ "{\"type\":\"ping\",\"timestamp\":\"]]]]]]]]]]]]]]]]]]}}[[[[[[[[[[[[[[[[[[[[[\"}",
	  "{\"type\":\"pong\",\"timestamp\":\"]]]]]]]]]]]]]]]]]]}}[[[[[[[[[[[[[[[[[[[[[\"}" },

	{ "{\"type\":\"auth\",\"token\":\"a.b.c\"}", "a.b.c" },
	{ "{\"type\":\"auth\",\"token\":\"\"}", "" },

	{ "{\"type\":\"auth\"}", NULL },
	{ "{\"type\":\"auth\",\"token\":null}", NULL },
	{ "{\"type\":\"auth\",\"token\":7}", NULL },
	{ "{\"type\":\"auth\",\"token\":[\"a.b.c\"]}", NULL },
	{ "{\"type\":\"auth\",\"token\":\"a\\u0000b\"}", NULL },
	{ "{\"type\":\"ping\",\"timestamp\":9223372036854775808}", NULL },
	{ "{\"type\":\"ping\",\"timestamp\":1e999}", NULL },
	{ "{\"type\":\"ping\",\"timestamp\":01}", NULL },
	{ "{\"type\":\"ping\",\"timestamp\":NaN}", NULL },
	{ "{\"type\":\"ping\",\"type\":\"ping\"}", NULL },
	{ "{\"type\":\"auth\",\"token\":\"a\",\"token\":\"b\"}", NULL },
	{ "{\"type\":\"ping\",\"timestamp\":{\"a\":1,\"a\":2}}", NULL },
	{ "{\"type\":\"Ping\"}", NULL },
	{ "{\"type\":\"ping \"}", NULL },
	{ "{\"type\":[\"ping\"]}", NULL },
	{ "{\"type\":null}", NULL },
	{ "{\"type\":1}", NULL },
	{ "{\"TYPE\":\"ping\"}", NULL },
	{ "{\"type\":\"subscribe\",\"group\":\"requests_unit_6\"}", NULL },
	{ "[{\"type\":\"ping\"}]", NULL },
	{ "\"ping\"", NULL },
	{ "ping", NULL },
	{ "null", NULL },
	{ "{}", NULL },
	{ "", NULL },
	{ "{", NULL },
	{ "}", NULL },
	{ "{\"type\":\"ping\"", NULL },
	{ "{\"type\":\"ping\"}{\"type\":\"ping\"}", NULL },
	{ "{\"type\":\"ping\",}", NULL },
	{ "{'type':'ping'}", NULL },
	{ "{\"type\":\"ping\",\"x\":\"\xFF\"}", NULL },
	{ "\xEF\xBB\xBF{\"type\":\"ping\"}", NULL },
	{ "{\"type\":\"pi\\", NULL },
};

static void messages_are_told_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++) {
		const char *answer = NULL;
		struct buf pong = { 0 };
		struct clientmsg m;

		clientmsg_parse(slice_of(messages[i].text), &m);
		if (m.kind == CLIENTMSG_PING) {
			clientmsg_pong(&m, &pong);
			answer = pong.data;
		} else if (m.kind == CLIENTMSG_AUTH) {
			answer = m.token;
		}
		if (!answer != !messages[i].answer || (answer && strcmp(answer, messages[i].answer) != 0))
			fail_msg("%s: %s", messages[i].text, answer ? answer : "other");
		clientmsg_fini(&m);
		assert_null(m.root);
		buf_fini(&pong);
	}
}

static void a_zero_byte_makes_it_no_message(void **state)
{
	struct clientmsg m;

	(void)state;
	clientmsg_parse(SLICE("{\"type\":\"ping\"}\0"), &m);
	assert_int_equal(m.kind, CLIENTMSG_OTHER);
	clientmsg_fini(&m);
	clientmsg_parse((struct slice){ NULL, 0 }, &m);
	assert_int_equal(m.kind, CLIENTMSG_OTHER);
	clientmsg_fini(&m);
}

static enum clientmsg_kind kind_of_depth(size_t depth)
{
	struct buf text = { 0 };
	enum clientmsg_kind kind;
	struct clientmsg m;

	/* The message's own braces are the first level. */
	buf_add_text(&text, "{\"type\":\"ping\",\"timestamp\":");
	for (size_t i = 1; i < depth; i++)
		buf_add_char(&text, '[');
	for (size_t i = 1; i < depth; i++)
		buf_add_char(&text, ']');
	buf_add_char(&text, '}');
	clientmsg_parse(buf_slice(&text), &m);
	kind = m.kind;
	clientmsg_fini(&m);
	buf_fini(&text);
	return kind;
}

static void depth_is_bounded(void **state)
{
	(void)state;
	assert_int_equal(kind_of_depth(2), CLIENTMSG_PING);
	assert_int_equal(kind_of_depth(16), CLIENTMSG_PING);
	assert_int_equal(kind_of_depth(17), CLIENTMSG_OTHER);
	assert_int_equal(kind_of_depth(50000), CLIENTMSG_OTHER);
}

static void size_is_bounded(void **state)
{
	struct buf text = { 0 };
	struct clientmsg m;

	(void)state;
	buf_add_text(&text, "{\"type\":\"ping\"}");
	while (text.len < 128 * 1024)
		buf_add_char(&text, ' ');
	clientmsg_parse(buf_slice(&text), &m);
	assert_int_equal(m.kind, CLIENTMSG_PING);
	clientmsg_fini(&m);
	buf_add_char(&text, ' ');
	clientmsg_parse(buf_slice(&text), &m);
	assert_int_equal(m.kind, CLIENTMSG_OTHER);
	clientmsg_fini(&m);
	buf_fini(&text);
}

static void a_pong_is_appended(void **state)
{
	struct buf out = { 0 };
	struct clientmsg m;

	(void)state;
	clientmsg_parse(SLICE("{\"type\":\"ping\",\"timestamp\":0.30000000000000004}"), &m);
	buf_add_text(&out, "before ");
	clientmsg_pong(&m, &out);
	assert_string_equal(out.data, "before {\"type\":\"pong\",\"timestamp\":0.30000000000000004}");
	assert_int_equal(out.len, strlen(out.data));
	clientmsg_fini(&m);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_are_told_apart), cmocka_unit_test(a_zero_byte_makes_it_no_message),
		cmocka_unit_test(depth_is_bounded),        cmocka_unit_test(size_is_bounded),
		cmocka_unit_test(a_pong_is_appended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
