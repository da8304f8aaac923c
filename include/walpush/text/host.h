/*
 * host: is an HTTP request to the admin port meant for this server?
 *
 * A page of another site can make a browser connect to any address, also inside a company's network: the site's name resolves to this
 * address (DNS rebinding), and the browser shows the answer to the page as the site's own. The Host header shows the attack, because it
 * contains the site's name. Such an attack cannot put an address into Host.
 *
 * Pure; any thread. Source: RFC 9110, sections 4.2.1, 7.2 and 7.4; RFC 3986, section 3.2.2.
 */
#ifndef WALPUSH_HOST_H
#define WALPUSH_HOST_H

#include "walpush/base/slice.h"
#include "walpush/base/texts.h"

#define HOST_NAME_MAX_LENGTH 253 /* RFC 1035 */

enum host_verdict {
	HOST_ADMITTED, /* an IP address, "localhost", or a name in the list */
	HOST_FOREIGN,  /* another name */
	HOST_MALFORMED
};

/* `host` is the header's value: a name, an IPv4 address or an IPv6 address in brackets, with or without a port. Case, a dot at the end of a
 * name, and the port are ignored. */
enum host_verdict host_judge(struct slice host, const struct texts *names);

/* For the configuration: is it a name that a Host header can contain, without a port? */
bool host_is_name(const char *text);

#endif
