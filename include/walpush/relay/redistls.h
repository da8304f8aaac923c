/*
 * redistls: TLS to Redis, where hiredis has it. Where hiredis has none, redisurl_parse refuses an address that asks for TLS.
 *
 * Certificates are judged by hiredis' defaults; the server is told the host (SNI). One thread.
 */
#ifndef WALPUSH_REDISTLS_H
#define WALPUSH_REDISTLS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "walpush/text/redisurl.h"

/* What connections to one server share: made with the first of them. */
struct redistls {
	struct redisSSLContext *context; /* NULL: not yet, or for good without TLS */
};

/* Before the first byte of a connection. True: TLS begins, or `server` wants none. False: see redistls_error. */
bool redistls_start(struct redistls *tls, redisContext *redis, const struct redisurl *server);
/* Why it does not begin. */
const char *redistls_error(const redisContext *redis);
/* Connections go on. */
void redistls_fini(struct redistls *tls);

#endif
