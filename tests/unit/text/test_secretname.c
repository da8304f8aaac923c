/* secretname: which names of columns look like secrets. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "walpush/text/secretname.h"

static void expect_each(const char *const *names, size_t n, bool wanted)
{
	for (size_t i = 0; i < n; i++)
		if (secretname_is(names[i]) != wanted)
			fail_msg("%s is %staken for a secret", names[i], wanted ? "not " : "");
}

#define EXPECT_EACH(names, wanted) expect_each(names, sizeof(names) / sizeof((names)[0]), wanted)

static void secrets_are_known_by_their_names(void **state)
{
	static const char *const names[] = {
		"password",
		"password_hash",
		"passwordHash",
		"userpassword",
		"Password2",
		"old passwords",
		"passwd",
		"pwd",
		"secret",
		"client_secret",
		"clientSecret",
		"clientsecret",
		"secrets",
		"SECRET",
		"token",
		"access_token",
		"accessToken",
		"refreshtoken",
		"tokens",
		"otp",
		"totp_seed",
		"otp_secret",
		"otp2",
		"OTPCode",
		"ssn",
		"SSN",
		"user_ssn",
		"api_key",
		"apiKey",
		"APIKey",
		"apikey",
		"private_key",
		"privatekey",
		"access_keys",
		"signing-key",
		"session_key",
		"recovery_codes",
		"backup code",
		"cvv",
		"card_cvc",
		"pin",
		"pin_hash",
		"mfa_seed",
		"user_2fa",
		"jwt",
		"salt",
		"credentials",
		"passphrase",
		"security_answer",
		"social_security",
		"tax_id",
		"card_number",
		"aadhaar",
		"iban",
		"token_count",
		"hash",
		"pass",
		"pw",
		"pw_hash",
		"passhash",
		"user_pass",
		"encrypted_password",
		"password_digest",
		"crypted_pwd",
		"hashedPw",
		"sessionkey",
		"signingKey",
		"authkey",
		"cookie",
		"ssh_key",
		"seed_phrase",
		"account_number",
		"credit_card",
		"cardNumber",
	};

	(void)state;
	EXPECT_EACH(names, true);
}

static void other_names_are_left_alone(void **state)
{
	static const char *const names[] = {
		"",          "id",       "status",          "secretary",     "secretary_id",
		"spinner",   "spin",     "pinned",          "option",        "options",
		"key",       "api",      "keyboard",        "tokenizer",     "compass",
		"passenger", "passport", "assn_date",       "crossness",     "description",
		"basalt",    "card",     "number_of_cards", "recovery",      "codes",
		"file_hash", "hashtag",  "passed",          "boarding_pass", "pass_rate",
		"account",   "session",  "session_id",      "commit_hash",   "barcode",
		"__",        "größe",    "department_id",   "to_central",
	};

	(void)state;
	EXPECT_EACH(names, false);
}

/* A name may be as long as its type allows, and longer: only the head of it is looked at then. */
static void long_names_do_no_harm(void **state)
{
	char name[2000];

	(void)state;
	memset(name, 'A', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_false(secretname_is(name));
	for (size_t i = 0; i + 1 < sizeof(name); i++)
		name[i] = i % 2 ? 'a' : 'B';
	assert_false(secretname_is(name));
	memcpy(name, "otp_", 4);
	assert_true(secretname_is(name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(secrets_are_known_by_their_names),
		cmocka_unit_test(other_names_are_left_alone),
		cmocka_unit_test(long_names_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
