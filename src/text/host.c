#include "walpush/text/host.h"

#include <strings.h>

#include "walpush/base/address.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* RFC 1123 does not allow underscores in host names, but names of services have them. */
static bool is_name_char(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

/* Labels of 1 to 63 characters, separated by dots. One dot at the end is removed. */
static bool take_name(struct slice *name)
{
	size_t label = 0;

	if (name->len && name->at[name->len - 1] == '.')
		name->len--;
	if (name->len == 0 || name->len > HOST_NAME_MAX_LENGTH)
		return false;
	for (size_t i = 0; i < name->len; i++) {
		bool dot = name->at[i] == '.';

		if (dot ? label == 0 : !is_name_char(name->at[i]))
			return false;
		label = dot ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return label > 0;
}

/* ":8002" at the end; RFC 3986 allows a port without digits. */
static bool is_port(struct slice text)
{
	if (text.len > 6 || text.at[0] != ':')
		return false;
	for (size_t i = 1; i < text.len; i++)
		if (!is_digit(text.at[i]))
			return false;
	return true;
}

static enum host_verdict judge_bracketed(struct slice host)
{
	const char *close = memchr(host.at, ']', host.len);
	size_t n = close ? (size_t)(close - host.at) : 0;
	struct slice inside = { host.at + 1, n ? n - 1 : 0 };
	struct slice behind = { host.at + n + 1, host.len - n - 1 };
	struct address ignored;

	if (!n || !memchr(inside.at, ':', inside.len) || !address_parse(inside, &ignored) ||
	    (behind.len && !is_port(behind)))
		return HOST_MALFORMED;
	return HOST_ADMITTED;
}

static bool is_same(struct slice a, struct slice b)
{
	return a.len == b.len && strncasecmp(a.at, b.at, a.len) == 0;
}

static bool is_listed(struct slice name, const struct texts *names)
{
	for (size_t i = 0; i < names->n; i++) {
		struct slice entry = slice_of(names->at[i].text);

		if (take_name(&entry) && is_same(name, entry))
			return true;
	}
	return false;
}

enum host_verdict host_judge(struct slice host, const struct texts *names)
{
	const char *colon = host.len ? memchr(host.at, ':', host.len) : NULL;
	struct slice name = { host.at, colon ? (size_t)(colon - host.at) : host.len };
	struct address ignored;

	if (host.len && host.at[0] == '[')
		return judge_bracketed(host);
	if (colon && !is_port((struct slice){ colon, host.len - name.len }))
		return HOST_MALFORMED;
	if (address_parse(name, &ignored))
		return HOST_ADMITTED;
	if (!take_name(&name))
		return HOST_MALFORMED;
	return is_same(name, SLICE("localhost")) || is_listed(name, names) ? HOST_ADMITTED : HOST_FOREIGN;
}

bool host_is_name(const char *text)
{
	struct slice name = slice_of(text);

	return take_name(&name);
}
