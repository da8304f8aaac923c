#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "routed.h"

#define SENDBACK "id=1|request_id=2|reason=\"r\"|created_at=null|created_by_id=3"

static struct routed m;

static int open_mapping(void **state)
{
	(void)state;
	routed_open(&m, MAPPING_CONF);
	return 0;
}

static int close_mapping(void **state)
{
	(void)state;
	routed_close(&m);
	return 0;
}

static void insert_has_now_alone(void **state)
{
	(void)state;
	assert_true(routed_change(&m, 'I', "sendbacks", SENDBACK, NULL));
	for (size_t i = 0; i < 5; i++) {
		assert_ptr_equal(m.row.now[i], &m.change.columns[i]);
		assert_null(m.row.old[i]);
		assert_ptr_equal(row_value(&m.row, i), m.row.now[i]);
	}
}

static void what_was_not_sent_comes_from_the_old_row(void **state)
{
	(void)state;
	assert_true(routed_change(&m, 'U', "sendbacks", "id=1|request_id=2|created_at=null|created_by_id=3", SENDBACK));
	assert_null(m.row.now[2]);
	assert_ptr_equal(row_value(&m.row, 2), &m.change.identity[2]);
	assert_true(routed_change(&m, 'U', "sendbacks", "id=1|request_id=2|created_at=null|created_by_id=3", "id=1"));
	assert_null(row_value(&m.row, 2));
	assert_true(routed_change(&m, 'D', "sendbacks", NULL, "id=1"));
	assert_null(m.row.now[0]);
	assert_ptr_equal(row_value(&m.row, 0), &m.change.identity[0]);
}

/* The catalog is newer or older than the change; what fits is laid out all the same. */
static void says_when_catalog_and_change_do_not_fit(void **state)
{
	(void)state;
	assert_false(routed_change(&m, 'I', "sendbacks",
				   "id=1|gone=2|request_id=3|reason=\"r\"|created_at=null|created_by_id=4", NULL));
	assert_ptr_equal(m.row.now[0], &m.change.columns[0]);
	assert_ptr_equal(m.row.now[1], &m.change.columns[2]);
	assert_ptr_equal(m.row.now[4], &m.change.columns[5]);
	assert_false(routed_change(&m, 'I', "sendbacks", "id=1|request_id=2|reason=\"r\"|created_at=null", NULL));
	assert_ptr_equal(m.row.now[3], &m.change.columns[3]);
	assert_null(m.row.now[4]);
	assert_false(routed_change(&m, 'D', "sendbacks", NULL, "id=1|other=2"));
	assert_ptr_equal(m.row.old[0], &m.change.identity[0]);
}

static void says_when_a_type_is_another(void **state)
{
	struct column column = { .name = SLICE("id"), .value = SLICE("1"), .type = 20, .kind = VALUE_NUMBER };
	struct change change = { .kind = CHANGE_DELETE, .identity = &column, .n_identity = 1 };
	const struct catalog_table *t = catalog_find(m.catalog, "public", "sendbacks");

	(void)state;
	assert_false(row_bind(&m.row, t, &change));
	column.type = 23;
	assert_true(row_bind(&m.row, t, &change));
}

static void a_virtual_column_has_no_value(void **state)
{
	const char *const rows[][CATALOG_QUERY_COLUMNS] = {
		{ "public", "t", "id", "23", "0", "t", "f", "23", "f" },
		{ "public", "t", "twice", "23", "0", "f", "f", "23", "t" },
	};
	struct column columns[] = {
		{ .name = SLICE("id"), .value = SLICE("1"), .type = 23, .kind = VALUE_NUMBER },
		{ .name = SLICE("twice"), .type = 23, .kind = VALUE_NULL },
	};
	struct change change = { .kind = CHANGE_INSERT, .columns = columns, .n_columns = 2 };
	struct catalog *c = catalog_new();
	struct row row = { 0 };
	struct fail why;

	(void)state;
	assert_true(catalog_add(c, rows[0], &why) && catalog_add(c, rows[1], &why));
	assert_true(row_bind(&row, catalog_find(c, "public", "t"), &change));
	assert_non_null(row.now[0]);
	assert_null(row.now[1]);
	row_fini(&row);
	catalog_free(c);
}

/* pgoutput does not send a stored generated column before PostgreSQL 18, so an INSERT without it is complete; without another column it is not. */
static void a_generated_column_may_be_left_out(void **state)
{
	const char *const rows[][CATALOG_QUERY_COLUMNS] = {
		{ "public", "t", "id", "23", "0", "t", "f", "23", "f", "t", "f" },
		{ "public", "t", "twice", "23", "0", "f", "f", "23", "f", "t", "t" },
		{ "public", "t", "thrice", "23", "0", "f", "f", "23", "t", "t", "f" },
		{ "public", "t", "note", "25", "0", "f", "f", "25", "f", "t", "f" },
	};
	struct column columns[] = {
		{ .name = SLICE("id"), .value = SLICE("1"), .type = 23, .kind = VALUE_NUMBER },
		{ .name = SLICE("note"), .value = SLICE("x"), .type = 25, .kind = VALUE_STRING },
	};
	struct change change = { .kind = CHANGE_INSERT, .columns = columns, .n_columns = 2, .leaves_out_stored = true };
	const struct catalog_table *t;
	struct catalog *c = catalog_new();
	struct row row = { 0 };
	struct fail why;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_true(catalog_add(c, rows[i], &why));
	t = catalog_find(c, "public", "t");
	assert_true(row_bind(&row, t, &change));
	assert_null(row.now[1]);
	assert_ptr_equal(row.now[3], &columns[1]);
	assert_true(row_bind_child(&row, t, &change));
	change.n_columns = 1;
	assert_false(row_bind(&row, t, &change));
	assert_false(row_bind_child(&row, t, &change));
	change.n_columns = 2;
	change.leaves_out_stored = false;
	assert_false(row_bind(&row, t, &change));
	assert_false(row_bind_child(&row, t, &change));
	row_fini(&row);
	catalog_free(c);
}

/* In an order of its own, with columns of its own; what it lacks, or another type, does not fit. */
static void a_childs_row_is_laid_out_as_its_parents(void **state)
{
	const char *const rows[][CATALOG_QUERY_COLUMNS] = {
		{ "s", "t", "id", "23", "0", "t", "f", "23", "f" },
		{ "s", "t", "unit", "23", "0", "f", "f", "23", "f" },
	};
	struct column columns[] = {
		{ .name = SLICE("own"), .value = SLICE("x"), .type = 25, .kind = VALUE_STRING },
		{ .name = SLICE("unit"), .value = SLICE("5"), .type = 23, .kind = VALUE_NUMBER },
		{ .name = SLICE("id"), .value = SLICE("1"), .type = 23, .kind = VALUE_NUMBER },
	};
	struct change change = { .kind = CHANGE_INSERT, .columns = columns, .n_columns = 3 };
	const struct catalog_table *t;
	struct catalog *c = catalog_new();
	struct row row = { 0 };
	struct fail why;

	(void)state;
	assert_true(catalog_add(c, rows[0], &why) && catalog_add(c, rows[1], &why));
	t = catalog_find(c, "s", "t");
	assert_true(row_bind_child(&row, t, &change));
	assert_ptr_equal(row.now[0], &columns[2]);
	assert_ptr_equal(row.now[1], &columns[1]);
	change.n_columns = 2;
	assert_false(row_bind_child(&row, t, &change));
	assert_null(row.now[0]);
	change.kind = CHANGE_UPDATE;
	assert_true(row_bind_child(&row, t, &change)); /* a large value that was left alone is not sent */
	columns[1].type = 20;
	assert_false(row_bind_child(&row, t, &change));
	row_fini(&row);
	catalog_free(c);
}

static void texts_are_without_escapes(void **state)
{
	static const struct {
		struct column column;
		const char *text; /* NULL: NULL */
	} cases[] = {
		{ { .kind = VALUE_STRING, .value = SLICE("a \\\"b\\\" \\u00e4\\n") }, "a \"b\" ä\n" },
		{ { .kind = VALUE_NUMBER, .value = SLICE("-12.50") }, "-12.50" },
		{ { .kind = VALUE_BOOL, .value = SLICE("true") }, "true" },
		{ { .kind = VALUE_STRING, .value = SLICE("") }, "" },
		{ { .kind = VALUE_NULL }, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = { 0 };

		buf_add_text(&out, ">");
		assert_int_equal(row_text(&cases[i].column, &out), cases[i].text != NULL);
		assert_string_equal(out.data + 1, cases[i].text ? cases[i].text : "");
		buf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(insert_has_now_alone),
		cmocka_unit_test(what_was_not_sent_comes_from_the_old_row),
		cmocka_unit_test(says_when_catalog_and_change_do_not_fit),
		cmocka_unit_test(says_when_a_type_is_another),
		cmocka_unit_test(a_virtual_column_has_no_value),
		cmocka_unit_test(a_generated_column_may_be_left_out),
		cmocka_unit_test(a_childs_row_is_laid_out_as_its_parents),
		cmocka_unit_test(texts_are_without_escapes),
	};

	return cmocka_run_group_tests(tests, open_mapping, close_mapping);
}
