#include "goodbye.h"

#include <string.h>

static const struct {
	unsigned code;
	const char *words;
} table[] = {
	{ 1002, "not the WebSocket protocol" },
	{ 1007, "not UTF-8" },
	{ 1008, "too many messages" },
	{ 1009, "message too large" },
	{ 1012, "connect again" },
	{ 1013, "try again later" },
	{ 4401, "token refused" },
	{ 4403, "not admitted" },
	{ 4408, "did not read" },
	{ 4429, "too many connections of this user" },
};

const char *goodbye_words(unsigned code)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (table[i].code == code)
			return table[i].words;
	return "";
}

size_t goodbye_frame(unsigned code, const char *words, unsigned char out[GOODBYE_MAX])
{
	size_t n = strnlen(words, GOODBYE_WORDS_MAX);

	out[0] = 0x88;
	out[1] = (unsigned char)(2 + n);
	out[2] = (unsigned char)(code >> 8);
	out[3] = (unsigned char)code;
	memcpy(out + 4, words, n);
	return 4 + n;
}
