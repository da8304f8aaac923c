/* What errors of Redis say, as 6.2.14, 7.0.15, Valkey 7.2.4 and Dragonfly word them. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

#include "walpush/relay/redisrefusal.h"

#define SHA "2b9f5fee85bc10b2fc1e2e9d73532dde538e9f71"
#define BEFORE_62 "ERR Error running script (call to f_" SHA "): @user_script:1: @user_script: 1: "
#define BEHIND_7 " script: " SHA ", on @user_script:1."
#define BEHIND_VALKEY " script: on @user_script:1."
#define READONLY "READONLY You can't write against a read only replica."
#define OOM "OOM command not allowed when used memory > 'maxmemory'."
#define NOREPLICAS "NOREPLICAS Not enough good replicas to write."
#define FORBIDDEN "The user executing the script can't run this command or subcommand"
#define MASTERDOWN "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
#define UNBLOCKED "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
#define DRAGONFLY_BEFORE "ERR Error running script (call to " SHA "): @user_script:2: "

static const struct {
	const char *error, *words;
	bool ends, has_fix;
} cases[] = {
	{ READONLY, READONLY, true, true },
	{ "-" READONLY, "-" READONLY, false, false }, /* hiredis has taken the sign away */
	{ READONLY BEHIND_7, READONLY, true, true },
	{ READONLY BEHIND_VALKEY, READONLY, true, true },
	{ BEFORE_62 "-" READONLY, READONLY, true, true },
	{ DRAGONFLY_BEFORE "-" READONLY, READONLY, true, true },
	{ MASTERDOWN, MASTERDOWN, true, true },
	{ BEFORE_62 "-" MASTERDOWN, MASTERDOWN, true, true },
	{ UNBLOCKED, UNBLOCKED, true, true },
	{ "LOADING Redis is loading the dataset in memory", "LOADING Redis is loading the dataset in memory", true,
	  true },
	{ "MOVED 3999 127.0.0.1:6381", "MOVED 3999 127.0.0.1:6381", true, true },
	{ "CLUSTERDOWN The cluster is down", "CLUSTERDOWN The cluster is down", true, true },
	{ "NOAUTH Authentication required.", "NOAUTH Authentication required.", true, true },
	{ "ROLE says slave", "ROLE says slave", true, true },
	/* The server's, not the connection's. */
	{ OOM BEHIND_7, OOM, false, true },
	{ BEFORE_62 "-" OOM, OOM, false, true },
	{ NOREPLICAS BEHIND_7, NOREPLICAS, false, true },
	{ BEFORE_62 "-" NOREPLICAS, NOREPLICAS, false, true },
	{ "MISCONF Redis is configured to save RDB snapshots" BEHIND_7,
	  "MISCONF Redis is configured to save RDB snapshots", false, true },
	{ "NOPERM this user has no permissions to run the 'eval' command",
	  "NOPERM this user has no permissions to run the 'eval' command", false, true },
	{ "ERR " FORBIDDEN BEHIND_7, "ERR " FORBIDDEN, false, false },
	{ BEFORE_62 FORBIDDEN, FORBIDDEN, false, false },
	{ "ERR ACL failure in script: User u has no permissions to run the 'xadd' command" BEHIND_VALKEY,
	  "ERR ACL failure in script: User u has no permissions to run the 'xadd' command", false, false },
	{ "BUSY Redis is busy running a script.", "BUSY Redis is busy running a script.", false, true },
	{ "TRYAGAIN Multiple keys request during rehashing of slot",
	  "TRYAGAIN Multiple keys request during rehashing of slot", false, false },
	{ "UNKILLABLE Sorry the script already executed write commands",
	  "UNKILLABLE Sorry the script already executed write commands", false, false },
	/* The word is the first one, and whole. */
	{ "ERR key READONLY is of another type", "ERR key READONLY is of another type", false, false },
	{ "READONLYNESS", "READONLYNESS", false, false },
	{ "READONLY", "READONLY", true, true },
	{ "", "", false, false },
	{ " ", " ", false, false },
	{ "ERR Error running script", "ERR Error running script", false, false },
	{ "ERR Error running script: @user_script:", "", false, false },
	{ "ERR a script: of another kind", "ERR a script: of another kind", false, false },
	{ "ERR \x1b[31m\xff\n", "ERR ?[31m??", false, false },
};

static void each_error(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char words[REDISREFUSAL_WORDS];

		redisrefusal_words(words, cases[i].error);
		assert_string_equal(words, cases[i].words);
		if (redisrefusal_ends(cases[i].error) != cases[i].ends)
			fail_msg("\"%s\" %s the connection", cases[i].error,
				 cases[i].ends ? "must end" : "must not end");
		if ((redisrefusal_fix(cases[i].error) != NULL) != cases[i].has_fix)
			fail_msg("\"%s\" %s", cases[i].error, cases[i].has_fix ? "has no fix" : "has a fix");
	}
}

static void long_words_are_cut(void **state)
{
	char error[1000], words[REDISREFUSAL_WORDS];

	(void)state;
	memset(error, 'x', sizeof(error));
	error[sizeof(error) - 1] = '\0';
	redisrefusal_words(words, error);
	assert_int_equal(strlen(words), REDISREFUSAL_WORDS - 1);
}

/* "active-replica" is KeyDB's, which takes writes. */
static void each_role(void **state)
{
	static const char *const masters[] = { "master", "active-replica", "multi-master", "" };
	static const char *const others[] = { "slave", "replica", "sentinel" };

	(void)state;
	for (size_t i = 0; i < sizeof(masters) / sizeof(*masters); i++)
		assert_false(redisrefusal_role_ends(masters[i]));
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		assert_true(redisrefusal_role_ends(others[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_error),
		cmocka_unit_test(long_words_are_cut),
		cmocka_unit_test(each_role),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
