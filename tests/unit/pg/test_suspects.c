/* Which questions are sent once more, which wait, and which are given up: scripts of what happens to sessions, and what is told after them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/base/buf.h"
#include "walpush/pg/suspects.h"

#define SECOND 1000000

/*
 * Words of a script, each at a time in seconds:
 *
 *   A@1      the session that ran question A ended without a word     crash@1  another session was told 57P02
 *   up@1     a session is up                                          down@1   a session is no longer up
 *   ?A@1     may A be sent? The session has been up for long.         ?A@3^2   the same, in a session that has been up since 2
 *
 * What is told of each ?: "send", "no", or "wait" and how long, in seconds.
 */
static void play_word(struct suspects *s, const char *word, struct buf *told)
{
	const char *at = strchr(word, '@'), *since = strchr(word, '^');
	int64_t now = (int64_t)(strtod(at + 1, NULL) * SECOND) + SECOND * 1000, until = 0;

	if (strncmp(word, "crash@", 6) == 0) {
		suspects_crash(s, now);
	} else if (strncmp(word, "up@", 3) == 0) {
		suspects_session(s, true);
	} else if (strncmp(word, "down@", 5) == 0) {
		suspects_session(s, false);
	} else if (*word != '?') {
		suspects_add(s, (uint64_t)*word, now);
	} else {
		int64_t up = since ? (int64_t)(strtod(since + 1, NULL) * SECOND) + SECOND * 1000 : 0;
		enum suspects_verdict verdict = suspects_judge(s, (uint64_t)word[1], up, now, &until);

		buf_add_text(told, told->len ? " " : "");
		if (verdict == SUSPECTS_WAIT)
			buf_addf(told, "wait%.1f", (double)(until - now) / SECOND);
		else
			buf_add_text(told, verdict == SUSPECTS_SEND ? "send" : "no");
	}
}

static void play(const char *script, struct buf *told)
{
	struct suspects *s = suspects_new();
	char *copy = strdup(script), *rest = NULL;

	buf_add_text(told, "");
	for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		play_word(s, word, told);
	free(copy);
	suspects_free(s);
}

static const struct {
	const char *script, *told;
} cases[] = {
	/* Nothing is known of it. */
	{ "?A@0", "send" },
	{ "crash@0 ?A@0", "send" },
	/* Twice, each with its crash, before or after. Other questions are not meant. */
	{ "up@0 up@0 A@1 crash@1 ?A@2", "send" },
	{ "up@0 up@0 A@1 crash@1 A@2 crash@2 ?A@3 ?B@3", "no send" },
	{ "up@0 up@0 crash@1 A@1 crash@2 A@2 ?A@3", "no" },
	{ "up@0 up@0 A@1 crash@1 A@20 crash@20 ?A@21", "no" },
	/* 5 s apart are near, and more are not. */
	{ "up@0 up@0 A@1 crash@6 A@20 crash@25 ?A@26", "no" },
	{ "up@0 up@0 A@1 crash@6.1 A@20 crash@25.1 ?A@26", "send" },
	{ "up@0 up@0 crash@1 A@6 crash@20 A@25 ?A@26", "no" },
	{ "up@0 up@0 crash@1 A@6.1 crash@20 A@25.1 ?A@31", "send" },
	/* The server came back at once, and nobody else was there again when it went a second time. */
	{ "up@0 up@0 A@1 crash@1 A@1.5 ?A@2", "no" },
	/* Others were told late: of both, or of the second. */
	{ "A@1 ?A@1 A@2 ?A@2 crash@3 ?A@3", "send send no" },
	{ "up@0 up@0 A@1 crash@1 A@10 ?A@10 ?A@14.5 crash@14.9 ?A@14.9", "wait5.0 wait0.5 no" },
	/* It was not told at all: the network. It is held back for that long at most, and only after a crash that was its own. */
	{ "A@1 ?A@1 A@1.1 ?A@1.1 A@1.2 ?A@1.2 A@1.3 ?A@1.3", "send send send send" },
	{ "up@0 up@0 A@1 crash@1 A@10 ?A@10 ?A@15 ?A@15.1", "wait5.0 wait0.0 send" },
	{ "up@0 up@0 A@1 crash@1 A@10 A@11 ?A@11 ?A@16.1 crash@16.1 ?A@16.2", "wait5.0 send send" },
	/* Two were suspected of the same crash. Both are asked once more. */
	{ "up@0 up@0 A@1 B@1 crash@1 ?A@2 ?B@2 B@3 crash@3 ?A@4 ?B@4", "send send send no" },
	/* It counts for ten minutes, from the last time. */
	{ "up@0 up@0 A@1 crash@1 A@2 crash@2 ?A@601.9 ?A@602.1", "no send" },
	{ "up@0 up@0 A@1 crash@1 A@601.1 crash@601.1 ?A@602", "send" },
	{ "up@0 up@0 A@1 crash@1 A@2 crash@2 ?A@603 A@603 crash@603 ?A@604 A@605 crash@605 ?A@606", "send send no" },
	/* Once counted, it is not sent where nobody would be told. */
	{ "A@1 crash@1 up@2 ?A@2^2 up@3 ?A@3^2", "wait5.0 send" },
	{ "A@1 crash@1 up@2 up@2 down@2 ?A@2^2 ?A@6^2 ?A@7.1^2", "wait5.0 wait1.0 send" },
	{ "A@1 up@2 ?A@2^2", "send" },
	{ "A@1 crash@1 up@2 ?B@2^2", "send" },
};

static void scripts_are_played(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf told = { 0 };

		play(cases[i].script, &told);
		if (strcmp(told.data, cases[i].told) != 0)
			fail_msg("%s:\ntold   \"%s\"\nwanted \"%s\"", cases[i].script, told.data, cases[i].told);
		buf_fini(&told);
	}
}

static void nothing_is_looked_up_without_suspects(void **state)
{
	struct suspects *s = suspects_new();
	int64_t until;

	(void)state;
	assert_true(suspects_is_empty(s));
	suspects_add(s, 1, 10 * SECOND);
	assert_false(suspects_is_empty(s));
	assert_int_equal(suspects_judge(s, 2, 0, 16 * SECOND, &until), SUSPECTS_SEND);
	assert_true(suspects_is_empty(s)); /* what nobody was told of is forgotten */
	suspects_free(s);
}

static void counted_twice(struct suspects *s, uint64_t id, int64_t now)
{
	for (int i = 0; i < SUSPECTS_TIMES; i++) {
		suspects_add(s, id, now);
		suspects_crash(s, now);
	}
}

/* 256 in all: then the first is forgotten. */
static void they_are_bounded(void **state)
{
	struct suspects *s = suspects_new();
	int64_t until;

	(void)state;
	suspects_session(s, true);
	suspects_session(s, true);
	for (uint64_t id = 0; id < SUSPECTS_MOST; id++)
		counted_twice(s, id, SECOND);
	assert_int_equal(suspects_judge(s, 0, 0, SECOND, &until), SUSPECTS_GIVE_UP);
	suspects_add(s, SUSPECTS_MOST, SECOND);
	assert_int_equal(suspects_judge(s, 0, 0, SECOND, &until), SUSPECTS_SEND);
	assert_int_equal(suspects_judge(s, 1, 0, SECOND, &until), SUSPECTS_GIVE_UP);
	suspects_free(s);
}

static void it_is_said_once(void **state)
{
	struct suspects *s = suspects_new();

	(void)state;
	assert_string_equal(suspects_last(s), "");
	assert_false(suspects_gave_up(s, 1, "nothing is known of it"));
	counted_twice(s, 1, SECOND);
	counted_twice(s, 2, SECOND);
	assert_true(suspects_gave_up(s, 1, "lookup of requests"));
	assert_false(suspects_gave_up(s, 1, "lookup of requests"));
	assert_true(suspects_gave_up(s, 2, "admit of requests"));
	assert_int_equal(suspects_given_up(s), 2);
	assert_string_equal(suspects_last(s), "admit of requests");
	/* Ten minutes later it is tried again, and said again. */
	counted_twice(s, 1, SUSPECTS_KEPT + 2 * SECOND);
	assert_true(suspects_gave_up(s, 1, "lookup of requests"));
	suspects_free(s);
}

static void count_call(void *ctx)
{
	++*(unsigned *)ctx;
}

static void who_listens_is_called(void **state)
{
	struct suspects *s = suspects_new();
	unsigned a = 0, b = 0;
	struct suspects_ear first = { .changed = count_call, .ctx = &a }, second = { .changed = count_call, .ctx = &b };

	(void)state;
	suspects_listen(s, &first);
	suspects_listen(s, &second);
	suspects_crash(s, SECOND);
	suspects_session(s, true);
	suspects_session(s, false); /* nobody may be sent for that */
	assert_int_equal(a, 2);
	suspects_leave(s, &first);
	suspects_crash(s, SECOND);
	assert_int_equal(a, 2);
	assert_int_equal(b, 3);
	suspects_leave(s, &second);
	suspects_free(s);
}

static void a_question_is_its_text_and_its_values(void **state)
{
	static const struct {
		const char *sql;
		size_t n;
		const char *values[2];
	} questions[] = {
		{ "SELECT $1", 1, { "a" } },  { "SELECT $1", 1, { "b" } },      { "SELECT $1", 1, { NULL } },
		{ "SELECT $1", 1, { "" } },   { "SELECT $1", 2, { "", "" } },   { "SELECT $1", 2, { "a", "b" } },
		{ "SELECT $1", 1, { "ab" } }, { "SELECT $1", 2, { "ab", "" } }, { "SELECT $1", 0, { NULL } },
		{ "SELECT $2", 1, { "a" } },  { "SELECT $1v", 1, { "a" } },
	};
	enum { N = sizeof(questions) / sizeof(questions[0]) };
	struct suspects *s = suspects_new(), *other = suspects_new();

	(void)state;
	for (size_t i = 0; i < N; i++)
		for (size_t k = 0; k < N; k++) {
			uint64_t a = suspects_id(s, questions[i].sql, questions[i].n, questions[i].values);
			uint64_t b = suspects_id(s, questions[k].sql, questions[k].n, questions[k].values);

			assert_int_equal(a == b, i == k);
		}
	/* The key is the process's own. */
	assert_false(suspects_id(s, "SELECT", 0, NULL) == suspects_id(other, "SELECT", 0, NULL));
	suspects_free(s);
	suspects_free(other);
	suspects_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scripts_are_played),    cmocka_unit_test(nothing_is_looked_up_without_suspects),
		cmocka_unit_test(they_are_bounded),      cmocka_unit_test(it_is_said_once),
		cmocka_unit_test(who_listens_is_called), cmocka_unit_test(a_question_is_its_text_and_its_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
