/*
 * utf8: checks for well-formed UTF-8: the shortest form, no surrogates, nothing above U+10FFFF. Source: Unicode 15, table 3-7. Pure.
 */
#ifndef WALPUSH_UTF8_H
#define WALPUSH_UTF8_H

#include <stdbool.h>

#include "walpush/base/slice.h"

/* Bytes of the well-formed sequence at `s`; 0: the sequence is malformed. `left`: bytes from `s` to the end of the text, at least one. */
static inline size_t utf8_length(const unsigned char *s, size_t left)
{
	unsigned char low = s[0] == 0xE0 ? 0xA0 : s[0] == 0xF0 ? 0x90 : 0x80;
	unsigned char high = s[0] == 0xED ? 0x9F : s[0] == 0xF4 ? 0x8F : 0xBF;
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;

	if (n == 1)
		return 1;
	if (s[0] < 0xC2 || s[0] > 0xF4 || n > left || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (s[i] < 0x80 || s[i] > 0xBF)
			return 0;
	return n;
}

/* An empty text is valid. A zero byte is valid too. */
bool utf8_is_valid(struct slice text);

#endif
