/*
 * token_pem: what kind of key does a PEM text hold?
 *
 * libjwt tells nothing: a key that does not fit, or cannot be read, looks to it like a bad signature of every token. So keys
 * are looked at once, at the start: label, outer DER lengths and the algorithm identifier. The key's numbers are left to
 * libcrypto. Pure. Source: RFC 7468 (PEM), RFC 5280 section 4.1 (public), RFC 5958 section 2 (private), RFC 5480 (curves).
 */
#ifndef WALPUSH_TOKEN_PEM_H
#define WALPUSH_TOKEN_PEM_H

#include "walpush/base/fail.h"

enum token_pem_kind { TOKEN_PEM_RSA, TOKEN_PEM_P256, TOKEN_PEM_P384, TOKEN_PEM_P521 };

struct token_pem {
	enum token_pem_kind kind;
	bool private;
};

/* Does it look like PEM at all? */
bool token_pem_is(const char *text);
/* One key, "PUBLIC KEY" or "PRIVATE KEY", not encrypted. Each other label is refused with the command that converts it. */
bool token_pem_read(const char *text, struct token_pem *out, struct fail *why);
/* "RSA", "EC P-256", … */
const char *token_pem_name(enum token_pem_kind kind);

#endif
