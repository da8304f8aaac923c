#include "walpush/relay/redistls.h"

#ifdef WALPUSH_REDIS_TLS
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void note_end(struct redistls *tls, const X509 *certificate)
{
	struct tm at = { 0 };
	int64_t end;

	if (!certificate || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &at) != 1)
		return;
	end = timegm(&at);
	if (!tls->expires || end < tls->expires)
		tls->expires = end;
}

/* In an asynchronous handshake the connection ends before anybody can ask it for the result. */
static int on_verified(int ok, X509_STORE_CTX *store)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct redistls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	if (!ok)
		tls->refused = X509_STORE_CTX_get_error(store);
	note_end(tls, X509_STORE_CTX_get_current_cert(store));
	return ok;
}

static SSL_CTX *make_context(struct redistls *tls)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());

	if (!context)
		return NULL;
	SSL_CTX_set_app_data(context, tls);
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, on_verified);
	SSL_CTX_set_default_verify_paths(context); /* without them no certificate is accepted */
	return context;
}

/* An address stands in a certificate as an address, and is no name for SNI. */
static bool expect(SSL *ssl, const char *host)
{
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1)
		return true;
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

bool redistls_start(struct redistls *tls, redisContext *redis, const struct redisurl *server)
{
	SSL *ssl;

	if (!server->tls)
		return true;
	tls->refused = X509_V_OK;
	tls->expires = 0;
	ERR_clear_error();
	if (!tls->context)
		tls->context = make_context(tls);
	ssl = tls->context ? SSL_new(tls->context) : NULL;
	if (ssl && expect(ssl, server->host) && redisInitiateSSL(redis, ssl) == REDIS_OK)
		return true;
	SSL_free(ssl); /* hiredis takes it over only if it succeeds */
	return false;
}

const char *redistls_error(struct redistls *tls, const redisContext *redis)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	if (tls->refused != X509_V_OK) {
		snprintf(tls->words, sizeof(tls->words), "the server's certificate is not accepted: %s",
			 X509_verify_cert_error_string(tls->refused));
		return tls->words;
	}
	if (tls->context && reason) {
		snprintf(tls->words, sizeof(tls->words), "TLS fails: %s", reason);
		return tls->words;
	}
	/* hiredis prints OpenSSL's reason; after a time-out there is none. */
	if (redis->err && strstr(redis->errstr, "(null)"))
		return "no answer to TLS in time: perhaps Redis speaks none on this port";
	return redis->err ? redis->errstr : "TLS cannot be started";
}

void redistls_fini(struct redistls *tls)
{
	SSL_CTX_free(tls->context);
	tls->context = NULL;
}
#else
bool redistls_start(struct redistls *tls, redisContext *redis, const struct redisurl *server)
{
	(void)tls;
	(void)redis;
	return !server->tls;
}

const char *redistls_error(struct redistls *tls, const redisContext *redis)
{
	(void)tls;
	return redis->err ? redis->errstr : "TLS cannot be started";
}

void redistls_fini(struct redistls *tls)
{
	(void)tls;
}
#endif
