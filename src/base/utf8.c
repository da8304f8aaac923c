#include "walpush/base/utf8.h"

#include <stdint.h>
#include <string.h>

#define TOP_BITS UINT64_C(0x8080808080808080)

/* Most text is ASCII, so it is checked in steps of eight bytes. */
static bool ascii8(const unsigned char *s)
{
	uint64_t w;

	memcpy(&w, s, sizeof(w));
	return (w & TOP_BITS) == 0;
}

bool utf8_is_valid(struct slice text)
{
	const unsigned char *s = (const unsigned char *)text.at;

	for (size_t at = 0, n; at < text.len; at += n) {
		n = text.len - at >= 8 && ascii8(s + at) ? 8 : utf8_length(s + at, text.len - at);
		if (n == 0)
			return false;
	}
	return true;
}
