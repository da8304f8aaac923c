#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "walframe.h"

/* Written out by hand from the protocol's documentation. */
static const char data_header[] = "w"
				  "\x00\x00\x00\x01\x02\x03\x04\x05"
				  "\xFF\xEE\xDD\xCC\xBB\xAA\x99\x88"
				  "\x00\x02\xD0\x9A\x12\x34\x56\x78";
static const char keepalive[] = "k"
				"\x00\x00\x00\x01\x02\x03\x04\x05"
				"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE"
				"\x01";

/* From a heap block of exactly n bytes. */
static bool parse(const char *bytes, size_t n, struct walframe *out, struct fail *why)
{
	char *block = malloc(n ? n : 1);
	bool good;

	memcpy(block, bytes, n);
	good = walframe_parse((struct slice){ block, n }, out, why);
	free(block);
	return good;
}

static void test_data(void **state)
{
	struct walframe f;
	struct fail why;
	char bytes[29];

	(void)state;
	memcpy(bytes, data_header, 25);
	memcpy(bytes + 25, "row!", 4);
	assert_true(walframe_parse((struct slice){ bytes, 29 }, &f, &why));
	assert_int_equal(f.kind, WALFRAME_DATA);
	assert_true(f.start == UINT64_C(0x102030405));
	assert_true(f.end == UINT64_C(0xFFEEDDCCBBAA9988));
	assert_true(f.sent_at == INT64_C(0x2D09A12345678));
	assert_ptr_equal(f.payload.at, bytes + 25);
	assert_int_equal(f.payload.len, 4);
	assert_false(f.reply_demanded);
}

static void test_data_without_payload(void **state)
{
	struct walframe f;
	struct fail why;

	(void)state;
	assert_true(parse(data_header, 25, &f, &why));
	assert_int_equal(f.payload.len, 0);
}

static void test_keepalive(void **state)
{
	struct walframe f;
	struct fail why;
	char bytes[18];

	(void)state;
	assert_true(parse(keepalive, 18, &f, &why));
	assert_int_equal(f.kind, WALFRAME_KEEPALIVE);
	assert_true(f.end == UINT64_C(0x102030405));
	assert_true(f.start == 0);
	assert_true(f.sent_at == -2);
	assert_true(f.reply_demanded);
	assert_int_equal(f.payload.len, 0);

	memcpy(bytes, keepalive, 18);
	bytes[17] = 0;
	assert_true(parse(bytes, 18, &f, &why));
	assert_false(f.reply_demanded);
	bytes[17] = 2;
	assert_false(parse(bytes, 18, &f, &why));
	assert_string_equal(why.text, "keepalive with 2 where 0 or 1 says whether to reply");
}

static void test_lengths(void **state)
{
	struct walframe f;
	struct fail why;
	char longer[19] = { 0 };

	(void)state;
	assert_false(parse("", 0, &f, &why));
	assert_string_equal(why.text, "empty message on the replication connection");
	for (size_t n = 1; n < 25; n++)
		assert_false(parse(data_header, n, &f, &why));
	assert_string_equal(why.text, "XLogData of 24 bytes, at least 25 expected");
	for (size_t n = 1; n < 18; n++)
		assert_false(parse(keepalive, n, &f, &why));
	memcpy(longer, keepalive, 18);
	assert_false(parse(longer, 19, &f, &why));
	assert_string_equal(why.text, "keepalive of 19 bytes, 18 expected");
}

static void test_every_other_kind_is_refused(void **state)
{
	struct walframe f;
	struct fail why;
	char bytes[64] = { 0 };

	(void)state;
	for (int kind = 0; kind < 256; kind++) {
		if (kind == 'w' || kind == 'k')
			continue;
		bytes[0] = (char)kind;
		assert_false(parse(bytes, sizeof(bytes), &f, &why));
	}
	assert_string_equal(why.text,
			    "message of unknown kind 0xff on the replication connection, 'w' or 'k' expected");
}

static void test_status(void **state)
{
	static const char expected[] = "r"
				       "\x01\x02\x03\x04\x05\x06\x07\x08"
				       "\x00\x00\x00\x00\xFF\xFE\xFD\xFC"
				       "\x00\x00\x00\x00\xFF\xFE\xFD\xFC"
				       "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
				       "\x01";
	char status[WALFRAME_STATUS_SIZE];

	(void)state;
	walframe_status(status, UINT64_C(0x0102030405060708), UINT64_C(0xFFFEFDFC), -1, true);
	assert_memory_equal(status, expected, sizeof(status));
	walframe_status(status, 0, 0, 0, false);
	assert_int_equal(status[0], 'r');
	for (size_t i = 1; i < sizeof(status); i++)
		assert_int_equal(status[i], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data),
		cmocka_unit_test(test_data_without_payload),
		cmocka_unit_test(test_keepalive),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_every_other_kind_is_refused),
		cmocka_unit_test(test_status),
	};

	return cmocka_run_group_tests_name("walframe", tests, NULL, NULL);
}
