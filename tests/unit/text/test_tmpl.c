#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "walpush/text/tmpl.h"

#define ALL 0x7Fu

static void expect_sql(const char *source, const char *wanted)
{
	struct fail why = { 0 };
	struct buf out = { 0 };
	struct tmpl t;

	assert_true(tmpl_parse(&t, source, ALL, &why));
	buf_add_text(&out, "");
	tmpl_sql(&t, &out);
	assert_string_equal(out.data, wanted);
	buf_fini(&out);
	tmpl_fini(&t);
}

static void sql_numbers_each_placeholder(void **state)
{
	(void)state;
	expect_sql("", "");
	expect_sql("SELECT 1", "SELECT 1");
	expect_sql("a = {token.user_id} AND b = {path.unit_id} OR c = {token.user_id}", "a = $1 AND b = $2 OR c = $3");
	expect_sql("SELECT '{{1,2}}'::int[] = {x}", "SELECT '{1,2}'::int[] = $1");
	expect_sql("{{{x}}}", "{$1}");
}

static void expect_refusal(const char *source, unsigned scopes, size_t offset, const char *text)
{
	struct fail why = { 0 };
	struct tmpl t;

	assert_false(tmpl_parse(&t, source, scopes, &why));
	assert_non_null(strstr(why.text, text));
	assert_int_equal(why.offset, offset);
	assert_int_equal(t.n_parts, 0);
}

static void refuses_what_cannot_stand_there(void **state)
{
	(void)state;
	expect_refusal("a_{lookup.x}", 1u << TMPL_ROW | 1u << TMPL_OLD, 2,
		       "{lookup.x} cannot stand here; what can: {x}, {old.x}");
	expect_refusal("{x}", 1u << TMPL_PATH, 0, "{path.x}");
	expect_refusal("{x}", 0, 0, "no placeholder");
	expect_refusal("{other.x}", ALL, 0, "{other.x} cannot stand here");
	expect_refusal("a{}", ALL, 2, "a name is missing");
	expect_refusal("a{old.}", ALL, 6, "a name is missing");
	expect_refusal("{\"\"}", ALL, 3, "a name is missing");
	expect_refusal("{\"open}", ALL, 7, "a name is missing");
	expect_refusal("{x", ALL, 2, "not closed");
	expect_refusal("{x y}", ALL, 2, "not closed");
	expect_refusal("{old.b.c}", ALL, 6, "not closed");
	expect_refusal("{x:json}", ALL, 2, "not closed");
	expect_refusal("a } b", ALL, 2, "a lone '}'");
}

static void knows_scopes_names_and_text(void **state)
{
	static const struct {
		const char *source, *name, *written;
		enum tmpl_scope scope;
		bool as_text;
	} cases[] = {
		{ "{unit_id}", "unit_id", "{unit_id}", TMPL_ROW, false },
		{ "{old.unit_id}", "unit_id", "{old.unit_id}", TMPL_OLD, false },
		{ "{path.x:text}", "x", "{path.x}", TMPL_PATH, true },
		{ "{\"odd } name\"}", "odd } name", "{odd } name}", TMPL_ROW, false },
		{ "{\"old.x\"}", "old.x", "{old.x}", TMPL_ROW, false },
		{ "{admit.\"a\"\"b\"}", "a\"b", "{admit.a\"b}", TMPL_ADMIT, false },
		{ "{größe$1}", "größe$1", "{größe$1}", TMPL_ROW, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct fail why = { 0 };
		struct buf out = { 0 };
		struct tmpl t;

		assert_true(tmpl_parse(&t, cases[i].source, ALL, &why));
		assert_int_equal(t.n_parts, 1);
		assert_int_equal(t.n_refs, 1);
		assert_string_equal(t.parts[0].text, cases[i].name);
		assert_int_equal(t.parts[0].scope, cases[i].scope);
		assert_int_equal(t.parts[0].as_text, cases[i].as_text);
		assert_int_equal(t.parts[0].slot, -1);
		assert_true(tmpl_uses(&t, cases[i].scope));
		assert_false(tmpl_uses(&t, TMPL_TOKEN));
		tmpl_name(&t.parts[0], &out);
		assert_string_equal(out.data, cases[i].written);
		buf_fini(&out);
		tmpl_fini(&t);
	}
}

static bool value_from(void *ctx, const struct tmpl_part *part, struct buf *out)
{
	const struct slice *value = ctx;

	(void)part;
	if (value->at)
		buf_add_slice(out, *value);
	return value->at != NULL;
}

static void expect_group(const char *source, struct slice value, const char *group, struct slice display)
{
	struct fail why = { 0 };
	struct buf out = { 0 }, shown = { 0 };
	struct tmpl t;

	assert_true(tmpl_parse(&t, source, ALL, &why));
	buf_add_text(&out, "before ");
	assert_true(tmpl_group(&t, value_from, &value, &out));
	assert_string_equal(out.data + 7, group);
	assert_int_equal(out.len, 7 + strlen(group));
	tmpl_group_display((struct slice){ out.data + 7, out.len - 7 }, &shown);
	assert_int_equal(shown.len, display.len);
	assert_memory_equal(shown.data, display.at, shown.len);
	buf_fini(&out);
	buf_fini(&shown);
	tmpl_fini(&t);
}

static void groups_hold_values_between_braces(void **state)
{
	(void)state;
	expect_group("requests_unit_{unit_id}", SLICE("5"), "requests_unit_{5}", SLICE("requests_unit_5"));
	expect_group("all", SLICE("5"), "all", SLICE("all"));
	expect_group("100%41{x}", SLICE(""), "100%41{}", SLICE("100%41"));
	expect_group("{x}_{y}", SLICE("a}_{b"), "{a%7D_%7Bb}_{a%7D_%7Bb}", SLICE("a}_{b_a}_{b"));
	expect_group("{x}", SLICE("50%7B"), "{50%257B}", SLICE("50%7B"));
	expect_group("{x}", SLICE("a\0b"), "{a%00b}", SLICE("a\0b"));
}

static const char *const group_templates[] = {
	"",
	"all",
	"al",
	"all_",
	"unit_5",
	"unit_{id}",
	"unit_{path.unit_id}",
	"unit_{old.id}",
	"{x}",
	"{x}{y}",
	"{x}_{y}",
	"{x}__{y}",
	"{x}a{y}",
	"a{x}",
	"{x}a",
	"a{x}b",
	"a{x}b{y}",
	"a{x}bb{y}",
	"ab{x}{y}",
	"unit_{x}_a",
	"unit_{x}_b",
	"unit_{x}_{y}",
	"unit{x}",
	"Unit_{id}",
	"100%",
	"100%25",
	"100%{x}%25",
	"unit_{x}_",
	"_{x}",
	"{x:text}",
	"{token.a}_{admit.b}",
};
#define N_TEMPLATES (sizeof(group_templates) / sizeof(group_templates[0]))

static const struct slice values[] = { SLICE(""),  SLICE("5"),   SLICE("a"),       SLICE("_"), SLICE("{"),
				       SLICE("}"), SLICE("}_{"), SLICE("%7D_%7B"), SLICE("%"), SLICE("a}b{") };
#define N_VALUES (sizeof(values) / sizeof(values[0]))

struct two { /* the values of a template's placeholders, in turn */
	size_t of[2], at;
};

static bool next_value(void *ctx, const struct tmpl_part *part, struct buf *out)
{
	struct two *v = ctx;
	struct slice value = values[v->of[v->at++ % 2]];

	(void)part;
	buf_add(out, value.at, value.len);
	return true;
}

static void spell(const struct tmpl *t, size_t i, struct buf *out)
{
	struct two v = { { i / N_VALUES, i % N_VALUES }, 0 };

	buf_clear(out);
	buf_add_text(out, "");
	assert_true(tmpl_group(t, next_value, &v, out));
}

/* Tries all values for both. */
static bool spell_the_same(const struct tmpl *a, const struct tmpl *b)
{
	struct buf one = { 0 }, other = { 0 };
	bool same = false;

	for (size_t i = 0; i < N_VALUES * N_VALUES && !same; i++)
		for (size_t k = 0; k < N_VALUES * N_VALUES && !same; k++) {
			spell(a, i, &one);
			spell(b, k, &other);
			same = strcmp(one.data, other.data) == 0;
		}
	buf_fini(&one);
	buf_fini(&other);
	return same;
}

/* Every pair, in both directions: what is decided is what a search finds. */
static void knows_which_templates_can_spell_the_same_group(void **state)
{
	struct tmpl t[N_TEMPLATES];
	struct fail why = { 0 };
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < N_TEMPLATES; i++)
		assert_true(tmpl_parse(&t[i], group_templates[i], ALL, &why));
	for (size_t i = 0; i < N_TEMPLATES; i++)
		for (size_t k = 0; k < N_TEMPLATES; k++) {
			bool may = tmpl_may_equal(&t[i], &t[k]);

			if (may != spell_the_same(&t[i], &t[k]))
				fail_msg("\"%s\" and \"%s\": %s", group_templates[i], group_templates[k],
					 may ? "may be equal" : "may not be equal");
			n += may;
		}
	assert_int_equal(n, N_TEMPLATES + 3 * 2 + 2 + 2);
	for (size_t i = 0; i < N_TEMPLATES; i++)
		tmpl_fini(&t[i]);
}

static void a_null_leaves_no_trace(void **state)
{
	struct slice null = { NULL, 0 };
	struct fail why = { 0 };
	struct buf out = { 0 };
	struct tmpl t;

	(void)state;
	assert_true(tmpl_parse(&t, "a_{x}", ALL, &why));
	buf_add_text(&out, "kept");
	assert_false(tmpl_group(&t, value_from, &null, &out));
	assert_string_equal(out.data, "kept");
	assert_int_equal(out.len, 4);
	buf_fini(&out);
	tmpl_fini(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sql_numbers_each_placeholder),
		cmocka_unit_test(refuses_what_cannot_stand_there),
		cmocka_unit_test(knows_scopes_names_and_text),
		cmocka_unit_test(groups_hold_values_between_braces),
		cmocka_unit_test(knows_which_templates_can_spell_the_same_group),
		cmocka_unit_test(a_null_leaves_no_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
