/*
 * host: for whom is an HTTP request to the admin port meant?
 *
 * A page of another site can make a browser connect to any address, also to one inside a company's network: it lets its own name resolve to
 * that address (DNS rebinding), and the browser then takes the answer for that site's and shows it to the page. The Host header gives it
 * away, because it holds the site's name. An address in Host cannot come about that way.
 *
 * Pure; any thread. Source: RFC 9110, sections 4.2.1, 7.2 and 7.4; RFC 3986, section 3.2.2.
 */
#ifndef WALPUSH_HOST_H
#define WALPUSH_HOST_H

#include "walpush/base/slice.h"
#include "walpush/base/texts.h"

#define HOST_NAME_MAX_LENGTH 253 /* RFC 1035 */

enum host_verdict {
	HOST_ADMITTED, /* an IP address, "localhost", or a name of the list */
	HOST_FOREIGN,  /* another name */
	HOST_MALFORMED
};

/* `host` is the header's value: a name, an IPv4 address or an IPv6 address in brackets, with a port or without. Upper and lower case are the
 * same, a dot at the end of a name means nothing, and ports are not compared. */
enum host_verdict host_judge(struct slice host, const struct texts *names);

/* For the configuration: a name that host_judge could meet, without a port. */
bool host_is_name(const char *text);

#endif
