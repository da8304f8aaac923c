/*
 * token: JSON Web Tokens of Django SimpleJWT, verified with libjwt.
 *
 * Only the configured algorithm is accepted. Checked: signature, `exp` (an integer, required), `nbf`, `iat` not in the
 * future (leeway, at least a minute), `iss` and `aud` where configured, `token_type`, the user claim (int or string: 7 and "7" are the same user).
 * Keys are immutable and may be shared by threads. No function here logs, and no error text holds any part of a token.
 */
#ifndef WALPUSH_TOKEN_H
#define WALPUSH_TOKEN_H

#include <jansson.h>
#include <stdint.h>

#include "walpush/base/buf.h"
#include "walpush/conf/conf.h"
#include "walpush/base/fail.h"

/* Bytes. A longer token is refused unread, whatever limits.token-bytes says: libjwt copies it to the stack, more than once. */
#define TOKEN_LENGTH_MAX 65536

struct token_keys;

struct token {
	char *user;      /* the user claim as text; never empty */
	int64_t expires; /* seconds since 1970: the moment at which the connection ends, leeway included */
	json_t *claims;  /* all of them */
	char *payload;   /* the JSON that they were read from, for the spelling of numbers */
};

/*
 * An empty key, a PEM that does not fit the algorithm, private keys alone: NULL, with line and fix. HS takes a secret, RS and ES
 * "PUBLIC KEY" PEMs to verify with, and may have a "PRIVATE KEY" PEM as a further entry, to mint with.
 */
struct token_keys *token_keys_new(const struct conf_jwt *conf, struct fail *why);
void token_keys_free(struct token_keys *k);

/*
 * `now` in seconds since 1970. `why` names the check that failed, for a counter and a log line, and is one of: length, form,
 * header, algorithm, signature, exp, expired, nbf, iat, iss, aud, token_type, user. A token that names a configured kid is tried
 * with that key alone, any other with each in turn. `out` is filled on success only, and empty otherwise.
 */
bool token_verify(const struct token_keys *k, struct slice text, int64_t now, struct token *out, struct fail *why);
void token_fini(struct token *t);

/* {token.NAME} as text: strings as they are, numbers as the token spells them, true/false. False where it is absent, null, an array or
 * an object: such a claim is no value. */
bool token_claim(const struct token *t, const char *name, struct buf *out);

/* Mints what SimpleJWT would: for `walpush token` and tests. HS only unless a private key is configured as key. */
bool token_mint(const struct token_keys *k, const struct conf_jwt *conf, const char *user, int64_t now,
		int64_t lifetime, struct buf *out, struct fail *why);

#endif
