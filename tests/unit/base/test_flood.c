/* Lines that others can cause: at most so many a second and kind, and the rest in one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "walpush/base/flood.h"

static void the_first_lines_of_a_second_are_written(void **state)
{
	struct flood f = { 0 };

	(void)state;
	for (int i = 0; i < FLOOD_LINES; i++)
		assert_true(flood_takes(&f, 1000000 + i));
	assert_false(flood_takes(&f, 1000000 + FLOOD_LINES));
	assert_false(flood_takes(&f, 1999999));
	assert_int_equal(f.left_out, 2);
	/* The first of them is a second old, the second is not. */
	assert_true(flood_takes(&f, 2000000));
	assert_false(flood_takes(&f, 2000000));
	assert_int_equal(f.left_out, 3);
}

/* Not in this second or that, but in any that one may choose. */
static void no_second_has_more(void **state)
{
	static int64_t taken[100000];
	struct flood f = { 0 };
	unsigned seed = 7;
	int64_t now = 5;
	size_t n = 0;
	uint64_t refused = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++) {
		now += rand_r(&seed) % 100000;
		if (flood_takes(&f, now))
			taken[n++] = now;
		else
			refused++;
	}
	assert_true(refused > 0 && f.left_out == refused);
	for (size_t i = FLOOD_LINES; i < n; i++)
		assert_true(taken[i] - taken[i - FLOOD_LINES] >= FLOOD_SPAN);
	/* Nor fewer than it may: with a line every 50 ms on average, nearly all of the budget is used. */
	assert_true((int64_t)n * FLOOD_SPAN / FLOOD_LINES > now / 2);
}

static void write_three_kinds(void)
{
	for (int i = 0; i < 500; i++) {
		flood_info("first", log_n("i", i));
		flood_warn("second", log_n("i", i));
	}
	for (int i = 0; i < 3; i++)
		flood_info("third", log_n("i", i));
	flood_tell();
	flood_tell();
}

/* What goes to standard error meanwhile. */
static char *logged(void (*write_lines)(void), const char *level)
{
	static char text[1 << 20];
	FILE *file = tmpfile();
	int before = dup(STDERR_FILENO);
	size_t n;

	assert_non_null(file);
	log_setup(level, "logfmt");
	dup2(fileno(file), STDERR_FILENO);
	write_lines();
	dup2(before, STDERR_FILENO);
	close(before);
	rewind(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = '\0';
	fclose(file);
	return text;
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)); text += strlen(what))
		n++;
	return n;
}

static void kinds_do_not_share_and_the_rest_is_one_line(void **state)
{
	const char *text = logged(write_three_kinds, "info");

	(void)state;
	assert_int_equal(count(text, "msg=\"first\""), FLOOD_LINES);
	assert_int_equal(count(text, "msg=\"second\""), FLOOD_LINES);
	assert_int_equal(count(text, "msg=\"third\""), 3);
	assert_int_equal(count(text, "left out"), 2);
	assert_int_equal(count(text, "level=info msg=\"more such lines were left out\" line=first lines=480\n"), 1);
	assert_int_equal(count(text, "level=warn msg=\"more such lines were left out\" line=second lines=480\n"), 1);
}

static void write_debug(void)
{
	for (int i = 0; i < 500; i++)
		flood_log(LOG_LEVEL_DEBUG, "every one", log_n("i", i));
	flood_tell();
}

static void debug_is_exempt(void **state)
{
	(void)state;
	assert_int_equal(count(logged(write_debug, "debug"), "every one"), 500);
	assert_string_equal(logged(write_debug, "info"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_lines_of_a_second_are_written),
		cmocka_unit_test(no_second_has_more),
		cmocka_unit_test(kinds_do_not_share_and_the_rest_is_one_line),
		cmocka_unit_test(debug_is_exempt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
