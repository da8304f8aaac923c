#include "walpush/base/fail.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool fail_v(struct fail *f, unsigned line, size_t offset, const char *format, va_list args)
	__attribute__((format(printf, 4, 0)));

static bool fail_v(struct fail *f, unsigned line, size_t offset, const char *format, va_list args)
{
	f->line = line;
	f->offset = offset;
	f->sqlstate[0] = '\0';
	vsnprintf(f->text, sizeof(f->text), format, args);
	return false;
}

bool fail_set(struct fail *f, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fail_v(f, 0, 0, format, args);
	va_end(args);
	return false;
}

bool fail_at_line(struct fail *f, unsigned line, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fail_v(f, line, 0, format, args);
	va_end(args);
	return false;
}

bool fail_in_file(struct fail *f, const char *file, unsigned line, const char *format, ...)
{
	char text[sizeof(f->text)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return fail_at_line(f, line, "%s:%u: %s", file, line, text);
}

bool fail_at_offset(struct fail *f, size_t offset, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fail_v(f, 0, offset, format, args);
	va_end(args);
	return false;
}

/* --- never -------------------------------------------------------------------------------------------------------- */

static _Atomic(void (*)(const char *)) writes_line;

void fail_never_through(void (*write_line)(const char *text))
{
	atomic_store(&writes_line, write_line);
}

static void write_bare(const char *text)
{
	char line[FAIL_NEVER_MAX + sizeof("walpush: \n")];
	int len = snprintf(line, sizeof(line), "walpush: %s\n", text);
	ssize_t written = write(STDERR_FILENO, line, (size_t)len);

	(void)written;
}

void fail_never_at(const char *file, int line, const char *format, ...)
{
	void (*write_line)(const char *) = atomic_load(&writes_line);
	struct fail why;
	char text[FAIL_NEVER_MAX];
	va_list args;

	va_start(args, format);
	fail_v(&why, 0, 0, format, args);
	va_end(args);
	snprintf(text, sizeof(text), "%s:%d: %s", file, line, why.text);
	(write_line ? write_line : write_bare)(text);
	abort();
}
