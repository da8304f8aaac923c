#include "token_keys.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/mem.h"
#include "walpush/token/token_pem.h"

static const struct algorithm {
	const char *name;
	jwt_alg_t id;
	bool is_secret; /* HMAC: the key is not a PEM */
	enum token_pem_kind kind;
} algorithms[] = {
	{ "HS256", JWT_ALG_HS256, true, 0 },
	{ "HS384", JWT_ALG_HS384, true, 0 },
	{ "HS512", JWT_ALG_HS512, true, 0 },
	{ "RS256", JWT_ALG_RS256, false, TOKEN_PEM_RSA },
	{ "RS384", JWT_ALG_RS384, false, TOKEN_PEM_RSA },
	{ "RS512", JWT_ALG_RS512, false, TOKEN_PEM_RSA },
	{ "ES256", JWT_ALG_ES256, false, TOKEN_PEM_P256 },
	{ "ES384", JWT_ALG_ES384, false, TOKEN_PEM_P384 },
	{ "ES512", JWT_ALG_ES512, false, TOKEN_PEM_P521 },
};

static const struct algorithm *find_algorithm(const char *name)
{
	for (size_t i = 0; i < sizeof(algorithms) / sizeof(*algorithms); i++)
		if (strcmp(algorithms[i].name, name) == 0)
			return &algorithms[i];
	return NULL;
}

/* With an empty key libjwt skips the verification. A key of blanks is a mistake. */
static bool is_blank(const char *text)
{
	return text[strspn(text, " \t\r\n")] == '\0';
}

/* Only a signature shows that libcrypto can read the whole private key. The token has a grant because, without any grant, libjwt (1.10.2 and
 * 1.17.2) writes one byte beyond its buffer on the stack. */
static bool can_sign(const struct token_key *key, jwt_alg_t algorithm)
{
	char *text = NULL;
	jwt_t *jwt = NULL;
	bool ok;

	if (jwt_new(&jwt) == 0 && jwt_add_grant_int(jwt, "exp", 0) == 0 &&
	    jwt_set_alg(jwt, algorithm, (const unsigned char *)key->text, key->len) == 0)
		text = jwt_encode_str(jwt);
	jwt_free(jwt);
	ok = text != NULL;
	free(text);
	return ok;
}

static bool check_secret(struct token_key *key, const struct algorithm *algorithm, unsigned line, struct fail *why)
{
	if (token_pem_is(key->text))
		return fail_at_line(why, line,
				    "jwt: %s takes a shared secret, but the key is a PEM text; with a key pair the "
				    "algorithm is RS or ES",
				    algorithm->name);
	key->verifies = key->signs = true;
	return true;
}

static bool check_pem(struct token_key *key, const struct algorithm *algorithm, unsigned line, struct fail *why)
{
	struct token_pem pem;
	struct fail reason;

	if (!token_pem_read(key->text, &pem, &reason))
		return fail_at_line(why, line, "jwt: %s: %s", algorithm->name, reason.text);
	if (pem.kind != algorithm->kind)
		return fail_at_line(why, line, "jwt: %s needs a key of kind %s, this one is %s", algorithm->name,
				    token_pem_name(algorithm->kind), token_pem_name(pem.kind));
	if (pem.private && !can_sign(key, algorithm->id))
		return fail_at_line(why, line, "jwt: %s: the private key cannot be used: damaged", algorithm->name);
	key->verifies = !pem.private;
	key->signs = pem.private;
	return true;
}

static bool add_key(struct token_keys *k, const struct conf_jwt_key *conf, const struct algorithm *algorithm,
		    struct fail *why)
{
	struct token_key *key = &k->at[k->n];

	if (!conf->key || is_blank(conf->key))
		return fail_at_line(why, conf->line, "jwt: the key is empty; set the application's signing key");
	/* Counted before the checks, so that token_keys_free frees this key too. */
	k->n++;
	key->kid = conf->kid ? mem_text(conf->kid) : NULL;
	key->text = mem_text(conf->key);
	key->len = (int)strlen(key->text);
	if (!(algorithm->is_secret ? check_secret : check_pem)(key, algorithm, conf->line, why))
		return false;
	for (size_t i = 0; key->kid && i + 1 < k->n; i++)
		if (k->at[i].kid && strcmp(k->at[i].kid, key->kid) == 0 && k->at[i].verifies == key->verifies)
			return fail_at_line(why, conf->line, "jwt: two keys have the kid \"%s\"", key->kid);
	return true;
}

static bool any_verifies(const struct token_keys *k)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->at[i].verifies)
			return true;
	return false;
}

static bool fill(struct token_keys *k, const struct conf_jwt *conf, struct fail *why)
{
	const struct algorithm *algorithm = find_algorithm(conf->algorithm);

	if (!algorithm)
		return fail_at_line(why, conf->line, "jwt: algorithm \"%s\" is none of HS, RS, ES with 256, 384, 512",
				    conf->algorithm);
	if (!conf->user_claim || !*conf->user_claim)
		return fail_at_line(why, conf->line, "jwt: user-claim is empty; SimpleJWT's is \"user_id\"");
	k->algorithm = algorithm->id;
	k->algorithm_name = algorithm->name;
	k->user_claim = mem_text(conf->user_claim);
	k->token_type = mem_text(conf->token_type ? conf->token_type : "");
	k->issuer = conf->issuer ? mem_text(conf->issuer) : NULL;
	k->audience = conf->audience ? mem_text(conf->audience) : NULL;
	k->leeway = conf->leeway / 1000;
	k->at = mem_new_array(conf->n_keys, sizeof(*k->at));
	for (size_t i = 0; i < conf->n_keys; i++)
		if (!add_key(k, &conf->keys[i], algorithm, why))
			return false;
	if (!any_verifies(k))
		return fail_at_line(why, conf->line,
				    k->n ? "jwt: only private keys, and those verify nothing; add the public one: "
					   "openssl pkey -pubout -in FILE"
					 : "jwt: no key; set key, key-file or keys");
	return true;
}

struct token_keys *token_keys_new(const struct conf_jwt *conf, struct fail *why)
{
	struct token_keys *k = mem_new(sizeof(*k));

	if (fill(k, conf, why))
		return k;
	token_keys_free(k);
	return NULL;
}

void token_keys_free(struct token_keys *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < k->n; i++) {
		explicit_bzero(k->at[i].text, (size_t)k->at[i].len);
		free(k->at[i].text);
		free(k->at[i].kid);
	}
	free(k->at);
	free(k->user_claim);
	free(k->token_type);
	free(k->issuer);
	free(k->audience);
	free(k);
}
