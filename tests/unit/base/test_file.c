/* Files read whole, or in one read; and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "walpush/base/file.h"

static char directory[] = "/tmp/walpush-file-XXXXXX";
static char path[64];

static int make_directory(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/f", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static void write_file(const char *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

/* Longer than one read, with zeros in it. */
static void a_file_is_read_whole(void **state)
{
	static char bytes[10000];
	struct buf out = { 0 };
	const char *problem = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i % 251);
	write_file(bytes, sizeof(bytes));
	buf_add_text(&out, "before");
	assert_true(file_read(path, sizeof(bytes) + 6, &out, &problem));
	assert_null(problem);
	assert_int_equal(out.len, sizeof(bytes) + 6);
	assert_memory_equal(out.data, "before", 6);
	assert_memory_equal(out.data + 6, bytes, sizeof(bytes));
	assert_int_equal(out.data[out.len], 0);
	buf_fini(&out);
	assert_false(file_read(path, sizeof(bytes) - 1, &out, &problem));
	assert_string_equal(problem, "it is too large");
	buf_fini(&out);
	write_file("", 0);
	assert_true(file_read(path, 10, &out, &problem));
	assert_int_equal(out.len, 0);
	buf_fini(&out);
}

static void what_is_no_file_is_said(void **state)
{
	struct buf out = { 0 };
	const char *problem = NULL;

	(void)state;
	assert_false(file_read("/nonexistent/file", 10, &out, &problem));
	assert_string_equal(problem, "No such file or directory");
	assert_false(file_read(directory, 10, &out, &problem));
	assert_string_equal(problem, "it is a directory");
	assert_int_equal(out.len, 0);
	buf_fini(&out);
}

static void one_read_is_bounded(void **state)
{
	char out[8];

	(void)state;
	write_file("0123456789", 10);
	assert_int_equal(file_read_short(path, out, sizeof(out)), 7);
	assert_string_equal(out, "0123456");
	write_file("", 0);
	assert_int_equal(file_read_short(path, out, sizeof(out)), 0);
	assert_string_equal(out, "");
	assert_int_equal(file_read_short(directory, out, sizeof(out)), 0); /* opened, but not read */
	assert_string_equal(out, "");
	assert_int_equal(file_read_short("/nonexistent/file", out, sizeof(out)), -1);
	assert_int_equal(errno, ENOENT);
	assert_string_equal(out, "");
	assert_true(file_read_short("/proc/self/stat", out, sizeof(out)) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_read_whole),
		cmocka_unit_test(what_is_no_file_is_said),
		cmocka_unit_test(one_read_is_bounded),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
