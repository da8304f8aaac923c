/* The headers of an upgrade; the first byte says which. What is admitted must be one of the few things that may be. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <strings.h>

#include "walpush/base/address.h"
#include "walpush/base/buf.h"
#include "walpush/base/texts.h"
#include "walpush/text/origin.h"
#include "walpush/text/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_within(struct slice part, struct slice whole)
{
	return part.len == 0 || (part.at >= whole.at && part.at + part.len <= whole.at + whole.len);
}

static void key(struct slice text)
{
	if (!request_key_is_sound(text))
		return;
	assert(text.len == 24 && text.at[22] == '=' && text.at[23] == '=');
	for (size_t i = 0; i < 22; i++)
		assert(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", text.at[i]) &&
		       text.at[i]);
}

/* Taken apart in another way. */
static void list(struct slice text)
{
	struct buf copy = { 0 };
	bool has = false;
	char *rest, *one;

	if (memchr(text.at, '\0', text.len))
		return;
	buf_add_slice(&copy, text);
	buf_add_char(&copy, '\0');
	rest = copy.data;
	while ((one = strsep(&rest, ","))) {
		one += strspn(one, " \t");
		for (size_t n = strlen(one); n && (one[n - 1] == ' ' || one[n - 1] == '\t'); n--)
			one[n - 1] = '\0';
		has = has || strcasecmp(one, "upgrade") == 0;
	}
	assert(request_list_has(text, SLICE("upgrade"), true) == has);
	assert(has || !request_list_has(text, SLICE("upgrade"), false));
	buf_fini(&copy);
}

static void bearer(struct slice text)
{
	struct slice token = request_bearer(text);

	assert(is_within(token, text));
	assert(token.len == 0 || (token.len + 7 <= text.len && strncasecmp(text.at, "bearer ", 7) == 0));
	assert(token.len == 0 || (!strchr(" \t", token.at[0]) && !strchr(" \t", token.at[token.len - 1])) ||
	       token.at[0] == '\0' || token.at[token.len - 1] == '\0');
}

static void argument(struct slice text)
{
	struct slice value;

	if (!request_argument(text, SLICE("token"), &value))
		return;
	assert(is_within(value, text) && value.len + 6 == text.len && memcmp(text.at, "token=", 6) == 0);
}

static bool same(const struct address *a, const struct address *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static void address(struct slice text)
{
	struct address a, again;
	char out[ADDRESS_TEXT_MAX];

	if (!address_parse(text, &a))
		return;
	assert(address_parse(slice_of(address_format(&a, out)), &again) && same(&a, &again));
	again = address_counted(&a);
	assert(memcmp(&a, &again, 8) == 0);
}

/* Whoever is taken for the client is the peer or stands in the header; and who is no proxy is never asked. */
static void forwarded(struct slice text)
{
	struct text entries[] = { { .text = (char *)"10.0.0.0/8" }, { .text = (char *)"fd00::/8" } };
	struct texts trusted = { entries, 2 };
	struct address proxy, stranger, client;
	char out[ADDRESS_TEXT_MAX];

	assert(address_parse(SLICE("10.1.2.3"), &proxy) && address_parse(SLICE("203.0.113.9"), &stranger));
	client = address_forwarded(&stranger, text, &trusted);
	assert(same(&client, &stranger));
	client = address_forwarded(&proxy, text, &trusted);
	address_format(&client, out);
	if (address_in(&client, &trusted) || same(&client, &proxy))
		return;
	/* Not trusted, so it was written down by one that is: nothing right of it may be a stranger. */
	for (const char *end = text.at + text.len; end > text.at;) {
		const char *comma = memrchr(text.at, ',', (size_t)(end - text.at));
		const char *from = comma ? comma + 1 : text.at;
		struct slice hop = { from, (size_t)(end - from) };
		struct address a = address_forwarded(&proxy, hop, &trusted);

		if (same(&a, &client))
			return;
		assert(address_in(&a, &trusted));
		end = comma ? comma : text.at;
	}
	assert(!"the client stands nowhere in the header");
}

static void origin(struct slice text)
{
	struct text entry = { .text = (char *)"https://dms.example.org" };
	struct texts allowed = { &entry, 1 };
	struct buf copy = { 0 };

	buf_add_slice(&copy, text);
	buf_add_char(&copy, '\0');
	if (origin_admits(&allowed, copy.data))
		assert(strcasecmp(copy.data, "https://dms.example.org") == 0 ||
		       strcasecmp(copy.data, "https://dms.example.org:443") == 0);
	buf_fini(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parts[])(struct slice) = { key, list, bearer, argument, address, forwarded, origin };

	if (size < 1)
		return 0;
	parts[data[0] % (sizeof(parts) / sizeof(*parts))]((struct slice){ (const char *)data + 1, size - 1 });
	return 0;
}
