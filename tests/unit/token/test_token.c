/* Tokens: what is accepted, and what of all that must not be. Times are relative to NOW; the leeway is ten seconds. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "forge.h"
#include "walpush/token/token.h"

#define NOW INT64_C(1700000000)
#define SECRET "correct horse battery staple, and long enough"
#define OTHER_SECRET "another secret of the same application, rotated"
#define KEYS "tests/fixtures/keys/"

#define HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define ACCESS "\"token_type\":\"access\""
#define USER "\"user_id\":7"
#define EXP "\"exp\":1700000900"
#define GOOD "{" ACCESS "," EXP "," USER "}"

struct setting {
	struct conf_jwt conf;
	struct conf_jwt_key keys[3];
};

static struct setting setting_new(const char *algorithm, const char *key)
{
	return (struct setting){
		.conf = { .algorithm = (char *)algorithm,
			  .line = 3,
			  .n_keys = 1,
			  .user_claim = (char *)"user_id",
			  .token_type = (char *)"access",
			  .leeway = 10000 },
		.keys = { { .key = (char *)key, .line = 5 } },
	};
}

static struct token_keys *make_keys(struct setting *s)
{
	struct token_keys *k;
	struct fail why;

	s->conf.keys = s->keys;
	k = token_keys_new(&s->conf, &why);
	if (!k)
		fail_msg("%s", why.text);
	return k;
}

/* The check that refused the token, or "" and in `user` whom it names. */
static const char *verify(const struct token_keys *k, struct slice text, char user[300])
{
	static struct token_fault why;
	struct token token;

	user[0] = '\0';
	if (!token_verify(k, text, NOW, &token, &why)) {
		assert_null(token.user);
		assert_null(token.claims);
		assert_true(why.check[0] && why.words[0]);
		return why.check;
	}
	strcpy(user, token.user);
	assert_true(token.expires > NOW);
	token_fini(&token);
	return "";
}

static const char *verify_forged(const struct token_keys *k, const char *header, const char *payload,
				 const char *secret, char user[300])
{
	struct buf text = { 0 };
	const char *check;

	forge_token(slice_of(header), slice_of(payload), secret, &text);
	check = verify(k, buf_slice(&text), user);
	buf_fini(&text);
	return check;
}

/* Properly signed tokens: check is the one that must refuse it, "" when `user` must come out of it. */
static const struct {
	const char *name, *header, *payload, *check, *user;
} signed_tokens[] = {
	{ "as SimpleJWT makes it", HEADER,
	  "{" ACCESS ",\"exp\":1700000900,\"iat\":1700000000,\"jti\":\"ab\",\"user_id\":7}", "", "7" },
	{ "user as a string", HEADER, "{" ACCESS "," EXP ",\"user_id\":\"7\"}", "", "7" },
	{ "no typ", "{\"alg\":\"HS256\"}", GOOD, "", "7" },
	{ "typ in lower case", "{\"alg\":\"HS256\",\"typ\":\"jwt\"}", GOOD, "", "7" },

	{ "alg none, signed", "{\"alg\":\"none\"}", GOOD, "algorithm", "" },
	{ "alg None", "{\"alg\":\"None\"}", GOOD, "algorithm", "" },
	{ "alg NONE", "{\"alg\":\"NONE\"}", GOOD, "algorithm", "" },
	{ "alg nOnE", "{\"alg\":\"nOnE\"}", GOOD, "algorithm", "" },
	{ "alg empty", "{\"alg\":\"\"}", GOOD, "algorithm", "" },
	{ "alg absent", "{\"typ\":\"JWT\"}", GOOD, "algorithm", "" },
	{ "alg null", "{\"alg\":null}", GOOD, "algorithm", "" },
	{ "alg a number", "{\"alg\":256}", GOOD, "algorithm", "" },
	{ "alg an array", "{\"alg\":[\"HS256\"]}", GOOD, "algorithm", "" },
	{ "alg in lower case", "{\"alg\":\"hs256\"}", GOOD, "algorithm", "" },
	{ "alg with a blank", "{\"alg\":\"HS256 \"}", GOOD, "algorithm", "" },
	{ "alg of the family, but another", "{\"alg\":\"HS512\"}", GOOD, "algorithm", "" },
	{ "alg RS256", "{\"alg\":\"RS256\"}", GOOD, "algorithm", "" },
	{ "alg ES256", "{\"alg\":\"ES256\"}", GOOD, "algorithm", "" },
	{ "alg twice, none first", "{\"alg\":\"none\",\"alg\":\"HS256\"}", GOOD, "header", "" },
	{ "alg twice, none last", "{\"alg\":\"HS256\",\"alg\":\"none\"}", GOOD, "header", "" },
	{ "alg with a zero behind", "{\"alg\":\"HS256\\u0000\"}", GOOD, "header", "" },
	{ "header an array", "[\"HS256\"]", GOOD, "header", "" },
	{ "header a string", "\"HS256\"", GOOD, "header", "" },
	{ "header no JSON", "{\"alg\":\"HS256\"", GOOD, "header", "" },
	{ "header with something behind", "{\"alg\":\"HS256\"}}", GOOD, "header", "" },
	{ "header not UTF-8", "{\"alg\":\"HS256\",\"x\":\"\xFF\"}", GOOD, "header", "" },
	{ "typ of another token", "{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}", GOOD, "header", "" },
	{ "typ a number", "{\"alg\":\"HS256\",\"typ\":1}", GOOD, "header", "" },
	{ "crit", "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", GOOD, "header", "" },
	{ "kid a number", "{\"alg\":\"HS256\",\"kid\":1}", GOOD, "header", "" },
	{ "kid null", "{\"alg\":\"HS256\",\"kid\":null}", GOOD, "header", "" },
	{ "kid an object", "{\"alg\":\"HS256\",\"kid\":{}}", GOOD, "header", "" },
	{ "kid of nobody", "{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}", GOOD, "", "7" },

	{ "payload no JSON", HEADER, "access", "signature", "" },
	{ "payload cut", HEADER, "{" ACCESS, "signature", "" },
	{ "payload an array", HEADER, "[" GOOD "]", "exp", "" },
	{ "payload a string", HEADER, "\"exp\"", "signature", "" },
	{ "payload empty object", HEADER, "{}", "exp", "" },

	{ "exp absent", HEADER, "{" ACCESS "," USER "}", "exp", "" },
	{ "exp null", HEADER, "{" ACCESS "," USER ",\"exp\":null}", "exp", "" },
	{ "exp true", HEADER, "{" ACCESS "," USER ",\"exp\":true}", "exp", "" },
	{ "exp a string", HEADER, "{" ACCESS "," USER ",\"exp\":\"1700000900\"}", "exp", "" },
	{ "exp a real", HEADER, "{" ACCESS "," USER ",\"exp\":1700000900.0}", "exp", "" },
	{ "exp an exponent", HEADER, "{" ACCESS "," USER ",\"exp\":17e8}", "exp", "" },
	{ "exp an array", HEADER, "{" ACCESS "," USER ",\"exp\":[1700000900]}", "exp", "" },
	{ "exp negative", HEADER, "{" ACCESS "," USER ",\"exp\":-1}", "exp", "" },
	{ "exp 2^53", HEADER, "{" ACCESS "," USER ",\"exp\":9007199254740992}", "", "7" },
	{ "exp 2^53 + 1", HEADER, "{" ACCESS "," USER ",\"exp\":9007199254740993}", "exp", "" },
	{ "exp 2^63 - 1", HEADER, "{" ACCESS "," USER ",\"exp\":9223372036854775807}", "exp", "" },
	{ "exp 2^63", HEADER, "{" ACCESS "," USER ",\"exp\":9223372036854775808}", "signature", "" },
	{ "exp 0", HEADER, "{" ACCESS "," USER ",\"exp\":0}", "expired", "" },
	{ "exp now", HEADER, "{" ACCESS "," USER ",\"exp\":1700000000}", "", "7" },
	{ "exp in the leeway's last second", HEADER, "{" ACCESS "," USER ",\"exp\":1699999991}", "", "7" },
	{ "exp just out of the leeway", HEADER, "{" ACCESS "," USER ",\"exp\":1699999990}", "expired", "" },
	{ "exp twice", HEADER, "{" ACCESS "," USER ",\"exp\":1," EXP "}", "form", "" },

	{ "nbf past", HEADER, "{" ACCESS "," USER "," EXP ",\"nbf\":1}", "", "7" },
	{ "nbf at the leeway's end", HEADER, "{" ACCESS "," USER "," EXP ",\"nbf\":1700000010}", "", "7" },
	{ "nbf behind the leeway", HEADER, "{" ACCESS "," USER "," EXP ",\"nbf\":1700000011}", "nbf", "" },
	{ "nbf a string", HEADER, "{" ACCESS "," USER "," EXP ",\"nbf\":\"1\"}", "nbf", "" },
	{ "nbf null", HEADER, "{" ACCESS "," USER "," EXP ",\"nbf\":null}", "nbf", "" },
	{ "iat a minute ahead", HEADER, "{" ACCESS "," USER "," EXP ",\"iat\":1700000060}", "", "7" },
	{ "iat further ahead", HEADER, "{" ACCESS "," USER "," EXP ",\"iat\":1700000061}", "iat", "" },
	{ "iat a real", HEADER, "{" ACCESS "," USER "," EXP ",\"iat\":1.5}", "iat", "" },
	{ "iat negative", HEADER, "{" ACCESS "," USER "," EXP ",\"iat\":-1}", "iat", "" },

	{ "a refresh token", HEADER, "{\"token_type\":\"refresh\"," EXP "," USER "}", "token_type", "" },
	{ "a sliding token", HEADER, "{\"token_type\":\"sliding\"," EXP "," USER "}", "token_type", "" },
	{ "no token type", HEADER, "{" EXP "," USER "}", "token_type", "" },
	{ "token type an array", HEADER, "{\"token_type\":[\"access\"]," EXP "," USER "}", "token_type", "" },
	{ "token type with more", HEADER, "{\"token_type\":\"access \"," EXP "," USER "}", "token_type", "" },
	{ "token type twice", HEADER, "{\"token_type\":\"refresh\"," EXP "," USER "," ACCESS "}", "form", "" },

	{ "no user", HEADER, "{" ACCESS "," EXP "}", "user", "" },
	{ "user null", HEADER, "{" ACCESS "," EXP ",\"user_id\":null}", "user", "" },
	{ "user true", HEADER, "{" ACCESS "," EXP ",\"user_id\":true}", "user", "" },
	{ "user a real", HEADER, "{" ACCESS "," EXP ",\"user_id\":7.0}", "user", "" },
	{ "user an array", HEADER, "{" ACCESS "," EXP ",\"user_id\":[7]}", "user", "" },
	{ "user an object", HEADER, "{" ACCESS "," EXP ",\"user_id\":{\"id\":7}}", "user", "" },
	{ "user an empty string", HEADER, "{" ACCESS "," EXP ",\"user_id\":\"\"}", "user", "" },
	{ "user with a line end", HEADER, "{" ACCESS "," EXP ",\"user_id\":\"7\\n8\"}", "user", "" },
	{ "user with DEL", HEADER, "{" ACCESS "," EXP ",\"user_id\":\"7\\u007f\"}", "user", "" },
	{ "user with a C1 control", HEADER, "{" ACCESS "," EXP ",\"user_id\":\"7\\u0085\"}", "user", "" },
	{ "user with a zero", HEADER, "{" ACCESS "," EXP ",\"user_id\":\"7\\u0000\"}", "signature", "" },
	{ "user with zeros before it", HEADER, "{" ACCESS "," EXP ",\"user_id\":\"007\"}", "", "007" },
	{ "user of any script", HEADER, "{" ACCESS "," EXP ",\"user_id\":\"\\u0101\xC2\xA0\xE2\x82\xAC\"}", "",
	  "\xC4\x81\xC2\xA0\xE2\x82\xAC" },
	{ "user int64's largest", HEADER, "{" ACCESS "," EXP ",\"user_id\":9223372036854775807}", "",
	  "9223372036854775807" },
	{ "user beyond int64", HEADER, "{" ACCESS "," EXP ",\"user_id\":9223372036854775808}", "signature", "" },
	{ "user twice", HEADER, "{" ACCESS "," EXP ",\"user_id\":1,\"user_id\":2}", "form", "" },
	{ "user under an escaped name", HEADER, "{" ACCESS "," EXP ",\"user\\u005fid\":7}", "", "7" },
};

static void signed_tokens_are_judged(void **state)
{
	struct setting s = setting_new("HS256", SECRET);
	struct token_keys *k = make_keys(&s);
	char user[300];

	(void)state;
	for (size_t i = 0; i < sizeof(signed_tokens) / sizeof(*signed_tokens); i++) {
		const char *check = verify_forged(k, signed_tokens[i].header, signed_tokens[i].payload, SECRET, user);

		if (strcmp(check, signed_tokens[i].check) != 0 || strcmp(user, signed_tokens[i].user) != 0)
			fail_msg("%s: refused for \"%s\", user \"%s\"", signed_tokens[i].name, check, user);
	}
	token_keys_free(k);
}

/* How a good token is spoilt: "%h", "%p", "%s" stand for its parts, '@' for a zero byte. */
static const struct {
	const char *name, *shape, *check;
} spoilt_shapes[] = {
	{ "whole", "%h.%p.%s", "" },
	{ "nothing", "", "length" },
	{ "dots alone", "..", "form" },
	{ "one part", "%h", "form" },
	{ "two parts", "%h.%p", "form" },
	{ "no signature", "%h.%p.", "form" },
	{ "no payload", "%h..%s", "form" },
	{ "no header", ".%p.%s", "form" },
	{ "a dot behind", "%h.%p.%s.", "form" },
	{ "a fourth part", "%h.%p.%s.%s", "form" },
	{ "five parts, as encrypted tokens have", "%h.%p.%s.%p.%s", "form" },
	{ "a dot before", ".%h.%p.%s", "form" },
	{ "doubled", "%h.%p.%s%h.%p.%s", "form" },
	{ "a blank before", " %h.%p.%s", "form" },
	{ "a blank behind", "%h.%p.%s ", "form" },
	{ "a line end behind", "%h.%p.%s\n", "form" },
	{ "blanks round a dot", "%h . %p.%s", "form" },
	{ "a zero byte behind", "%h.%p.%s@", "form" },
	{ "a zero byte inside", "%h.@%p.%s", "form" },
	{ "padding", "%h.%p.%s=", "form" },
	{ "padding in the header", "%h==.%p.%s", "form" },
	{ "base64, not base64url", "%h.%p.+/AA", "form" },
	{ "a percent escape", "%h%2E%p.%s", "form" },
	{ "not ASCII", "%h.%p.\xC3\xA9%s", "form" },
	{ "a scheme before", "Bearer %h.%p.%s", "form" },
	{ "one digit too many", "%h.%p.%sAA", "form" },
	{ "one byte signature", "%h.%p.AA", "signature" },
	{ "another signature", "%h.%p.%p", "signature" },
	{ "header as payload", "%h.%h.%s", "signature" },
	{ "payload as header", "%p.%p.%s", "algorithm" },
	{ "payload changed", "%h.e30.%s", "signature" },
};

/* 43 digits hold 258 bits for 256: the last digit has other spellings, which strict reading refuses. */
static void assert_one_spelling(const struct token_keys *k, struct buf *token)
{
	char *last = &token->data[token->len - 1], user[300];

	*last = *last == 'A' ? 'B' : (char)(*last + 1);
	assert_string_equal(verify(k, buf_slice(token), user), "form");
}

static void add_spoilt(const char *shape, const char *const part[3], struct buf *out)
{
	for (; *shape; shape++) {
		if (shape[0] == '%' && shape[1] && strchr("hps", shape[1]))
			buf_add_text(out, part[*++shape == 'h' ? 0 : *shape == 'p' ? 1 : 2]);
		else if (*shape == '@')
			buf_add_char(out, '\0');
		else
			buf_add_char(out, *shape);
	}
}

static void spoilt_tokens_are_refused(void **state)
{
	struct setting s = setting_new("HS256", SECRET);
	struct token_keys *k = make_keys(&s);
	struct buf good = { 0 }, text = { 0 };
	char *copy, *rest, user[300];
	const char *part[3];

	(void)state;
	forge_token(slice_of(HEADER), slice_of(GOOD), SECRET, &good);
	copy = rest = strdup(good.data);
	for (size_t i = 0; i < 3; i++)
		part[i] = strsep(&rest, ".");
	for (size_t i = 0; i < sizeof(spoilt_shapes) / sizeof(*spoilt_shapes); i++) {
		const char *check;

		buf_clear(&text);
		add_spoilt(spoilt_shapes[i].shape, part, &text);
		check = verify(k, buf_slice(&text), user);
		if (strcmp(check, spoilt_shapes[i].check) != 0)
			fail_msg("%s: \"%s\"", spoilt_shapes[i].name, check);
	}
	/* Cut anywhere, or with any one bit of any byte turned, it is a token no more. */
	for (size_t n = 0; n < good.len; n++)
		assert_string_not_equal(verify(k, (struct slice){ good.data, n }, user), "");
	for (size_t i = 0; i < good.len * 8; i++) {
		good.data[i / 8] = (char)(good.data[i / 8] ^ 1 << i % 8);
		assert_string_not_equal(verify(k, buf_slice(&good), user), "");
		good.data[i / 8] = (char)(good.data[i / 8] ^ 1 << i % 8);
	}
	assert_string_equal(verify(k, buf_slice(&good), user), "");
	assert_one_spelling(k, &good);
	free(copy);
	buf_fini(&good);
	buf_fini(&text);
	token_keys_free(k);
}

static void sizes_are_bounded(void **state)
{
	struct setting s = setting_new("HS256", SECRET);
	struct token_keys *k = make_keys(&s);
	struct buf payload = { 0 };
	char user[300], name[257];

	(void)state;
	buf_add_text(&payload, "{" ACCESS "," EXP "," USER ",\"x\":\"");
	while (payload.len < 40000)
		buf_add_char(&payload, 'x');
	buf_add_text(&payload, "\"}");
	assert_string_equal(verify_forged(k, HEADER, payload.data, SECRET, user), "");
	payload.len -= 2;
	while (payload.len < 60000)
		buf_add_char(&payload, 'x');
	buf_add_text(&payload, "\"}");
	assert_string_equal(verify_forged(k, HEADER, payload.data, SECRET, user), "length");

	memset(name, 'u', 256);
	name[256] = '\0';
	buf_clear(&payload);
	buf_addf(&payload, "{" ACCESS "," EXP ",\"user_id\":\"%s\"}", name);
	assert_string_equal(verify_forged(k, HEADER, payload.data, SECRET, user), "user");
	buf_clear(&payload);
	buf_addf(&payload, "{" ACCESS "," EXP ",\"user_id\":\"%s\"}", name + 1);
	assert_string_equal(verify_forged(k, HEADER, payload.data, SECRET, user), "");
	assert_string_equal(user, name + 1);

	buf_clear(&payload);
	for (size_t i = 0; i < 5000; i++)
		buf_add_char(&payload, '[');
	assert_string_equal(verify_forged(k, HEADER, payload.data, SECRET, user), "signature");
	assert_string_equal(verify_forged(k, payload.data, GOOD, SECRET, user), "header");
	buf_fini(&payload);
	token_keys_free(k);
}

static void issuer_and_audience_are_checked_where_configured(void **state)
{
	static const struct {
		const char *payload, *check;
	} cases[] = {
		{ "{" ACCESS "," EXP "," USER ",\"iss\":\"dms\",\"aud\":\"pages\"}", "" },
		{ "{" ACCESS "," EXP "," USER ",\"iss\":\"dms\",\"aud\":[\"other\",\"pages\"]}", "" },
		{ "{" ACCESS "," EXP "," USER ",\"aud\":\"pages\"}", "iss" },
		{ "{" ACCESS "," EXP "," USER ",\"iss\":\"DMS\",\"aud\":\"pages\"}", "iss" },
		{ "{" ACCESS "," EXP "," USER ",\"iss\":[\"dms\"],\"aud\":\"pages\"}", "iss" },
		{ "{" ACCESS "," EXP "," USER ",\"iss\":\"dms\"}", "aud" },
		{ "{" ACCESS "," EXP "," USER ",\"iss\":\"dms\",\"aud\":\"page\"}", "aud" },
		{ "{" ACCESS "," EXP "," USER ",\"iss\":\"dms\",\"aud\":[]}", "aud" },
		{ "{" ACCESS "," EXP "," USER ",\"iss\":\"dms\",\"aud\":[\"other\"]}", "aud" },
		{ "{" ACCESS "," EXP "," USER ",\"iss\":\"dms\",\"aud\":[\"pages\",1]}", "aud" },
		{ "{" ACCESS "," EXP "," USER ",\"iss\":\"dms\",\"aud\":[[\"pages\"]]}", "aud" },
		{ "{" ACCESS "," EXP "," USER ",\"iss\":\"dms\",\"aud\":{\"pages\":1}}", "aud" },
	};
	struct setting s = setting_new("HS256", SECRET);
	struct token_keys *strict, *lax;
	char user[300];

	(void)state;
	lax = make_keys(&s);
	s.conf.issuer = (char *)"dms";
	s.conf.audience = (char *)"pages";
	strict = make_keys(&s);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_string_equal(verify_forged(strict, HEADER, cases[i].payload, SECRET, user), cases[i].check);
		assert_string_equal(verify_forged(lax, HEADER, cases[i].payload, SECRET, user), "");
	}
	token_keys_free(strict);
	token_keys_free(lax);
}

static void token_type_is_free_where_not_configured(void **state)
{
	struct setting s = setting_new("HS256", SECRET);
	struct token_keys *k;
	char user[300];

	(void)state;
	s.conf.token_type = (char *)"";
	k = make_keys(&s);
	assert_string_equal(verify_forged(k, HEADER, "{" EXP "," USER "}", SECRET, user), "");
	token_keys_free(k);
}

static void kid_chooses_among_the_keys(void **state)
{
	struct setting s = setting_new("HS256", SECRET);
	struct token_keys *k;
	char user[300];

	(void)state;
	s.keys[0].kid = (char *)"new";
	s.keys[1] = (struct conf_jwt_key){ .kid = (char *)"old", .key = (char *)OTHER_SECRET };
	s.conf.n_keys = 2;
	k = make_keys(&s);
	assert_string_equal(verify_forged(k, "{\"alg\":\"HS256\",\"kid\":\"new\"}", GOOD, SECRET, user), "");
	assert_string_equal(verify_forged(k, "{\"alg\":\"HS256\",\"kid\":\"old\"}", GOOD, OTHER_SECRET, user), "");
	/* The key that a token names is the only one it is tried with. */
	assert_string_equal(verify_forged(k, "{\"alg\":\"HS256\",\"kid\":\"old\"}", GOOD, SECRET, user), "signature");
	assert_string_equal(verify_forged(k, "{\"alg\":\"HS256\",\"kid\":\"new\"}", GOOD, OTHER_SECRET, user),
			    "signature");
	assert_string_equal(verify_forged(k, HEADER, GOOD, SECRET, user), "");
	assert_string_equal(verify_forged(k, HEADER, GOOD, OTHER_SECRET, user), "");
	assert_string_equal(verify_forged(k, "{\"alg\":\"HS256\",\"kid\":\"\"}", GOOD, OTHER_SECRET, user), "");
	assert_string_equal(verify_forged(k, HEADER, GOOD, "a third", user), "signature");
	assert_string_equal(verify_forged(k, HEADER, GOOD, "", user), "signature");
	token_keys_free(k);
}

/* A pair of configured keys: the public one verifies, the private one mints. */
static struct setting pair_new(const char *algorithm, char *public, char *private)
{
	struct setting s = setting_new(algorithm, public);

	s.keys[1] = (struct conf_jwt_key){ .key = private, .line = 6 };
	s.conf.n_keys = 2;
	return s;
}

static void assert_pair_works(const char *algorithm, const char *public_file, const char *private_file)
{
	char *public = forge_read_file(public_file), *private = forge_read_file(private_file);
	struct setting s = pair_new(algorithm, public, private);
	struct token_keys *k = make_keys(&s);
	struct buf text = { 0 };
	struct fail why;
	char user[300];

	assert_true(token_mint(k, &s.conf, "7", NOW, 60, &text, &why));
	assert_string_equal(verify(k, buf_slice(&text), user), "");
	assert_string_equal(user, "7");
	/* A byte in the middle of the signature, so that the spelling stays sound. */
	text.data[text.len - 20] = text.data[text.len - 20] == 'A' ? 'B' : 'A';
	assert_string_equal(verify(k, buf_slice(&text), user), "signature");
	/* The classic: the public key, which everybody has, as an HMAC secret. */
	assert_string_equal(verify_forged(k, HEADER, GOOD, public, user), "algorithm");
	buf_clear(&text);
	buf_addf(&text, "{\"alg\":\"%s\"}", algorithm);
	assert_string_equal(verify_forged(k, text.data, GOOD, public, user), "signature");
	buf_fini(&text);
	token_keys_free(k);
	free(public);
	free(private);
}

static void key_pairs_sign_and_verify(void **state)
{
	(void)state;
	assert_pair_works("RS256", KEYS "rsa.pub.pem", KEYS "rsa.pem");
	assert_pair_works("RS384", KEYS "rsa.pub.pem", KEYS "rsa.pem");
	assert_pair_works("RS512", KEYS "rsa.pub.pem", KEYS "rsa.pem");
	assert_pair_works("ES256", KEYS "ec256.pub.pem", KEYS "ec256.pem");
	assert_pair_works("ES384", KEYS "ec384.pub.pem", KEYS "ec384.pem");
	assert_pair_works("ES512", KEYS "ec521.pub.pem", KEYS "ec521.pem");
}

static void another_pair_does_not_verify(void **state)
{
	char *public = forge_read_file(KEYS "rsa.pub.pem"), *private = forge_read_file(KEYS "rsa-other.pem");
	struct setting s = pair_new("RS256", public, private);
	struct token_keys *k = make_keys(&s);
	struct buf text = { 0 };
	struct fail why;
	char user[300];

	(void)state;
	assert_true(token_mint(k, &s.conf, "7", NOW, 60, &text, &why));
	assert_string_equal(verify(k, buf_slice(&text), user), "signature");
	buf_fini(&text);
	token_keys_free(k);
	free(public);
	free(private);
}

static void assert_key_refused(const char *algorithm, const char *key, const char *says)
{
	struct setting s = setting_new(algorithm, key);
	struct fail why = { 0 };

	s.conf.keys = s.keys;
	assert_null(token_keys_new(&s.conf, &why));
	if (!strstr(why.text, says))
		fail_msg("%s: \"%s\" instead of \"%s\"", algorithm, why.text, says);
	assert_int_not_equal(why.line, 0);
}

static void assert_file_refused(const char *algorithm, const char *file, const char *says)
{
	char *key = forge_read_file(file);

	assert_key_refused(algorithm, key, says);
	free(key);
}

static void unfit_keys_are_refused(void **state)
{
	(void)state;
	assert_key_refused("none", SECRET, "algorithm");
	assert_key_refused("hs256", SECRET, "algorithm");
	assert_key_refused("PS256", SECRET, "algorithm");
	assert_key_refused("HS256", "", "empty");
	assert_key_refused("HS256", " \n", "empty");
	assert_key_refused("RS256", "", "empty");
	assert_key_refused("RS256", SECRET, "PEM");
	assert_key_refused("ES256", SECRET, "PEM");
	assert_file_refused("HS256", KEYS "rsa.pub.pem", "shared secret");
	assert_file_refused("HS512", KEYS "ec256.pem", "shared secret");
	assert_file_refused("RS256", KEYS "ec256.pub.pem", "needs a key of kind RSA, this one is EC P-256");
	assert_file_refused("ES256", KEYS "rsa.pub.pem", "this one is RSA");
	assert_file_refused("ES256", KEYS "ec384.pub.pem", "this one is EC P-384");
	assert_file_refused("ES512", KEYS "ec256.pub.pem", "needs a key of kind EC P-521");
	assert_file_refused("RS256", KEYS "ed25519.pub.pem", "neither RSA");
	assert_file_refused("RS256", KEYS "rsa-1024.pub.pem", "2048");
	assert_file_refused("RS256", KEYS "rsa.crt.pem", "openssl x509");
	assert_file_refused("RS256", KEYS "rsa-pkcs1.pub.pem", "openssl rsa");
	assert_file_refused("RS256", KEYS "rsa-encrypted.pem", "openssl pkey");
	assert_file_refused("ES256", KEYS "ec256-sec1.pem", "openssl pkey");
	assert_file_refused("RS256", KEYS "rsa.pem", "only private keys");
}

static void damaged_pems_are_refused(void **state)
{
	char *pem = forge_read_file(KEYS "rsa.pub.pem"), *cut = strdup(pem);
	struct buf text = { 0 };

	(void)state;
	for (size_t n = 1; n + 2 < strlen(pem); n++) {
		memcpy(cut, pem, n);
		cut[n] = '\0';
		assert_key_refused("RS256", cut, "");
	}
	buf_addf(&text, "%s%s", pem, pem);
	assert_key_refused("RS256", text.data, "more than one");
	memcpy(cut, pem, strlen(pem) + 1);
	cut[40] = '!';
	assert_key_refused("RS256", cut, "damaged");
	assert_key_refused("RS256",
			   "-----BEGIN PUBLIC KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIB\n-----END PUBLIC KEY-----",
			   "encrypted");
	assert_key_refused("RS256", "-----BEGIN PUBLIC KEY-----\nMIAA\n-----END PUBLIC KEY-----", "damaged");
	assert_key_refused("RS256", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----", "damaged");
	assert_key_refused("RS256", "-----BEGIN PUBLIC KEY-----", "cut");
	buf_fini(&text);
	free(cut);
	free(pem);
}

static void keys_need_names_of_their_own(void **state)
{
	struct setting s = setting_new("HS256", SECRET);
	struct fail why = { 0 };

	(void)state;
	s.conf.keys = s.keys;
	s.keys[0].kid = (char *)"a";
	s.keys[1] = (struct conf_jwt_key){ .kid = (char *)"a", .key = (char *)OTHER_SECRET, .line = 6 };
	s.conf.n_keys = 2;
	assert_null(token_keys_new(&s.conf, &why));
	assert_int_equal(why.line, 6);
	s.conf.n_keys = 0;
	assert_null(token_keys_new(&s.conf, &why));
	assert_non_null(strstr(why.text, "no key"));
	s.conf.n_keys = 1;
	s.conf.user_claim = (char *)"";
	assert_null(token_keys_new(&s.conf, &why));
	assert_non_null(strstr(why.text, "user-claim"));
}

static void minted_tokens_are_what_simplejwt_makes(void **state)
{
	struct setting s = setting_new("HS384", SECRET);
	struct buf text = { 0 }, claim = { 0 };
	struct token_keys *k;
	struct token_fault refusal;
	struct token token;
	struct fail why;

	(void)state;
	s.conf.issuer = (char *)"dms";
	s.conf.audience = (char *)"pages";
	s.keys[0].kid = (char *)"k1";
	k = make_keys(&s);
	assert_true(token_mint(k, &s.conf, "7", NOW, 60, &text, &why));
	assert_true(token_verify(k, buf_slice(&text), NOW, &token, &refusal));
	assert_string_equal(token.user, "7");
	assert_int_equal(token.expires, NOW + 60 + 10);
	assert_int_equal(json_string_length(json_object_get(token.claims, "jti")), 32);
	assert_true(token_claim(&token, "iat", &claim));
	assert_string_equal(claim.data, "1700000000");
	token_fini(&token);
	assert_null(token.user);
	assert_true(token_verify(k, buf_slice(&text), NOW + 69, &token, &refusal));
	token_fini(&token);
	assert_false(token_verify(k, buf_slice(&text), NOW + 70, &token, &refusal));
	assert_string_equal(refusal.check, "expired");

	assert_false(token_mint(k, &s.conf, "", NOW, 60, &text, &why));
	assert_false(token_mint(k, &s.conf, "a\nb", NOW, 60, &text, &why));
	assert_false(token_mint(k, &s.conf, "7", NOW, 0, &text, &why));
	assert_false(token_mint(k, &s.conf, "7", NOW, INT64_MAX, &text, &why));
	buf_fini(&claim);
	buf_fini(&text);
	token_keys_free(k);
}

/* Each time that is wrong, with how much. The leeway is ten seconds, that of iat a minute. */
static void the_clock_is_told_by_how_much(void **state)
{
	static const struct {
		const char *payload;
		int64_t leeway; /* ms */
		const char *detail, *words;
	} cases[] = {
		{ "\"exp\":1699999958", 0, "expired 42 s ago", "token expired" },
		{ "\"exp\":1700000000", 0, "expired 0 s ago", "token expired" },
		{ "\"exp\":1699999958", 10000, "expired 42 s ago, and jwt.leeway is 10 s", "token expired" },
		{ "\"exp\":1699999995", 10000, "", NULL },
		{ EXP ",\"nbf\":1700000012", 0,
		  "not valid for another 12 s (nbf, leeway 0 s): is this machine's clock right?",
		  "token not valid yet" },
		{ EXP ",\"nbf\":1700000012", 10000,
		  "not valid for another 12 s (nbf, leeway 10 s): is this machine's clock right?",
		  "token not valid yet" },
		{ EXP ",\"nbf\":1700000012", 12000, "", NULL },
		{ EXP ",\"iat\":1700000075", 0,
		  "not valid for another 75 s (iat, leeway 60 s): is this machine's clock right?",
		  "token not valid yet" },
		{ EXP ",\"iat\":1700000075", 80000, "", NULL },
		{ EXP ",\"nbf\":1700000000000", 0,
		  "nbf is 1698300000000 s ahead: is it in milliseconds? It must be in seconds", "token not valid yet" },
		{ "\"exp\":\"1700000900\"", 0, "exp must be a whole number of seconds since 1970",
		  "token without an expiry" },
		{ "\"a\":1", 0, "exp must be a whole number of seconds since 1970", "token without an expiry" },
		{ EXP ",\"iat\":1.5", 0, "iat must be a whole number of seconds since 1970", "token not valid yet" },
		{ EXP ",\"token_type\":\"refresh\"", 0, "", "token of another type" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct setting s = setting_new("HS256", SECRET);
		struct buf payload = { 0 }, text = { 0 };
		struct token_fault why;
		struct token token;
		struct token_keys *k;
		bool ok;

		s.conf.leeway = cases[i].leeway;
		k = make_keys(&s);
		buf_addf(&payload, "{%s" USER ",%s}", strstr(cases[i].payload, "token_type") ? "" : ACCESS ",",
			 cases[i].payload);
		forge_token(slice_of(HEADER), buf_slice(&payload), SECRET, &text);
		ok = token_verify(k, buf_slice(&text), NOW, &token, &why);
		assert_int_equal(ok, cases[i].words == NULL);
		assert_string_equal(why.detail, cases[i].detail);
		if (!ok)
			assert_string_equal(why.words, cases[i].words);
		token_fini(&token);
		buf_fini(&text);
		buf_fini(&payload);
		token_keys_free(k);
	}
}

static void minting_needs_a_key_that_signs(void **state)
{
	char *public = forge_read_file(KEYS "rsa.pub.pem");
	struct setting s = setting_new("RS256", public);
	struct token_keys *k = make_keys(&s);
	struct buf text = { 0 };
	struct fail why;

	(void)state;
	assert_false(token_mint(k, &s.conf, "7", NOW, 60, &text, &why));
	assert_non_null(strstr(why.text, "private key"));
	assert_int_equal(text.len, 0);
	token_keys_free(k);
	free(public);
}

static void claims_are_read_as_text(void **state)
{
	static const struct {
		const char *name, *text; /* NULL: no text */
	} cases[] = {
		{ "s", "x\"y" }, { "i", "-5" }, { "t", "true" }, { "f", "false" },   { "empty", "" },
		{ "n", NULL },   { "a", NULL }, { "o", NULL },   { "absent", NULL },
	};
	struct setting s = setting_new("HS256", SECRET);
	struct token_keys *k = make_keys(&s);
	struct buf text = { 0 }, claim = { 0 };
	struct token token;
	struct token_fault why;

	(void)state;
	forge_token(slice_of(HEADER),
		    SLICE("{" ACCESS "," EXP "," USER
			  ",\"s\":\"x\\\"y\",\"i\":-5,\"t\":true,\"f\":false,\"empty\":\"\","
			  "\"n\":null,\"a\":[1],\"o\":{}}"),
		    SECRET, &text);
	assert_true(token_verify(k, buf_slice(&text), NOW, &token, &why));
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		buf_clear(&claim);
		assert_int_equal(token_claim(&token, cases[i].name, &claim), cases[i].text != NULL);
		assert_string_equal(buf_slice(&claim).at, cases[i].text ? cases[i].text : "");
	}
	token_fini(&token);
	buf_fini(&claim);
	buf_fini(&text);
	token_keys_free(k);
}

/* The JSON library keeps a double, which has forgotten how it was spelled. */
static void numbers_keep_their_spelling(void **state)
{
	static const struct {
		const char *claims, *text; /* the value of r */
	} cases[] = {
		{ "\"r\":1.5", "1.5" },
		{ "\"r\":1.50", "1.50" },
		{ "\"r\":0.1", "0.1" },
		{ "\"r\":-0.0", "-0.0" },
		{ "\"r\":1e2", "1e2" },
		{ "\"r\":1E+2", "1E+2" },
		{ "\"r\":12345678901234567890.125", "12345678901234567890.125" },
		{ " \"r\" \t:\r\n 2.50 ", "2.50" },
		{ "\"\\u0072\":3.10", "3.10" },
		/* the same name elsewhere, and text that looks like a member */
		{ "\"o\":{\"r\":9.5},\"r\":4.0", "4.0" },
		{ "\"a\":[{\"r\":9.5},[\"r\"]],\"r\":4.10", "4.10" },
		{ "\"s\":\"r\",\"r\":5.0", "5.0" },
		{ "\"s\":\"\\\"r\\\":9.5,\",\"r\":6.0", "6.0" },
		{ "\"s\":\"}]\\\\\",\"r\":7.0", "7.0" },
		{ "\"rr\":9.5,\"R\":9.5,\"r\":8.0", "8.0" },
	};
	struct setting s = setting_new("HS256", SECRET);
	struct token_keys *k = make_keys(&s);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct buf text = { 0 }, claim = { 0 }, payload = { 0 };
		struct token token;
		struct token_fault why;

		buf_addf(&payload, "{" ACCESS "," EXP "," USER ",%s}", cases[i].claims);
		forge_token(slice_of(HEADER), buf_slice(&payload), SECRET, &text);
		assert_true(token_verify(k, buf_slice(&text), NOW, &token, &why));
		assert_true(token_claim(&token, "r", &claim));
		assert_string_equal(claim.data, cases[i].text);
		token_fini(&token);
		buf_fini(&claim);
		buf_fini(&text);
		buf_fini(&payload);
	}
	token_keys_free(k);
}

struct shared {
	const struct token_keys *keys;
	struct slice good, bad;
	size_t failed;
};

static void *verify_often(void *arg)
{
	struct shared *shared = arg;
	size_t failed = 0;

	for (size_t i = 0; i < 300; i++) {
		struct token token;
		struct token_fault why;

		failed += !token_verify(shared->keys, shared->good, NOW, &token, &why);
		token_fini(&token);
		failed += token_verify(shared->keys, shared->bad, NOW, &token, &why);
	}
	__atomic_add_fetch(&shared->failed, failed, __ATOMIC_RELAXED);
	return NULL;
}

static void keys_are_shared_by_threads(void **state)
{
	char *public = forge_read_file(KEYS "rsa.pub.pem"), *private = forge_read_file(KEYS "rsa.pem");
	struct setting s = pair_new("RS256", public, private);
	struct token_keys *k = make_keys(&s);
	struct buf good = { 0 }, bad = { 0 };
	struct shared shared = { .keys = k };
	pthread_t threads[4];
	struct fail why;

	(void)state;
	assert_true(token_mint(k, &s.conf, "7", NOW, 60, &good, &why));
	buf_add(&bad, good.data, good.len);
	bad.data[bad.len - 20] = bad.data[bad.len - 20] == 'A' ? 'B' : 'A';
	shared.good = buf_slice(&good);
	shared.bad = buf_slice(&bad);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, verify_often, &shared), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(shared.failed, 0);
	buf_fini(&good);
	buf_fini(&bad);
	token_keys_free(k);
	free(public);
	free(private);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signed_tokens_are_judged),
		cmocka_unit_test(spoilt_tokens_are_refused),
		cmocka_unit_test(sizes_are_bounded),
		cmocka_unit_test(issuer_and_audience_are_checked_where_configured),
		cmocka_unit_test(token_type_is_free_where_not_configured),
		cmocka_unit_test(kid_chooses_among_the_keys),
		cmocka_unit_test(key_pairs_sign_and_verify),
		cmocka_unit_test(another_pair_does_not_verify),
		cmocka_unit_test(unfit_keys_are_refused),
		cmocka_unit_test(damaged_pems_are_refused),
		cmocka_unit_test(keys_need_names_of_their_own),
		cmocka_unit_test(minted_tokens_are_what_simplejwt_makes),
		cmocka_unit_test(the_clock_is_told_by_how_much),
		cmocka_unit_test(minting_needs_a_key_that_signs),
		cmocka_unit_test(claims_are_read_as_text),
		cmocka_unit_test(numbers_keep_their_spelling),
		cmocka_unit_test(keys_are_shared_by_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
