/*
 * token_pem: the kind of the key in a PEM text.
 *
 * libjwt reports no error for a key that does not fit or cannot be read: every token then has a bad signature. So walpush checks each key once,
 * when it reads the configuration: the label, the outer DER lengths and the algorithm identifier. libcrypto checks the key's numbers. Pure.
 * Source: RFC 7468 (PEM), RFC 5280 section 4.1 (public), RFC 5958 section 2 (private), RFC 5480 (curves).
 */
#ifndef WALPUSH_TOKEN_PEM_H
#define WALPUSH_TOKEN_PEM_H

#include "walpush/base/fail.h"

enum token_pem_kind { TOKEN_PEM_RSA, TOKEN_PEM_P256, TOKEN_PEM_P384, TOKEN_PEM_P521 };

struct token_pem {
	enum token_pem_kind kind;
	bool private;
};

/* Does the text contain the beginning of a PEM? */
bool token_pem_is(const char *text);
/* Reads one key, "PUBLIC KEY" or "PRIVATE KEY", not encrypted. Another label is an error, and `why` has the command that converts the key. */
bool token_pem_read(const char *text, struct token_pem *out, struct fail *why);
/* "RSA", "EC P-256", … */
const char *token_pem_name(enum token_pem_kind kind);

#endif
