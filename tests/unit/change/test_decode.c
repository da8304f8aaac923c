/* decode against what wal2json really printed, and against what it never prints.
 * With WALPUSH_WRITE_EXPECTED=1 the expected files are written instead of compared: read the diff. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "dumped.h"
#include "records.h"
#include "walpush/change/decode.h"

static struct decoder *decoder;

static void dump_record(struct slice record, void *ctx)
{
	struct change change;
	struct fail why;

	if (!decode_record(decoder, record, &change, &why))
		fail_msg("%.*s\n%s", (int)record.len, record.at, why.text);
	dump_change(ctx, &change);
}

/* Compares with the file, or writes it. */
static void assert_expected(const char *path, struct slice text)
{
	struct buf expected = { 0 };

	if (getenv("WALPUSH_WRITE_EXPECTED")) {
		FILE *f = fopen(path, "wb");

		assert_non_null(f);
		assert_int_equal(fwrite(text.at, 1, text.len, f), text.len);
		assert_int_equal(fclose(f), 0);
		return;
	}
	if (!records_read(path, &expected))
		fail_msg("%s is missing", path);
	if (!slice_equal(text, buf_slice(&expected)))
		fail_msg("differs from %s:\n%.*s", path, (int)text.len, text.at);
	buf_fini(&expected);
}

static void check_recording(const char *stem, void *ctx)
{
	struct buf dump = { 0 };
	char path[200];

	(void)ctx;
	snprintf(path, sizeof(path), RECORDS_DIR "input/%s.jsonl", stem);
	assert_true(records_lines(path, dump_record, &dump) > 0);
	snprintf(path, sizeof(path), RECORDS_DIR "expected/%s.txt", stem);
	assert_expected(path, buf_slice(&dump));
	buf_fini(&dump);
}

static void test_recordings(void **state)
{
	(void)state;
	assert_true(records_names(RECORDS_DIR "input", check_recording, NULL) >= 12);
}

static void check_cuts(struct slice record, void *ctx)
{
	struct change change;
	struct fail why;

	(void)ctx;
	for (size_t n = 0; n < record.len; n++) {
		struct slice cut = records_exact((struct slice){ record.at, n });

		assert_false(decode_record(decoder, cut, &change, &why));
		assert_true(why.offset <= n);
		records_free(cut);
	}
}

static void check_recording_cut(const char *stem, void *ctx)
{
	char path[200];

	snprintf(path, sizeof(path), RECORDS_DIR "input/%s.jsonl", stem);
	assert_true(records_lines(path, check_cuts, ctx) > 0);
}

static void test_record_cut_anywhere_is_an_error(void **state)
{
	(void)state;
	records_names(RECORDS_DIR "input", check_recording_cut, NULL);
}

static void check_error(const char *stem, void *ctx)
{
	struct buf text = { 0 }, message = { 0 };
	struct change change = { .xid = 42 };
	struct slice record;
	struct fail why;
	char path[200], start[40];

	(void)ctx;
	snprintf(path, sizeof(path), RECORDS_DIR "error/%s.json", stem);
	assert_true(records_read(path, &text));
	if (text.len && text.data[text.len - 1] == '\n')
		text.len--;
	record = records_exact(buf_slice(&text));
	if (decode_record(decoder, record, &change, &why))
		fail_msg("%s was accepted", path);
	assert_int_equal(change.xid, 42); /* a refused record leaves the change alone */
	snprintf(start, sizeof(start), "offset %zu: ", why.offset);
	assert_memory_equal(why.text, start, strlen(start));
	buf_addf(&message, "%s\n", why.text);
	snprintf(path, sizeof(path), RECORDS_DIR "error-expected/%s.txt", stem);
	assert_expected(path, buf_slice(&message));
	records_free(record);
	buf_fini(&message);
	buf_fini(&text);
}

static void test_errors(void **state)
{
	(void)state;
	assert_true(records_names(RECORDS_DIR "error", check_error, NULL) >= 40);
}

static bool decodes(const char *text, struct change *out)
{
	struct slice record = records_exact(slice_of(text));
	struct fail why;
	bool good = decode_record(decoder, record, out, &why);

	records_free(record);
	return good;
}

static void test_any_order_of_keys(void **state)
{
	struct change c;

	(void)state;
	assert_true(
		decodes("{\"identity\":[{\"value\":1,\"typeoid\":23,\"name\":\"id\"}],\"table\":\"t\",\"lsn\":\"A/B\","
			"\"schema\":\"s\",\"timestamp\":\"2025-01-01 00:00:00+00\",\"xid\":7,\"action\":\"D\"}",
			&c));
	assert_int_equal(c.kind, CHANGE_DELETE);
	assert_int_equal(c.xid, 7);
	assert_true(c.lsn == UINT64_C(0xA0000000B));
	assert_int_equal(c.n_identity, 1);
	assert_int_equal(c.identity[0].type, 23);
	assert_int_equal(c.n_columns, 0);
}

static bool decodes_column(const char *name, const char *type, const char *value, struct change *out)
{
	struct buf text = { 0 };
	bool good;

	buf_addf(&text,
		 "{\"action\":\"I\",\"schema\":\"s\",\"table\":\"t\",\"columns\":[{\"name\":%s,\"typeoid\":%s,"
		 "\"value\":%s}]}",
		 name, type, value);
	good = decodes(text.data, out);
	buf_fini(&text);
	return good;
}

static void test_numbers_are_jsons(void **state)
{
	static const char *const good[] = { "0",     "-0",    "1",       "-12", "0.0", "1.50",
					    "1e+20", "1e-07", "-1.5E10", "1e5", "0e0", "18446744073709551616" };
	static const char *const bad[] = {
		"01",  "-",   "+1",   ".5",       "1.",        "1.e5", "1e",  "1e+",   "-.5",
		"0x1", "NaN", "-NaN", "Infinity", "-Infinity", "1_0",  "--1", "1e1.5", "1 "
	};
	struct change c;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (!decodes_column("\"n\"", "1700", good[i], &c))
			fail_msg("%s was refused", good[i]);
		assert_int_equal(c.columns[0].kind, VALUE_NUMBER);
		assert_int_equal(c.columns[0].value.len, strlen(good[i]));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (decodes_column("\"n\"", "1700", bad[i], &c))
			fail_msg("%s was accepted", bad[i]);
}

/* wal2json prints OIDs with %d. */
static void test_type_oids_beyond_31_bits(void **state)
{
	static const char *const bad[] = { "-0",  "-2147483649", "4294967296", "99999999999999999999",
					   "1.0", "\"23\"",      "null" };
	struct change c;

	(void)state;
	assert_true(decodes_column("\"n\"", "-1", "null", &c));
	assert_true(c.columns[0].type == UINT32_MAX);
	assert_true(decodes_column("\"n\"", "-2147483648", "null", &c));
	assert_true(c.columns[0].type == UINT32_C(1) << 31);
	assert_true(decodes_column("\"n\"", "4294967295", "null", &c));
	assert_true(c.columns[0].type == UINT32_MAX);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (decodes_column("\"n\"", bad[i], "null", &c))
			fail_msg("%s was accepted", bad[i]);
}

static void test_times(void **state)
{
	static const char *const good[] = { "2025-11-14 12:34:56.123456+00", "2025-11-14 12:34:56+00",
					    "2025-11-14 12:34:56.1-09:30", "2025-11-14 12:34:56+05:53:28" };
	static const char *const bad[] = { "",
					   "2025-11-14",
					   "2025-11-14T12:34:56+00",
					   "2025-11-14 12:34:56",
					   "2025-11-14 12:34:56.+00",
					   "2025-11-14 12:34:56.1234567+00",
					   "2025-11-14 12:34:56Z",
					   "14/11/2025 12:34:56+00",
					   "2025-11-14 12:34:56+00 ",
					   "2025-11-14 12:34:56+00:00:00:00" };
	struct change c;
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]) + sizeof(bad) / sizeof(bad[0]); i++) {
		bool want = i < sizeof(good) / sizeof(good[0]);
		const char *time = want ? good[i] : bad[i - sizeof(good) / sizeof(good[0])];

		snprintf(text, sizeof(text),
			 "{\"action\":\"B\",\"xid\":1,\"timestamp\":\"%s\",\"lsn\":\"0/1\",\"nextlsn\":\"0/2\"}", time);
		if (decodes(text, &c) != want)
			fail_msg("\"%s\" was %s", time, want ? "refused" : "accepted");
	}
}

static void many_columns(struct buf *out, size_t n)
{
	buf_add_text(out, "{\"action\":\"I\",\"schema\":\"s\",\"table\":\"t\",\"columns\":[");
	for (size_t i = 0; i < n; i++)
		buf_addf(out, "%s{\"name\":\"c%zu\",\"typeoid\":23,\"value\":%zu}", i ? "," : "", i, i);
	buf_add_text(out, "]}");
}

static void test_number_of_columns_is_bounded(void **state)
{
	struct buf most = { 0 }, too_many = { 0 };
	struct change c;

	(void)state;
	many_columns(&most, 1600);
	assert_true(decodes(most.data, &c));
	assert_int_equal(c.n_columns, 1600);
	many_columns(&too_many, 1601);
	assert_false(decodes(too_many.data, &c));
	buf_fini(&most);
	buf_fini(&too_many);
}

static void test_slices_point_into_the_record(void **state)
{
	struct slice record = SLICE(
		"{\"action\":\"I\",\"schema\":\"s\",\"table\":\"t\",\"columns\":["
		"{\"name\":\"c\",\"typeoid\":25,\"value\":\"\"},{\"name\":\"d\",\"typeoid\":25,\"value\":null}]}");
	struct change c;
	struct fail why;

	(void)state;
	assert_true(decode_record(decoder, record, &c, &why));
	for (size_t i = 0; i < 2; i++) {
		assert_true(c.columns[i].value.at > record.at && c.columns[i].value.at < record.at + record.len);
		assert_int_equal(c.columns[i].value.len, 0);
	}
	assert_int_equal(c.columns[0].kind, VALUE_STRING);
	assert_int_equal(c.columns[1].kind, VALUE_NULL);
}

static void test_nothing_at_all(void **state)
{
	struct change c;
	struct fail why;

	(void)state;
	assert_false(decode_record(decoder, (struct slice){ NULL, 0 }, &c, &why));
	assert_string_equal(why.text, "offset 0: expected '{' of a record, but the record ends");
}

/* --- whose row it is ---------------------------------------------------------------------------------------------- */

static void test_the_table_stands_at_the_front(void **state)
{
	static const struct {
		const char *record, *schema, *table; /* NULL: it cannot be told */
	} cases[] = {
		{ "{\"action\":\"I\",\"schema\":\"public\",\"table\":\"requests\",\"columns\":[{\"na", "public",
		  "requests" },
		{ "{\"action\":\"U\",\"xid\":7,\"timestamp\":\"2025-11-14 "
		  "12:34:56.5+00\",\"lsn\":\"0/1\",\"schema\":\"a\\\"b\","
		  "\"table\":\"t\\u0001\",\"columns\"",
		  "a\\\"b", "t\\u0001" },
		{ "{\"action\":\"T\",\"schema\":\"s\",\"table\":\"t\"}", "s", "t" },
		{ "{\"action\":\"I\",\"schema\":\"public\",\"columns\":[]", NULL, NULL },
		{ "{\"action\":\"I\",\"table\":\"t\",\"columns\":[]", NULL, NULL },
		{ "{\"action\":\"I\",\"schema\":\"public\",\"table\":\"requ", NULL, NULL },
		{ "{\"schema\":\"\xff\",\"table\":\"t\"", NULL, NULL },
		{ "garbage", NULL, NULL },
		{ "{", NULL, NULL },
		{ "", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct slice schema = { 0 }, table = { 0 };
		bool told = decode_table(slice_of(cases[i].record), &schema, &table);

		if (told != (cases[i].table != NULL))
			fail_msg("case %zu", i);
		if (told &&
		    (!slice_equal(schema, slice_of(cases[i].schema)) || !slice_equal(table, slice_of(cases[i].table))))
			fail_msg("case %zu", i);
	}
}

/* The longest names, of which each byte is escaped. */
static void test_the_longest_names_stand_at_the_front(void **state)
{
	struct buf record = { 0 };
	struct slice schema, table;

	(void)state;
	buf_add_text(&record,
		     "{\"action\":\"U\",\"xid\":4294967295,\"timestamp\":\"2025-11-14 12:34:56.123456+00:00:00\","
		     "\"origin\":4294967295,\"lsn\":\"FFFFFFFF/FFFFFFFF\",\"schema\":\"");
	for (int i = 0; i < 63; i++)
		buf_add_text(&record, "\\u0001");
	buf_add_text(&record, "\",\"table\":\"");
	for (int i = 0; i < 63; i++)
		buf_add_text(&record, "\\u0001");
	buf_add_text(&record, "\",\"columns\":[");
	assert_true(record.len < DECODE_HEAD_BYTES);
	for (int i = 0; i < 4096; i++)
		buf_add_char(&record, 'x');
	assert_true(decode_table(buf_slice(&record), &schema, &table));
	assert_int_equal(schema.len, 378);
	assert_int_equal(table.len, 378);
	buf_fini(&record);
}

#define MESSAGE "{\"action\":\"M\",\"xid\":7,\"timestamp\":\"2025-11-14 12:34:56.1+00\",\"lsn\":\"0/1\","
#define TOLD MESSAGE "\"transactional\":true,\"prefix\":\"" DECODE_DDL_PREFIX "\""

static void test_what_tells_of_ddl(void **state)
{
	static const struct {
		const char *record;
		bool tells;
	} cases[] = {
		{ TOLD ",\"content\":\"CREATE TABLE\"}", true },
		{ TOLD ",\"content\":\"", true }, /* what follows may be of any size */
		{ "{\"action\":\"M\",\"origin\":3,\"transactional\":true,\"prefix\":\"walpush.ddl\"", true },
		{ MESSAGE "\"transactional\":false,\"prefix\":\"walpush.ddl\",\"content\":\"\"}", false },
		{ "{\"action\":\"M\",\"xid\":null,\"timestamp\":null,\"lsn\":\"0/1\",\"transactional\":false,"
		  "\"prefix\":\"walpush.ddl\",\"content\":\"\"}",
		  false },
		{ "{\"action\":\"M\",\"prefix\":\"walpush.ddl\",\"transactional\":true}", false },
		{ "{\"action\":\"I\",\"transactional\":true,\"prefix\":\"walpush.ddl\"}", false },
		{ "{\"transactional\":true,\"prefix\":\"walpush.ddl\"}", false },
		{ MESSAGE "\"transactional\":true,\"prefix\":\"walpush.ddl.\"}", false },
		{ MESSAGE "\"transactional\":true,\"prefix\":\"walpush.dd\"}", false },
		{ MESSAGE "\"transactional\":true,\"prefix\":\"walpush\"}", false },
		{ MESSAGE "\"transactional\":true,\"prefix\":\"\"}", false },
		{ MESSAGE "\"transactional\":true,\"content\":\"\\\"prefix\\\":\\\"walpush.ddl\\\"\"}", false },
		{ MESSAGE "\"transactional\":true}", false },
		{ "{\"action\":\"M\"", false },
		{ "{", false },
		{ "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct slice record = records_exact(slice_of(cases[i].record));

		if (decode_is_ddl(record) != cases[i].tells)
			fail_msg("case %zu", i);
		records_free(record);
	}
}

/* Wherever it is cut, it is read no further, and does not tell before its prefix is whole. */
static void test_what_tells_of_ddl_cut_anywhere(void **state)
{
	(void)state;
	for (size_t n = 0; n <= strlen(TOLD); n++) {
		struct slice record = records_exact((struct slice){ TOLD, n });

		assert_int_equal(decode_is_ddl(record), n == strlen(TOLD));
		records_free(record);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recordings),
		cmocka_unit_test(test_record_cut_anywhere_is_an_error),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_any_order_of_keys),
		cmocka_unit_test(test_numbers_are_jsons),
		cmocka_unit_test(test_type_oids_beyond_31_bits),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_number_of_columns_is_bounded),
		cmocka_unit_test(test_slices_point_into_the_record),
		cmocka_unit_test(test_nothing_at_all),
		cmocka_unit_test(test_the_table_stands_at_the_front),
		cmocka_unit_test(test_the_longest_names_stand_at_the_front),
		cmocka_unit_test(test_what_tells_of_ddl),
		cmocka_unit_test(test_what_tells_of_ddl_cut_anywhere),
	};
	int failed;

	decoder = decoder_new();
	failed = cmocka_run_group_tests_name("decode", tests, NULL, NULL);
	decoder_free(decoder);
	return failed;
}
