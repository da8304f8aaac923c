#include "walpush/fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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

bool fail_at_offset(struct fail *f, size_t offset, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fail_v(f, 0, offset, format, args);
	va_end(args);
	return false;
}

void fail_never_at(const char *file, int line, const char *format, ...)
{
	char text[480];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "walpush: %s:%d: %s\n", file, line, text);
	abort();
}
