/*
 * origin: may a page of this origin connect?
 *
 * Only the Origin header distinguishes the application's page from a page of another site, which could use a cookie or a leaked token. CORS
 * does not cover WebSockets. The allow-list is exact: scheme, host (in any case) and port. Without a written port the port is 80 for http
 * and ws, 443 for https and wss. Pure; any thread.
 * Source: RFC 6454, sections 4 to 6.
 */
#ifndef WALPUSH_ORIGIN_H
#define WALPUSH_ORIGIN_H

#include "walpush/base/fail.h"
#include "walpush/base/texts.h"

/*
 * `origin` is the header's value. NULL: the request has no Origin; it is admitted, because every browser sends one. An entry "*" admits every
 * request. Without such an entry, "null" (sandboxed frames, files) and malformed origins are refused.
 */
bool origin_admits(const struct texts *allowed, const char *origin);

/* For the configuration: can this entry match an origin? "https://host/", with a slash at its end, cannot. */
bool origin_check(const char *entry, struct fail *why);

#endif
