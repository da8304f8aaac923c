/*
 * message: as much of walpush's messages as a load tool must understand: the type at the front and the id near the end.
 *
 * Pure, and written from docs/protocol.md rather than shared with walpush, so that both cannot be wrong in the same way.
 */
#ifndef WALPUSH_BENCH_MESSAGE_H
#define WALPUSH_BENCH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct event_key { /* the message's id; ordered by lsn, then index */
	uint64_t lsn;
	uint64_t index;
};

/* At most 16 digits. NULL: there is none. */
static inline const char *message_number(const char *at, const char *end, unsigned base, uint64_t *out)
{
	const char *start = at;
	uint64_t n = 0;
	for (; at < end && at - start < 16; at++) {
		unsigned digit = *at >= '0' && *at <= '9'   ? (unsigned)(*at - '0')
				 : *at >= 'A' && *at <= 'F' ? (unsigned)(*at - 'A' + 10)
							    : 99;
		if (digit >= base)
			break;
		n = n * base + digit;
	}
	*out = n;
	return at == start ? NULL : at;
}

/* "id":"16/B374D848-2" */
static inline bool message_id_at(const char *at, const char *end, struct event_key *id)
{
	static const char key[] = "\"id\":\"";
	uint64_t high, low;
	if ((size_t)(end - at) < sizeof key || memcmp(at, key, sizeof key - 1) != 0)
		return false;
	at = message_number(at + sizeof key - 1, end, 16, &high);
	if (!at || at == end || *at++ != '/')
		return false;
	at = message_number(at, end, 16, &low);
	if (!at || at == end || *at++ != '-')
		return false;
	id->lsn = high << 32 | low;
	at = message_number(at, end, 10, &id->index);
	return at && at < end && *at == '"';
}

/* The id is the last member, but for resync, which has the epoch behind it, and a resumed connection_established. */
static inline bool message_id(const char *text, size_t len, struct event_key *id)
{
	const char *end = text + len;
	for (const char *at = end; at-- > text && end - at < 160;)
		if (*at == '"' && message_id_at(at, end, id))
			return true;
	return false;
}

/* A member whose value is a text without escapes, copied as far as there is room. Nothing is copied where there is none. */
static inline void message_text(const char *text, size_t len, const char *name, char *out, size_t cap)
{
	size_t n = strlen(name);
	for (const char *at = text; (at = memchr(at, '"', (size_t)(text + len - at))); at++) {
		const char *value = at + n + 4, *end;
		if (value > text + len || memcmp(at + 1, name, n) != 0 || memcmp(at + 1 + n, "\":\"", 3) != 0)
			continue;
		end = memchr(value, '"', (size_t)(text + len - value));
		if (!end || (size_t)(end - value) >= cap)
			return;
		memcpy(out, value, (size_t)(end - value));
		out[end - value] = '\0';
		return;
	}
}

/* type is its first member. */
static inline bool message_is(const char *text, size_t len, const char *type)
{
	static const char key[] = "{\"type\":\"";
	size_t n = strlen(type);
	return len > sizeof key + n && memcmp(text, key, sizeof key - 1) == 0 &&
	       memcmp(text + sizeof key - 1, type, n) == 0 && text[sizeof key - 1 + n] == '"';
}

#endif
