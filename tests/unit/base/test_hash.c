/* FNV-1a as its authors publish it (draft-eastlake-fnv): digests of running installations are made with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "walpush/base/hash.h"

static const struct {
	const char *text;
	uint32_t hash_32;
	uint64_t hash_64;
} published[] = {
	{ "", 0x811c9dc5, UINT64_C(0xcbf29ce484222325) },
	{ "a", 0xe40c292c, UINT64_C(0xaf63dc4c8601ec8c) },
	{ "foobar", 0xbf9cf968, UINT64_C(0x85944171f73967e8) },
};

static void the_published_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(published) / sizeof(*published); i++) {
		const char *text = published[i].text;

		assert_int_equal(hash_mix_32(HASH_START_32, text, strlen(text)), published[i].hash_32);
		assert_int_equal(hash_mix_64(HASH_START_64, text, strlen(text)), published[i].hash_64);
	}
}

/* Bytes from 0x80 on are no negative numbers, and a text may come in pieces. */
static void bytes_are_bytes(void **state)
{
	uint32_t expected = (HASH_START_32 ^ 0xFF) * 16777619u;

	(void)state;
	assert_int_equal(hash_mix_32(HASH_START_32, "\xFF", 1), expected);
	assert_int_equal(hash_mix_64(hash_mix_64(HASH_START_64, "foo", 3), "bar", 3), published[2].hash_64);
}

static void a_text_has_an_end(void **state)
{
	(void)state;
	assert_int_equal(hash_text_64(HASH_START_64, "foobar"), published[2].hash_64 * UINT64_C(1099511628211));
	assert_int_not_equal(hash_text_64(hash_text_64(HASH_START_64, "ab"), "c"),
			     hash_text_64(hash_text_64(HASH_START_64, "a"), "bc"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_published_values),
		cmocka_unit_test(bytes_are_bytes),
		cmocka_unit_test(a_text_has_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
