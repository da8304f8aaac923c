#include "walpush/text/head.h"

#include <stdbool.h>

#include "walpush/text/request.h"

#define METHOD_MOST 16

static bool is_method_char(char c)
{
	return c >= 'A' && c <= 'Z';
}

/* RFC 9110, section 5.6.2 */
static bool is_token_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_value_char(char c)
{
	return c == '\t' || ((unsigned char)c >= 0x20 && c != 0x7F);
}

/* Checks the first bytes: a client that speaks TLS, or another protocol, would never end its head. */
static bool may_begin(struct slice bytes)
{
	size_t n = 0;

	while (n < bytes.len && n <= METHOD_MOST && is_method_char(bytes.at[n]))
		n++;
	return n <= METHOD_MOST && (n == bytes.len || (n && bytes.at[n] == ' '));
}

/* Takes a line and its end. False: the end is not there yet. */
static bool take_line(struct slice *rest, struct slice *line)
{
	const char *end = rest->len ? memchr(rest->at, '\n', rest->len) : NULL;
	size_t n = end ? (size_t)(end - rest->at) : 0;

	if (!end)
		return false;
	*line = (struct slice){ rest->at, n && rest->at[n - 1] == '\r' ? n - 1 : n };
	rest->at += n + 1;
	rest->len -= n + 1;
	return true;
}

/* The part up to the next blank. */
static struct slice take_part(struct slice *rest)
{
	const char *blank = rest->len ? memchr(rest->at, ' ', rest->len) : NULL;
	struct slice part = { rest->at, blank ? (size_t)(blank - rest->at) : rest->len };
	size_t used = part.len + (blank ? 1 : 0);

	rest->at += used;
	rest->len -= used;
	return part;
}

/* METHOD /target HTTP/1.x; may_begin has checked the method. */
static bool is_request_line(struct slice line, struct slice *target)
{
	struct slice version;

	take_part(&line);
	*target = take_part(&line);
	version = line;
	return target->len && target->at[0] == '/' && request_target_is_clean(*target) && version.len == 8 &&
	       memcmp(version.at, "HTTP/1.", 7) == 0 && version.at[7] >= '0' && version.at[7] <= '9';
}

/* No blank before the colon, and no continuation of the line before: RFC 9112, sections 5.1 and 5.2. */
static bool is_header_line(struct slice line)
{
	size_t n = 0;

	while (n < line.len && is_token_char(line.at[n]))
		n++;
	if (n == 0 || n == line.len || line.at[n] != ':')
		return false;
	for (; n < line.len; n++)
		if (!is_value_char(line.at[n]))
			return false;
	return true;
}

/* libwebsockets splits a query at '&' and ';'. */
static size_t arguments_in(struct slice target)
{
	size_t n = 0;

	for (size_t i = 0; i < target.len; i++)
		n += target.at[i] == '?' || target.at[i] == '&' || target.at[i] == ';';
	return n;
}

enum head_verdict head_judge(struct slice bytes, size_t limit)
{
	struct slice rest = { bytes.at, bytes.len < limit ? bytes.len : limit }, line, target;
	size_t lines;

	if (!may_begin(rest))
		return HEAD_MALFORMED;
	if (take_line(&rest, &line)) {
		if (!is_request_line(line, &target))
			return HEAD_MALFORMED;
		for (lines = arguments_in(target); take_line(&rest, &line); lines++) {
			if (lines > HEAD_LINES_MOST)
				return HEAD_TOO_LONG;
			if (line.len == 0)
				return HEAD_WHOLE;
			if (!is_header_line(line))
				return HEAD_MALFORMED;
		}
	}
	return bytes.len >= limit ? HEAD_TOO_LONG : HEAD_MORE;
}

struct slice head_target(struct slice bytes)
{
	struct slice target = { "", 0 };

	if (!may_begin(bytes))
		return target;
	take_part(&bytes);
	target.at = bytes.at;
	while (target.len < bytes.len && (unsigned char)bytes.at[target.len] > ' ')
		target.len++;
	return target;
}
