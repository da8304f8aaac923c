#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "mapping.h"
#include "walpush/rules/catalog.h"

#define CONF                                                                                                           \
	MAPPING_BASE MAPPING_STREAMS "tables = { ev = { type = \"e\" key = \"ev_id\" groups = [ \"g\" ] } }\n"         \
				     "membership = { m = { user = \"u\" } plain = { user = \"u\" } }\n"

#define COLUMN(table, name)                                                                                            \
	{                                                                                                              \
		"public", table, name, "23", "0", "t", "f", "23", "f", "t"                                             \
	}
#define KIN(...)                                                                                                       \
	{                                                                                                              \
		__VA_ARGS__                                                                                            \
	}

#define BASE COLUMN("ev", "id"), COLUMN("m", "u"), COLUMN("plain", "u")
#define PARENT_M KIN("public", "m", NULL, "public", "m")
#define PARENT_EV KIN("public", "ev", NULL, "public", "ev")

typedef const char *const row[CATALOG_QUERY_COLUMNS];

static struct catalog *catalog_of(const row *rows, size_t n)
{
	struct catalog *c = catalog_new();
	struct fail why = { 0 };

	for (size_t i = 0; i < n; i++)
		if (rows[i][0] && !catalog_add(c, rows[i], &why))
			fail_msg("%s", why.text);
	return c;
}

static struct rules *rules_of(const struct conf *conf, const struct catalog *c)
{
	struct fail why = { 0 };
	struct rules *rules = rules_new(conf, &why);

	if (!rules || !rules_bind(rules, c, &why))
		fail_msg("%s", why.text);
	return rules;
}

/* What the stream that was asked for as `before` needs lacks of `now`; none of its own needs. */
static enum rules_lack lack(const row *before, size_t n_before, const row *now, size_t n_now)
{
	struct fail why = { 0 };
	struct conf *conf = conf_parse("test.conf", slice_of(CONF), &why);
	struct catalog *a = catalog_of(before, n_before), *b = catalog_of(now, n_now);
	struct rules *old = rules_of(conf, a), *new = rules_of(conf, b);
	struct buf add = { 0 }, filter = { 0 };
	enum rules_lack lack;

	rules_add_tables(old, &add);
	rules_filter_tables(old, &filter);
	assert_int_equal(rules_lack(old, buf_slice(&add).at, buf_slice(&filter).at), RULES_LACK_NOTHING);
	lack = rules_lack(new, buf_slice(&add).at, buf_slice(&filter).at);
	rules_free(old);
	rules_free(new);
	catalog_free(a);
	catalog_free(b);
	conf_free(conf);
	buf_fini(&add);
	buf_fini(&filter);
	return lack;
}

#define ROWS 8

static void what_a_stream_does_not_bring(void **state)
{
	static const struct {
		const char *title;
		row before[ROWS], now[ROWS];
		enum rules_lack lack;
	} cases[] = {
		{ "nothing changes", { BASE, PARENT_M }, { BASE, PARENT_M }, RULES_LACK_NOTHING },
		{ "a leaf in the parent's schema",
		  { BASE, PARENT_M },
		  { BASE, PARENT_M, KIN("public", "m1", NULL, "public", "m") },
		  RULES_LACK_NOTHING },
		{ "a leaf in another schema",
		  { BASE, PARENT_M },
		  { BASE, PARENT_M, KIN("o", "m1", NULL, "public", "m") },
		  RULES_LACK_DECIDING },
		{ "a leaf of a pushed table in another schema, with an odd name",
		  { BASE, PARENT_EV },
		  { BASE, PARENT_EV, KIN("o.,", "\\e,*", NULL, "public", "ev") },
		  RULES_LACK_ROWS },
		{ "that was known, and one more beside it in the parent's schema",
		  { BASE, PARENT_EV, KIN("o.,", "\\e,*", NULL, "public", "ev") },
		  { BASE, PARENT_EV, KIN("o.,", "\\e,*", NULL, "public", "ev"),
		    KIN("public", "e2", NULL, "public", "ev") },
		  RULES_LACK_NOTHING },
		{ "a leaf that moves to another schema",
		  { BASE, PARENT_M, KIN("public", "m1", NULL, "public", "m") },
		  { BASE, PARENT_M, KIN("o", "m1", NULL, "public", "m") },
		  RULES_LACK_DECIDING },
		{ "and back",
		  { BASE, PARENT_M, KIN("o", "m1", NULL, "public", "m") },
		  { BASE, PARENT_M, KIN("public", "m1", NULL, "public", "m") },
		  RULES_LACK_NOTHING },
		{ "a leaf that is detached",
		  { BASE, PARENT_M, KIN("o", "m1", NULL, "public", "m") },
		  { BASE, PARENT_M },
		  RULES_LACK_NOTHING },
		{ "a table that was filtered becomes a leaf",
		  { BASE, PARENT_M, KIN("public", "x,y") },
		  { BASE, PARENT_M, KIN("public", "x,y", NULL, "public", "m") },
		  RULES_LACK_DECIDING },
		{ "the first child of a plain table",
		  { BASE },
		  { BASE, KIN("public", "plain", NULL, "public", "plain"),
		    KIN("public", "p1", NULL, "public", "plain") },
		  RULES_LACK_DECIDING },
		{ "the first child of a pushed table",
		  { BASE },
		  { BASE, PARENT_EV, KIN("public", "e1", NULL, "public", "ev") },
		  RULES_LACK_ROWS },
		{ "it was the last child", { BASE, PARENT_EV }, { BASE }, RULES_LACK_NOTHING },
		{ "another table of the schema is gone",
		  { BASE, PARENT_M, KIN("public", "x") },
		  { BASE, PARENT_M, KIN("public", "y") },
		  RULES_LACK_NOTHING },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		enum rules_lack got = lack(cases[i].before, ROWS, cases[i].now, ROWS);

		if (got != cases[i].lack)
			fail_msg("%s: %d", cases[i].title, (int)got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_stream_does_not_bring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
