#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "walpush/rules/catalog.h"

static bool add(struct catalog *c, const char *table, const char *column, const char *foreign, struct fail *why)
{
	const char *const row[CATALOG_QUERY_COLUMNS] = { "public", table, column, "23", "0", "f", foreign };

	return catalog_add(c, row, why);
}

static const char *key_of(const struct catalog *c, const char *column)
{
	const struct catalog_table *t = catalog_find(c, "public", "t");

	return t->columns[catalog_column_index(t, column)].data_key;
}

static void foreign_keys_lose_their_ending(void **state)
{
	struct catalog *c = catalog_new();
	struct fail why;

	(void)state;
	assert_true(add(c, "t", "unit_id", "t", &why));
	assert_true(add(c, "t", "plain_id", "f", &why));
	assert_true(add(c, "t", "_id", "t", &why));
	assert_true(add(c, "t", "owner", "t", &why));
	assert_string_equal(key_of(c, "unit_id"), "unit");
	assert_string_equal(key_of(c, "plain_id"), "plain_id");
	assert_string_equal(key_of(c, "_id"), "_id");
	assert_string_equal(key_of(c, "owner"), "owner");
	catalog_free(c);
}

/* Whichever of the two comes first. */
static void a_taken_name_is_not_taken_twice(void **state)
{
	struct catalog *c = catalog_new();
	struct fail why;

	(void)state;
	assert_true(add(c, "t", "unit_id", "t", &why));
	assert_true(add(c, "t", "unit", "f", &why));
	assert_true(add(c, "t", "crate", "f", &why));
	assert_true(add(c, "t", "crate_id", "t", &why));
	assert_string_equal(key_of(c, "unit_id"), "unit_id");
	assert_string_equal(key_of(c, "unit"), "unit");
	assert_string_equal(key_of(c, "crate"), "crate");
	assert_string_equal(key_of(c, "crate_id"), "crate_id");
	catalog_free(c);
}

static void names_are_held_as_wal2json_prints_them(void **state)
{
	const char *const row[CATALOG_QUERY_COLUMNS] = { "Odd\"S", "my.\ttable", "a\\b\x01_id", "23", "0",
							 "t",      "t",          "16394",       "f" };
	struct catalog *c = catalog_new();
	const struct catalog_table *t;
	struct fail why;

	(void)state;
	assert_true(catalog_add(c, row, &why));
	t = catalog_find(c, "Odd\"S", "my.\ttable");
	assert_non_null(t);
	assert_null(catalog_find(c, "odd\"s", "my.\ttable"));
	assert_string_equal(t->json_schema, "Odd\\\"S");
	assert_string_equal(t->json_name, "my.\\ttable");
	assert_string_equal(t->columns[0].name, "a\\b\x01_id");
	assert_string_equal(t->columns[0].json_name, "a\\\\b\\u0001_id");
	assert_int_equal(t->columns[0].json_len, strlen(t->columns[0].json_name));
	assert_string_equal(t->columns[0].member.at, ",\"a\\\\b\\u0001\":");
	assert_int_equal(t->columns[0].type, 23);
	assert_int_equal(t->columns[0].declared, 16394);
	assert_int_equal(t->n_key, 1);
	catalog_free(c);
}

#define COLUMN(schema, table)                                                                                          \
	{                                                                                                              \
		schema, table, "id", "23", "0", "t", "f", "23", "f"                                                    \
	}
#define CHILD(schema, table, parent_schema, parent)                                                                    \
	{                                                                                                              \
		schema, table, NULL, parent_schema, parent                                                             \
	}
#define OTHER(schema, table)                                                                                           \
	{                                                                                                              \
		schema, table                                                                                          \
	}

/* Whose child each name is ("-": another table, "?": made since, "": of no concern). */
static void children_are_known_by_name(void **state)
{
	static const char *const rows[][CATALOG_QUERY_COLUMNS] = {
		COLUMN("s", "ev"),           COLUMN("s", "plain"),          COLUMN("q", "pay"),
		CHILD("s", "ev", "s", "ev"), CHILD("s", "ev_1", "s", "ev"), CHILD("far", "a \"b\"", "s", "ev"),
		OTHER("s", "log"),           CHILD("q", "x", "q", "empty"),
	};
	static const struct {
		const char *schema, *name, *parent;
	} cases[] = {
		{ "s", "ev_1", "ev" }, { "far", "a \\\"b\\\"", "ev" }, { "s", "log", "-" }, { "s", "ev_2", "?" },
		{ "far", "ev_2", "" }, { "q", "pay_2", "" },           { "q", "x", "" },    { "s", "ev", "?" },
	};
	struct catalog *c = catalog_new();
	struct fail why = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_true(catalog_add(c, rows[i], &why));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct slice schema = slice_of(cases[i].schema), name = slice_of(cases[i].name);
		const struct catalog_table *parent = catalog_parent(c, schema, name, 0);
		const char *got = parent ? parent->name : catalog_is_new(c, schema, name) ? "?" : "";

		assert_string_equal(got, strcmp(cases[i].parent, "-") == 0 ? "" : cases[i].parent);
	}
	assert_true(catalog_is_whole(c, "s"));
	assert_false(catalog_is_whole(c, "q"));
	assert_false(catalog_is_whole(c, "far"));
	assert_string_equal(catalog_kin(c, 0)->name, "ev_1");
	assert_null(catalog_kin(c, 2)->parent);
	assert_null(catalog_kin(c, 3));
	catalog_free(c);
}

static void a_child_of_several_parents(void **state)
{
	static const char *const rows[][CATALOG_QUERY_COLUMNS] = {
		COLUMN("s", "m"),          COLUMN("s", "ban"),          COLUMN("q", "x"),
		CHILD("s", "k", "q", "x"), CHILD("s", "k", "s", "ban"), CHILD("s", "k", "s", "m"),
	};
	struct catalog *c = catalog_new();
	struct fail why = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_true(catalog_add(c, rows[i], &why));
	assert_string_equal(catalog_parent(c, SLICE("s"), SLICE("k"), 0)->name, "x");
	assert_string_equal(catalog_parent(c, SLICE("s"), SLICE("k"), 1)->name, "ban");
	assert_string_equal(catalog_parent(c, SLICE("s"), SLICE("k"), 2)->name, "m");
	assert_null(catalog_parent(c, SLICE("s"), SLICE("k"), 3));
	assert_string_equal(catalog_kin(c, 2)->parent->name, "m");
	catalog_free(c);
}

static void refuses_rows_of_another_shape(void **state)
{
	static const char *const rows[][CATALOG_QUERY_COLUMNS] = {
		{ NULL, "t", "c", "23", "0", "f", "f", "23", "f" },
		{ "s", "t", "", "23", "0", "f", "f", "23", "f" },
		{ "s", "t", "c", "-1", "0", "f", "f", "23", "f" },
		{ "s", "t", "c", "4294967296", "0", "f", "f", "23", "f" },
		{ "s", "t", "c", "23", NULL, "f", "f", "23", "f" },
		{ "s", "t", "c", "23", "0x", "f", "f", "23", "f" },
		{ "s", "t", "c", "23", "0", "yes", "f", "23", "f" },
		{ "s", "t", "c", "23", "0", "f", NULL, "23", "f" },
		{ "s", "t", "c", "23", "0", "f", "f", " 23", "f" },
		{ "s", "t", "c", "23", "0", "f", "f", "23", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct catalog *c = catalog_new();
		struct fail why = { 0 };

		assert_false(catalog_add(c, rows[i], &why));
		assert_string_not_equal(why.text, "");
		assert_null(catalog_find(c, "s", "t"));
		catalog_free(c);
	}
}

static void refuses_a_column_twice(void **state)
{
	struct catalog *c = catalog_new();
	struct fail why = { 0 };

	(void)state;
	assert_true(add(c, "t", "a", "f", &why));
	assert_true(add(c, "u", "a", "f", &why));
	assert_false(add(c, "t", "a", "f", &why));
	assert_non_null(strstr(why.text, "public.t"));
	catalog_free(c);
}

struct answer {
	size_t n;
	const char *rows[3][CATALOG_QUERY_COLUMNS];
};

static const char *value_of(const void *rows, size_t row, size_t column)
{
	const struct answer *a = rows;

	assert_true(row < a->n && column < CATALOG_QUERY_COLUMNS);
	return a->rows[row][column];
}

/* Each column of an answer is where the query has it, whoever asked. */
static void takes_an_answer_whole(void **state)
{
	static const struct answer good = {
		3,
		{ { "s", "t", "id", "23", "0", "t", "f", "23", "f", "t" },
		  { "s", "t", "v", "25", "0", "false", "false", "16400", "true", "false" },
		  { "s", "child", NULL, "s", "t" } },
	};
	static const struct answer bad = { 2, { { "s", "t", "id", "x" }, { "s", "u", "id", "23", "0", "t", "f" } } };
	struct catalog *c = catalog_new();
	const struct catalog_table *table;
	struct fail why = { 0 };

	(void)state;
	assert_true(catalog_add_rows(c, &good, good.n, value_of, &why));
	table = catalog_find(c, "s", "t");
	assert_int_equal(table->n_columns, 2);
	assert_true(table->columns[0].in_key && table->columns[0].is_exact && !table->columns[0].is_virtual);
	assert_int_equal(table->columns[1].type, 25);
	assert_int_equal(table->columns[1].declared, 16400);
	assert_true(table->columns[1].is_virtual && !table->columns[1].is_exact && !table->columns[1].in_key);
	assert_ptr_equal(catalog_parent(c, SLICE("s"), SLICE("child"), 0), table);
	catalog_free(c);
	c = catalog_new();
	assert_false(catalog_add_rows(c, &bad, bad.n, value_of, &why));
	assert_null(catalog_find(c, "s", "u"));
	catalog_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(foreign_keys_lose_their_ending),
		cmocka_unit_test(a_taken_name_is_not_taken_twice),
		cmocka_unit_test(names_are_held_as_wal2json_prints_them),
		cmocka_unit_test(children_are_known_by_name),
		cmocka_unit_test(a_child_of_several_parents),
		cmocka_unit_test(takes_an_answer_whole),
		cmocka_unit_test(refuses_rows_of_another_shape),
		cmocka_unit_test(refuses_a_column_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
