/*
 * forge: any header and payload, signed with HMAC SHA-256: what libjwt itself would refuse to write. For tests and fuzzing.
 *
 * The HMAC is that of the libcrypto that libjwt has brought along.
 */
#ifndef WALPUSH_TESTS_FORGE_H
#define WALPUSH_TESTS_FORGE_H

#include <assert.h>
#include <dlfcn.h>
#include <stdio.h>

#include "walpush/base/buf.h"

static inline void forge_base64url(const void *bytes, size_t n, struct buf *out)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const unsigned char *s = bytes;

	for (size_t i = 0; i < n; i += 3) {
		unsigned three = (unsigned)s[i] << 16 | (i + 1 < n ? (unsigned)s[i + 1] << 8 : 0) |
				 (i + 2 < n ? (unsigned)s[i + 2] : 0);
		size_t digits = n - i > 2 ? 4 : n - i + 1;

		for (size_t d = 0; d < digits; d++)
			buf_add_char(out, alphabet[three >> (18 - 6 * d) & 63]);
	}
}

/* Appends "." and the signature of what `out` holds. */
static inline void forge_sign(struct buf *out, const char *secret)
{
	const void *(*sha256)(void) = NULL;
	unsigned char *(*hmac)(const void *, const void *, int, const unsigned char *, size_t, unsigned char *,
			       unsigned *) = NULL;
	unsigned char digest[64];
	unsigned n = sizeof(digest);

	*(void **)&sha256 = dlsym(RTLD_DEFAULT, "EVP_sha256");
	*(void **)&hmac = dlsym(RTLD_DEFAULT, "HMAC");
	assert(sha256 && hmac);
	hmac(sha256(), secret, (int)strlen(secret), (const unsigned char *)out->data, out->len, digest, &n);
	buf_add_char(out, '.');
	forge_base64url(digest, n, out);
}

static inline void forge_token(struct slice header, struct slice payload, const char *secret, struct buf *out)
{
	forge_base64url(header.at, header.len, out);
	buf_add_char(out, '.');
	forge_base64url(payload.at, payload.len, out);
	forge_sign(out, secret);
}

static inline char *forge_read_file(const char *name)
{
	FILE *file = fopen(name, "r");
	struct buf text = { 0 };
	size_t n;

	assert(file);
	while ((n = fread(buf_reserve(&text, 4096), 1, 4096, file)) > 0)
		text.len += n;
	fclose(file);
	return buf_steal(&text);
}

#endif
