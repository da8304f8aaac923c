/*
 * address: IP addresses, networks, and whom a proxy speaks for.
 *
 * An address is sixteen bytes; IPv4 is written as IPv6 writes it, ::ffff:1.2.3.4, so that a client is the same client through either
 * kind of listener. Pure; any thread.
 */
#ifndef WALPUSH_ADDRESS_H
#define WALPUSH_ADDRESS_H

#include <stdint.h>
#include <sys/socket.h>

#include "walpush/base/slice.h"

struct texts;

#define ADDRESS_TEXT_MAX 46 /* INET6_ADDRSTRLEN */

struct address {
	uint8_t bytes[16];
};

/* An address of neither IPv4 nor IPv6 is all zero. */
struct address address_of(const struct sockaddr *socket_address);
/* Without port, brackets or zone. */
bool address_parse(struct slice text, struct address *out);
/* Returns `out`. IPv4 has its own look. */
char *address_format(const struct address *a, char out[ADDRESS_TEXT_MAX]);
/* Whoever has one IPv6 address has the 2^64 of its network, so they count as one: the rest is cut off. IPv4 stays. */
struct address address_counted(const struct address *a);

/* Entries as listen.trusted-proxies has them, "10.0.0.0/8" or "::1". One that is neither holds nobody. */
bool address_in(const struct address *a, const struct texts *networks);

/*
 * The client of a connection that comes from `peer`. Unless `peer` is trusted it is the client itself. Else `forwarded`, the value of
 * X-Forwarded-For, is read from its right end, where each proxy adds whom it heard, up to the first that is not trusted; what
 * stands left of that is the client's own word. Where a hop is no address, the one to the right of it is all that is known.
 */
struct address address_forwarded(const struct address *peer, struct slice forwarded, const struct texts *trusted);

#endif
