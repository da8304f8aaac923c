/* redisurl: the parts of "redis://user:password@host:6379/0". Pure. */
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

/* Also refuses rediss:// if this build has no TLS in hiredis. `why` never shows the URL, because the URL contains a password. */
bool redisurl_parse(const char *url, struct redisurl *out, struct fail *why);
void redisurl_fini(struct redisurl *u);
/* Is it another database than 0, with which every connection begins? Then it must be selected. */
bool redisurl_selects(const struct redisurl *u);
/* redisurl_parse without the result. */
bool redisurl_check(const char *url, struct fail *why);

#endif
