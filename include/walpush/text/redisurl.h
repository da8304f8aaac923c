/* redisurl: "redis://user:password@host:6379/0" taken apart. Pure. */
#ifndef WALPUSH_REDISURL_H
#define WALPUSH_REDISURL_H

#include "walpush/base/fail.h"

struct redisurl {
	char *host; /* an IPv6 address without brackets */
	int port;
	char *user, *password; /* NULL: none */
	char *database;        /* digits; NULL: 0 */
	bool tls;
};

/* Also refuses what this build cannot do (rediss:// without TLS in hiredis). `why` never shows the URL: it holds a password. */
bool redisurl_parse(const char *url, struct redisurl *out, struct fail *why);
void redisurl_fini(struct redisurl *u);
/* Another database than the one that every connection begins with: it must be selected. */
bool redisurl_selects(const struct redisurl *u);
/* The same as redisurl_parse, for whoever only wants to know. */
bool redisurl_check(const char *url, struct fail *why);

#endif
