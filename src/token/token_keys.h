/*
 * token_keys: the body of struct token_keys, only for token.c, token_keys.c and token_mint.c. All other files use token.h.
 *
 * Immutable once made. Only the configuration decides what kind of key an entry is, never a token. So an attacker cannot use a public key as
 * an HMAC secret.
 */
#ifndef WALPUSH_TOKEN_KEYS_H
#define WALPUSH_TOKEN_KEYS_H

#include <jwt.h>
#include <stdint.h>

#include "walpush/token/token.h"

/* s: 2^53. A larger number is not a valid time, and JavaScript cannot represent it exactly. */
#define TOKEN_TIME_MAX (INT64_C(1) << 53)

struct token_key {
	char *kid; /* NULL: none */
	char *text;
	int len;
	bool verifies; /* a secret, or a public key */
	bool signs;    /* a secret, or a private key */
};

struct token_keys {
	jwt_alg_t algorithm;
	const char *algorithm_name;
	struct token_key *at;
	size_t n;
	char *user_claim;
	char *token_type; /* "": not checked */
	char *issuer;     /* NULL: not checked */
	char *audience;
	int64_t leeway; /* seconds */
};

/* Is the user valid? 1 to 255 bytes without control characters. */
bool token_user_is_sound(const char *user);

#endif
