/*
 * hash: FNV-1a, with 32 and with 64 bits. Pure.
 *
 * Not for tables that strangers can fill. Digests of these functions are part of epochs, which clients and other replicas keep, so the functions
 * never change. A caller that mixes several texts also mixes where each text ends, so that "ab", "c" and "a", "bc" differ.
 */
#ifndef WALPUSH_HASH_H
#define WALPUSH_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HASH_START_32 UINT32_C(2166136261)
#define HASH_START_64 UINT64_C(14695981039346656037)

static inline uint32_t hash_mix_32(uint32_t hash, const void *bytes, size_t n)
{
	const unsigned char *at = bytes;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ at[i]) * UINT32_C(16777619);
	return hash;
}

static inline uint64_t hash_mix_64(uint64_t hash, const void *bytes, size_t n)
{
	const unsigned char *at = bytes;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ at[i]) * UINT64_C(1099511628211);
	return hash;
}

/* The text and its zero byte. */
static inline uint64_t hash_text_64(uint64_t hash, const char *text)
{
	return hash_mix_64(hash, text, strlen(text) + 1);
}

#endif
