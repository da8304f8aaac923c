#include "walpush/token/token.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "walpush/base/mem.h"
#include "token_keys.h"

#define USER_LENGTH_MAX 255
/* s. `iat` protects nothing; it only must not be in the future. The issuer's clock may be a little ahead even if no leeway is configured, and a
 * token is often used in the second in which it was issued. */
#define IAT_GRACE 60

/*
 * libjwt trusts the algorithm that a token names, reads base64 leniently, stops at a zero byte, ignores bytes after a third dot, keeps copies
 * on the stack, and differs between versions in all of this. So the form and the header of a token are checked here first, strictly. Then
 * libjwt checks the signature. Then the claims are read here, strictly too, from the signed bytes.
 */
struct parts {
	struct slice header;
	struct slice payload;
	struct slice signature;
};

/* Returns false, so that a check can return it. */
static bool refused(struct token_fault *why, const char *check)
{
	static const struct {
		const char *check, *words;
	} table[] = {
		{ "length", "token too long or empty" },
		{ "form", "not a token" },
		{ "header", "not a token of a kind that is understood" },
		{ "algorithm", "token of another algorithm" },
		{ "signature", "token signed with another key" },
		{ "exp", "token without an expiry" },
		{ "expired", "token expired" },
		{ "nbf", "token not valid yet" },
		{ "iat", "token not valid yet" },
		{ "iss", "token of another issuer" },
		{ "aud", "token for another audience" },
		{ "token_type", "token of another type" },
		{ "user", "token without a user" },
	};

	why->check = check;
	why->words = "token refused";
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (strcmp(table[i].check, check) == 0)
			why->words = table[i].words;
	return false;
}

static int base64url_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	return c == '_' ? 63 : -1;
}

/* No padding, at least one byte, and the unused bits of the last character are zero: so each run of bytes has only one spelling. */
static bool is_base64url(struct slice s)
{
	unsigned spare = s.len % 4 == 2 ? 0xF : s.len % 4 == 3 ? 0x3 : 0;

	if (s.len < 2 || s.len % 4 == 1)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (base64url_value(s.at[i]) < 0)
			return false;
	return ((unsigned)base64url_value(s.at[s.len - 1]) & spare) == 0;
}

/* is_base64url(s) must be true. */
static void add_decoded(struct slice s, struct buf *out)
{
	unsigned bits = 0, n_bits = 0;

	for (size_t i = 0; i < s.len; i++) {
		bits = bits << 6 | (unsigned)base64url_value(s.at[i]);
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			buf_add_char(out, (char)(bits >> n_bits));
		}
	}
}

static bool split(struct slice text, struct parts *out, struct token_fault *why)
{
	struct slice *part[] = { &out->header, &out->payload, &out->signature };

	if (text.len == 0 || text.len > TOKEN_LENGTH_MAX)
		return refused(why, "length");
	for (size_t i = 0; i < 3; i++) {
		const char *dot = i < 2 ? memchr(text.at, '.', text.len) : NULL;

		if (i < 2 && !dot)
			return refused(why, "form");
		*part[i] = (struct slice){ text.at, dot ? (size_t)(dot - text.at) : text.len };
		/* A dot is not in the alphabet, so a token with four parts fails here. */
		if (!is_base64url(*part[i]))
			return refused(why, "form");
		if (dot) {
			text.len -= part[i]->len + 1;
			text.at = dot + 1;
		}
	}
	return true;
}

/* `crit` names extensions that the reader must understand (RFC 7515, section 4.1.11). walpush supports none, so a header with `crit` is refused. */
static bool check_header(const struct token_keys *k, const json_t *header, struct token_fault *why)
{
	const char *algorithm = json_string_value(json_object_get(header, "alg"));
	const json_t *type = json_object_get(header, "typ");
	const json_t *kid = json_object_get(header, "kid");

	if (!json_is_object(header))
		return refused(why, "header");
	if (!algorithm || strcmp(algorithm, k->algorithm_name) != 0)
		return refused(why, "algorithm");
	if (type && (!json_is_string(type) || strcasecmp(json_string_value(type), "JWT") != 0))
		return refused(why, "header");
	if ((kid && !json_is_string(kid)) || json_object_get(header, "crit"))
		return refused(why, "header");
	return true;
}

/* `text` becomes the decoded part. NULL: it is not JSON, or it has a name twice, which two parsers may read differently. */
static json_t *read_part(struct slice part, struct buf *text)
{
	add_decoded(part, text);
	return json_loadb(text->data, text->len, JSON_REJECT_DUPLICATES, NULL);
}

static json_t *read_header(const struct token_keys *k, struct slice part, struct token_fault *why)
{
	struct buf text = { 0 };
	json_t *header = read_part(part, &text);

	buf_fini(&text);
	if (check_header(k, header, why))
		return header;
	json_decref(header);
	return NULL;
}

static bool did_sign(const struct token_keys *k, const struct token_key *key, const char *token)
{
	jwt_t *jwt = NULL;
	bool ok;

	if (jwt_decode(&jwt, token, (const unsigned char *)key->text, key->len) != 0)
		return false;
	ok = jwt_get_alg(jwt) == k->algorithm;
	jwt_free(jwt);
	return ok;
}

/* A kid only chooses among the configured keys. An unknown kid is treated as no kid. */
static const struct token_key *find_key(const struct token_keys *k, const char *kid)
{
	for (size_t i = 0; kid && i < k->n; i++)
		if (k->at[i].verifies && k->at[i].kid && strcmp(k->at[i].kid, kid) == 0)
			return &k->at[i];
	return NULL;
}

static bool is_signed(const struct token_keys *k, const char *kid, const char *token)
{
	const struct token_key *named = find_key(k, kid);

	if (named)
		return did_sign(k, named, token);
	for (size_t i = 0; i < k->n; i++)
		if (k->at[i].verifies && did_sign(k, &k->at[i], token))
			return true;
	return false;
}

static bool read_time(const json_t *claim, int64_t *out)
{
	*out = json_integer_value(claim);
	return json_is_integer(claim) && *out >= 0 && *out <= TOKEN_TIME_MAX;
}

static bool not_a_time(struct token_fault *why, const char *claim)
{
	snprintf(why->detail, sizeof(why->detail), "%s must be a whole number of seconds since 1970", claim);
	return refused(why, claim);
}

/* Ten years are no wrong clock: JavaScript's Date.now() counts milliseconds. */
static bool not_yet(struct token_fault *why, const char *claim, int64_t ahead, int64_t leeway)
{
	if (ahead > 10 * INT64_C(31557600))
		snprintf(why->detail, sizeof(why->detail),
			 "%s is %" PRId64 " s ahead: is it in milliseconds? It must be in seconds", claim, ahead);
	else
		snprintf(why->detail, sizeof(why->detail),
			 "not valid for another %" PRId64 " s (%s, leeway %" PRId64
			 " s): is this machine's clock right?",
			 ahead, claim, leeway);
	return refused(why, claim);
}

static bool is_over(struct token_fault *why, int64_t ago, int64_t leeway)
{
	int n = snprintf(why->detail, sizeof(why->detail), "expired %" PRId64 " s ago", ago);

	if (leeway)
		snprintf(why->detail + n, sizeof(why->detail) - (size_t)n, ", and jwt.leeway is %" PRId64 " s", leeway);
	return refused(why, "expired");
}

/* nbf and iat may be absent, and must not be in the future. */
static bool has_come(const json_t *claims, const char *name, int64_t now, int64_t leeway, struct token_fault *why)
{
	const json_t *claim = json_object_get(claims, name);
	int64_t at;

	if (!claim)
		return true;
	if (!read_time(claim, &at))
		return not_a_time(why, name);
	return at <= now + leeway || not_yet(why, name, at - now, leeway);
}

static bool check_times(const struct token_keys *k, const json_t *claims, int64_t now, int64_t *expires,
			struct token_fault *why)
{
	if (!read_time(json_object_get(claims, "exp"), expires))
		return not_a_time(why, "exp");
	*expires += k->leeway;
	if (now >= *expires)
		return is_over(why, now - *expires + k->leeway, k->leeway);
	return has_come(claims, "nbf", now, k->leeway, why) &&
	       has_come(claims, "iat", now, k->leeway > IAT_GRACE ? k->leeway : IAT_GRACE, why);
}

static bool is_text(const json_t *value, const char *text)
{
	return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

/* The claim must be a string, or an array of strings only (RFC 7519, section 4.1.3). */
static bool names_audience(const json_t *claim, const char *audience)
{
	bool found = false;

	if (!json_is_array(claim))
		return is_text(claim, audience);
	for (size_t i = 0; i < json_array_size(claim); i++) {
		const json_t *each = json_array_get(claim, i);

		if (!json_is_string(each))
			return false;
		found = found || is_text(each, audience);
	}
	return found;
}

static bool check_texts(const struct token_keys *k, const json_t *claims, struct token_fault *why)
{
	if (k->issuer && !is_text(json_object_get(claims, "iss"), k->issuer))
		return refused(why, "iss");
	if (k->audience && !names_audience(json_object_get(claims, "aud"), k->audience))
		return refused(why, "aud");
	if (*k->token_type && !is_text(json_object_get(claims, "token_type"), k->token_type))
		return refused(why, "token_type");
	return true;
}

bool token_user_is_sound(const char *user)
{
	const unsigned char *s = (const unsigned char *)user;
	size_t n = 0;

	/* C0, DEL, and C1, which UTF-8 writes as C2 80 to C2 9F. */
	for (; s[n]; n++)
		if (n == USER_LENGTH_MAX || s[n] < 0x20 || s[n] == 0x7F || (s[n] == 0xC2 && s[n + 1] < 0xA0))
			return false;
	return n > 0;
}

static char *read_user(const struct token_keys *k, const struct token *token, struct token_fault *why)
{
	const json_t *claim = json_object_get(token->claims, k->user_claim);
	struct buf user = { 0 };

	if ((json_is_integer(claim) || json_is_string(claim)) && token_claim(token, k->user_claim, &user) &&
	    token_user_is_sound(buf_slice(&user).at))
		return buf_steal(&user);
	buf_fini(&user);
	refused(why, "user");
	return NULL;
}

static void keep_payload(struct slice part, struct token *out)
{
	struct buf text = { 0 };

	out->claims = read_part(part, &text);
	out->payload = buf_steal(&text);
}

static bool read_claims(const struct token_keys *k, struct slice text, struct token *out, struct token_fault *why)
{
	struct parts parts = { 0 };
	json_t *header;
	char *token;
	bool ok;

	if (!split(text, &parts, why))
		return false;
	header = read_header(k, parts.header, why);
	if (!header)
		return false;
	token = mem_text_of(text);
	ok = is_signed(k, json_string_value(json_object_get(header, "kid")), token);
	free(token);
	json_decref(header);
	if (ok)
		keep_payload(parts.payload, out);
	return out->claims || refused(why, ok ? "form" : "signature");
}

bool token_verify(const struct token_keys *k, struct slice text, int64_t now, struct token *out,
		  struct token_fault *why)
{
	*out = (struct token){ 0 };
	*why = (struct token_fault){ 0 };
	/* A payload that is not an object has no members, so the check of exp refuses it. */
	if (read_claims(k, text, out, why) && check_times(k, out->claims, now, &out->expires, why) &&
	    check_texts(k, out->claims, why))
		out->user = read_user(k, out, why);
	if (out->user)
		return true;
	token_fini(out);
	return false;
}

void token_fini(struct token *t)
{
	free(t->user);
	free(t->payload);
	json_decref(t->claims);
	*t = (struct token){ 0 };
}
