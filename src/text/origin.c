#include "walpush/text/origin.h"

#include <string.h>

#include "walpush/base/slice.h"

#include <strings.h>

struct origin {
	struct slice scheme;
	struct slice host; /* with the brackets of an IPv6 address */
	unsigned port;     /* 0: not written, and the scheme has no default */
};

static bool same_text(struct slice a, struct slice b)
{
	return a.len == b.len && strncasecmp(a.at, b.at, a.len) == 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A scheme of RFC 3986: chrome-extension, capacitor and similar schemes have origins too. */
static bool is_scheme(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_letter(s.at[i]) && (i == 0 || (!is_digit(s.at[i]) && !strchr("+-.", s.at[i]))))
			return false;
	return s.len > 0;
}

/* A name, an IPv4 address, or an IPv6 address in brackets. Browsers send international names as "xn--…". */
static bool is_host(struct slice s)
{
	bool bracketed = s.len > 2 && s.at[0] == '[' && s.at[s.len - 1] == ']';
	const char *more = bracketed ? ":." : "-._";

	if (bracketed)
		s = (struct slice){ s.at + 1, s.len - 2 };
	for (size_t i = 0; i < s.len; i++)
		if (!is_letter(s.at[i]) && !is_digit(s.at[i]) && !strchr(more, s.at[i]))
			return false;
	return s.len > 0;
}

static unsigned default_port(struct slice scheme)
{
	if (same_text(scheme, SLICE("https")) || same_text(scheme, SLICE("wss")))
		return 443;
	if (same_text(scheme, SLICE("http")) || same_text(scheme, SLICE("ws")))
		return 80;
	return 0;
}

/* 1 to 65535, as a browser writes it. */
static bool parse_port(struct slice s, unsigned *out)
{
	*out = 0;
	if (s.len == 0 || s.len > 5 || s.at[0] == '0')
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (!is_digit(s.at[i]))
			return false;
		*out = *out * 10 + (unsigned)(s.at[i] - '0');
	}
	return *out <= 65535;
}

static bool parse(const char *text, struct origin *out)
{
	const char *sign = strstr(text, "://");
	const char *host, *colon;

	if (!sign)
		return false;
	host = sign + 3;
	/* The colons of an IPv6 address are before its closing bracket. */
	colon = strchr(strchr(host, ']') ? strchr(host, ']') : host, ':');
	out->scheme = (struct slice){ text, (size_t)(sign - text) };
	out->host = (struct slice){ host, colon ? (size_t)(colon - host) : strlen(host) };
	out->port = default_port(out->scheme);
	return is_scheme(out->scheme) && is_host(out->host) && (!colon || parse_port(slice_of(colon + 1), &out->port));
}

static bool same(const struct origin *a, const struct origin *b)
{
	return a->port == b->port && same_text(a->scheme, b->scheme) && same_text(a->host, b->host);
}

bool origin_admits(const struct texts *allowed, const char *origin)
{
	struct origin asking, entry;
	bool known;

	if (!origin)
		return true;
	known = parse(origin, &asking);
	for (size_t i = 0; i < allowed->n; i++) {
		const char *text = allowed->at[i].text;

		if (strcmp(text, "*") == 0 || (known && parse(text, &entry) && same(&asking, &entry)))
			return true;
	}
	return false;
}

bool origin_check(const char *entry, struct fail *why)
{
	struct origin ignored;

	if (strcmp(entry, "*") == 0 || parse(entry, &ignored))
		return true;
	return fail_set(why,
			"\"%s\" is no origin; write scheme, host and port only, as in \"https://app.example.org\", "
			"or \"*\" for every origin",
			entry);
}
