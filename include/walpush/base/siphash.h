/*
 * siphash: SipHash-2-4 of Aumasson and Bernstein: 64 bits under a key of 128 bits. Pure.
 *
 * For digests of what strangers can write: without the key nobody can find two texts with the same digest. The key is made at the start of the
 * process, so digests mean nothing outside of it.
 */
#ifndef WALPUSH_SIPHASH_H
#define WALPUSH_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t k0, k1;
};

static inline uint64_t siphash_rotate(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static inline void siphash_rounds(uint64_t v[4], unsigned n)
{
	while (n--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = siphash_rotate(v[1], 13) ^ v[0];
		v[3] = siphash_rotate(v[3], 16) ^ v[2];
		v[0] = siphash_rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = siphash_rotate(v[1], 17) ^ v[2];
		v[3] = siphash_rotate(v[3], 21) ^ v[0];
		v[2] = siphash_rotate(v[2], 32);
	}
}

static inline void siphash_word(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	siphash_rounds(v, 2);
	v[0] ^= word;
}

static inline uint64_t siphash(const struct siphash_key *key, const void *bytes, size_t n)
{
	const unsigned char *at = bytes;
	uint64_t v[4] = { key->k0 ^ UINT64_C(0x736f6d6570736575), key->k1 ^ UINT64_C(0x646f72616e646f6d),
			  key->k0 ^ UINT64_C(0x6c7967656e657261), key->k1 ^ UINT64_C(0x7465646279746573) };
	uint64_t word = 0;

	for (size_t i = 0; i < n; i++) {
		word |= (uint64_t)at[i] << i % 8 * 8;
		if (i % 8 == 7) {
			siphash_word(v, word);
			word = 0;
		}
	}
	siphash_word(v, word | (uint64_t)n << 56);
	v[2] ^= 0xff;
	siphash_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
