#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <jansson.h>

#include "routed.h"

struct value_case {
	uint32_t type, element;
	const char *body; /* as wal2json prints it: a string's body, digits, true */
	enum value_kind kind;
	const char *wanted;
};

#define STR VALUE_STRING
#define NUM VALUE_NUMBER

static void expect_values(const struct value_case *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct column c = { .value = slice_of(cases[i].body), .type = cases[i].type, .kind = cases[i].kind };
		struct buf out = { 0 };
		json_t *json;

		render_value(&c, cases[i].type, cases[i].element, &out);
		if (strcmp(out.data, cases[i].wanted) != 0)
			fail_msg("type %u, %s: got %s, wanted %s", cases[i].type, cases[i].body, out.data,
				 cases[i].wanted);
		json = json_loads(out.data, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
		if (!json)
			fail_msg("not JSON: %s", out.data);
		json_decref(json);
		buf_fini(&out);
	}
}

/* A range as DRF shows it: a string of JSON. */
#define Q(bound) "\\\"" bound "\\\""
#define RANGE(bounds, lower, upper)                                                                                    \
	"\"{" Q("bounds") ": " Q(bounds) ", " Q("lower") ": " lower ", " Q("upper") ": " upper "}\""

#define EXPECT_VALUES(cases) expect_values(cases, sizeof(cases) / sizeof((cases)[0]))

static void numbers_keep_their_digits(void **state)
{
	static const struct value_case cases[] = {
		{ 23, 0, "5", NUM, "5" },
		{ 20, 0, "9223372036854775807", NUM, "9223372036854775807" },
		{ 701, 0, "1.5e-05", NUM, "1.5e-05" },
		{ 1700, 0, "12.50", NUM, "\"12.50\"" },
		{ 1700, 0, "123456789012345678901234567890.10", NUM, "\"123456789012345678901234567890.10\"" },
		{ 99999, 0, "7", NUM, "7" },
		{ 16, 0, "true", VALUE_BOOL, "true" },
		{ 23, 0, "", VALUE_NULL, "null" },
		/* Of a domain, wal2json prints a string. */
		{ 23, 0, "5", STR, "5" },
		{ 701, 0, "NaN", STR, "null" },
		{ 701, 0, "-Infinity", STR, "null" },
		{ 1700, 0, "12.50", STR, "\"12.50\"" },
		{ 16, 0, "t", STR, "true" },
		{ 16, 0, "f", STR, "false" },
		/* What a stale catalog takes for another type must not break the message. */
		{ 23, 0, "five", STR, "\"five\"" },
		{ 23, 0, "01", STR, "\"01\"" },
		{ 16, 0, "maybe", STR, "\"maybe\"" },
	};

	(void)state;
	EXPECT_VALUES(cases);
}

static void texts_are_passed_on(void **state)
{
	static const struct value_case cases[] = {
		{ 25, 0, "a \\\"b\\\" \\u0001\\n ä", STR, "\"a \\\"b\\\" \\u0001\\n ä\"" },
		{ 1043, 0, "", STR, "\"\"" },
		{ 2950, 0, "0b1e-5", STR, "\"0b1e-5\"" },
		{ 869, 0, "10.0.0.1/8", STR, "\"10.0.0.1/8\"" },
		{ 99999, 0, "(1,2)", STR, "\"(1,2)\"" },
	};

	(void)state;
	EXPECT_VALUES(cases);
}

/* DateTimeField, DateField, TimeField. */
static void times_are_iso_8601(void **state)
{
	static const struct value_case cases[] = {
		{ 1184, 0, "2025-11-14 12:34:56.123456+00", STR, "\"2025-11-14T12:34:56.123456Z\"" },
		{ 1184, 0, "2025-11-14 12:34:56.1+00", STR, "\"2025-11-14T12:34:56.100000Z\"" },
		{ 1184, 0, "2025-11-14 12:34:56+00", STR, "\"2025-11-14T12:34:56Z\"" },
		{ 1184, 0, "2025-11-14 12:34:56.000+00", STR, "\"2025-11-14T12:34:56Z\"" },
		{ 1184, 0, "2025-11-14 12:34:56+02", STR, "\"2025-11-14T12:34:56+02:00\"" },
		{ 1184, 0, "2025-11-14 12:34:56.5-03:30", STR, "\"2025-11-14T12:34:56.500000-03:30\"" },
		{ 1184, 0, "infinity", STR, "\"infinity\"" },
		{ 1184, 0, "-infinity", STR, "\"-infinity\"" },
		{ 1184, 0, "0044-03-15 12:00:00+00 BC", STR, "\"0044-03-15 12:00:00+00 BC\"" },
		{ 1184, 0, "12025-11-14 12:34:56+00", STR, "\"12025-11-14 12:34:56+00\"" },
		{ 1184, 0, "1880-01-01 00:00:00+00:53:28", STR, "\"1880-01-01T00:00:00+00:53:28\"" },
		{ 1184, 0, "1880-01-01 00:00:00-00:25:21", STR, "\"1880-01-01T00:00:00-00:25:21\"" },
		{ 1184, 0, "1880-01-01 00:00:00+00:53:2", STR, "\"1880-01-01 00:00:00+00:53:2\"" },
		{ 1184, 0, "2025-11-14 12:34:56", STR, "\"2025-11-14 12:34:56\"" },
		{ 1184, 0, "2025-11-14 12:34:56.1234567+00", STR, "\"2025-11-14 12:34:56.1234567+00\"" },
		{ 1184, 0, "2025-11-14 12:34:56.+00", STR, "\"2025-11-14 12:34:56.+00\"" },
		{ 1184, 0, "", STR, "\"\"" },
		{ 1114, 0, "2025-11-14 12:34:56.12", STR, "\"2025-11-14T12:34:56.120000\"" },
		{ 1114, 0, "2025-11-14 12:34:56", STR, "\"2025-11-14T12:34:56\"" },
		{ 1114, 0, "0044-03-15 12:00:00 BC", STR, "\"0044-03-15 12:00:00 BC\"" },
		{ 1082, 0, "2025-11-14", STR, "\"2025-11-14\"" },
		{ 1083, 0, "12:34:56", STR, "\"12:34:56\"" },
		{ 1083, 0, "12:34:56.7", STR, "\"12:34:56.700000\"" },
		{ 1266, 0, "12:34:56+00", STR, "\"12:34:56+00\"" },
	};

	(void)state;
	EXPECT_VALUES(cases);
}

/* duration_string of the timedelta: days carry the sign, the rest counts up from them. */
static void durations_are_djangos(void **state)
{
	static const struct value_case cases[] = {
		{ 1186, 0, "00:00:00", STR, "\"00:00:00\"" },
		{ 1186, 0, "01:02:03.5", STR, "\"01:02:03.500000\"" },
		{ 1186, 0, "3 days", STR, "\"3 00:00:00\"" },
		{ 1186, 0, "1 day 04:05:06", STR, "\"1 04:05:06\"" },
		{ 1186, 0, "-00:00:01", STR, "\"-1 23:59:59\"" },
		{ 1186, 0, "-1 days", STR, "\"-1 00:00:00\"" },
		{ 1186, 0, "-1 days +02:03:00", STR, "\"-1 02:03:00\"" },
		{ 1186, 0, "1 day -00:00:00.000001", STR, "\"23:59:59.999999\"" },
		{ 1186, 0, "-1 days -00:00:00.25", STR, "\"-2 23:59:59.750000\"" },
		{ 1186, 0, "100:00:00", STR, "\"4 04:00:00\"" },
		{ 1186, 0, "1 mon", STR, "\"1 mon\"" },
		{ 1186, 0, "1 year 2 mons 3 days 04:05:06", STR, "\"1 year 2 mons 3 days 04:05:06\"" },
		{ 1186, 0, "2562047788:00:54.775807", STR, "\"2562047788:00:54.775807\"" },
		{ 1186, 0, "infinity", STR, "\"infinity\"" },
		{ 1186, 0, "99999999999999999999:00:00", STR, "\"99999999999999999999:00:00\"" },
		{ 1186, 0, "3 days ", STR, "\"3 days \"" },
		{ 1186, 0, "", STR, "\"\"" },
	};

	(void)state;
	EXPECT_VALUES(cases);
}

static void bytes_are_base64(void **state)
{
	static const struct value_case cases[] = {
		{ 17, 0, "", STR, "\"\"" },
		{ 17, 0, "00", STR, "\"AA==\"" },
		{ 17, 0, "54617069727573", STR, "\"VGFwaXJ1cw==\"" },
		{ 17, 0, "fffefd", STR, "\"//79\"" },
		{ 17, 0, "deadbeef", STR, "\"3q2+7w==\"" },
		{ 17, 0, "\\\\xdeadbeef", STR, "\"3q2+7w==\"" },
		{ 17, 0, "dea", STR, "\"dea\"" },
		{ 17, 0, "deadbeefDE", STR, "\"deadbeefDE\"" },
		{ 1001, 17, "{\\\"\\\\\\\\xdead\\\",NULL}", STR, "[\"3q0=\",null]" },
	};

	(void)state;
	EXPECT_VALUES(cases);
}

static void json_stays_json(void **state)
{
	static const struct value_case cases[] = {
		{ 3802, 0, "{\\\"a\\\": [1, 2.50, null, true, \\\"x\\\\\\\"y\\\"]}", STR,
		  "{\"a\": [1, 2.50, null, true, \"x\\\"y\"]}" },
		{ 114, 0, "\\n [ ] ", STR, "\n [ ] " },
		{ 114, 0, "{\\\"a\\\":{},\\\"b\\\":[[],{}]}", STR, "{\"a\":{},\"b\":[[],{}]}" },
		{ 3802, 0, "123456789012345678901234567890", STR, "123456789012345678901234567890" },
		{ 3802, 0, "-0.5e+3", STR, "-0.5e+3" },
		{ 3802, 0, "null", STR, "null" },
		{ 3802, 0, "\\\"text\\\"", STR, "\"text\"" },
		{ 3807, 3802, "{\\\"{\\\\\\\"a\\\\\\\": 1}\\\",NULL,2}", STR, "[{\"a\": 1},null,2]" },
		/* Not JSON: a string. */
		{ 3802, 0, "{a:1}", STR, "\"{a:1}\"" },
		{ 3802, 0, "[1,]", STR, "\"[1,]\"" },
		{ 3802, 0, "[1}", STR, "\"[1}\"" },
		{ 3802, 0, "{\\\"a\\\"}", STR, "\"{\\\"a\\\"}\"" },
		{ 3802, 0, "1 2", STR, "\"1 2\"" },
		{ 3802, 0, "[1]]", STR, "\"[1]]\"" },
		{ 3802, 0, "01", STR, "\"01\"" },
		{ 3802, 0, "1.", STR, "\"1.\"" },
		{ 3802, 0, "nul", STR, "\"nul\"" },
		{ 3802, 0, "[", STR, "\"[\"" },
		{ 3802, 0, "", STR, "\"\"" },
	};

	(void)state;
	EXPECT_VALUES(cases);
}

static void deep_json_is_bounded(void **state)
{
	struct buf in = { 0 }, out = { 0 };
	struct column c = { .type = 3802, .kind = VALUE_STRING };

	(void)state;
	for (unsigned i = 0; i < 512; i++)
		buf_add_char(&in, '[');
	for (unsigned i = 0; i < 512; i++)
		buf_add_char(&in, ']');
	c.value = buf_slice(&in);
	render_value(&c, 3802, 0, &out);
	assert_string_equal(out.data, in.data);
	buf_clear(&out);
	memmove(in.data + 1, in.data, in.len - 1);
	c.value.len--;
	render_value(&c, 3802, 0, &out);
	assert_int_equal(out.data[0], '"');
	buf_fini(&in);
	buf_fini(&out);
}

static void arrays_are_arrays(void **state)
{
	static const struct value_case cases[] = {
		{ 1007, 23, "{1,2,NULL}", STR, "[1,2,null]" },
		{ 1007, 23, "{}", STR, "[]" },
		{ 1007, 23, "{{1,2},{3,4}}", STR, "[[1,2],[3,4]]" },
		{ 1007, 23, "[0:1]={1,2}", STR, "[1,2]" },
		{ 1007, 23, "[-1:0][2:3]={{1,2},{3,4}}", STR, "[[1,2],[3,4]]" },
		{ 1009, 25, "{a,\\\"b c\\\",\\\"NULL\\\",NULL,\\\"\\\"}", STR, "[\"a\",\"b c\",\"NULL\",null,\"\"]" },
		{ 1009, 25, "{\\\"a\\\\\\\"b\\\",\\\"c\\\\\\\\d\\\",\\\"{}\\\",\\\"x,y\\\"}", STR,
		  "[\"a\\\"b\",\"c\\\\d\",\"{}\",\"x,y\"]" },
		{ 1000, 16, "{t,f,NULL}", STR, "[true,false,null]" },
		{ 1231, 1700, "{1.50,NaN}", STR, "[\"1.50\",\"NaN\"]" },
		{ 1022, 701, "{1.5,NaN,-Infinity}", STR, "[1.5,null,null]" },
		{ 1185, 1184, "{\\\"2025-11-14 12:34:56.5+00\\\"}", STR, "[\"2025-11-14T12:34:56.500000Z\"]" },
		{ 1020, 603, "{(1,1),(0,0);(2,2),(1,1)}", STR, "[\"(1,1),(0,0)\",\"(2,2),(1,1)\"]" },
		{ 3905, 3904, "{\\\"[1,5)\\\",empty}", STR,
		  "[" RANGE("[)", Q("1"), Q("5")) ",\"{\\\"empty\\\": true}\"]" },
		{ 1009, 25, "{ä}", STR, "[\"ä\"]" },
		/* Not of an array's form: a string. */
		{ 1007, 23, "{1,}", STR, "\"{1,}\"" },
		{ 1007, 23, "{,1}", STR, "\"{,1}\"" },
		{ 1007, 23, "{1", STR, "\"{1\"" },
		{ 1007, 23, "{1}}", STR, "\"{1}}\"" },
		{ 1007, 23, "{{1}{2}}", STR, "\"{{1}{2}}\"" },
		{ 1007, 23, "1", STR, "\"1\"" },
		{ 1007, 23, "[x]={1}", STR, "\"[x]={1}\"" },
		{ 1007, 23, "{{{{{{{1}}}}}}}", STR, "\"{{{{{{{1}}}}}}}\"" },
		{ 1009, 25, "{\\\"open}", STR, "\"{\\\"open}\"" },
		{ 1007, 23, "", STR, "\"\"" },
	};

	(void)state;
	EXPECT_VALUES(cases);
}

static void hstore_is_an_object(void **state)
{
	static const struct value_case cases[] = {
		{ CATALOG_HSTORE, 0, "", STR, "{}" },
		{ CATALOG_HSTORE, 0, "\\\"a\\\"=>\\\"1\\\"", STR, "{\"a\":\"1\"}" },
		{ CATALOG_HSTORE, 0, "\\\"a\\\"=>NULL, \\\"NULL\\\"=>\\\"NULL\\\"", STR,
		  "{\"a\":null,\"NULL\":\"NULL\"}" },
		{ CATALOG_HSTORE, 0, "\\\"a\\\\\\\"b\\\"=>\\\"c\\\\\\\\d, ä\\\"", STR, "{\"a\\\"b\":\"c\\\\d, ä\"}" },
		{ CATALOG_HSTORE, 0, "\\\"a\\\"", STR, "\"\\\"a\\\"\"" },
		{ CATALOG_HSTORE, 0, "\\\"a\\\"=>\\\"1\\\", ", STR, "\"\\\"a\\\"=>\\\"1\\\", \"" },
		{ CATALOG_HSTORE, 0, "a=>1", STR, "\"a=>1\"" },
		{ 1009, CATALOG_HSTORE, "{\\\"\\\\\\\"a\\\\\\\"=>NULL\\\",NULL}", STR, "[{\"a\":null},null]" },
	};

	(void)state;
	EXPECT_VALUES(cases);
}

static void ranges_are_strings_of_json(void **state)
{
	static const struct value_case cases[] = {
		{ 3904, 0, "[1,5)", STR, RANGE("[)", Q("1"), Q("5")) },
		{ 3926, 0, "[-9223372036854775808,5)", STR, RANGE("[)", Q("-9223372036854775808"), Q("5")) },
		{ 3904, 0, "(,5]", STR, RANGE("(]", "null", Q("5")) },
		{ 3904, 0, "(,)", STR, RANGE("()", "null", "null") },
		{ 3904, 0, "empty", STR, "\"{\\\"empty\\\": true}\"" },
		{ 3906, 0, "[1.5,2.50]", STR, RANGE("[]", Q("1.5"), Q("2.50")) },
		{ 3910, 0, "[\\\"2025-11-14 12:00:00+00\\\",infinity)", STR,
		  RANGE("[)", Q("2025-11-14T12:00:00+00:00"), Q("infinity")) },
		/* In UTC, whatever the session's zone is. */
		{ 3910, 0, "[\\\"2024-03-01 00:30:00+01\\\",\\\"2024-12-31 18:40:00.5-05:30\\\")", STR,
		  RANGE("[)", Q("2024-02-29T23:30:00+00:00"), Q("2025-01-01T00:10:00.500000+00:00")) },
		{ 3910, 0, "[\\\"0001-01-01 00:00:00+00\\\",\\\"9999-12-31 23:59:59.999999+00\\\")", STR,
		  RANGE("[)", Q("0001-01-01T00:00:00+00:00"), Q("9999-12-31T23:59:59.999999+00:00")) },
		{ 3910, 0, "[\\\"0001-01-01 00:00:00+01\\\",\\\"9999-12-31 23:59:59-01\\\")", STR,
		  RANGE("[)", Q("0001-01-01 00:00:00+01"), Q("9999-12-31 23:59:59-01")) },
		{ 3910, 0, "[\\\"1880-01-01 00:00:00+05:53:28\\\",)", STR,
		  RANGE("[)", Q("1879-12-31T18:06:32+00:00"), "null") },
		{ 3910, 0, "[\\\"1900-02-28 12:00:00+00\\\",\\\"2000-02-29 12:00:00+00\\\")", STR,
		  RANGE("[)", Q("1900-02-28T12:00:00+00:00"), Q("2000-02-29T12:00:00+00:00")) },
		{ 3908, 0, "[\\\"2025-11-14 12:00:00.5\\\",)", STR,
		  RANGE("[)", Q("2025-11-14T12:00:00.500000"), "null") },
		{ 3912, 0, "[2025-11-14,2025-11-15)", STR, RANGE("[)", Q("2025-11-14"), Q("2025-11-15")) },
		/* Small decimals as Python prints them. */
		{ 3906, 0, "[-0.0000001,0.000001)", STR, RANGE("[)", Q("-1E-7"), Q("0.000001")) },
		{ 3906, 0, "[0.00000012,10.0000000)", STR, RANGE("[)", Q("1.2E-7"), Q("10.0000000")) },
		{ 3906, 0, "[0.000000,0.0000000]", STR, RANGE("[]", Q("0.000000"), Q("0E-7")) },
		{ 3904, 0, "[1,5", STR, "\"[1,5\"" },
		{ 3904, 0, "[1)", STR, "\"[1)\"" },
		{ 3904, 0, "[1,2)x", STR, "\"[1,2)x\"" },
		{ 3904, 0, "", STR, "\"\"" },
	};

	(void)state;
	EXPECT_VALUES(cases);
}

static struct routed m;

static int close_mapping(void **state)
{
	(void)state;
	routed_close(&m);
	return 0;
}

static int open_mapping(void **state)
{
	(void)state;
	routed_open(&m, MAPPING_CONF);
	return 0;
}

#define COMMIT "2025-11-14 12:34:56.5+00"

/* The messages of m's change, left before joined, each with a line's end. */
static char *render(const char *table, const char *lookup, const char *actor, size_t row_bytes)
{
	struct render_input in = {
		.lookup = mapping_rows(lookup),
		.commit_time = SLICE(COMMIT),
		.id = { 0x16B3748, 1 },
		.row_bytes = row_bytes,
	};
	struct sqlrows *name = mapping_actor(actor);
	struct buf out = { 0 };

	assert_true(route_section(mapping_section(m.rules, table, 0), &m.row, &m.plan));
	route_messages(&m.plan, in.lookup, &m.result);
	in.actor = name;
	if (m.result.left.groups.n) {
		render_message(&m.plan, &m.result.left, &in, &out);
		buf_add_char(&out, '\n');
		in.id.index++;
	}
	render_message(&m.plan, &m.result.joined, &in, &out);
	buf_add_char(&out, '\n');
	sqlrows_free((struct sqlrows *)in.lookup);
	sqlrows_free(name);
	return buf_steal(&out);
}

static void expect_message(const char *table, const char *lookup, const char *actor, size_t row_bytes,
			   const char *wanted)
{
	char *got = render(table, lookup, actor, row_bytes);

	assert_string_equal(got, wanted);
	for (char *line = got, *end; (end = strchr(line, '\n')); line = end + 1) {
		json_t *json = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, NULL);

		assert_non_null(json);
		json_decref(json);
	}
	free(got);
}

#define REQUEST(unit, status)                                                                                          \
	"id=123|request_type=\"Withdrawal\"|unit_id=" unit                                                             \
	"|allocation_date=null|approved_by_id=7|allocated_by_id=null"                                                  \
	"|status=\"" status "\"|purpose=\"a \\\"b\\\"\"|updated_at=\"2025-11-14 12:34:56.123456+00\""

#define REQUEST_DATA(unit, status)                                                                                     \
	"{\"id\":123,\"request_type\":\"Withdrawal\",\"unit\":" unit ",\"allocation_date\":null,\"approved_by\":7,"    \
	"\"allocated_by\":null,\"status\":\"" status "\",\"purpose\":\"a \\\"b\\\"\","                                 \
	"\"updated_at\":\"2025-11-14T12:34:56.123456Z\"}"

static void the_standard_message(void **state)
{
	(void)state;
	assert_true(routed_change(&m, 'U', "requests", REQUEST("5", "Approved"), REQUEST("5", "Pending")));
	expect_message(
		"requests", NULL, "as\"ha", 0,
		"{\"type\":\"request.updated\",\"action\":\"approved\",\"request_id\":123,\"status\":\"Approved\","
		"\"updated_at\":\"2025-11-14T12:34:56.123456Z\",\"updated_by\":\"as\\\"ha\","
		"\"data\":" REQUEST_DATA("5", "Approved") ",\"id\":\"0/16B3748-1\"}\n");
}

static void a_move_tells_its_key_alone(void **state)
{
	(void)state;
	assert_true(routed_change(&m, 'U', "requests", REQUEST("6", "Pending"), REQUEST("5", "Pending")));
	expect_message("requests", NULL, NULL, 0,
		       "{\"type\":\"request.deleted\",\"action\":\"moved\",\"request_id\":123,"
		       "\"updated_at\":\"2025-11-14T12:34:56.500000Z\",\"updated_by\":null,\"data\":{\"id\":123},"
		       "\"id\":\"0/16B3748-1\"}\n"
		       "{\"type\":\"request.updated\",\"action\":\"updated\",\"request_id\":123,\"status\":\"Pending\","
		       "\"updated_at\":\"2025-11-14T12:34:56.123456Z\",\"updated_by\":null,"
		       "\"data\":" REQUEST_DATA("6", "Pending") ",\"id\":\"0/16B3748-2\"}\n");
}

static void a_delete_tells_its_key_alone(void **state)
{
	(void)state;
	assert_true(routed_change(&m, 'D', "requests", NULL, REQUEST("5", "Pending")));
	expect_message("requests", NULL, NULL, 0,
		       "{\"type\":\"request.deleted\",\"action\":\"deleted\",\"request_id\":123,"
		       "\"updated_at\":\"2025-11-14T12:34:56.500000Z\",\"updated_by\":null,\"data\":{\"id\":123},"
		       "\"id\":\"0/16B3748-1\"}\n");
}

static void what_was_not_sent_is_named(void **state)
{
	(void)state;
	routed_change(&m, 'U', "sendbacks", "id=1|request_id=2|created_by_id=3", "id=1");
	expect_message("sendbacks", "user_id=7", "asha", 0,
		       "{\"type\":\"sendback.updated\",\"action\":\"updated\",\"sendback_id\":1,\"request_id\":2,"
		       "\"updated_at\":\"2025-11-14T12:34:56.500000Z\",\"updated_by\":\"asha\","
		       "\"data\":{\"id\":1,\"request\":2,\"created_by\":3},\"unchanged\":[\"reason\",\"created_at\"],"
		       "\"id\":\"0/16B3748-1\"}\n");
	/* The old row has the one value. */
	routed_change(&m, 'U', "sendbacks", "id=1|request_id=2|created_at=null|created_by_id=3", "id=1|reason=\"r\"");
	expect_message("sendbacks", "user_id=7", "asha", 0,
		       "{\"type\":\"sendback.updated\",\"action\":\"updated\",\"sendback_id\":1,\"request_id\":2,"
		       "\"reason\":\"r\",\"updated_at\":\"2025-11-14T12:34:56.500000Z\",\"updated_by\":\"asha\","
		       "\"data\":{\"id\":1,\"request\":2,\"reason\":\"r\",\"created_at\":null,\"created_by\":3},"
		       "\"id\":\"0/16B3748-1\"}\n");
}

static void long_rows_are_cut(void **state)
{
	(void)state;
	routed_change(&m, 'I', "sendbacks", "id=1|request_id=2|reason=\"0123456789\"|created_at=null|created_by_id=3",
		      NULL);
	expect_message("sendbacks", "user_id=7", NULL, 12,
		       "{\"type\":\"sendback.created\",\"action\":\"sent_back\",\"sendback_id\":1,\"request_id\":2,"
		       "\"reason\":\"0123456789\",\"updated_at\":\"2025-11-14T12:34:56.500000Z\",\"updated_by\":null,"
		       "\"data\":null,\"truncated\":true,\"id\":\"0/16B3748-1\"}\n");
	expect_message("sendbacks", "user_id=7", NULL, 11,
		       "{\"type\":\"sendback.created\",\"action\":\"sent_back\",\"sendback_id\":1,\"request_id\":2,"
		       "\"reason\":null,\"updated_at\":\"2025-11-14T12:34:56.500000Z\",\"updated_by\":null,"
		       "\"data\":null,\"truncated\":true,\"id\":\"0/16B3748-1\"}\n");
}

static void keys_of_several_columns_and_of_none(void **state)
{
	(void)state;
	routed_open(
		&m, MAPPING_BASE MAPPING_STREAMS
		"tables = { links = { type = \"link\" key = \"link_id\" groups = [ \"all\" ] columns = [ \"note\" ] }\n"
		"keyless = { type = \"k\" key = \"k_id\" groups = [ \"all\" ] exclude = [ \"secret\" ] } }");
	routed_change(&m, 'D', "links", NULL, "left_id=1|right_id=2|note=\"n\"");
	expect_message("links", NULL, NULL, 0,
		       "{\"type\":\"link.deleted\",\"action\":\"deleted\",\"link_id\":[1,2],"
		       "\"updated_at\":\"2025-11-14T12:34:56.500000Z\",\"updated_by\":null,"
		       "\"data\":{\"left\":1,\"right\":2},\"id\":\"0/16B3748-1\"}\n");
	routed_change(&m, 'I', "links", "left_id=1|right_id=2|note=\"n\"", NULL);
	expect_message("links", NULL, NULL, 0,
		       "{\"type\":\"link.created\",\"action\":\"created\",\"link_id\":[1,2],"
		       "\"updated_at\":\"2025-11-14T12:34:56.500000Z\",\"updated_by\":null,"
		       "\"data\":{\"note\":\"n\"},\"id\":\"0/16B3748-1\"}\n");
	routed_change(&m, 'D', "keyless", NULL, "code=\"c\"|secret=\"s\"");
	expect_message("keyless", NULL, NULL, 0,
		       "{\"type\":\"k.deleted\",\"action\":\"deleted\",\"k_id\":null,"
		       "\"updated_at\":\"2025-11-14T12:34:56.500000Z\",\"updated_by\":null,"
		       "\"data\":{\"code\":\"c\"},\"id\":\"0/16B3748-1\"}\n");
	routed_close(&m);
}

/* What a message of this change shows, with `data` the answer of the section's query; NULL: it has none. */
static char *render_queried(const char *table, const char *answer)
{
	struct sqlrows *rows = mapping_rows(answer);
	struct render_input in = { .data = rows, .commit_time = SLICE(COMMIT), .id = { 0x16B3748, 1 } };
	struct buf out = { 0 };

	assert_true(route_section(mapping_section(m.rules, table, 0), &m.row, &m.plan));
	route_messages(&m.plan, NULL, &m.result);
	render_message(&m.plan, &m.result.joined, &in, &out);
	sqlrows_free(rows);
	return buf_steal(&out);
}

static void expect_in(char *got, const char *wanted)
{
	if (!strstr(got, wanted))
		fail_msg("%s is not in %s", wanted, got);
	free(got);
}

#define QUERIED(table, more)                                                                                           \
	MAPPING_BASE MAPPING_STREAMS "tables = { " table " = { type = \"t\" key = \"k\" groups = [ \"all\" ]"          \
				     " data-query = \"SELECT 1\" " more " } }"
#define WITHHELD "\"data\":null,\"truncated\":true,\"id\""

/* The row is gone, or the query failed: its columns may hold what the query leaves out. */
static void without_an_answer_there_is_no_data(void **state)
{
	(void)state;
	routed_open(&m, QUERIED("crates", ""));
	routed_change(&m, 'I', "crates", "id=1|unit_id=5|status=\"s\"", NULL);
	expect_in(render_queried("crates", "json=7"), "\"data\":7,\"id\"");
	expect_in(render_queried("crates", "json=NULL"), WITHHELD);
	expect_in(render_queried("crates", "json="), WITHHELD);
	expect_in(render_queried("crates", NULL), WITHHELD);
	/* Its key names a row that goes; the message has it beside `data` too. */
	routed_change(&m, 'D', "crates", NULL, "id=1|unit_id=5|status=\"s\"");
	expect_in(render_queried("crates", NULL), "\"data\":{\"id\":1},\"id\"");
	routed_close(&m);
	routed_open(&m, QUERIED("keyless", ""));
	routed_change(&m, 'D', "keyless", NULL, "code=\"c\"|secret=\"s\"");
	expect_in(render_queried("keyless", NULL), WITHHELD);
	routed_close(&m);
	routed_open(&m, QUERIED("crates", "exclude = [ \"status\" ]"));
	routed_change(&m, 'U', "crates", "id=1|unit_id=5|status=\"s\"", "id=1|unit_id=5|status=\"r\"");
	expect_in(render_queried("crates", NULL), WITHHELD);
	routed_close(&m);
	routed_open(&m, QUERIED("crates", "columns = [ \"id\", \"unit_id\" ]"));
	routed_change(&m, 'U', "crates", "id=1|unit_id=5|status=\"s\"", "id=1|unit_id=5|status=\"r\"");
	expect_in(render_queried("crates", NULL), "\"data\":{\"id\":1,\"unit\":5},\"id\"");
	routed_close(&m);
}

#define PERSON(ssn, login)                                                                                             \
	"ssn=\"" ssn "\"|name=\"n\"|otp=123456|last_login=" login "|password_changed_at=null|has_token=true"           \
	"|updated_at=\"2025-11-14 12:34:56.123456+00\""

static void key_of(const char *wanted)
{
	struct buf out = { 0 };

	assert_true(route_section(mapping_section(m.rules, "people", 0), &m.row, &m.plan));
	route_messages(&m.plan, NULL, &m.result);
	render_key(&m.plan, &m.result.joined, &out);
	assert_string_equal(out.data, wanted);
	buf_fini(&out);
}

static void what_is_withheld_stands_nowhere(void **state)
{
	char *got;

	(void)state;
	routed_open(&m, MAPPING_BASE MAPPING_STREAMS
		    "tables = { people = { type = \"p\" key = \"p_id\" groups = [ \"all\" ]\n"
		    "  exclude = [ \"otp\", \"updated_at\", \"password_changed_at\" ] } }");
	/* A large value that was not sent is named, but not a withheld one. */
	routed_change(&m, 'U', "people", "ssn=\"1\"|otp=123456|updated_at=\"2025-11-14 12:34:56.123456+00\"",
		      "ssn=\"1\"|otp=654321");
	got = render("people", NULL, NULL, 0);
	assert_null(strstr(got, "otp"));
	assert_null(strstr(got, "123456"));
	assert_null(strstr(got, "password"));
	expect_in(got, "\"updated_at\":\"2025-11-14T12:34:56.500000Z\",\"updated_by\":null,\"data\":{\"ssn\":\"1\"},"
		       "\"unchanged\":[\"name\",\"last_login\",\"has_token\"],");
	routed_close(&m);
	/* The key of a section with words of its own goes to the audit log, the status page and the relay alone. */
	routed_open(&m, MAPPING_BASE MAPPING_STREAMS "tables = { people = { groups = [ \"all\" ] exclude = [ \"ssn\" "
						     "] message = \"{\\\"n\\\":\\\"{name}\\\"}\" } }");
	routed_change(&m, 'I', "people", PERSON("078-05-1120", "null"), NULL);
	key_of("null");
	routed_change(&m, 'D', "people", NULL, PERSON("078-05-1120", "null"));
	key_of("null");
	routed_close(&m);
	routed_open(&m, MAPPING_BASE MAPPING_STREAMS
		    "tables = { people = { groups = [ \"all\" ] message = \"{\\\"n\\\":\\\"{name}\\\"}\" } }");
	routed_change(&m, 'I', "people", PERSON("078-05-1120", "null"), NULL);
	key_of("\"078-05-1120\"");
	routed_close(&m);
}

static void a_changed_key_is_known_by_the_former_one(void **state)
{
	char *got;

	(void)state;
	routed_change(&m, 'U', "requests", "id=2|unit_id=6|status=\"x\"", "id=1|unit_id=5|status=\"x\"");
	got = render("requests", NULL, NULL, 0);
	assert_non_null(strstr(got, "\"moved\",\"request_id\":1,"));
	assert_non_null(strstr(got, "\"data\":{\"id\":1}"));
	assert_non_null(strstr(got, "\"updated\",\"request_id\":2,"));
	free(got);
}

static void a_template_makes_the_message(void **state)
{
	(void)state;
	routed_open(
		&m, MAPPING_BASE MAPPING_STREAMS
		"tables = { sendbacks = { lookup = \"SELECT {request_id}\" groups = [ \"n_{lookup.user_id}\" ]\n"
		"  actor = \"created_by_id\" message = \"{ \\\"op\\\": \\\"{op}\\\", \\\"as\\\": \\\"{action} "
		"{table}\\\","
		" \\\"id\\\": \\\"{id:text}\\\", \\\"row\\\": [ \\\"{id}\\\", \\\"{reason}\\\", \\\"{created_at}\\\" ],"
		" \\\"was\\\": \\\"{old.reason}\\\", \\\"for\\\": \\\"{lookup.user_id}\\\", \\\"by\\\": "
		"\\\"{actor.username}\\\","
		" \\\"at\\\": \\\"{commit_time}\\\", \\\"text\\\": \\\"{reason} at {created_at}\\\","
		" \\\"number\\\": 1.50, \\\"event\\\": \\\"{event_id}\\\" }\" } }\n"
		"actor = { query = \"SELECT username FROM users WHERE id = {id}\" }");
	routed_change(&m, 'U', "sendbacks",
		      "id=1|request_id=2|reason=\"a\\\"b\"|created_at=\"2025-11-14 12:34:56.5+00\"|created_by_id=3",
		      "id=1|request_id=2|reason=\"c\"|created_at=\"2025-11-14 12:34:56.5+00\"|created_by_id=3");
	expect_message("sendbacks", "user_id=7", "as\"ha", 0,
		       "{\"op\":\"updated\",\"as\":\"updated sendbacks\",\"id\":\"1\","
		       "\"row\":[1,\"a\\\"b\",\"2025-11-14T12:34:56.500000Z\"],\"was\":\"c\",\"for\":\"7\","
		       "\"by\":\"as\\\"ha\",\"at\":\"2025-11-14T12:34:56.500000Z\","
		       "\"text\":\"a\\\"b at 2025-11-14T12:34:56.500000Z\",\"number\":1.50,"
		       "\"event\":\"0/16B3748-1\"}\n");
	routed_change(&m, 'D', "sendbacks", NULL, "id=1|request_id=2|reason=\"c\"|created_at=null|created_by_id=3");
	expect_message("sendbacks", "user_id=", NULL, 0,
		       "{\"op\":\"deleted\",\"as\":\"deleted sendbacks\",\"id\":\"1\",\"row\":[1,\"c\",null],"
		       "\"was\":\"c\",\"for\":null,\"by\":null,\"at\":\"2025-11-14T12:34:56.500000Z\","
		       "\"text\":\"c at \",\"number\":1.50,\"event\":\"0/16B3748-1\"}\n");
	routed_close(&m);
}

static bool path_value_or_none(void *ctx, const struct tmpl_part *part, struct buf *out)
{
	(void)ctx;
	if (part->scope == TMPL_TOKEN)
		return false;
	buf_add_text(out, strcmp(part->text, "n") == 0 ? "7" : "a\"b");
	return true;
}

static void a_stream_has_words_of_its_own(void **state)
{
	struct render_notice n = {
		.value = path_value_or_none,
		.epoch = "7-1-9f2c",
		.id = { 0x16B3748, 2 },
		.now = 1763123696000123,
	};
	struct buf out = { 0 };

	(void)state;
	routed_open(
		&m, MAPPING_BASE
		"streams = { a = { path = \"/<int:n>/<name>\" admit = \"SELECT 1\" groups = [ \"g\" ]\n"
		"  hello = \"{ \\\"n\\\": \\\"{path.n}\\\", \\\"name\\\": \\\"{path.name}\\\", \\\"none\\\": "
		"\\\"{token.x}\\\","
		" \\\"stream\\\": \\\"{stream}\\\", \\\"resumed\\\": \\\"{resumed}\\\", \\\"at\\\": "
		"\\\"{timestamp}\\\" }\"\n"
		"  resync = \"{ \\\"why\\\": \\\"{reason}\\\", \\\"from\\\": \\\"{event_id} of {epoch}\\\" }\" } }\n"
		"tables = { requests = { type = \"r\" key = \"k\" groups = [ \"g\" ] } }");
	n.stream = rules_stream(m.rules, 0);
	render_hello(&n, &out);
	assert_string_equal(out.data, "{\"n\":7,\"name\":\"a\\\"b\",\"none\":null,\"stream\":\"a\",\"resumed\":false,"
				      "\"at\":\"2025-11-14T12:34:56.000123Z\"}");
	buf_clear(&out);
	n.reason = "bulk";
	render_refetch(&n, &out);
	assert_string_equal(out.data, "{\"why\":\"bulk\",\"from\":\"0/16B3748-2 of 7-1-9f2c\"}");
	buf_fini(&out);
	routed_close(&m);
}

static void messages_of_the_stream(void **state)
{
	struct event_id id = { 0x16B3748, 0 };
	struct render_notice n = { .stream = rules_stream(m.rules, 0), .epoch = "7-1-9f2c", .id = id, .reason = "gap" };
	struct buf out = { 0 };

	(void)state;
	render_bulk(mapping_section(m.rules, "requests", 0), 12345, id, &out);
	assert_string_equal(out.data,
			    "{\"type\":\"request.bulk\",\"action\":\"bulk\",\"count\":12345,\"id\":\"0/16B3748-0\"}");
	buf_clear(&out);
	render_hello(&n, &out);
	assert_string_equal(out.data,
			    "{\"type\":\"connection_established\",\"stream\":\"requests\",\"epoch\":\"7-1-9f2c\","
			    "\"id\":\"0/16B3748-0\"}");
	buf_clear(&out);
	n.resumed = true;
	render_hello(&n, &out);
	assert_non_null(strstr(out.data, ",\"resumed\":true}"));
	buf_clear(&out);
	render_refetch(&n, &out);
	assert_string_equal(out.data,
			    "{\"type\":\"resync\",\"reason\":\"gap\",\"id\":\"0/16B3748-0\",\"epoch\":\"7-1-9f2c\"}");
	buf_clear(&out);
	render_resync("history", "7-1-9f2c", id, &out);
	assert_string_equal(
		out.data, "{\"type\":\"resync\",\"reason\":\"history\",\"id\":\"0/16B3748-0\",\"epoch\":\"7-1-9f2c\"}");
	buf_fini(&out);
}

static void frames_have_the_shortest_header(void **state)
{
	static const struct {
		uint64_t payload;
		size_t len;
		const char *bytes;
	} cases[] = {
		{ 0, 2, "\x81\x00" },
		{ 125, 2, "\x81\x7D" },
		{ 126, 4, "\x81\x7E\x00\x7E" },
		{ 65535, 4, "\x81\x7E\xFF\xFF" },
		{ 65536, 10, "\x81\x7F\x00\x00\x00\x00\x00\x01\x00\x00" },
		{ UINT64_C(0x7FFFFFFFFFFFFFFF), 10, "\x81\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF" },
	};
	char header[FRAME_HEADER_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(render_frame_header(header, cases[i].payload), cases[i].len);
		assert_memory_equal(header, cases[i].bytes, cases[i].len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_keep_their_digits),
		cmocka_unit_test(texts_are_passed_on),
		cmocka_unit_test(times_are_iso_8601),
		cmocka_unit_test(durations_are_djangos),
		cmocka_unit_test(bytes_are_base64),
		cmocka_unit_test(json_stays_json),
		cmocka_unit_test(deep_json_is_bounded),
		cmocka_unit_test(arrays_are_arrays),
		cmocka_unit_test(ranges_are_strings_of_json),
		cmocka_unit_test(hstore_is_an_object),
		cmocka_unit_test_setup_teardown(the_standard_message, open_mapping, close_mapping),
		cmocka_unit_test_setup_teardown(a_move_tells_its_key_alone, open_mapping, close_mapping),
		cmocka_unit_test_setup_teardown(a_delete_tells_its_key_alone, open_mapping, close_mapping),
		cmocka_unit_test_setup_teardown(what_was_not_sent_is_named, open_mapping, close_mapping),
		cmocka_unit_test_setup_teardown(long_rows_are_cut, open_mapping, close_mapping),
		cmocka_unit_test(keys_of_several_columns_and_of_none),
		cmocka_unit_test(without_an_answer_there_is_no_data),
		cmocka_unit_test(what_is_withheld_stands_nowhere),
		cmocka_unit_test(a_template_makes_the_message),
		cmocka_unit_test(a_stream_has_words_of_its_own),
		cmocka_unit_test_setup_teardown(a_changed_key_is_known_by_the_former_one, open_mapping, close_mapping),
		cmocka_unit_test_setup_teardown(messages_of_the_stream, open_mapping, close_mapping),
		cmocka_unit_test(frames_have_the_shortest_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
