/*
 * redistls: TLS to Redis, if hiredis has it. If hiredis has none, redisurl_parse refuses an address that asks for TLS.
 *
 * The server's certificate must be for the host of the URL, and signed by an authority that OpenSSL trusts by default. hiredis' own context
 * does not compare the host, so it is not used. One thread.
 */
#ifndef WALPUSH_REDISTLS_H
#define WALPUSH_REDISTLS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

#include "walpush/text/redisurl.h"

/* Of the connections to one server, one after the other. It must outlive their handshakes. */
struct redistls {
	struct ssl_ctx_st *context; /* made with the first of them; NULL: not yet, or never without TLS */
	long refused; /* OpenSSL's reason why the last connection's certificate is not accepted; 0: it has none */
	int64_t expires; /* s since 1970: the first end of a certificate of the last connection, authorities included; 0: none was seen */
	char words[192]; /* of redistls_error */
};

/* Call it before the first byte of a connection. True: TLS begins, or `server` wants none. False: see
 * redistls_error. */
bool redistls_start(struct redistls *tls, redisContext *redis, const struct redisurl *server);
/* Why TLS does not begin, or why the connection failed: hiredis has no words for what OpenSSL found. Valid until the next call. */
const char *redistls_error(struct redistls *tls, const redisContext *redis);
/* Open connections go on. */
void redistls_fini(struct redistls *tls);

#endif
