#include "walpush/base/event_id.h"

#include <stdio.h>

size_t lsn_format(char out[LSN_TEXT_MAX], lsn_t lsn)
{
	return (size_t)snprintf(out, LSN_TEXT_MAX, "%X/%X", (unsigned)(lsn >> 32), (unsigned)lsn);
}

size_t event_id_format(char out[EVENT_ID_TEXT_MAX], struct event_id id)
{
	size_t n = lsn_format(out, id.lsn);

	return n + (size_t)snprintf(out + n, EVENT_ID_TEXT_MAX - n, "-%u", id.index);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* One to eight digits from text[*at] on. */
static bool hex_half(struct slice text, size_t *at, uint32_t *out)
{
	size_t start = *at;

	*out = 0;
	while (*at < text.len && hex_digit(text.at[*at]) >= 0) {
		if (*at - start == 8)
			return false;
		*out = *out << 4 | (uint32_t)hex_digit(text.at[*at]);
		++*at;
	}
	return *at > start;
}

static bool lsn_prefix(struct slice text, size_t *at, lsn_t *out)
{
	uint32_t high, low;

	if (!hex_half(text, at, &high) || *at >= text.len || text.at[*at] != '/')
		return false;
	++*at;
	if (!hex_half(text, at, &low))
		return false;
	*out = (lsn_t)high << 32 | low;
	return true;
}

bool lsn_parse(struct slice text, lsn_t *out)
{
	size_t at = 0;

	return lsn_prefix(text, &at, out) && at == text.len;
}

bool event_id_parse(struct slice text, struct event_id *out)
{
	uint64_t index = 0;
	size_t at = 0, start;

	if (!lsn_prefix(text, &at, &out->lsn) || at >= text.len || text.at[at] != '-')
		return false;
	start = ++at;
	for (; at < text.len; at++) {
		if (text.at[at] < '0' || text.at[at] > '9')
			return false;
		index = index * 10 + (uint64_t)(text.at[at] - '0');
		if (index > UINT32_MAX)
			return false;
	}
	out->index = (uint32_t)index;
	return at > start;
}
