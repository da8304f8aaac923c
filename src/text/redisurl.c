#include "walpush/text/redisurl.h"

#include <event2/http.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#include "walpush/base/fail.h"
#include "walpush/base/mem.h"

#define PORT_DEFAULT 6379

void redisurl_fini(struct redisurl *u)
{
	free(u->host);
	free(u->user);
	if (u->password)
		explicit_bzero(u->password, strlen(u->password));
	free(u->password);
	free(u->database);
	*u = (struct redisurl){ 0 };
}

static char *percent_decoded(struct slice s)
{
	char *raw = mem_text_of(s), *decoded = evhttp_uridecode(raw, 0, NULL);

	explicit_bzero(raw, s.len);
	free(raw);
	if (!decoded)
		fail_never("libevent does not decode a part of relay.url");
	return decoded;
}

static void take_userinfo(struct redisurl *a, const char *info)
{
	const char *colon = strchr(info, ':');

	if (!colon) {
		if (*info)
			a->password = percent_decoded(slice_of(info));
		return;
	}
	if (colon > info)
		a->user = percent_decoded((struct slice){ info, (size_t)(colon - info) });
	a->password = percent_decoded(slice_of(colon + 1));
}

/* libevent keeps the brackets of an IPv6 address. */
static char *without_brackets(const char *host)
{
	size_t n = strlen(host);

	return host[0] == '[' && host[n - 1] == ']' ? mem_text_of((struct slice){ host + 1, n - 2 }) : mem_text(host);
}

static bool take_uri(struct redisurl *a, const struct evhttp_uri *uri, struct fail *why)
{
	const char *host = evhttp_uri_get_host(uri), *path = evhttp_uri_get_path(uri), *scheme;
	size_t digits;

	scheme = evhttp_uri_get_scheme(uri);
	a->tls = scheme && strcmp(scheme, "rediss") == 0;
	/* A '%' escapes a character that no host contains, such as '@'. */
	if (!host || !*host || strchr(host, '%'))
		return fail_set(why, "relay.url names no host");
	a->host = without_brackets(host);
	a->port = evhttp_uri_get_port(uri) > 0 ? evhttp_uri_get_port(uri) : PORT_DEFAULT;
	if (evhttp_uri_get_userinfo(uri))
		take_userinfo(a, evhttp_uri_get_userinfo(uri));
	if (!path || !*path || strcmp(path, "/") == 0)
		return true;
	digits = strspn(path + 1, "0123456789");
	if (digits == 0 || digits > 5 || path[1 + digits])
		return fail_set(why, "relay.url: the database is a number, as in redis://host:6379/0");
	a->database = mem_text(path + 1);
	return true;
}

/* The password ends at the first '@'. A second '@', or "%00", means that the password is not percent-encoded, and that a part of it would become
 * the host. */
static bool is_split(const char *url)
{
	const char *sign = strchr(url, '@');

	return (sign && strchr(sign + 1, '@')) || strstr(url, "%00");
}

/* In "redis://user:12/3?x@host" the host is "user", and the '@' is in a part that take_uri does not read. */
static bool has_late_sign(const struct evhttp_uri *uri)
{
	const char *path = evhttp_uri_get_path(uri), *query = evhttp_uri_get_query(uri);
	const char *fragment = evhttp_uri_get_fragment(uri);

	return (path && strchr(path, '@')) || (query && strchr(query, '@')) || (fragment && strchr(fragment, '@'));
}

bool redisurl_parse(const char *url, struct redisurl *a, struct fail *why)
{
	struct evhttp_uri *uri = is_split(url) ? NULL : evhttp_uri_parse(url);
	bool ok = uri && !has_late_sign(uri);

	*a = (struct redisurl){ 0 };
	if (ok)
		ok = take_uri(a, uri, why);
	else
		fail_set(why,
			 "relay.url is no URL such as redis://user:password@host:6379/0; in user and password write @ "
			 "as %%40, : as %%3A, / as %%2F, ? as %%3F, # as %%23, %% as %%25");
	if (uri)
		evhttp_uri_free(uri);
#ifndef WALPUSH_REDIS_TLS
	if (ok && a->tls)
		ok = fail_set(why,
			      "relay.url: rediss:// needs hiredis 1.0 or later, and this build has %d.%d "
			      "(Debian 13 has it, Debian 12 has not)",
			      HIREDIS_MAJOR, HIREDIS_MINOR);
#endif
	if (!ok)
		redisurl_fini(a);
	return ok;
}

bool redisurl_selects(const struct redisurl *u)
{
	return u->database && u->database[strspn(u->database, "0")];
}

bool redisurl_check(const char *url, struct fail *why)
{
	struct redisurl a;

	if (!redisurl_parse(url, &a, why))
		return false;
	redisurl_fini(&a);
	return true;
}
