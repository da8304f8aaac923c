/*
 * path: a stream's path in Django's syntax, "/ws/requests/<int:unit_id>/".
 *
 * Converters: str (no '/'), int (digits; "005" becomes "5"; at most 19 digits after leading zeros), slug, uuid (lower-case hexadecimal
 * with dashes, as in Django), path (may contain '/'). A value without a converter is a str. A request's path is percent-decoded once; then
 * the whole path must match. A path with malformed escapes, NUL, control characters or invalid UTF-8 never matches. Pure; a pattern is
 * immutable, and threads may share it.
 */
#ifndef WALPUSH_PATH_H
#define WALPUSH_PATH_H

#include "walpush/base/fail.h"
#include "walpush/base/slice.h"
#include "walpush/text/shown.h"

#define PATH_VALUES_MAX 8
#define PATH_LENGTH_MAX 1024 /* bytes of a request's path before decoding; a longer path never matches */

struct path_pattern;

struct path_values { /* filled by path_match; values are terminated and point into `store` */
	size_t n;
	const char *name[PATH_VALUES_MAX]; /* borrowed from the pattern */
	const char *value[PATH_VALUES_MAX];
	char store[PATH_LENGTH_MAX + PATH_VALUES_MAX];
	char shown[SHOWN_MAX]; /* the path, for the log */
};

struct path_pattern *path_compile(const char *source, struct fail *why);
void path_free(struct path_pattern *p);
bool path_has(const struct path_pattern *p, const char *name);
/* The names of its values, in order; NULL: it has no more than `i`. */
const char *path_name(const struct path_pattern *p, size_t i);
/* Is its converter `int`? */
bool path_is_number(const struct path_pattern *p, const char *name);
/* Cost: parts × bytes, for every pattern. False: `out` is empty. */
bool path_match(const struct path_pattern *p, struct slice path, struct path_values *out);
/* The same for a path that is already percent-decoded, as libwebsockets does. Never decode twice. */
bool path_match_decoded(const struct path_pattern *p, struct slice path, struct path_values *out);
/* NULL: there is no value of this name. */
const char *path_value(const struct path_values *v, const char *name);

/* The first value of this name in a query string ("a=1&token=x"), percent-decoded, with '+' as a space. The whole name must match. False: the
 * value is absent, longer than cap - 1 bytes, or its escapes are malformed (%00 counts as malformed); `out` is then empty. */
bool path_query_value(struct slice query, const char *name, char *out, size_t cap);

#endif
