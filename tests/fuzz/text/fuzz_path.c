/*
 * Input: a pattern, a line end, a path. What path_match says must be what a matcher that simply tries everything says, and each
 * value must be one its converter takes.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "walpush/base/mem.h"
#include "walpush/text/path.h"
#include "walpush/base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TRIED_MAX 24 /* bytes of a path for which everything is tried */

static bool takes(const char *converter, struct slice value)
{
	for (size_t i = 0; i < value.len; i++) {
		char c = value.at[i];
		bool digit = c >= '0' && c <= '9';
		bool word = digit || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if ((*converter == 's' && converter[1] == 't' && c == '/') || (*converter == 'i' && !digit) ||
		    (*converter == 's' && converter[1] == 'l' && !word) ||
		    (*converter == 'u' && (dash ? c != '-' : !digit && (c < 'a' || c > 'f'))))
			return false;
	}
	return value.len > 0 && utf8_is_valid(value) && (*converter != 'u' || value.len == 36);
}

/* Every length of every value, the longest first, by recursion; the lengths go to `cut`. */
static bool try_all(const char *pattern, struct slice path, size_t *cut)
{
	const char *close = *pattern == '<' ? strchr(pattern, '>') : NULL;
	const char *converter = close && memchr(pattern, ':', (size_t)(close - pattern)) ? pattern + 1 : "str";

	if (!*pattern)
		return path.len == 0;
	if (!close)
		return path.len && *path.at == *pattern &&
		       try_all(pattern + 1, (struct slice){ path.at + 1, path.len - 1 }, cut);
	for (size_t n = path.len; n > 0; n--) {
		*cut = n;
		if (takes(converter, (struct slice){ path.at, n }) &&
		    try_all(close + 1, (struct slice){ path.at + n, path.len - n }, cut + 1))
			return true;
	}
	return false;
}

static void compare(const char *pattern, const struct path_pattern *p, struct slice path)
{
	size_t cut[PATH_VALUES_MAX] = { 0 };
	bool expected = utf8_is_valid(path) && try_all(pattern, path, cut);
	struct path_values v;
	bool matched;

	for (size_t i = 0; i < path.len; i++)
		if ((unsigned char)path.at[i] < 0x20 || path.at[i] == 0x7F || (unsigned char)path.at[i] == 0xC2)
			return; /* control characters, and what may be one, are another rule */
	matched = path_match_decoded(p, path, &v);
	if (path.len > 19) /* an int may be too long */
		expected = expected && matched;
	assert(matched == expected);
	for (size_t i = 0; i < v.n; i++)
		assert(v.value[i][0] == '0' || strlen(v.value[i]) <= cut[i]);
	for (size_t i = 0; i < v.n; i++)
		assert(path_has(p, v.name[i]) && path_value(&v, v.name[i]) == v.value[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
	struct path_pattern *p;
	struct path_values v;
	struct slice path;
	struct fail why;
	char *pattern;

	if (!end)
		return 0;
	pattern = mem_text_of((struct slice){ (const char *)data, (size_t)(end - data) });
	path = (struct slice){ (const char *)end + 1, size - (size_t)(end - data) - 1 };
	p = path_compile(pattern, &why);
	if (p) {
		if (path.len <= TRIED_MAX)
			compare(pattern, p, path);
		if (path_match(p, path, &v))
			for (size_t i = 0; i < v.n; i++)
				assert(*v.value[i] && utf8_is_valid(slice_of(v.value[i])));
		else
			assert(v.n == 0);
	} else {
		assert(why.text[0] && why.offset <= strlen(pattern));
	}
	path_free(p);
	free(pattern);
	return 0;
}
