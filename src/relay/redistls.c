#include "walpush/relay/redistls.h"

#ifdef WALPUSH_REDIS_TLS
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>

bool redistls_start(struct redistls *tls, redisContext *redis, const struct redisurl *server)
{
	if (!server->tls)
		return true;
	if (!tls->context)
		tls->context = redisCreateSSLContext(NULL, NULL, NULL, NULL, server->host, NULL);
	return tls->context && redisInitiateSSLWithContext(redis, tls->context) == REDIS_OK;
}

/* OpenSSL's reason says more than the text of hiredis. */
const char *redistls_error(const redisContext *redis)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	if (reason)
		return reason;
	return redis->err ? redis->errstr : "TLS cannot be started";
}

void redistls_fini(struct redistls *tls)
{
	redisFreeSSLContext(tls->context);
	tls->context = NULL;
}
#else
bool redistls_start(struct redistls *tls, redisContext *redis, const struct redisurl *server)
{
	(void)tls;
	(void)redis;
	return !server->tls;
}

const char *redistls_error(const redisContext *redis)
{
	return redis->err ? redis->errstr : "TLS cannot be started";
}

void redistls_fini(struct redistls *tls)
{
	(void)tls;
}
#endif
