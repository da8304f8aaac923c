/* How a process of ours dies: each case in a child, whose stderr is read back through a pipe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <jansson.h>

#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

const char *__asan_default_options(void);
const char *__tsan_default_options(void);

/* The allocators of the sanitizers end the process by themselves unless they are told to behave as malloc does. */
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1:handle_abort=0";
}

const char *__tsan_default_options(void)
{
	return "allocator_may_return_null=1:handle_abort=0";
}

/* What the child wrote to stderr before SIGABRT ended it. */
static const char *last_words(void (*dies)(void))
{
	static char words[4096];
	size_t len = 0;
	ssize_t n;
	int ends[2], status;
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		/* cmocka would catch it and go on with the tests. */
		signal(SIGABRT, SIG_DFL);
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		dup2(ends[1], STDERR_FILENO);
		dies();
		_exit(0);
	}
	close(ends[1]);
	while (len < sizeof(words) - 1 && (n = read(ends[0], words + len, sizeof(words) - 1 - len)) > 0)
		len += (size_t)n;
	words[len] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	return words;
}

static void die(void)
{
	fail_never("a mail of kind %d", 17);
}

static const int line_of_death = __LINE__ - 3;

static void die_in_logfmt(void)
{
	log_setup("error", "logfmt");
	die();
}

/* The longest text, of bytes that become six each. */
static void die_in_json(void)
{
	char text[2000];

	memset(text, '\x01', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_setup("error", "json");
	fail_never("\"%s", text);
}

static void die_of_size(void)
{
	free(mem_new(SIZE_MAX / 2));
}

static void die_of_product(void)
{
	free(mem_new_array(SIZE_MAX / 2, 3));
}

static void die_of_growth(void)
{
	free(mem_resize(NULL, SIZE_MAX / 2, 3));
}

static void without_a_log_the_line_is_bare_and_names_the_place(void **state)
{
	const char *words = last_words(die);
	char expected[200];

	(void)state;
	snprintf(expected, sizeof(expected), "walpush: %s:%d: a mail of kind 17\n", __FILE__, line_of_death);
	assert_string_equal(words, expected);
}

static void with_a_log_it_is_a_line_of_the_log(void **state)
{
	const char *words = last_words(die_in_logfmt), *behind = strchr(words, ' ');

	(void)state;
	assert_memory_equal(words, "time=", 5);
	assert_non_null(behind);
	assert_memory_equal(behind, " level=error msg=\"", 18);
	assert_non_null(strstr(words, __FILE__ ":"));
	assert_string_equal(strstr(words, ": a mail"), ": a mail of kind 17\"\n");
}

static void the_longest_line_is_whole_json(void **state)
{
	const char *words = last_words(die_in_json), *message;
	json_t *line = json_loads(words, 0, NULL);

	(void)state;
	assert_non_null(line);
	message = json_string_value(json_object_get(line, "msg"));
	assert_string_equal(json_string_value(json_object_get(line, "level")), "error");
	assert_non_null(strstr(message, ": \"\x01\x01"));
	assert_int_equal(strlen(strstr(message, ": \"")), 2 + sizeof(((struct fail *)0)->text) - 1);
	assert_int_equal(words[strlen(words) - 1], '\n');
	json_decref(line);
}

static void memory_that_is_not_to_be_had_is_said_with_its_size(void **state)
{
	char size[64];

	(void)state;
	snprintf(size, sizeof(size), ": out of memory: %zu bytes are not to be had\n", SIZE_MAX / 2);
	assert_non_null(strstr(last_words(die_of_size), size));
	assert_non_null(strstr(last_words(die_of_product), "times 3 bytes"));
	assert_non_null(strstr(last_words(die_of_growth), "times 3 bytes"));
}

#ifndef SANITIZED
static void die_without_any_memory(void)
{
	log_setup("error", "json");
	setrlimit(RLIMIT_AS, &(struct rlimit){ 0, 0 });
	for (size_t size = 1 << 20; size >= 16; size /= 2)
		while (malloc(size))
			;
	free(mem_new(32));
}

static void the_line_needs_no_memory(void **state)
{
	(void)state;
	assert_non_null(strstr(last_words(die_without_any_memory), ": out of memory: 32 bytes are not to be had\"}\n"));
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_log_the_line_is_bare_and_names_the_place),
		cmocka_unit_test(with_a_log_it_is_a_line_of_the_log),
		cmocka_unit_test(the_longest_line_is_whole_json),
		cmocka_unit_test(memory_that_is_not_to_be_had_is_said_with_its_size),
#ifndef SANITIZED
		cmocka_unit_test(the_line_needs_no_memory),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
