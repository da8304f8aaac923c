/*
 * tls: the server's certificate chain and private key.
 *
 * They are read and checked as a whole before they are used. Afterwards they are immutable and shared by reference
 * count, so that each hub can install them in its own context in its own time. Errors name file and fix; no error
 * contains any part of a key.
 */
#ifndef WALPUSH_TLS_H
#define WALPUSH_TLS_H

#include <openssl/ssl.h>
#include <stdint.h>

#include "walpush/base/fail.h"

struct tls_identity;

/* PEM files: the certificate followed by its chain, and its key. NULL: missing, damaged, encrypted, or the key of
 * another certificate. */
struct tls_identity *tls_read(const char *certificate, const char *key, struct fail *why);
struct tls_identity *tls_ref(struct tls_identity *id);
void tls_unref(struct tls_identity *id);
/* Seconds since 1970: the earliest end of validity in the chain. */
int64_t tls_expires(const struct tls_identity *id);

/* Settings of a new server context: TLS 1.2 or later, no renegotiation. */
void tls_harden(SSL_CTX *context);
/* New connections of `context` get this certificate from now on; open connections keep theirs. */
bool tls_install(const struct tls_identity *id, SSL_CTX *context, struct fail *why);

#endif
