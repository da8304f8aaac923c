/* Groups' names as the configuration spells them, and the way back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/rules/group_name.h"

struct world {
	struct conf *conf;
	struct rules *rules;
	struct group_names *names;
};

/* One stream and one table with these groups, as the file writes a list. */
static struct world world_of(const char *streams, const char *tables)
{
	struct fail why = { 0 };
	struct buf text = { 0 };
	struct world w;

	buf_addf(&text,
		 "database = { url = \"postgresql://u@h/d\" slot = \"s\" }\n"
		 "jwt = { algorithm = \"HS256\" key = \"k\" }\n"
		 "streams = { s = { path = \"/ws/<unit_id>/<name>/\" admit = \"SELECT 1 AS x, {path.unit_id}, "
		 "{path.name}\" groups = [ %s ] } }\n"
		 "tables = { t = { type = \"t\" key = \"t_id\" groups = [ %s ] } }\n",
		 streams, tables);
	w.conf = conf_parse("test.conf", buf_slice(&text), &why);
	if (!w.conf)
		fail_msg("%s", why.text);
	w.rules = rules_new(w.conf, &why);
	if (!w.rules)
		fail_msg("%s", why.text);
	w.names = group_names_new(w.rules);
	buf_fini(&text);
	return w;
}

static void world_end(struct world *w)
{
	group_names_free(w->names);
	rules_free(w->rules);
	conf_free(w->conf);
}

static void expect_shown(const struct world *w, const char *group, const char *shown)
{
	struct buf out = { 0 };

	group_name_show(w->names, slice_of(group), &out);
	assert_string_equal(out.data, shown);
	buf_fini(&out);
}

static void add_found(void *ctx, struct slice group)
{
	buf_add_slice(ctx, group);
	buf_add_char(ctx, ' ');
}

static void expect_found(const struct world *w, const char *text, const char *groups)
{
	struct buf out = { 0 };

	group_name_find(w->names, slice_of(text), 8, add_found, &out);
	assert_string_equal(buf_slice(&out).at, groups);
	buf_fini(&out);
}

static void count_found(void *ctx, struct slice group)
{
	(void)group;
	++*(size_t *)ctx;
}

static void expect_found_many(const struct world *w, const char *text)
{
	size_t n = 0;

	group_name_find(w->names, slice_of(text), 8, count_found, &n);
	assert_int_equal(n, 8);
}

static void a_name_is_shown_as_the_file_spells_it(void **state)
{
	struct world w =
		world_of("\"requests_unit_{path.unit_id}\", \"all\"", "\"requests_unit_{unit}\", \"crates_{unit}\"");

	(void)state;
	expect_shown(&w, "requests_unit_{5}", "requests_unit_5");
	expect_shown(&w, "all", "all");
	expect_shown(&w, "crates_{3f2a-77}", "crates_3f2a-77");
	expect_shown(&w, "requests_unit_{}", "requests_unit_");
	expect_found(&w, "requests_unit_5", "requests_unit_{5} ");
	expect_found(&w, "requests_unit_{5}", "requests_unit_{5} ");
	expect_found(&w, "all", "all ");
	expect_found(&w, "nobody", "");
	expect_found(&w, "", "");
	world_end(&w);
}

/* {path.unit_id} may be "a_b". */
static void braces_stay_where_two_would_look_alike(void **state)
{
	struct world w = world_of("\"g_{path.unit_id}\", \"g_{path.unit_id}_{path.name}\"", "\"g_{unit}\"");

	(void)state;
	expect_shown(&w, "g_{5}", "g_5");
	expect_shown(&w, "g_{5_6}", "g_{5_6}");
	expect_shown(&w, "g_{5}_{6}", "g_{5}_{6}");
	expect_found(&w, "g_5_6", "g_{5_6} g_{5}_{6} ");
	expect_found(&w, "g_{5}_{6}", "g_{5}_{6} ");
	world_end(&w);
}

static void a_text_that_one_template_cuts_in_two_ways_keeps_its_braces(void **state)
{
	struct world w = world_of("\"{path.unit_id}_{path.name}\"", "\"{a}_{b}\"");

	(void)state;
	expect_shown(&w, "{a}_{b}", "a_b");
	expect_shown(&w, "{a_b}_{c}", "{a_b}_{c}");
	expect_shown(&w, "{a}_{b_c}", "{a}_{b_c}");
	expect_found(&w, "a_b_c", "{a}_{b_c} {a_b}_{c} ");
	world_end(&w);
}

/* Otherwise the value "{5}" would look like the braces of 5. */
static void an_escape_stays(void **state)
{
	struct world w = world_of("\"g_{path.unit_id}\"", "\"g_{unit}\"");

	(void)state;
	expect_shown(&w, "g_{%7B5%7D}", "g_{%7B5%7D}");
	expect_shown(&w, "g_{50%25}", "g_{50%25}");
	expect_shown(&w, "g_{a%00b}", "g_{a%00b}");
	expect_found(&w, "g_{%7B5%7D}", "g_{%7B5%7D} ");
	world_end(&w);
}

/* A text with very many ways to be cut ends soon. */
static void a_long_text_costs_little(void **state)
{
	struct world w = world_of("\"all\"", "\"{a}x{b}x{c}x{d}x{e}x{f}y\"");
	char text[257] = { 0 };

	(void)state;
	memset(text, 'x', 255);
	text[255] = 'y';
	expect_shown(&w, text, text);
	expect_found_many(&w, text);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_shown_as_the_file_spells_it),
		cmocka_unit_test(braces_stay_where_two_would_look_alike),
		cmocka_unit_test(a_text_that_one_template_cuts_in_two_ways_keeps_its_braces),
		cmocka_unit_test(an_escape_stays),
		cmocka_unit_test(a_long_text_costs_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
