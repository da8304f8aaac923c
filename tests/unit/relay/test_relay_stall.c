/* What counts as no progress of the relay, and how it is said. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

#include "relay_stall.h"

#define S 1000000
#define OOM "OOM command not allowed when used memory > 'maxmemory'."
#define NOPERM "NOPERM this user has no permissions to run the 'xread' command"

static const struct {
	struct relay_stall s;
	const char *sentence, *words; /* NULL: none */
} cases[] = {
	{ { 0, "", 0, "" }, NULL, NULL },
	{ { 1, "", 0, "" }, NULL, NULL },
	{ { RELAY_STALL, "", 0, "" }, NULL, NULL },
	{ { RELAY_STALL + 1, "", 0, "" }, "Redis has not acknowledged what is appended to the stream", NULL },
	{ { 3 * S, OOM, 0, "" }, NULL, NULL },
	{ { 11 * S, OOM, 0, "" }, "Redis refuses what is appended to the stream: " OOM, OOM },
	/* Refused before, but nothing waits. */
	{ { 0, OOM, 0, "" }, NULL, NULL },
	{ { 0, "", RELAY_STALL, NOPERM }, NULL, NULL },
	{ { 0, "", RELAY_STALL + 1, NOPERM }, "Redis refuses to let the stream be read: " NOPERM, NOPERM },
	/* A read that works leaves its words behind. */
	{ { 0, "", 0, NOPERM }, NULL, NULL },
	{ { 11 * S, OOM, 11 * S, NOPERM }, "Redis refuses what is appended to the stream: " OOM, OOM },
	{ { 3 * S, OOM, 11 * S, NOPERM }, "Redis refuses to let the stream be read: " NOPERM, NOPERM },
};

static void assert_same(const char *is, const char *expected)
{
	if (is && expected)
		assert_string_equal(is, expected);
	else
		assert_true(is == expected);
}

static void each_stall(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char out[RELAY_STALL_TEXT];

		assert_same(relay_stall_say(&cases[i].s, out), cases[i].sentence);
		assert_same(relay_stall_words(&cases[i].s), cases[i].words);
	}
}

static void the_longest_words_fit(void **state)
{
	char words[REDISREFUSAL_WORDS], out[RELAY_STALL_TEXT];
	struct relay_stall s = { .append_lag = 11 * S, .append_words = words, .read_words = words };

	(void)state;
	memset(words, 'x', sizeof(words));
	words[sizeof(words) - 1] = '\0';
	assert_non_null(strstr(relay_stall_say(&s, out), words));
	s = (struct relay_stall){ .append_words = words, .read_lag = 11 * S, .read_words = words };
	assert_non_null(strstr(relay_stall_say(&s, out), words));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_stall),
		cmocka_unit_test(the_longest_words_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
