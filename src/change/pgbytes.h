/* pgbytes: reads a message of the replication protocol byte by byte. Private to relation.c and pgoutput.c. Pure. */
#ifndef WALPUSH_PGBYTES_H
#define WALPUSH_PGBYTES_H

#include <string.h>

#include "walpush/base/fail.h"
#include "walpush/base/slice.h"
#include "walpush/base/utf8.h"

/* The place in the message. Invariant: start <= at <= end; no byte at or after `end` is ever read. */
struct scan {
	const char *start, *at, *end;
	struct fail *why;
};

static inline struct scan scan_of(struct slice message, struct fail *why)
{
	const char *start = message.at ? message.at : "";

	return (struct scan){ start, start, start + message.len, why };
}

static inline bool expected(const struct scan *s, const char *what)
{
	size_t offset = (size_t)(s->at - s->start);

	fail_at_offset(s->why, offset, "offset %zu: expected %s%s", offset, what,
		       s->at == s->end ? ", but the message ends" : "");
	return false;
}

/* Big-endian, of `n` bytes. */
static inline bool number(struct scan *s, size_t n, uint64_t *out, const char *what)
{
	*out = 0;
	if ((size_t)(s->end - s->at) < n)
		return expected(s, what);
	for (size_t i = 0; i < n; i++)
		*out = *out << 8 | (unsigned char)*s->at++;
	return true;
}

static inline bool byte(struct scan *s, char *out, const char *what)
{
	uint64_t n = 0;
	bool is_there = number(s, 1, &n, what);

	*out = (char)n;
	return is_there;
}

static inline bool oid(struct scan *s, uint32_t *out, const char *what)
{
	uint64_t n = 0;
	bool is_there = number(s, 4, &n, what);

	*out = (uint32_t)n;
	return is_there;
}

/* Ends with a zero byte. */
static inline bool string(struct scan *s, struct slice *out, const char *what)
{
	const char *zero = memchr(s->at, '\0', (size_t)(s->end - s->at));

	*out = (struct slice){ "", 0 };
	if (!zero || !utf8_is_valid((struct slice){ s->at, (size_t)(zero - s->at) }))
		return expected(s, what);
	*out = (struct slice){ s->at, (size_t)(zero - s->at) };
	s->at = zero + 1;
	return true;
}

static inline bool ends(const struct scan *s)
{
	return s->at == s->end || expected(s, "the end of the message");
}

#endif
