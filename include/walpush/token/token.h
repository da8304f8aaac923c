/*
 * token: JSON Web Tokens of Django SimpleJWT, verified with libjwt.
 *
 * Only the configured algorithm is accepted. Checked: signature, `exp` (an integer, required), `nbf`, `iat` not in the future (leeway, at
 * least a minute), `iss` and `aud` if configured, `token_type`, the user claim (int or string: 7 and "7" are the same user). Keys are
 * immutable, and threads may share them. No function here logs, and no error text contains a part of a token.
 */
#ifndef WALPUSH_TOKEN_H
#define WALPUSH_TOKEN_H

#include <jansson.h>
#include <stdint.h>

#include "walpush/base/buf.h"
#include "walpush/conf/conf.h"
#include "walpush/base/fail.h"

/* Bytes. A longer token is refused unread, for every value of limits.token-bytes, because libjwt copies the token to the stack several times. */
#define TOKEN_LENGTH_MAX 65536

struct token_keys;

#define TOKEN_DETAIL_MAX 128

struct token_fault { /* why a token is refused */
	/* The check that failed, for a counter and a log line: length, form, header, algorithm, signature, exp, expired, nbf, iat, iss, aud,
	 * token_type or user. */
	const char *check;
	const char *words; /* the same for the client, a literal: "token expired" */
	char detail
		[TOKEN_DETAIL_MAX]; /* for the operator: by how many seconds a time is off; "": there is no more to say */
};

struct token {
	char *user;      /* the user claim as text; never empty */
	int64_t expires; /* seconds since 1970: the moment at which the connection ends, leeway included */
	json_t *claims;  /* all claims */
	char *payload;   /* the JSON of the claims, for the spelling of numbers */
};

/*
 * NULL for an empty key, for a PEM that does not fit the algorithm, and if there are only private keys; `why` has line and fix. HS needs a
 * secret. RS and ES need "PUBLIC KEY" PEMs to verify tokens, and may have a "PRIVATE KEY" PEM as a further entry, to mint tokens.
 */
struct token_keys *token_keys_new(const struct conf_jwt *conf, struct fail *why);
void token_keys_free(struct token_keys *k);

/*
 * `now` in seconds since 1970. A token with a configured kid is tried only with this key, another token with each key in turn. `out` is filled on
 * success, and empty on failure.
 */
bool token_verify(const struct token_keys *k, struct slice text, int64_t now, struct token *out,
		  struct token_fault *why);
void token_fini(struct token *t);

/* Appends {token.NAME} as text: a string unchanged, a number as the token spells it, true or false. False: the claim is absent, null, an array
 * or an object. */
bool token_claim(const struct token *t, const char *name, struct buf *out);

/* The token that a user with these claims would bring, for /explain: nothing is signed, and it never expires. `claims` is an object of texts;
 * those that the configuration checks and `claims` lacks are as they must be. False: such a token is refused; `why` names the check as above. */
bool token_claimed(const struct conf_jwt *conf, const char *user, const json_t *claims, struct token *out,
		   struct fail *why);

/* Mints a token as SimpleJWT does, for `walpush token` and tests. `lifetime` in seconds. HS always works; RS and ES need a private key in the
 * configuration. */
bool token_mint(const struct token_keys *k, const struct conf_jwt *conf, const char *user, int64_t now,
		int64_t lifetime, struct buf *out, struct fail *why);

#endif
