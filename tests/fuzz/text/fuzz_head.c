/* The head of a request. One that is taken for whole holds nothing that two readers could read in two ways. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "walpush/text/head.h"
#include "walpush/text/request.h"

#define LIMIT 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Of what the head ends with, everything before is text. */
static void is_text(struct slice bytes)
{
	const char *end = memmem(bytes.at, bytes.len, "\n\r\n", 3), *bare = memmem(bytes.at, bytes.len, "\n\n", 2);
	size_t n;

	assert(end || bare);
	if (!end || (bare && bare < end))
		end = bare;
	n = (size_t)(end - bytes.at);
	assert(n < LIMIT);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)bytes.at[i];

		assert((c >= 0x20 && c != 0x7F) || c == '\t' || c == '\n' || (c == '\r' && bytes.at[i + 1] == '\n'));
	}
	assert(memmem(bytes.at, n, " HTTP/1.", 8));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice all = { (const char *)data, size };
	enum head_verdict whole = head_judge(all, LIMIT);

	if (whole == HEAD_WHOLE)
		is_text(all);
	/* However few bytes come at a time, it ends in the same verdict. */
	for (size_t n = 0; n < size; n++) {
		enum head_verdict part = head_judge((struct slice){ all.at, n }, LIMIT);

		assert(part == HEAD_MORE || part == whole);
	}
	request_target_is_clean(all);
	return 0;
}
