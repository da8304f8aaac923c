/*
 * tls: the server's certificate chain and private key.
 *
 * Read and checked as a whole before anything uses them; immutable and shared by reference count afterwards, so that each hub can put
 * them into its own context in its own time. Errors name file and fix; none holds anything of a key.
 */
#ifndef WALPUSH_TLS_H
#define WALPUSH_TLS_H

#include <openssl/ssl.h>
#include <stdint.h>

#include "walpush/base/fail.h"

struct tls_identity;

/* PEM files: the certificate with its chain behind it, and its key. NULL: missing, damaged, encrypted, or not of each other. */
struct tls_identity *tls_read(const char *certificate, const char *key, struct fail *why);
struct tls_identity *tls_ref(struct tls_identity *id);
void tls_unref(struct tls_identity *id);
/* Seconds since 1970: the first end of validity in the chain. */
int64_t tls_expires(const struct tls_identity *id);

/* What a new server context must be: TLS 1.2 or later, no renegotiation. */
void tls_harden(SSL_CTX *context);
/* From now on new connections of `context` show this certificate; those that are open keep what they began with. */
bool tls_install(const struct tls_identity *id, SSL_CTX *context, struct fail *why);

#endif
