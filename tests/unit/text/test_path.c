/* Paths in Django's syntax, and query strings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/base/buf.h"
#include "walpush/text/path.h"

#define UUID "075194d3-6885-417e-a8a8-6c931e272f00"

/* `values` are "name=value" one behind the other, each with a ';'; NULL: must not match. */
static const struct {
	const char *pattern, *path, *values;
} matches[] = {
	{ "/", "/", "" },
	{ "/", "//", NULL },
	{ "/", "", NULL },
	{ "/ws/", "/ws", NULL },
	{ "/ws", "/ws/", NULL },
	{ "/ws/", "/WS/", NULL },
	{ "/ws/", "ws/", NULL },
	{ "/ws/", "/%77%73/", "" },

	{ "/ws/requests/<int:unit_id>/", "/ws/requests/5/", "unit_id=5;" },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/005/", "unit_id=5;" },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/000/", "unit_id=0;" },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/%35/", "unit_id=5;" },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/5", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests//", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/5//", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws//requests/5/", NULL },
	{ "/ws/requests/<int:unit_id>/", "//ws/requests/5/", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/-5/", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/+5/", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/5a/", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/0x5/", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/5.0/", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/%205/", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/5%2F/", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/5%2F", "unit_id=5;" },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/\xD9\xA5/", NULL }, /* an Arabic five */
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/5/?x", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/5/%00", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/5/%0A", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws/./requests/5/", NULL },
	{ "/ws/requests/<int:unit_id>/", "/ws/requests/5/../6/", NULL },
	{ "/<int:a>", "/1234567890123456789", "a=1234567890123456789;" },
	{ "/<int:a>", "/12345678901234567890", NULL },
	{ "/<int:a>", "/000001234567890123456789", "a=1234567890123456789;" },

	{ "/<str:a>/", "/x/", "a=x;" },
	{ "/<a>/", "/x/", "a=x;" },
	{ "/<a>/", "/x y/", "a=x y;" },
	{ "/<a>/", "/x%20y/", "a=x y;" },
	{ "/<a>/", "/x+y/", "a=x+y;" },
	{ "/<a>/", "/%2e/", "a=.;" },
	{ "/<a>/", "/%2E%2e/", "a=..;" },
	{ "/<a>/", "/%2535/", "a=%35;" },
	{ "/<a>/", "/%25/", "a=%;" },
	{ "/<a>/", "/x%2Fy/", NULL },
	{ "/<a>/", "/x%2fy/", NULL },
	{ "/<a>/", "/x%252Fy/", "a=x%2Fy;" },
	{ "/<a>/", "/%00/", NULL },
	{ "/<a>/", "/x%00y/", NULL },
	{ "/<a>/", "/x%1fy/", NULL },
	{ "/<a>/", "/x%7fy/", NULL },
	{ "/<a>/", "/x%c2%85y/", NULL },
	{ "/<a>/", "/x%c2%a0y/", "a=x\xC2\xA0y;" },
	{ "/<a>/", "/x\x01y/", NULL },
	{ "/<a>/", "/%e2%82%ac/", "a=\xE2\x82\xAC;" },
	{ "/<a>/", "/\xE2\x82\xAC/", "a=\xE2\x82\xAC;" },
	{ "/<a>/", "/%c0%af/", NULL },       /* '/' in two bytes */
	{ "/<a>/", "/%e0%80%af/", NULL },    /* in three */
	{ "/<a>/", "/%ed%a0%80/", NULL },    /* a surrogate */
	{ "/<a>/", "/%f4%90%80%80/", NULL }, /* beyond Unicode */
	{ "/<a>/", "/%e2%82/", NULL },
	{ "/<a>/", "/%ff/", NULL },
	{ "/<a>/", "/%/", NULL },
	{ "/<a>/", "/%4/", NULL },
	{ "/<a>/", "/%4", NULL },
	{ "/<a>/", "/%zz/", NULL },
	{ "/<a>/", "/% 5/", NULL },
	{ "/<a>/", "/%u0035/", NULL },
	{ "/<a>/", "/{x}/", "a={x};" },

	{ "/<slug:a>/", "/a-Z_9/", "a=a-Z_9;" },
	{ "/<slug:a>/", "/a.b/", NULL },
	{ "/<slug:a>/", "/\xC3\xA9/", NULL },
	{ "/<uuid:a>/", "/" UUID "/", "a=" UUID ";" },
	{ "/<uuid:a>/", "/075194D3-6885-417E-A8A8-6C931E272F00/", NULL },
	{ "/<uuid:a>/", "/075194d36885417ea8a86c931e272f00/", NULL },
	{ "/<uuid:a>/", "/" UUID "0/", NULL },
	{ "/<uuid:a>/", "/{" UUID "}/", NULL },
	{ "/<uuid:a><str:b>/", "/" UUID "x/", "a=" UUID ";b=x;" },

	{ "/<path:a>", "/x/y", "a=x/y;" },
	{ "/<path:a>", "/x%2Fy", "a=x/y;" },
	{ "/<path:a>", "/", NULL },
	{ "/<path:a>/", "/x//", "a=x/;" },
	{ "/<path:a>/<int:b>", "/x/1/2", "a=x/1;b=2;" },
	{ "/<path:a>/<int:b>", "/x/1/", NULL },
	{ "/<path:a>/<path:b>", "/1/2/3", "a=1/2;b=3;" },
	{ "/<path:a>/x/<path:b>", "/x/x/x/x/x", "a=x/x/x;b=x;" },
	{ "/<int:a><int:b>", "/123", "a=12;b=3;" },
	{ "/<int:a><int:b>", "/1", NULL },
	{ "/<str:a><str:b>", "/%c3%a9", NULL }, /* one character, though two bytes */
	{ "/<path:a><str:b>", "/x\xC3\xA9\xE2\x82\xAC", "a=x\xC3\xA9;b=\xE2\x82\xAC;" },
	{ "/<int:a><str:b>", "/12x", "a=12;b=x;" },
	{ "/<int:a><str:b>", "/12", "a=1;b=2;" },
	{ "/<str:a>-<str:b>", "/1-2-3", "a=1-2;b=3;" },
	{ "/<str:a>-<int:b>/", "/x-1-2/", "a=x-1;b=2;" },
	{ "/<slug:a>x<slug:b>", "/xxxx", "a=xx;b=x;" },
	{ "/a.b/", "/axb/", NULL },
	{ "/50%/", "/50%25/", "" },
};

static void add_values(const struct path_values *v, struct buf *out)
{
	buf_add(out, "", 0);
	for (size_t i = 0; i < v->n; i++)
		buf_addf(out, "%s=%s;", v->name[i], v->value[i]);
}

static struct path_pattern *compile(const char *source)
{
	struct fail why;
	struct path_pattern *p = path_compile(source, &why);

	if (!p)
		fail_msg("%s: %s", source, why.text);
	return p;
}

static void paths_match_as_in_django(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(matches) / sizeof(*matches); i++) {
		struct path_pattern *p = compile(matches[i].pattern);
		bool expected = matches[i].values != NULL, matched;
		struct path_values v;
		struct buf text = { 0 };

		matched = path_match(p, slice_of(matches[i].path), &v);
		add_values(&v, &text);
		if (matched != expected || strcmp(text.data, expected ? matches[i].values : "") != 0)
			fail_msg("%s: %s: %d %s", matches[i].pattern, matches[i].path, matched, text.data);
		buf_fini(&text);
		path_free(p);
	}
}

static void values_are_found_by_name(void **state)
{
	struct path_pattern *p = compile("/<int:unit_id>/<slug:b>/");
	struct path_values v;

	(void)state;
	assert_true(path_has(p, "unit_id"));
	assert_true(path_has(p, "b"));
	assert_false(path_has(p, "unit"));
	assert_false(path_has(p, "/"));
	assert_string_equal(path_name(p, 0), "unit_id");
	assert_string_equal(path_name(p, 1), "b");
	assert_null(path_name(p, 2));
	assert_true(path_match(p, SLICE("/05/x/"), &v));
	assert_string_equal(path_value(&v, "unit_id"), "5");
	assert_string_equal(path_value(&v, "b"), "x");
	assert_null(path_value(&v, "c"));
	assert_false(path_match(p, SLICE("/05/x/y"), &v));
	assert_null(path_value(&v, "b"));
	path_free(p);
}

static void a_zero_byte_matches_nothing(void **state)
{
	struct path_pattern *p = compile("/<a>"), *q = compile("/x");
	struct path_values v;

	(void)state;
	assert_false(path_match(p, SLICE("/x\0y"), &v));
	assert_false(path_match(q, SLICE("/x\0"), &v));
	path_free(p);
	path_free(q);
}

static void a_decoded_path_is_not_decoded_again(void **state)
{
	struct path_pattern *p = compile("/<a>");
	struct path_values v;

	(void)state;
	assert_true(path_match_decoded(p, SLICE("/%35"), &v));
	assert_string_equal(path_value(&v, "a"), "%35");
	assert_true(path_match_decoded(p, SLICE("/%"), &v));
	assert_false(path_match_decoded(p, SLICE("/\xC0\xAF"), &v));
	assert_false(path_match_decoded(p, SLICE("/x\ny"), &v));
	path_free(p);
}

static void long_paths_match_nothing(void **state)
{
	char path[3 * PATH_LENGTH_MAX];
	struct path_pattern *p = compile("/<a>");
	struct path_values v;

	(void)state;
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	assert_true(path_match(p, (struct slice){ path, PATH_LENGTH_MAX }, &v));
	assert_int_equal(strlen(v.value[0]), PATH_LENGTH_MAX - 1);
	assert_false(path_match(p, (struct slice){ path, PATH_LENGTH_MAX + 1 }, &v));
	assert_false(path_match_decoded(p, (struct slice){ path, PATH_LENGTH_MAX + 1 }, &v));
	path_free(p);
}

/* Eight greedy values on a path that fails at its end only: backtracking would not come back. */
static void matching_does_not_blow_up(void **state)
{
	struct path_pattern *p = compile("/<path:a><path:b><path:c><path:d><path:e><path:f><path:g><int:h>!");
	char path[PATH_LENGTH_MAX];
	struct path_values v;

	(void)state;
	memset(path, '1', sizeof(path));
	path[0] = '/';
	for (size_t i = 0; i < 100; i++)
		assert_false(path_match(p, (struct slice){ path, sizeof(path) }, &v));
	path[sizeof(path) - 1] = '!';
	assert_true(path_match(p, (struct slice){ path, sizeof(path) }, &v));
	assert_int_equal(v.n, PATH_VALUES_MAX);
	assert_int_equal(strlen(path_value(&v, "a")), PATH_LENGTH_MAX - 2 - 7);
	assert_string_equal(path_value(&v, "h"), "1");
	path_free(p);
}

static const struct {
	const char *source, *says;
	size_t offset;
} errors[] = {
	{ "", "begin", 0 },
	{ "ws/", "begin", 0 },
	{ "<int:a>/", "begin", 0 },
	{ "/<int:a", "without", 1 },
	{ "/x/<", "without", 3 },
	{ "/int:a>/", "'>'", 6 },
	{ "/<>/", "no name", 1 },
	{ "/<int:>/", "no name", 1 },
	{ "/<:a>/", "unknown converter", 1 },
	{ "/<integer:a>/", "\"integer\"", 1 },
	{ "/<INT:a>/", "unknown converter", 1 },
	{ "/<int:a:b>/", "no name", 1 },
	{ "/<int: a>/", "no name", 1 },
	{ "/<a-b>/", "no name", 1 },
	{ "/<1a>/", "no name", 1 },
	{ "/<int:a>/<str:a>/", "twice", 9 },
	{ "/a b/", "' '", 2 },
	{ "/a?b", "'?'", 2 },
	{ "/a#b", "'#'", 2 },
	{ "/a\tb", "control", 0 },
	{ "/\xFF", "UTF-8", 0 },
	{ "/<a><b><c><d><e><f><g><h><i>", "more than 8", 25 },
};

static void bad_patterns_are_refused(void **state)
{
	char source[PATH_LENGTH_MAX + 2];
	struct fail why;

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		why = (struct fail){ 0 };
		assert_null(path_compile(errors[i].source, &why));
		if (!strstr(why.text, errors[i].says) || why.offset != errors[i].offset)
			fail_msg("%s: %zu %s", errors[i].source, why.offset, why.text);
	}
	memset(source, '/', sizeof(source));
	source[PATH_LENGTH_MAX + 1] = '\0';
	assert_null(path_compile(source, &why));
	assert_non_null(strstr(why.text, "longer"));
}

static void eight_values_fit(void **state)
{
	struct path_pattern *p = compile("/<a>/<b>/<c>/<d>/<e>/<f>/<g>/<h>/");
	struct path_values v;

	(void)state;
	assert_true(path_match(p, SLICE("/1/2/3/4/5/6/7/8/"), &v));
	assert_int_equal(v.n, 8);
	assert_string_equal(path_value(&v, "h"), "8");
	path_free(p);
}

static const struct {
	const char *query, *value; /* of "token", in 16 bytes; NULL: none */
} queries[] = {
	{ "token=x", "x" },
	{ "a=1&token=x&b=2", "x" },
	{ "token=", "" },
	{ "token", "" },
	{ "token&token=x", "" },
	{ "token=x&token=y", "x" },
	{ "token=x=y", "x=y" },
	{ "token=a%2Bb%26c+d", "a+b&c d" },
	{ "t%6Fken=x", "x" },
	{ "token=%2541", "%41" },
	{ "token=123456789012345", "123456789012345" },
	{ "token=1234567890123456", NULL },
	{ "token=%31%32%33%34%35%36%37%38%39%30%31%32%33%34%35", "123456789012345" },
	{ "", NULL },
	{ "&&", NULL },
	{ "=x", NULL },
	{ "tokens=x", NULL },
	{ "toke=x", NULL },
	{ "xtoken=y", NULL },
	{ "TOKEN=x", NULL },
	{ "a=token=x", NULL },
	{ "?token=x", NULL },
	{ "token=%", NULL },
	{ "token=%4", NULL },
	{ "token=%4&b=1", NULL },
	{ "token=%gg", NULL },
	{ "token=a%00b", NULL },
	{ "token%00=x", NULL },
	{ "tok%=1&token=x", "x" },
	{ "token=%zz&token=x", NULL }, /* the first wins, and it is bad */
};

static void query_values_are_decoded(void **state)
{
	char out[16];

	(void)state;
	for (size_t i = 0; i < sizeof(queries) / sizeof(*queries); i++) {
		bool found;

		memset(out, '!', sizeof(out));
		found = path_query_value(slice_of(queries[i].query), "token", out, sizeof(out));
		if (found != (queries[i].value != NULL) || strcmp(out, found ? queries[i].value : "") != 0)
			fail_msg("%s: %d %s", queries[i].query, found, out);
	}
	assert_false(path_query_value(SLICE("token=x\0y"), "token", out, sizeof(out)));
	assert_false(path_query_value(SLICE("token=x"), "token", out, 0));
	assert_false(path_query_value(SLICE("token=x"), "token", out, 1));
	assert_true(path_query_value(SLICE("token=x"), "token", out, 2));
	assert_false(path_query_value((struct slice){ NULL, 0 }, "token", out, sizeof(out)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_match_as_in_django),    cmocka_unit_test(values_are_found_by_name),
		cmocka_unit_test(a_zero_byte_matches_nothing), cmocka_unit_test(a_decoded_path_is_not_decoded_again),
		cmocka_unit_test(long_paths_match_nothing),    cmocka_unit_test(matching_does_not_blow_up),
		cmocka_unit_test(bad_patterns_are_refused),    cmocka_unit_test(eight_values_fit),
		cmocka_unit_test(query_values_are_decoded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
