/*
 * path: a stream's path in Django's syntax, "/ws/requests/<int:unit_id>/".
 *
 * Converters: str (no '/'), int (digits; "005" converts to "5"; at most 19 digits after the zeros), slug, uuid
 * (lower-case hex with dashes, as Django), path (may hold '/'). Without a converter: str. A request's path is
 * percent-decoded once, then matched whole; bad escapes, NUL, control characters and invalid UTF-8 match
 * nothing. Pure; a pattern is immutable and may be shared by threads.
 */
#ifndef WALPUSH_PATH_H
#define WALPUSH_PATH_H

#include "walpush/base/fail.h"
#include "walpush/base/slice.h"

#define PATH_VALUES_MAX 8
#define PATH_LENGTH_MAX 1024 /* bytes of a request's path before decoding; a longer one matches nothing */

struct path_pattern;

struct path_values { /* filled by path_match; values are terminated and point into `store` */
	size_t n;
	const char *name[PATH_VALUES_MAX]; /* borrowed from the pattern */
	const char *value[PATH_VALUES_MAX];
	char store[PATH_LENGTH_MAX + PATH_VALUES_MAX];
};

struct path_pattern *path_compile(const char *source, struct fail *why);
void path_free(struct path_pattern *p);
bool path_has(const struct path_pattern *p, const char *name);
/* Is its converter `int`? */
bool path_is_number(const struct path_pattern *p, const char *name);
/* Cost: parts × bytes, whatever the pattern. `out` is empty when it says false. */
bool path_match(const struct path_pattern *p, struct slice path, struct path_values *out);
/* The same for a path that somebody has percent-decoded already, as libwebsockets does. Never decode twice. */
bool path_match_decoded(const struct path_pattern *p, struct slice path, struct path_values *out);
/* NULL where there is none of that name. */
const char *path_value(const struct path_values *v, const char *name);

/* One value of a query string ("a=1&token=x"), percent-decoded, '+' as a space; the name must match whole. The
 * first wins. Returns false, with out empty, when absent, longer than cap-1, or badly escaped; a zero byte (%00) is. */
bool path_query_value(struct slice query, const char *name, char *out, size_t cap);

#endif
