/* A file that holds whole lines, whatever happens to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "auditfile.h"
#include "walpush/base/buf.h"

#define LINE "{\"time\":\"2025-11-14T12:34:56.123Z\",\"audit\":\"change\"}\n"

static char name[] = "/tmp/walpush-auditfile-XXXXXX";

static int fresh_name(void **state)
{
	int fd;

	(void)state;
	strcpy(name + sizeof(name) - 7, "XXXXXX");
	fd = mkstemp(name);
	close(fd);
	return fd < 0;
}

static int remove_name(void **state)
{
	(void)state;
	return unlink(name);
}

static void put(const char *text)
{
	FILE *file = fopen(name, "a");

	fputs(text, file);
	fclose(file);
}

static char *content(void)
{
	static char text[1 << 20];
	FILE *file = fopen(name, "r");
	size_t n = fread(text, 1, sizeof(text) - 1, file);

	text[n] = '\0';
	fclose(file);
	return text;
}

static struct auditfile taken(void)
{
	struct auditfile f = AUDITFILE_NONE;

	auditfile_take(&f, auditfile_open(name));
	assert_true(f.fd > STDERR_FILENO);
	return f;
}

/* The kernel writes as much as fits and refuses the rest, as it does on a full disk. */
static void fill_disk_at(rlim_t size)
{
	struct rlimit limit = { size, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_full_disk_takes_whole_lines(void **state)
{
	struct auditfile f = taken();

	(void)state;
	assert_int_equal(auditfile_hold(&f), 0);
	for (size_t room = 0; room <= 3 * strlen(LINE); room++) {
		size_t whole = room / strlen(LINE) * strlen(LINE);

		assert_int_equal(ftruncate(f.fd, 0), 0);
		fill_disk_at(room);
		assert_int_equal(auditfile_write(&f, LINE LINE LINE, 3 * strlen(LINE)), whole);
		assert_int_equal(strlen(content()), whole);
		assert_true(whole == 3 * strlen(LINE) || f.error == EFBIG);
		assert_false(f.torn);
		fill_disk_at(RLIM_INFINITY);
		assert_int_equal(auditfile_write(&f, LINE, strlen(LINE)), strlen(LINE));
		assert_int_equal(strlen(content()), whole + strlen(LINE));
	}
	auditfile_take(&f, -1);
}

/* Where nothing can be taken back, a torn line is at least ended. */
static void who_may_not_cut_ends_the_line(void **state)
{
	struct auditfile holder = taken(), f = taken();

	(void)state;
	auditfile_hold(&holder);
	auditfile_hold(&f);
	assert_true(holder.is_held && !f.is_held);
	fill_disk_at(10);
	assert_int_equal(auditfile_write(&f, LINE, strlen(LINE)), 0);
	assert_true(f.torn);
	assert_int_equal(auditfile_write(&f, LINE, strlen(LINE)), 0);
	fill_disk_at(RLIM_INFINITY);
	assert_int_equal(auditfile_write(&f, LINE, strlen(LINE)), strlen(LINE));
	assert_string_equal(content(), "{\"time\":\"2\n" LINE);
	auditfile_take(&holder, -1);
	/* It is held as soon as the other lets it go. */
	auditfile_hold(&f);
	assert_true(f.is_held);
	auditfile_take(&f, -1);
}

static void a_torn_end_is_cut(void **state)
{
	static const char *const torn[] = { "{\"time\":\"2025-11-14T12:34:56.123Z\",\"audit\":\"cha", "{\"time\":\"",
					    "{\"ti", "{" };

	(void)state;
	for (size_t before = 0; before < 3; before++)
		for (size_t i = 0; i < sizeof(torn) / sizeof(*torn); i++) {
			struct auditfile f;

			truncate(name, 0);
			for (size_t n = 0; n < before; n++)
				put(LINE);
			put(torn[i]);
			f = taken();
			assert_int_equal(auditfile_hold(&f), strlen(torn[i]));
			assert_int_equal(strlen(content()), before * strlen(LINE));
			assert_int_equal(auditfile_hold(&f), 0);
			auditfile_take(&f, -1);
		}
}

static void a_long_torn_end_is_cut(void **state)
{
	struct auditfile f;

	(void)state;
	put(LINE "{\"time\":\"");
	for (int i = 0; i < 20000; i++)
		put("0123456789");
	f = taken();
	assert_int_equal(auditfile_hold(&f), 200009);
	assert_string_equal(content(), LINE);
	auditfile_take(&f, -1);
}

static void what_is_not_ours_stays(void **state)
{
	struct auditfile f;

	(void)state;
	put("127.0.0.1 localhost");
	f = taken();
	assert_int_equal(auditfile_hold(&f), 0);
	assert_int_equal(auditfile_write(&f, LINE, strlen(LINE)), strlen(LINE));
	assert_string_equal(content(), "127.0.0.1 localhost\n" LINE);
	auditfile_take(&f, -1);
}

static void pipes_and_devices(void **state)
{
	struct auditfile f = AUDITFILE_NONE;
	char bytes[200];
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	auditfile_take(&f, ends[1]);
	assert_int_equal(auditfile_hold(&f), 0);
	assert_int_equal(auditfile_write(&f, LINE, strlen(LINE)), strlen(LINE));
	assert_int_equal(read(ends[0], bytes, sizeof(bytes)), strlen(LINE));
	auditfile_take(&f, auditfile_open("/dev/full"));
	assert_int_equal(auditfile_write(&f, LINE, strlen(LINE)), 0);
	assert_int_equal(f.error, ENOSPC);
	assert_false(f.torn);
	auditfile_take(&f, -1);
	close(ends[0]);
	assert_int_equal(auditfile_open("-"), STDERR_FILENO);
	assert_int_equal(auditfile_open("/no/such/file"), -1);
}

/* A process that is killed while it writes: whatever it left, the next one finds whole lines. */
static void killed_at_any_moment(void **state)
{
	struct buf batch = { 0 };
	unsigned torn = 0;

	(void)state;
	for (int i = 0; i < 60000; i++)
		buf_add_text(&batch, LINE);
	for (int i = 0; i < 60; i++) {
		struct auditfile f = AUDITFILE_NONE;
		size_t length;
		pid_t child;

		truncate(name, 0);
		child = fork();
		if (child == 0) {
			f = taken();
			auditfile_hold(&f);
			for (;;)
				auditfile_write(&f, batch.data, batch.len);
		}
		usleep((unsigned)(1000 + i * 311));
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		f = taken();
		torn += auditfile_hold(&f) > 0;
		length = (size_t)lseek(f.fd, 0, SEEK_END);
		assert_int_equal(length % strlen(LINE), 0);
		auditfile_take(&f, -1);
	}
	print_message("%u of 60 left a torn line\n", torn);
	buf_fini(&batch);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fresh_name, remove_name)
	const struct CMUnitTest tests[] = {
		TEST(a_full_disk_takes_whole_lines), TEST(who_may_not_cut_ends_the_line), TEST(a_torn_end_is_cut),
		TEST(a_long_torn_end_is_cut),        TEST(what_is_not_ours_stays),        TEST(pipes_and_devices),
		TEST(killed_at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
