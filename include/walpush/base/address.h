/*
 * address: IP addresses, networks, and the client behind a proxy.
 *
 * An address has sixteen bytes. IPv4 has its IPv6 form, ::ffff:1.2.3.4, so that a client has the same address through either kind of
 * listener. Pure; any thread.
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

/* All bytes are zero if the socket is neither IPv4 nor IPv6. */
struct address address_of(const struct sockaddr *socket_address);
/* Without port, brackets or zone. */
bool address_parse(struct slice text, struct address *out);
/* Returns `out`. IPv4 is written as "1.2.3.4". */
char *address_format(const struct address *a, char out[ADDRESS_TEXT_MAX]);
/* A client with one IPv6 address has the 2^64 addresses of its network, so they count as one: the last 64 bits become zero. IPv4 stays. */
struct address address_counted(const struct address *a);

/* Entries of listen.trusted-proxies, "10.0.0.0/8" or "::1". A malformed entry contains no address. */
bool address_in(const struct address *a, const struct texts *networks);

/*
 * The client of a connection that comes from `peer`. A `peer` that is not trusted is the client. For a trusted `peer`, the function reads
 * `forwarded`, the value of X-Forwarded-For, from its right end, where each proxy adds the address of its peer, up to the first address that
 * is not trusted. Everything to the left of this address was written by the client and may be forged. If a hop is not an address, the hop to
 * the right of it is the result.
 */
struct address address_forwarded(const struct address *peer, struct slice forwarded, const struct texts *trusted);

#endif
