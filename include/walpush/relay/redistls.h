/*
 * redistls: TLS to Redis, if hiredis has it. If hiredis has none, redisurl_parse refuses an address that asks for TLS.
 *
 * hiredis verifies certificates with its defaults; the server receives the host's name (SNI). One thread.
 */
#ifndef WALPUSH_REDISTLS_H
#define WALPUSH_REDISTLS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "walpush/text/redisurl.h"

/* Shared by the connections to one server: made with the first of them. */
struct redistls {
	struct redisSSLContext *context; /* NULL: not yet, or never without TLS */
};

/* Call it before the first byte of a connection. True: TLS begins, or `server` wants none. False: see
 * redistls_error. */
bool redistls_start(struct redistls *tls, redisContext *redis, const struct redisurl *server);
/* Why TLS does not begin. */
const char *redistls_error(const redisContext *redis);
/* Open connections go on. */
void redistls_fini(struct redistls *tls);

#endif
