/* token_claimed: a token as it would be, for questions about one that nobody has shown. */
#include <string.h>

#include "token_keys.h"
#include "walpush/base/mem.h"
#include "walpush/token/token.h"

/* A claim that is not given is what it must be. `wanted` NULL or empty: it is not checked. */
static bool settle(json_t *claims, const char *name, const char *wanted)
{
	const char *given = json_string_value(json_object_get(claims, name));

	if (!wanted || !*wanted)
		return true;
	if (given)
		return strcmp(given, wanted) == 0;
	json_object_set_new(claims, name, json_string(wanted));
	return true;
}

static const char *refusal(const struct conf_jwt *conf, const char *user, json_t *claims)
{
	if (!settle(claims, "iss", conf->issuer))
		return "iss";
	if (!settle(claims, "aud", conf->audience))
		return "aud";
	if (!settle(claims, "token_type", conf->token_type))
		return "token_type";
	return token_user_is_sound(user) ? NULL : "user";
}

bool token_claimed(const struct conf_jwt *conf, const char *user, const json_t *claims, struct token *out,
		   struct fail *why)
{
	const char *refused;

	*out = (struct token){ .expires = INT64_MAX, .claims = json_deep_copy(claims) };
	json_object_set_new(out->claims, conf->user_claim, json_string(user));
	refused = refusal(conf, user, out->claims);
	if (!refused) {
		out->user = mem_text(user);
		return true;
	}
	token_fini(out);
	return fail_set(why, "%s", refused);
}
