#include "walpush/share/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "walpush/base/fail.h"
#include "walpush/base/mem.h"

#define CHAIN_MAX 16

struct tls_identity {
	atomic_uint refs;
	X509 *certificate;
	STACK_OF(X509) * chain; /* the certificates after it in the file */
	EVP_PKEY *key;
};

/* Without this callback, OpenSSL would ask on the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *ctx)
{
	(void)writing;
	(void)ctx;
	if (size > 0)
		buffer[0] = '\0';
	return 0;
}

static FILE *open_file(const char *what, const char *path, struct fail *why)
{
	FILE *f = fopen(path, "re");

	if (!f)
		fail_set(why, "%s: cannot open %s: %s", what, path, strerror(errno));
	return f;
}

/* At the end of the file, PEM_read_X509 finds no start line; every other error is damage. */
static bool is_end(void)
{
	unsigned long error = ERR_peek_last_error();

	ERR_clear_error();
	return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

static bool read_chain(struct tls_identity *id, const char *path, struct fail *why)
{
	FILE *f = open_file("listen.certificate", path, why);
	X509 *next;

	if (!f)
		return false;
	id->certificate = PEM_read_X509(f, NULL, no_passphrase, NULL);
	while (id->certificate && sk_X509_num(id->chain) < CHAIN_MAX &&
	       (next = PEM_read_X509(f, NULL, no_passphrase, NULL)))
		if (!sk_X509_push(id->chain, next))
			fail_never("out of memory: no room for a certificate of the chain");
	fclose(f);
	if (!id->certificate) {
		ERR_clear_error();
		return fail_set(why, "listen.certificate: %s holds no certificate in PEM form, or a damaged one", path);
	}
	if (sk_X509_num(id->chain) == CHAIN_MAX)
		return fail_set(why, "listen.certificate: %s holds more than %d certificates", path, CHAIN_MAX);
	return is_end() || fail_set(why, "listen.certificate: a certificate of the chain in %s is damaged", path);
}

static bool read_key(struct tls_identity *id, const char *path, struct fail *why)
{
	FILE *f = open_file("listen.certificate-key", path, why);

	if (!f)
		return false;
	id->key = PEM_read_PrivateKey(f, NULL, no_passphrase, NULL);
	fclose(f);
	ERR_clear_error();
	return id->key || fail_set(why,
				   "listen.certificate-key: %s holds no private key in PEM form, or a damaged or "
				   "encrypted one; decrypt it with: openssl pkey -in FILE",
				   path);
}

struct tls_identity *tls_read(const char *certificate, const char *key, struct fail *why)
{
	struct tls_identity *id = mem_new(sizeof(*id));

	atomic_init(&id->refs, 1);
	id->chain = sk_X509_new_null();
	if (!id->chain)
		fail_never("out of memory: no room for a chain of certificates");
	if (!read_chain(id, certificate, why) || !read_key(id, key, why))
		goto fail;
	if (X509_check_private_key(id->certificate, id->key) == 1)
		return id;
	ERR_clear_error();
	fail_set(why, "listen.certificate-key: %s is not the key of the first certificate in %s", key, certificate);
fail:
	tls_unref(id);
	return NULL;
}

struct tls_identity *tls_ref(struct tls_identity *id)
{
	atomic_fetch_add_explicit(&id->refs, 1, memory_order_relaxed);
	return id;
}

void tls_unref(struct tls_identity *id)
{
	if (!id || atomic_fetch_sub_explicit(&id->refs, 1, memory_order_acq_rel) != 1)
		return;
	X509_free(id->certificate);
	sk_X509_pop_free(id->chain, X509_free);
	EVP_PKEY_free(id->key);
	free(id);
}

static int64_t end_of(const X509 *certificate)
{
	struct tm end;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) != 1)
		return 0;
	return timegm(&end);
}

int64_t tls_expires(const struct tls_identity *id)
{
	int64_t first = end_of(id->certificate);

	for (int i = 0; i < sk_X509_num(id->chain); i++) {
		int64_t end = end_of(sk_X509_value(id->chain, i));

		first = end < first ? end : first;
	}
	return first;
}

void tls_harden(SSL_CTX *context)
{
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
}

bool tls_install(const struct tls_identity *id, SSL_CTX *context, struct fail *why)
{
	/* OpenSSL counts references to the objects that it takes, and takes all or nothing. */
	if (SSL_CTX_use_cert_and_key(context, id->certificate, id->key, id->chain, 1) == 1)
		return true;
	fail_set(why, "OpenSSL refuses the certificate: %s", ERR_reason_error_string(ERR_peek_last_error()));
	ERR_clear_error();
	return false;
}
