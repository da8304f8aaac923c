#include "walpush/text/secretname.h"

#include <ctype.h>
#include <string.h>

/* Bytes. PostgreSQL's names have at most 63 bytes; with a blank before each word and one at the end they fit. */
#define WORDS_MAX 256

/* A word with one of these endings is a secret: "clientsecret". */
static const char *const endings[] = { "password",  "passwd",     "passphrase", "passcode", "pwd",        "secret",
				       "token",     "credential", "otp",        "apikey",   "privatekey", "secretkey",
				       "accesskey", "signingkey", "sessionkey", "authkey",  "cardnumber", "passhash" };
/* A word with one of these beginnings is a secret: "passwordhash". */
static const char *const beginnings[] = { "password", "passwd", "passphrase" };
/* Whole words, one or several. */
static const char *const phrases[] = {
	"ssn",
	"cvv",
	"cvc",
	"pin",
	"mfa",
	"2fa",
	"jwt",
	"salt",
	"iban",
	"aadhaar",
	"aadhar",
	"pepper",
	"cookie",
	"mnemonic",
	"user pass",
	"pass hash",
	"pw hash",
	"hashed pw",
	"seed phrase",
	"master key",
	"ssh key",
	"hmac key",
	"api key",
	"access key",
	"private key",
	"signing key",
	"session key",
	"encryption key",
	"auth key",
	"card number",
	"credit card",
	"account number",
	"routing number",
	"security code",
	"recovery code",
	"backup code",
	"reset code",
	"verification code",
	"security answer",
	"social security",
	"tax id",
	"national id",
	"passport number",
};

/* Only as the whole name: "file_hash" is of a file. */
static const char *const names[] = { " hash ", " pass ", " pw " };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A word begins at a capital after a small letter, and at the last of several capitals before a small letter. split handles other characters. */
static bool begins_word(const char *name, size_t i)
{
	const unsigned char *at = (const unsigned char *)name + i;

	if (i == 0)
		return true;
	return isupper(at[0]) && (islower(at[-1]) || (isupper(at[-1]) && islower(at[1])));
}

/* " api key ": small letters, one blank between words, before the first one and after the last one. */
static void split(const char *name, char out[WORDS_MAX])
{
	size_t n = 0;
	bool apart = true;

	for (size_t i = 0; name[i] && n + 4 < WORDS_MAX; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c < 0x80 && !isalnum(c)) {
			apart = true;
			continue;
		}
		if (apart || begins_word(name, i))
			out[n++] = ' ';
		apart = false;
		out[n++] = (char)tolower(c);
	}
	out[n++] = ' ';
	out[n] = '\0';
}

/* The length without a number and an "s" at the end: "tokens", "password2". */
static size_t stem(const char *word, size_t len)
{
	while (len > 1 && isdigit((unsigned char)word[len - 1]))
		len--;
	return len > 1 && word[len - 1] == 's' ? len - 1 : len;
}

static bool is_secret_word(const char *word, size_t len)
{
	size_t short_len = stem(word, len);

	for (size_t i = 0; i < COUNT(endings); i++) {
		size_t n = strlen(endings[i]);

		if (n <= short_len && memcmp(word + short_len - n, endings[i], n) == 0)
			return true;
	}
	for (size_t i = 0; i < COUNT(beginnings); i++)
		if (len >= strlen(beginnings[i]) && memcmp(word, beginnings[i], strlen(beginnings[i])) == 0)
			return true;
	return false;
}

/* Whole words only: a blank is before the phrase and after it; an "s" and a number may be before the second blank. */
static bool has_phrase(const char *words, const char *phrase)
{
	size_t len = strlen(phrase);

	for (const char *at = words; (at = strstr(at, phrase)); at++) {
		const char *behind = at + len;

		behind += *behind == 's';
		behind += strspn(behind, "0123456789");
		if (at > words && at[-1] == ' ' && *behind == ' ')
			return true;
	}
	return false;
}

bool secretname_is(const char *column)
{
	char words[WORDS_MAX];

	split(column, words);
	for (const char *at = words + strspn(words, " "); *at; at += strspn(at, " ")) {
		size_t len = strcspn(at, " ");

		if (is_secret_word(at, len))
			return true;
		at += len;
	}
	for (size_t i = 0; i < COUNT(names); i++)
		if (strcmp(words, names[i]) == 0)
			return true;
	for (size_t i = 0; i < COUNT(phrases); i++)
		if (has_phrase(words, phrases[i]))
			return true;
	return false;
}
