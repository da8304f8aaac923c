/* pgoutput from bytes that a server would send, and from others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "dumped.h"
#include "pgmessage.h"
#include "walpush/base/mem.h"
#include "walpush/change/pgoutput.h"

static struct pgoutput *decoder;
static struct relations *relations;

static int open_decoder(void **state)
{
	(void)state;
	decoder = pgoutput_new();
	relations = relations_new();
	return 0;
}

static int close_decoder(void **state)
{
	(void)state;
	pgoutput_free(decoder);
	relations_free(relations);
	buf_fini(&message);
	return 0;
}

/* --- messages ----------------------------------------------------------------------------------------------------- */

/* "id*:23 name:25": names and types; a star marks the identity. */
static void put_relation(uint32_t oid, const char *schema, const char *table, const char *columns)
{
	char *text = mem_text(columns), *rest = text, *word;
	uint64_t n = 1;

	for (const char *c = columns; *c; c++)
		n += *c == ' ';
	start('R');
	put(oid, 4);
	put_string(schema);
	put_string(table);
	put('d', 1);
	put(n, 2);
	while ((word = strsep(&rest, " "))) {
		char *type = strrchr(word, ':');
		bool in_key = type[-1] == '*';

		*type = '\0';
		if (in_key)
			type[-1] = '\0';
		put(in_key, 1);
		put_string(word);
		put(strtoul(type + 1, NULL, 10), 4);
		put(UINT32_MAX, 4);
	}
	free(text);
}

/* "N|5|~|?|text": after the letter of the part a value for each column; ~ is null, ? is unchanged. */
static void put_part(const char *part)
{
	char *text = mem_text(part), *rest = text, *word;
	uint64_t n = 0;

	for (const char *c = part; *c; c++)
		n += *c == '|';
	buf_add_char(&message, *strsep(&rest, "|"));
	put(n, 2);
	while ((word = strsep(&rest, "|"))) {
		if (strcmp(word, "?") == 0)
			buf_add_char(&message, 'u');
		else
			put_value(strcmp(word, "~") == 0 ? NULL : word);
	}
	free(text);
}

static void put_row(char kind, uint32_t oid, const char *first, const char *second)
{
	start(kind);
	put(oid, 4);
	put_part(first);
	if (second)
		put_part(second);
}

static void take(uint32_t oid, const char *schema, const char *table, const char *columns)
{
	struct fail why;

	put_relation(oid, schema, table, columns);
	assert_true(relation_is_told(buf_slice(&message)));
	if (!relations_take(relations, buf_slice(&message), &why))
		fail_msg("%s", why.text);
}

/* --- what must hold ----------------------------------------------------------------------------------------------- */

/* In memory of exactly this size, so that a sanitizer sees each byte too many. */
static bool decodes(const struct relation *r, const char *bytes, size_t n, struct buf *out, struct fail *why)
{
	char *copy = mem_new(n ? n : 1);
	struct change change;
	bool is_good;

	memcpy(copy, bytes, n);
	*why = (struct fail){ 0 };
	is_good = pgoutput_decode(decoder, r, (struct slice){ copy, n }, &change, why);
	if (is_good && out)
		dump_change(out, &change);
	free(copy);
	return is_good;
}

/* The message says this, and no beginning of it is a message, nor is it with a byte more. */
static void expect(const char *wanted)
{
	struct fail why;
	struct buf said = { 0 };
	struct relation *r = NULL;

	if (relations_count(buf_slice(&message)))
		r = relations_find(relations, buf_slice(&message), 0, &why);
	if (!decodes(r, message.data, message.len, &said, &why))
		fail_msg("wanted %s, but %s", wanted, why.text);
	assert_string_equal(said.data, wanted);
	for (size_t n = 0; n < message.len; n++) {
		assert_false(decodes(r, message.data, n, NULL, &why));
		assert_true(why.offset <= n);
	}
	buf_add_char(&message, '\0');
	assert_false(decodes(r, message.data, message.len, NULL, &why));
	relation_unref(r);
	buf_fini(&said);
}

static void expect_refused(const char *wanted)
{
	struct fail why;
	struct relation *r = NULL;

	if (relations_count(buf_slice(&message)))
		r = relations_find(relations, buf_slice(&message), 0, &why);
	assert_false(decodes(r, message.data, message.len, NULL, &why));
	if (!strstr(why.text, wanted))
		fail_msg("wanted \"%s\", got \"%s\"", wanted, why.text);
	relation_unref(r);
}

#define ROW(kind) kind " xid=0 lsn=0/0 next=0/0 at= table=public . requests\n"

static void transactions_have_their_ends(void **state)
{
	(void)state;
	start('B');
	put(0x16B3748, 8);
	put(UINT64_C(816442496123450), 8);
	put(735, 4);
	expect("begin xid=735 lsn=0/16B3748 next=0/0 at=2025-11-14 13:34:56.12345+00\n");
	start('C');
	put(0, 1);
	put(0x16B3748, 8);
	put(0x16B3780, 8);
	put(UINT64_C(816442496000000), 8);
	expect("commit xid=0 lsn=0/16B3748 next=0/16B3780 at=2025-11-14 13:34:56+00\n");
	start('B');
	put(1, 8);
	put((uint64_t)-1, 8);
	put(UINT32_MAX, 4);
	expect("begin xid=4294967295 lsn=0/1 next=0/0 at=1999-12-31 23:59:59.999999+00\n");
	start('B');
	put(1, 8);
	put(INT64_MAX, 8);
	put(1, 4);
	expect_refused("a time in the years");
}

/* wal2json prints the time of a commit in the session's zone, so this does. 2025-11-14 12:34:56 UTC is 1763123696. */
static void times_are_in_the_sessions_zone(void **state)
{
	static const struct {
		const char *zone;
		const char *at; /* NULL: the zone is malformed, and the time in UTC */
	} cases[] = {
		{ "", "2025-11-14 12:34:56+00" },
		{ "0 19800", "2025-11-14 18:04:56+05:30" },
		{ "0 3600,1763123696 7200", "2025-11-14 14:34:56+02" },
		{ "0 3600,1763123697 7200", "2025-11-14 13:34:56+01" },
		{ "1763123697 7200", "2025-11-14 14:34:56+02" }, /* before the first change, too */
		{ "0 -12600", "2025-11-14 09:04:56-03:30" },
		{ "0 -1172", "2025-11-14 12:15:24-00:19:32" },
		{ "0 43200", "2025-11-15 00:34:56+12" },
		{ "0", NULL },
		{ "0 x", NULL },
		{ "0 99999", NULL },
		{ "5 3600,5 7200", NULL },
		{ "0 3600;5 7200", NULL },
		{ "99999999999999999999 0", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char wanted[96];

		assert_int_equal(pgoutput_zone(decoder, cases[i].zone), cases[i].at != NULL);
		start('B');
		put(0x10, 8);
		put(UINT64_C(816438896000000), 8);
		put(7, 4);
		snprintf(wanted, sizeof(wanted), "begin xid=7 lsn=0/10 next=0/0 at=%s\n",
			 cases[i].at ? cases[i].at : "2025-11-14 12:34:56+00");
		expect(wanted);
	}
}

static void rows_have_the_names_of_their_table(void **state)
{
	(void)state;
	take(7, "public", "requests", "id*:23 note:25");
	put_row('I', 7, "N|5|hello", NULL);
	expect(ROW("insert") "  + id 23 number 5\n  + note 25 string hello\n");
	put_row('U', 7, "O|5|hello", "N|5|~");
	expect(ROW("update") "  + id 23 number 5\n  + note 25 null\n  - id 23 number 5\n  - note 25 string hello\n");
	put_row('D', 7, "O|5|hello", NULL);
	expect(ROW("delete") "  - id 23 number 5\n  - note 25 string hello\n");
}

/* Of a key, the server sends the other columns as null. */
static void an_old_key_is_the_identitys_columns(void **state)
{
	(void)state;
	take(7, "public", "requests", "note:25 id*:23");
	put_row('U', 7, "K|~|5", "N|hello|6");
	expect(ROW("update") "  + note 25 string hello\n  + id 23 number 6\n  - id 23 number 5\n");
	put_row('D', 7, "K|~|5", NULL);
	expect(ROW("delete") "  - id 23 number 5\n");
	/* Nothing old: the identity is as it was. An unchanged large value is not there. */
	put_row('U', 7, "N|?|5", NULL);
	expect(ROW("update") "  + id 23 number 5\n  - id 23 number 5\n");
	/* A key that must be escaped. */
	take(7, "public", "requests", "note:25 id*:25");
	put_row('U', 7, "N|a\"|b\"", NULL);
	expect(ROW("update") "  + note 25 string a\\\"\n  + id 25 string b\\\"\n  - id 25 string b\\\"\n");
	put_row('U', 7, "K|~|b\"", "N|c\"|d\"");
	expect(ROW("update") "  + note 25 string c\\\"\n  + id 25 string d\\\"\n  - id 25 string b\\\"\n");
}

/* Of a partition with REPLICA IDENTITY FULL whose root has none. */
static void a_key_with_other_values_is_a_whole_row(void **state)
{
	(void)state;
	take(7, "public", "requests", "note:25 id*:25 size:23");
	put_row('U', 7, "K|a\"|b\"|~", "N|c\"|d\"|4");
	expect(ROW("update") "  + note 25 string c\\\"\n  + id 25 string d\\\"\n  + size 23 number 4\n"
			     "  - note 25 string a\\\"\n  - id 25 string b\\\"\n  - size 23 null\n");
	put_row('D', 7, "K|~|5|3", NULL);
	expect(ROW("delete") "  - note 25 null\n  - id 25 string 5\n  - size 23 number 3\n");
}

static void values_are_what_wal2json_prints(void **state)
{
	static const struct {
		uint32_t type;
		const char *value, *wanted; /* NULL: refused */
	} cases[] = {
		{ 16, "t", "bool true" },
		{ 16, "f", "bool false" },
		{ 16, "true", NULL },
		{ 23, "-7", "number -7" },
		{ 20, "9223372036854775807", "number 9223372036854775807" },
		{ 23, "07", NULL },
		{ 23, "", NULL },
		{ 23, "1,2", NULL },
		{ 1700, "0.10", "number 0.10" },
		{ 1700, "NaN", "null" },
		{ 701, "1e-07", "number 1e-07" },
		{ 701, "Infinity", "null" },
		{ 700, "-Infinity", "null" },
		{ 701, "nan", NULL },
		{ 17, "\\x00ff", "string 00ff" },
		{ 17, "\\x", "string " },
		{ 17, "\\x0", NULL },
		{ 17, "\\xzz", NULL },
		{ 17, "abc", NULL },
		{ 25, "", "string " },
		{ 25, "a \"b\" \\ c\n\t\x01/\x7f", "string a \\\"b\\\" \\\\ c\\n\\t\\u0001/\x7f" },
		{ 25, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "string \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ 25, "\xff", NULL },
		{ 1184, "2025-11-14 12:34:56+00", "string 2025-11-14 12:34:56+00" },
		/* A domain over int. */
		{ 16384, "5", "string 5" },
		{ 4294967295, "NaN", "string NaN" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char columns[32], part[128], wanted[256];

		snprintf(columns, sizeof(columns), "x:%u", cases[i].type);
		snprintf(part, sizeof(part), "N|%s", cases[i].value);
		take(7, "public", "requests", columns);
		put_row('I', 7, part, NULL);
		if (!cases[i].wanted) {
			expect_refused("expected");
			continue;
		}
		snprintf(wanted, sizeof(wanted), ROW("insert") "  + x %u %s\n", cases[i].type, cases[i].wanted);
		expect(wanted);
	}
}

static void names_are_escaped(void **state)
{
	(void)state;
	take(7, "", "a\"b", "x\\y*:23");
	put_row('I', 7, "N|5", NULL);
	expect("insert xid=0 lsn=0/0 next=0/0 at= table=pg_catalog . a\\\"b\n  + x\\\\y 23 number 5\n");
}

/* A row that waits is of the table as it was when the row came. */
static void a_table_may_change(void **state)
{
	struct relation *before;
	struct buf said = { 0 };
	struct fail why;

	(void)state;
	take(7, "public", "requests", "id*:23");
	put_row('I', 7, "N|5", NULL);
	before = relations_find(relations, buf_slice(&message), 0, &why);
	take(7, "public", "renamed", "id*:20 added:25");
	put_row('I', 7, "N|5", NULL);
	assert_true(decodes(before, message.data, message.len, &said, &why));
	assert_string_equal(said.data, ROW("insert") "  + id 23 number 5\n");
	expect_refused("as many values as the table has columns");
	put_row('I', 7, "N|5|new", NULL);
	expect("insert xid=0 lsn=0/0 next=0/0 at= table=public . renamed\n  + id 20 number 5\n  + added 25 string "
	       "new\n");
	relations_forget(relations);
	put_row('I', 7, "N|5", NULL);
	assert_null(relations_find(relations, buf_slice(&message), 0, &why));
	assert_non_null(strstr(why.text, "no message described"));
	assert_true(decodes(before, message.data, message.len, NULL, &why));
	relation_unref(before);
	buf_fini(&said);
}

static void a_truncate_names_several_tables(void **state)
{
	static const char *const wanted[] = { "one", "two" };
	struct fail why;

	(void)state;
	take(7, "public", "one", "id*:23");
	take(8, "public", "two", "id*:23");
	start('T');
	put(2, 4);
	put(1, 1);
	put(7, 4);
	put(8, 4);
	assert_int_equal(relations_count(buf_slice(&message)), 2);
	for (size_t i = 0; i < 2; i++) {
		struct relation *r = relations_find(relations, buf_slice(&message), i, &why);
		struct buf said = { 0 }, text = { 0 };

		assert_true(decodes(r, message.data, message.len, &said, &why));
		buf_addf(&text, "truncate xid=0 lsn=0/0 next=0/0 at= table=public . %s\n", wanted[i]);
		assert_string_equal(said.data, text.data);
		relation_unref(r);
		buf_fini(&said);
		buf_fini(&text);
	}
	assert_null(relations_find(relations, buf_slice(&message), 2, &why));
	for (size_t i = 0; i < 2; i++) {
		char bytes[RELATION_TRUNCATE_BYTES];
		struct slice one = relations_truncate(buf_slice(&message), i, bytes);
		struct relation *r = relations_find(relations, one, 0, &why),
				*other = relations_find(relations, buf_slice(&message), !i, &why);

		assert_int_equal(relations_count(one), 1);
		assert_true(decodes(r, one.at, one.len, NULL, &why));
		assert_false(decodes(other, one.at, one.len, NULL, &why));
		relation_unref(r);
		relation_unref(other);
	}
	expect("truncate xid=0 lsn=0/0 next=0/0 at= table=public . one\n");
	start('T');
	put(UINT32_MAX, 4);
	put(0, 1);
	put(7, 4);
	assert_int_equal(relations_count(buf_slice(&message)), 0);
}

static void only_one_message_tells_of_ddl(void **state)
{
	static const struct {
		unsigned flags;
		const char *prefix;
		bool tells;
	} cases[] = {
		{ 1, DECODE_DDL_PREFIX, true },
		{ 0, DECODE_DDL_PREFIX, false },
		{ 1, "walpush.ddl2", false },
		{ 1, "", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		start('M');
		put(cases[i].flags, 1);
		put(0x16B3748, 8);
		put_string(cases[i].prefix);
		put(3, 4);
		buf_add(&message, "\xff\0x", 3);
		assert_int_equal(pgoutput_is_ddl(buf_slice(&message)), cases[i].tells);
		expect("message xid=0 lsn=0/0 next=0/0 at=\n");
		assert_false(pgoutput_is_ddl(buf_slice(&message))); /* with a byte more */
	}
}

static void everything_else_is_refused(void **state)
{
	struct fail why;

	(void)state;
	start('R');
	assert_false(relations_take(relations, buf_slice(&message), &why));
	put_relation(7, "public", "requests", "id*:23 note:25");
	for (size_t n = 0; n < message.len; n++)
		assert_false(relations_take(relations, (struct slice){ message.data, n }, &why));
	take(7, "public", "requests", "id*:23 note:25");
	put_row('I', 7, "K|5|x", NULL);
	expect_refused("K, O or N");
	put_row('D', 7, "N|5|x", NULL);
	expect_refused("K, O or N");
	put_row('U', 7, "K|5|~", "K|5|~");
	expect_refused("K, O or N");
	put_row('I', 8, "N|5|x", NULL);
	expect_refused("a row of the relation");
	put_row('I', 7, "N|5", NULL);
	expect_refused("as many values");
	start('I');
	put(7, 4);
	put('N', 1);
	put(2, 2);
	put('b', 1);
	expect_refused("a value as text");
	start('I');
	put(7, 4);
	put('N', 1);
	put(2, 2);
	put('t', 1);
	put(UINT32_MAX, 4);
	expect_refused("a value of this length");
	start('S'); /* of streamed transactions, which nobody asked for */
	expect_refused("version 1");
	assert_false(decodes(NULL, "", 0, NULL, &why));
}

#define DECODER(test) cmocka_unit_test_setup_teardown(test, open_decoder, close_decoder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DECODER(transactions_have_their_ends),
		DECODER(times_are_in_the_sessions_zone),
		DECODER(rows_have_the_names_of_their_table),
		DECODER(an_old_key_is_the_identitys_columns),
		DECODER(a_key_with_other_values_is_a_whole_row),
		DECODER(values_are_what_wal2json_prints),
		DECODER(names_are_escaped),
		DECODER(a_table_may_change),
		DECODER(a_truncate_names_several_tables),
		DECODER(only_one_message_tells_of_ddl),
		DECODER(everything_else_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
