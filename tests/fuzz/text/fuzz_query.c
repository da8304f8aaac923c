/* Any query string; and any value, escaped in each way there is, between other pairs, must come out as it went in. */
#include <assert.h>
#include <stdint.h>

#include "walpush/base/buf.h"
#include "walpush/text/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CAP 64

static void add_escaped(const uint8_t *data, size_t size, struct buf *out)
{
	for (size_t i = 0; i < size; i++) {
		bool plain = (data[i] >= 'a' && data[i] <= 'z') || data[i] == '=' || data[i] == '/';

		if (data[i] == ' ')
			buf_add_char(out, '+');
		else if (plain)
			buf_add_char(out, (char)data[i]);
		else
			buf_addf(out, i % 2 ? "%%%02x" : "%%%02X", data[i]);
	}
}

static void any_query(const uint8_t *data, size_t size)
{
	struct slice query = { (const char *)data, size };
	char out[CAP], small[2], again[CAP];
	bool found;

	memset(out, '!', sizeof(out));
	found = path_query_value(query, "token", out, sizeof(out));
	assert(memchr(out, '\0', sizeof(out)));
	assert(found || out[0] == '\0');
	/* Less room never gives another value. */
	if (path_query_value(query, "token", small, sizeof(small)))
		assert(found && strcmp(small, out) == 0);
	/* And what is asked for twice is the same twice. */
	assert(path_query_value(query, "token", again, sizeof(again)) == found && strcmp(again, out) == 0);
}

static void round_trip(const uint8_t *data, size_t size)
{
	struct buf query = { 0 };
	char out[CAP];
	bool fits = size < CAP && !memchr(data, '\0', size);

	buf_add_text(&query, "tokens=1&a&=&%zz=2&token=");
	add_escaped(data, size, &query);
	buf_add_text(&query, "&token=other");
	assert(path_query_value(buf_slice(&query), "token", out, sizeof(out)) == fits);
	assert(!fits || (strlen(out) == size && memcmp(out, data, size) == 0));
	buf_fini(&query);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!data)
		return 0;
	any_query(data, size);
	round_trip(data, size);
	return 0;
}
