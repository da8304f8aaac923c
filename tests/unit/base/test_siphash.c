/* SipHash-2-4 as its authors publish it: the digests of 00, 00 01, 00 01 02 … under the key 00 01 … 0f. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "walpush/base/siphash.h"

static const struct siphash_key key = { UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908) };

static void the_published_values(void **state)
{
	static const struct {
		size_t n;
		uint64_t digest;
	} published[] = {
		{ 0, UINT64_C(0x726fdb47dd0e0e31) },  { 1, UINT64_C(0x74f839c593dc67fd) },
		{ 2, UINT64_C(0x0d6c8009d9a94f5a) },  { 7, UINT64_C(0xab0200f58b01d137) },
		{ 8, UINT64_C(0x93f5f5799a932462) },  { 15, UINT64_C(0xa129ca6149be45e5) },
		{ 63, UINT64_C(0x958a324ceb064572) },
	};
	unsigned char bytes[64];

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)i;
	for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++)
		assert_true(siphash(&key, bytes, published[i].n) == published[i].digest);
}

static void another_key_is_another_digest(void **state)
{
	struct siphash_key other = key;

	(void)state;
	other.k1 ^= 1;
	assert_false(siphash(&key, "walpush", 7) == siphash(&other, "walpush", 7));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_published_values),
		cmocka_unit_test(another_key_is_another_digest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
