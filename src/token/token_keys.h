/*
 * token_keys: the body of struct token_keys, for token.c, token_keys.c and token_mint.c alone. Everybody else: token.h.
 *
 * Immutable once made. What kind of key an entry holds is decided here, from the configuration, and never by a token: this
 * is what makes it impossible to pass a public key off as an HMAC secret.
 */
#ifndef WALPUSH_TOKEN_KEYS_H
#define WALPUSH_TOKEN_KEYS_H

#include <jwt.h>
#include <stdint.h>

#include "walpush/token/token.h"

/* 2^53: times beyond it are no times, and no JavaScript number. */
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

/* A user as the claim may name it: 1 to 255 bytes without control characters. */
bool token_user_is_sound(const char *user);

#endif
