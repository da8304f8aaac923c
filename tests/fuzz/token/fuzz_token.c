/*
 * The first byte chooses: the input is a whole token, or the payload, or the header of one that is properly signed. What is
 * accepted must have the header and claims that make it acceptable, as jansson reads them here once more.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "forge.h"
#include "walpush/token/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW INT64_C(1700000000)
#define SECRET "the secret of this fuzz target"
#define HEADER "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define PAYLOAD "{\"token_type\":\"access\",\"exp\":1700000900,\"user_id\":7}"

static struct token_keys *keys_once(void)
{
	static struct token_keys *keys;
	struct conf_jwt_key key = { .key = (char *)SECRET };
	struct conf_jwt conf = { .algorithm = (char *)"HS256",
				 .keys = &key,
				 .n_keys = 1,
				 .user_claim = (char *)"user_id",
				 .token_type = (char *)"access",
				 .audience = NULL };
	struct fail why;

	if (!keys)
		keys = token_keys_new(&conf, &why);
	assert(keys);
	return keys;
}

static void check_claims(const struct token *t, const json_t *claims)
{
	const json_t *exp = json_object_get(claims, "exp"), *user = json_object_get(claims, "user_id");
	const char *type = json_string_value(json_object_get(claims, "token_type"));
	size_t n = strlen(t->user);

	assert(json_is_integer(exp) && json_integer_value(exp) > NOW && t->expires == json_integer_value(exp));
	assert(type && strcmp(type, "access") == 0);
	assert(n > 0 && n <= 255);
	assert(json_is_string(user) ? strcmp(json_string_value(user), t->user) == 0
				    : json_is_integer(user) && strtoll(t->user, NULL, 10) == json_integer_value(user));
	for (size_t i = 0; i < n; i++)
		assert((unsigned char)t->user[i] >= 0x20 && t->user[i] != 0x7F);
}

static bool accepted(struct slice text, struct token *t)
{
	struct token_fault why;
	bool ok = token_verify(keys_once(), text, NOW, t, &why);

	/* No check's name is longer, so no part of a token is in it. */
	assert(ok || (why.check[0] && strlen(why.check) <= strlen("token_type") && !t->user && !t->claims));
	/* Numbers alone come from the token. */
	assert(strlen(why.detail) + 1 < TOKEN_DETAIL_MAX &&
	       strspn(why.detail, " ',.:;?()abcdefghijklmnopqrstuvwxyzIW0123456789") == strlen(why.detail));
	return ok;
}

static void forged(struct slice header, struct slice payload, bool header_is_fuzzed)
{
	struct buf text = { 0 };
	struct token t;

	forge_token(header, payload, SECRET, &text);
	if (accepted(buf_slice(&text), &t)) {
		json_t *root = json_loadb(header.at, header.len, JSON_REJECT_DUPLICATES, NULL);

		check_claims(&t, t.claims);
		assert(strcmp(json_string_value(json_object_get(root, "alg")), "HS256") == 0);
		assert(header_is_fuzzed || t.claims);
		json_decref(root);
		token_fini(&t);
	}
	buf_fini(&text);
}

/* Only who has the secret gets in: whatever is accepted must carry the signature that the secret gives. */
static void raw(struct slice text)
{
	struct token t;

	if (accepted(text, &t)) {
		struct buf again = { 0 };
		const char *dot = memrchr(text.at, '.', text.len);

		buf_add(&again, text.at, (size_t)(dot - text.at));
		forge_sign(&again, SECRET);
		assert(slice_equal(buf_slice(&again), text));
		check_claims(&t, t.claims);
		buf_fini(&again);
		token_fini(&t);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = { (const char *)data + 1, size - 1 };

	if (size < 2)
		return 0;
	switch (data[0]) {
	case 'p':
		forged(SLICE(HEADER), rest, false);
		break;
	case 'h':
		forged(rest, SLICE(PAYLOAD), true);
		break;
	default:
		raw(rest);
	}
	return 0;
}
