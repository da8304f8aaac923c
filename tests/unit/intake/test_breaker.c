/*
 * Which query texts are asked, by scripts of what happens to them. Texts 0 and 1 read a common table, 2 and 3 read others.
 *
 *   f0   text 0 fails, because it waited for a lock     a0=200  an answer of text 0 took 200 ms      F   all fail
 *   k0   a question of text 0 is kept for its probe     p       which probe is due now?
 *   y0   the probe of text 0 was answered               n0      it failed
 *   +500 so many ms later                               R       the configuration is read again
 *   ?    which texts are asked
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "breaker.h"
#include "walpush/base/buf.h"
#include "walpush/base/mem.h"

#define TEXTS 4

static struct breakers *breakers;
static int64_t now;
static struct buf told;

static bool share(void *ctx, uint32_t a, uint32_t b)
{
	(void)ctx;
	return a / 2 == 0 && b / 2 == 0;
}

static void begin(void)
{
	breakers_free(breakers);
	breakers = breakers_new();
	breakers_limit(breakers, 1000000);
	breakers_reset(breakers, TEXTS, share, NULL);
	now = 1000000;
	buf_clear(&told);
	buf_add_text(&told, "");
}

static int end(void **state)
{
	(void)state;
	breakers_free(breakers);
	breakers = NULL;
	buf_fini(&told);
	return 0;
}

static void tell_asked(void)
{
	for (uint32_t i = 0; i < TEXTS; i++)
		if (breakers_may_ask(breakers, i))
			buf_addf(&told, "%u", (unsigned)i);
	buf_add_char(&told, ' ');
}

static void tell_due(void)
{
	int64_t next;
	uint32_t text = breakers_due(breakers, now, &next);

	if (text != BREAKER_NONE)
		buf_addf(&told, "probe-%u ", (unsigned)text);
	else if (next != INT64_MAX)
		buf_addf(&told, "in-%d ", (int)((next - now) / 1000));
	else
		buf_add_text(&told, "none ");
}

static void keep(uint32_t text)
{
	static const char *const values[] = { "5", NULL };

	breakers_keep(breakers, text, "lookup of x", "SELECT $1, $2", 2, values);
}

static void tell_opened(bool opened)
{
	if (opened)
		buf_add_text(&told, "opened ");
}

static void event(const char *word)
{
	unsigned n = (unsigned)strtoul(word + 1, NULL, 10);

	switch (*word) {
	case 'f':
		tell_opened(breakers_failed(breakers, n, BREAKER_LOCK, now));
		break;
	case 'F':
		tell_opened(breakers_failed_all(breakers, BREAKER_LATE, now));
		break;
	case 'a':
		tell_opened(breakers_answered(breakers, n, strtol(strchr(word, '=') + 1, NULL, 10) * 1000, now));
		break;
	case 'k':
		keep(n);
		break;
	case 'p':
		tell_due();
		break;
	case 'y':
	case 'n':
		breakers_probed(breakers, n, *word == 'y', now);
		break;
	case '+':
		now += (int64_t)n * 1000;
		break;
	case 'R':
		breakers_reset(breakers, TEXTS, share, NULL);
		break;
	default:
		assert_string_equal(word, "?");
		tell_asked();
	}
}

static void play(const char *script)
{
	char *words = mem_text(script), *rest = words, *word;

	while ((word = strsep(&rest, " ")))
		if (*word)
			event(word);
	free(words);
}

/* The wait after each failure of a probe: "f0 k0 +1000 p n0 p +2000 p n0 p …". */
#define AGAIN(wait) " +" wait " p n0 p"

static const struct {
	const char *script, *told;
} cases[] = {
	{ "?", "0123" },
	/* A failure opens the texts that read a common table. */
	{ "f0 ?", "opened 23" },
	{ "f1 ?", "opened 23" },
	{ "f2 ?", "opened 013" },
	{ "f0 f2 ?", "opened opened 3" },
	{ "f0 f0 f1 ?", "opened 23" },
	{ "F ?", "opened" },
	{ "f4294967295 a4294967295=9000 ?", "0123" },
	/* The wait is over, and there is a question: one probe at a time. */
	{ "f0 p", "opened none" },
	{ "f0 k0 p", "opened in-1000" },
	{ "f0 k0 +999 p", "opened in-1" },
	{ "f0 k0 +1000 p p ?", "opened probe-0 none 23" },
	{ "f0 k0 k1 +1000 p p y0 p", "opened probe-0 none probe-1" },
	/* Who has waited longest goes first. */
	{ "f2 k2 +500 f0 k0 +2000 p n2 p", "opened opened probe-2 probe-0" },
	{ "f0 +5000 p k1 p", "opened none probe-1" },
	/* Each closes by itself. */
	{ "f0 k0 k1 +1000 p y0 ?", "opened probe-0 023" },
	{ "f0 k0 k1 +1000 p y0 p y1 ?", "opened probe-0 probe-1 0123" },
	{ "f0 k0 +1000 p n0 ?", "opened probe-0 23" },
	/* But nothing is known against a text that nobody wanted to ask meanwhile. */
	{ "f0 k0 +1000 p y0 ?", "opened probe-0 0123" },
	{ "f0 k0 +1000 p k1 y0 ? p", "opened probe-0 023 probe-1" },
	{ "f0 k0 f2 k2 +1000 p y0 ? p y2 ?", "opened opened probe-0 013 probe-2 0123" },
	/* Where the session was the reason, time is enough. */
	{ "F p +999 p ? +1 p ?", "opened in-1000 in-1  none 0123" },
	{ "F k2 +1000 p ? y2 ?", "opened probe-2 013 0123" },
	/* 1, 2, 4 … 30 s; 1 s again after a minute without a failure. */
	{ "f0 k0" AGAIN("1000") AGAIN("2000") AGAIN("4000") AGAIN("8000") AGAIN("16000") AGAIN("30000"),
	  "opened probe-0 in-2000 probe-0 in-4000 probe-0 in-8000 probe-0 in-16000 probe-0 in-30000 probe-0 in-30000" },
	{ "f0 k0 +1000 p y0 +58999 f0 k0 p", "opened probe-0 opened in-2000" },
	{ "f0 k0 +1000 p y0 +59000 f0 k0 p", "opened probe-0 opened in-1000" },
	/* Slow answers of 3 s within 30 s. 100 ms is not slow. */
	{ "a0=2999 ?", "0123" },
	{ "a0=3000 ?", "opened 23" },
	{ "a0=1000 a0=1000 a0=999 ?", "0123" },
	{ "a0=1000 a0=1000 a0=1000 ?", "opened 23" },
	{ "a0=1500 a1=1500 ?", "0123" },
	{ "a0=1500 +29999 a0=1500 ?", "opened 23" },
	{ "a0=1500 +30000 a0=1500 ?", "0123" },
	{ "a0=1500 +30000 a0=1500 +1 a0=1500 ?", "opened 23" },
	{ "a0=100 a0=100 a0=2900 ?", "0123" },
	{ "a0=1500 f0 k0 +1000 p y0 a0=1500 ?", "opened probe-0 0123" },
	/* Read again: as if nothing had been. */
	{ "f0 k0 f2 R ? f0 k0 p", "opened opened 0123 opened in-1000" },
	{ "f0 k0 +1000 p R ? f0 k0 +1000 p", "opened probe-0 0123 opened probe-0" },
};

static void each_script(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		begin();
		play(cases[i].script);
		while (told.len && told.data[told.len - 1] == ' ')
			told.data[--told.len] = '\0';
		if (strcmp(told.data, cases[i].told) != 0)
			fail_msg("%s\ntold   \"%s\"\nwanted \"%s\"", cases[i].script, told.data, cases[i].told);
	}
}

static void slow_answers_are_bounded(void **state)
{
	(void)state;
	begin();
	for (int i = 0; i < 1000; i++) {
		assert_false(breakers_answered(breakers, 2, 100000, now));
		now += 1500000;
		assert_false(breakers_answered(breakers, 3, 149999, now)); /* 20 of them within 30 s */
	}
}

static void slow_is_a_part_of_the_limit(void **state)
{
	(void)state;
	begin();
	play("a0=2000");
	breakers_limit(breakers, 2000000);
	play("a0=2000 a0=2000 a0=1999 ? a0=200 ? a0=201 ?");
	assert_string_equal(told.data, "0123 0123 opened 23 ");
}

static void what_is_kept_is_a_copy(void **state)
{
	const struct breaker_kept *kept;
	char name[] = "lookup of x", value[] = "5";
	const char *values[] = { NULL, value };

	(void)state;
	begin();
	breakers_keep(breakers, 2, name, name, 2, values); /* not open */
	play("f2");
	assert_null(breakers_kept(breakers, 2)->sql);
	breakers_keep(breakers, 2, name, "SELECT $1, $2", 2, values);
	memset(name, 'x', sizeof(name) - 1);
	value[0] = '6';
	breakers_keep(breakers, 2, name, "SELECT 1", 0, NULL); /* the first one stays */
	kept = breakers_kept(breakers, 2);
	assert_string_equal(kept->name, "lookup of x");
	assert_string_equal(kept->sql, "SELECT $1, $2");
	assert_int_equal(kept->n_values, 2);
	assert_null(kept->values[0]);
	assert_string_equal(kept->values[1], "5");
	play("+1000 p y2");
	assert_null(breakers_kept(breakers, 2)->sql);
}

/* One value may be the only one that is never answered. While it is probed it stays. */
static void other_values_take_the_place_of_those_that_were_probed_in_vain(void **state)
{
	const char *other = "6";

	(void)state;
	begin();
	play("f2 k2 +1000 p n2");
	assert_false(breakers_keep(breakers, 2, "lookup of x", "SELECT $1", 1, &other));
	play("+2000 p");
	assert_false(breakers_keep(breakers, 2, "lookup of x", "SELECT $1", 1, &other));
	play("n2");
	assert_true(breakers_keep(breakers, 2, "lookup of x", "SELECT $1", 1, &other));
	assert_string_equal(breakers_kept(breakers, 2)->values[0], "6");
	assert_false(breakers_keep(breakers, 2, "lookup of x", "SELECT $1", 1, &other));
}

static void people_read_what_is_open_and_why(void **state)
{
	struct breaker_state s;

	(void)state;
	begin();
	assert_int_equal(breakers_open(breakers), 0);
	assert_false(breakers_state(breakers, 0, &s));
	play("+500 f1 +250");
	assert_int_equal(breakers_open(breakers), 2);
	assert_true(breakers_state(breakers, 0, &s));
	assert_int_equal(s.reason, BREAKER_LOCK);
	assert_int_equal(s.cause, 1);
	assert_int_equal(s.since, 1500000);
	assert_int_equal(s.wait, 1000000);
	assert_false(breakers_state(breakers, 2, &s));
	for (int i = 0; i < BREAKER_REASONS; i++)
		assert_non_null(breaker_reason_text((enum breaker_reason)i));
}

static void some_errors_concern_the_text(void **state)
{
	static const struct {
		const char *sqlstate;
		int reason; /* -1: none */
	} errors[] = {
		{ "55P03", BREAKER_LOCK },
		{ "40P01", BREAKER_LOCK },
		{ "57014", BREAKER_TIMEOUT },
		{ "57P02", BREAKER_LOST },
		{ "42501", -1 },
		{ "22012", -1 },
		{ "57P01", -1 },
		{ "", -1 },
	};
	enum breaker_reason reason;

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
		assert_int_equal(breaker_concerns(errors[i].sqlstate, &reason), errors[i].reason >= 0);
		if (errors[i].reason >= 0)
			assert_int_equal(reason, errors[i].reason);
	}
}

#define BREAKER(test) cmocka_unit_test_teardown(test, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BREAKER(each_script),
		BREAKER(slow_answers_are_bounded),
		BREAKER(slow_is_a_part_of_the_limit),
		BREAKER(what_is_kept_is_a_copy),
		BREAKER(other_values_take_the_place_of_those_that_were_probed_in_vain),
		BREAKER(people_read_what_is_open_and_why),
		BREAKER(some_errors_concern_the_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
