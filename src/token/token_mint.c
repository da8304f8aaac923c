#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "token_keys.h"

#define JTI_BYTES 16

static const struct token_key *find_signer(const struct token_keys *k)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->at[i].signs)
			return &k->at[i];
	return NULL;
}

/* Hexadecimal, as SimpleJWT's uuid4().hex. */
static bool draw_jti(char out[2 * JTI_BYTES + 1])
{
	unsigned char bytes[JTI_BYTES];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return false;
	for (size_t i = 0; i < JTI_BYTES; i++) {
		out[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[bytes[i] & 0xF];
	}
	out[2 * JTI_BYTES] = '\0';
	return true;
}

/* The user is a string, as in SimpleJWT 5.5 and later. "7" and 7 are the same user. */
static bool add_grants(jwt_t *jwt, const struct conf_jwt *conf, const char *user, int64_t now, int64_t lifetime)
{
	char jti[2 * JTI_BYTES + 1];

	return draw_jti(jti) && jwt_add_grant(jwt, "jti", jti) == 0 && jwt_add_grant_int(jwt, "iat", (long)now) == 0 &&
	       jwt_add_grant_int(jwt, "exp", (long)(now + lifetime)) == 0 &&
	       (!conf->token_type || !*conf->token_type || jwt_add_grant(jwt, "token_type", conf->token_type) == 0) &&
	       (!conf->issuer || jwt_add_grant(jwt, "iss", conf->issuer) == 0) &&
	       (!conf->audience || jwt_add_grant(jwt, "aud", conf->audience) == 0) &&
	       jwt_add_grant(jwt, conf->user_claim, user) == 0;
}

static bool encode(jwt_t *jwt, const struct token_keys *k, const struct token_key *key, struct buf *out)
{
	char *text;

	if (key->kid && jwt_add_header(jwt, "kid", key->kid) != 0)
		return false;
	if (jwt_set_alg(jwt, k->algorithm, (const unsigned char *)key->text, key->len) != 0)
		return false;
	text = jwt_encode_str(jwt);
	if (!text)
		return false;
	buf_add_text(out, text);
	free(text);
	return true;
}

bool token_mint(const struct token_keys *k, const struct conf_jwt *conf, const char *user, int64_t now,
		int64_t lifetime, struct buf *out, struct fail *why)
{
	const struct token_key *key = find_signer(k);
	jwt_t *jwt = NULL;
	bool ok;

	if (!key)
		return fail_set(why, "no key can sign: %s needs the private key, as another entry of jwt.keys",
				k->algorithm_name);
	if (!token_user_is_sound(user))
		return fail_set(why, "the user is empty, longer than 255 bytes, or holds control characters");
	if (now < 0 || now > TOKEN_TIME_MAX || lifetime <= 0 || lifetime > TOKEN_TIME_MAX - now)
		return fail_set(why, "the lifetime is no positive number of seconds");
	ok = jwt_new(&jwt) == 0 && add_grants(jwt, conf, user, now, lifetime) && encode(jwt, k, key, out);
	jwt_free(jwt);
	return ok || fail_set(why, "the token could not be signed");
}
