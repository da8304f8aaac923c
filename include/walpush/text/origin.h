/*
 * origin: may a page of this origin connect?
 *
 * The Origin header is the only thing that tells the application's page from another site's, which could use a cookie or a leaked
 * token; CORS does not cover WebSockets. Exact allow-list: scheme, host (upper and lower case alike) and port, with 80 for
 * http and ws and 443 for https and wss where none is written. Pure; any thread.
 * Source: RFC 6454, sections 4 to 6.
 */
#ifndef WALPUSH_ORIGIN_H
#define WALPUSH_ORIGIN_H

#include "walpush/base/fail.h"
#include "walpush/base/texts.h"

/*
 * `origin` is the header's value; NULL: the request had none, which no browser does, so it is admitted. An entry "*" admits
 * all. Else "null" (sandboxed frames, files) and whatever is no origin are refused.
 */
bool origin_admits(const struct texts *allowed, const char *origin);

/* For the configuration: is this an entry that can match at all? "https://host/" with its slash cannot. */
bool origin_check(const char *entry, struct fail *why);

#endif
