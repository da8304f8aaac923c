/*
 * fail: why something did not work, in one line that says what to do.
 *
 * Pure but for fail_never. A function that can fail takes a `struct fail *` last, fills it, and returns false or NULL.
 * The handler at the top logs it, once. Never holds a token, a password or row data.
 *
 * fail_never is the other kind: a state that only a mistake of ours or a system without memory, files or threads can bring about.
 * It ends the process with one line that names the place and says what failed; it is the only place that calls abort().
 */
#ifndef WALPUSH_FAIL_H
#define WALPUSH_FAIL_H

#include <stdbool.h>
#include <stddef.h>

struct fail {
	char text[480];
	char sqlstate[6]; /* "" unless PostgreSQL said it */
	unsigned line;    /* of the configuration file; 0: unknown */
	size_t offset;    /* byte in the input; 0 where it means nothing */
};

/* Always returns false, so that a caller can `return fail_set(…)`. */
bool fail_set(struct fail *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool fail_at_line(struct fail *f, unsigned line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "FILE:LINE: …" */
bool fail_in_file(struct fail *f, const char *file, unsigned line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
bool fail_at_offset(struct fail *f, size_t offset, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Bytes of the text that fail_never writes, with its end. */
#define FAIL_NEVER_MAX 560

/* Any thread. Allocates nothing. Not for anything that arrives from outside. The log's line if there is a log, else bare text. */
#define fail_never(...) fail_never_at(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void fail_never_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Who writes the line, from here on: log_setup says so. The text has no newline; NULL: stderr, bare. */
void fail_never_through(void (*write_line)(const char *text));

#endif
