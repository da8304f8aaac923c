/* What stands on stderr, read back through a pipe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>
#include <pthread.h>

#include "walpush/base/buf.h"
#include "walpush/base/log.h"

static int reading, real_stderr;

static void capture(const char *level, const char *format)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	reading = ends[0];
	real_stderr = dup(STDERR_FILENO);
	assert_true(real_stderr >= 0);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	log_setup(level, format);
}

/* All that was written since capture, which fits into a pipe. */
static char *captured(void)
{
	struct buf out = { 0 };
	ssize_t n;

	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	while ((n = read(reading, buf_reserve(&out, 4096), 4096)) > 0)
		out.len += (size_t)n;
	close(reading);
	return buf_steal(&out);
}

/* "time=2025-11-14T12:34:56.123Z " and what is behind it. */
static const char *behind_time(const char *line)
{
	static const char form[] = "time=0000-00-00T00:00:00.000Z ";

	for (size_t i = 0; form[i]; i++)
		if (form[i] == '0' ? line[i] < '0' || line[i] > '9' : line[i] != form[i])
			fail_msg("not a time: %s", line);
	return line + strlen(form);
}

#define EXPECT_LOGFMT(wanted, ...)                                                                                     \
	do {                                                                                                           \
		char *got_;                                                                                            \
                                                                                                                       \
		capture("debug", "logfmt");                                                                            \
		__VA_ARGS__;                                                                                           \
		got_ = captured();                                                                                     \
		assert_string_equal(behind_time(got_), wanted "\n");                                                   \
		free(got_);                                                                                            \
	} while (0)

static void a_line_has_level_message_and_fields(void **state)
{
	(void)state;
	EXPECT_LOGFMT("level=info msg=\"streaming\" slot=walpush from=0/16B3748",
		      log_info("streaming", log_s("slot", "walpush"), log_lsn("from", 0x16B3748)));
	EXPECT_LOGFMT("level=error msg=\"\"", log_error(""));
	EXPECT_LOGFMT("level=warn msg=\"n\" a=-5 b=9223372036854775807 c=0",
		      log_warn("n", log_n("a", -5), log_n("b", INT64_MAX), log_n("c", 0)));
	EXPECT_LOGFMT("level=debug msg=\"l\" a=FFFFFFFF/FFFFFFFF", log_debug("l", log_lsn("a", UINT64_MAX)));
}

static void milliseconds_have_three_digits(void **state)
{
	(void)state;
	EXPECT_LOGFMT("level=info msg=\"ms\" a=0.000 b=0.007 c=1.500 d=60000.001",
		      log_info("ms", log_ms("a", 0), log_ms("b", 7), log_ms("c", 1500), log_ms("d", 60000001)));
	EXPECT_LOGFMT("level=info msg=\"ms\" a=-0.007 b=-1.500 c=-9223372036854775.808",
		      log_info("ms", log_ms("a", -7), log_ms("b", -1500), log_ms("c", INT64_MIN)));
}

static void what_is_no_bare_word_is_quoted(void **state)
{
	(void)state;
	EXPECT_LOGFMT("level=info msg=\"say \\\"x\\\"\" a=\"\" b=\"\" c=\"x y\" d=\"x=y\" e=\"\\\"\" f=\"\\\\\"",
		      log_info("say \"x\"", log_s("a", ""), log_s("b", NULL), log_s("c", "x y"), log_s("d", "x=y"),
			       log_s("e", "\""), log_s("f", "\\")));
	EXPECT_LOGFMT("level=info msg=\"q\" a=\"x\\ny\" b=\"\\u001b[31m\" c=\"\xC3\xA9\" d=\"\xEF\xBF\xBD\" e=\"\x7F\"",
		      log_info("q", log_s("a", "x\ny"), log_s("b", "\033[31m"), log_s("c", "\xC3\xA9"),
			       log_s("d", "\xFF"), log_s("e", "\x7F")));
	EXPECT_LOGFMT("level=info msg=\"two\\nlines\" a=/ws/5/?x,:;'{}[]",
		      log_info("two\nlines", log_s("a", "/ws/5/?x,:;'{}[]")));
}

static unsigned count_lines(const char *level)
{
	unsigned n = 0;
	char *got;

	capture(level, "logfmt");
	for (enum log_level l = LOG_LEVEL_ERROR; l <= LOG_LEVEL_DEBUG; l++)
		log_write(l, log_enabled(l) ? "yes" : "no", LOG_FIELDS(log_n("n", 1)));
	got = captured();
	assert_null(strstr(got, "\"no\""));
	for (const char *at = got; *at; at++)
		n += *at == '\n';
	free(got);
	return n;
}

static void the_level_is_the_least_that_is_written(void **state)
{
	(void)state;
	assert_int_equal(count_lines("error"), 1);
	assert_int_equal(count_lines("warn"), 2);
	assert_int_equal(count_lines("info"), 3);
	assert_int_equal(count_lines("debug"), 4);
}

static const char *text_of(const json_t *line, const char *name)
{
	const char *text = json_string_value(json_object_get(line, name));

	return text ? text : "(none)";
}

static void as_json_each_line_is_an_object(void **state)
{
	char odd[129];
	json_t *line;
	char *got;

	(void)state;
	for (int i = 0; i < 128; i++)
		odd[i] = (char)(i + 1);
	odd[128] = '\0';
	capture("info", "json");
	log_warn("a \"b\" \\ \n", log_s("odd", odd), log_s("empty", ""), log_s("nothing", NULL), log_n("n", -7),
		 log_lsn("lsn", 0xABC), log_ms("ms", 1500), log_ms("before", -1500));
	got = captured();
	assert_ptr_equal(strchr(got, '\n'), got + strlen(got) - 1);
	line = json_loads(got, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(line);
	assert_int_equal(json_object_size(line), 10);
	assert_int_equal(strlen(text_of(line, "time")), strlen("2025-11-14T12:34:56.123Z"));
	assert_string_equal(text_of(line, "level"), "warn");
	assert_string_equal(text_of(line, "msg"), "a \"b\" \\ \n");
	/* 0x80 alone is no UTF-8. */
	assert_memory_equal(text_of(line, "odd"), odd, 127);
	assert_string_equal(text_of(line, "odd") + 127, "\xEF\xBF\xBD");
	assert_string_equal(text_of(line, "empty"), "");
	assert_string_equal(text_of(line, "nothing"), "");
	assert_int_equal(json_integer_value(json_object_get(line, "n")), -7);
	assert_string_equal(text_of(line, "lsn"), "0/ABC");
	assert_true(json_real_value(json_object_get(line, "ms")) == 1.5);
	assert_true(json_real_value(json_object_get(line, "before")) == -1.5);
	json_decref(line);
	free(got);
}

static void the_time_is_now_in_utc(void **state)
{
	time_t before = time(NULL), then;
	struct tm tm = { 0 };
	char *got;

	(void)state;
	setenv("TZ", "Asia/Tokyo", 1);
	tzset();
	capture("info", "logfmt");
	log_info("x");
	got = captured();
	assert_non_null(strptime(got, "time=%Y-%m-%dT%H:%M:%S", &tm));
	then = timegm(&tm);
	assert_in_range(then, before, before + 60);
	free(got);
}

static void *chatter(void *arg)
{
	for (unsigned i = 0; i < 100; i++)
		log_info("a line that is written at one go or not at all", log_s("thread", arg), log_n("n", i));
	return NULL;
}

static void lines_of_two_threads_do_not_mix(void **state)
{
	unsigned n[2] = { 0 };
	pthread_t other;
	char *got, *rest, *text;

	(void)state;
	capture("info", "json");
	pthread_create(&other, NULL, chatter, (void *)(uintptr_t) "b");
	chatter((void *)(uintptr_t) "a");
	pthread_join(other, NULL);
	got = rest = captured();
	while ((text = strsep(&rest, "\n")) && *text) {
		json_t *line = json_loads(text, 0, NULL);
		unsigned who;

		assert_non_null(line);
		who = text_of(line, "thread")[0] == 'b';
		assert_int_equal(json_integer_value(json_object_get(line, "n")), n[who]++);
		json_decref(line);
	}
	assert_int_equal(n[0], 100);
	assert_int_equal(n[1], 100);
	free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_has_level_message_and_fields),
		cmocka_unit_test(milliseconds_have_three_digits),
		cmocka_unit_test(what_is_no_bare_word_is_quoted),
		cmocka_unit_test(the_level_is_the_least_that_is_written),
		cmocka_unit_test(as_json_each_line_is_an_object),
		cmocka_unit_test(the_time_is_now_in_utc),
		cmocka_unit_test(lines_of_two_threads_do_not_mix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
