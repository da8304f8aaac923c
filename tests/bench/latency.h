/*
 * latency: how long messages took, from the time written in them to their receipt.
 *
 * Microseconds, counted in buckets of 1/16 of a power of two: a percentile is exact to 6 %. Both clocks are the same
 * machine's CLOCK_REALTIME. A header of its own so that every load tool measures alike.
 */
#ifndef WALPUSH_BENCH_LATENCY_H
#define WALPUSH_BENCH_LATENCY_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LATENCY_SUB_BITS 4
#define LATENCY_BUCKETS (64 << LATENCY_SUB_BITS)

struct latency {
	uint64_t count[LATENCY_BUCKETS];
	uint64_t total;
};

static inline unsigned latency_bucket(uint64_t us)
{
	if (us < (1u << LATENCY_SUB_BITS))
		return (unsigned)us;
	unsigned shift = 63u - LATENCY_SUB_BITS - (unsigned)__builtin_clzll(us);
	return ((shift + 1) << LATENCY_SUB_BITS) + (unsigned)((us >> shift) - (1u << LATENCY_SUB_BITS));
}

/* The least value that falls into the bucket. */
static inline uint64_t latency_value(unsigned bucket)
{
	unsigned shift = bucket >> LATENCY_SUB_BITS;
	uint64_t low = bucket & ((1u << LATENCY_SUB_BITS) - 1);
	return shift ? (low + (1u << LATENCY_SUB_BITS)) << (shift - 1) : low;
}

static inline uint64_t latency_at(const struct latency *l, double share)
{
	uint64_t seen = 0, wanted = (uint64_t)(share * (double)l->total);
	for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
		seen += l->count[i];
		if (seen > 0 && seen >= wanted)
			return latency_value(i);
	}
	return 0;
}

/* "2025-11-14T12:34:56.123456Z" or PostgreSQL's "2025-11-14 12:34:56.1234+00": microseconds since 1970; -1: neither. */
static inline int64_t latency_time(const char *at, const char *end)
{
	static const char pattern[] = "9999-99-99T99:99:99";
	int64_t us = 0, unit = 100000;
	if ((size_t)(end - at) < sizeof pattern)
		return -1;
	for (const char *p = pattern, *c = at; *p; p++, c++)
		if (*p == '9' ? *c < '0' || *c > '9' : *c != *p && !(*p == 'T' && *c == ' '))
			return -1;
	struct tm tm = { .tm_year = atoi(at) - 1900, .tm_mon = atoi(at + 5) - 1, .tm_mday = atoi(at + 8) };
	tm.tm_hour = atoi(at + 11), tm.tm_min = atoi(at + 14), tm.tm_sec = atoi(at + 17);
	at += sizeof pattern - 1;
	if (*at == '.')
		for (at++; at < end && *at >= '0' && *at <= '9'; at++, unit /= 10)
			us += (*at - '0') * unit;
	return (int64_t)timegm(&tm) * 1000000 + us;
}

/* From the time behind the key to `now`, in microseconds since 1970. */
static inline void latency_note_behind(struct latency *l, const char *text, size_t len, const char *key, int64_t now)
{
	const char *at = memmem(text, len, key, strlen(key)), *end = text + len;
	int64_t then = at ? latency_time(at + strlen(key), end) : -1;
	if (then < 0)
		return;
	l->count[latency_bucket(now > then ? (uint64_t)(now - then) : 0)]++;
	l->total++;
}

/* From the message's updated_at, which the writer has set to clock_timestamp(). */
static inline void latency_note(struct latency *l, const char *text, size_t len, int64_t now)
{
	latency_note_behind(l, text, len, "\"updated_at\":\"", now);
}

/* The same from wal2json's record. The server's time zone must be UTC. */
static inline void latency_note_row(struct latency *l, const char *text, size_t len, int64_t now)
{
	latency_note_behind(l, text, len, "\"name\":\"updated_at\",\"typeoid\":1184,\"value\":\"", now);
}

static inline void latency_print(const struct latency *l)
{
	printf("{\"n\":%" PRIu64 ",\"p50\":%" PRIu64 ",\"p90\":%" PRIu64, l->total, latency_at(l, .5),
	       latency_at(l, .9));
	printf(",\"p95\":%" PRIu64 ",\"p99\":%" PRIu64, latency_at(l, .95), latency_at(l, .99));
	printf(",\"p999\":%" PRIu64 ",\"max\":%" PRIu64 "}", latency_at(l, .999), latency_at(l, 1));
}

#endif
