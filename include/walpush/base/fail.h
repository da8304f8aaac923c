/*
 * fail: an error as one line, which says what failed and what to do.
 *
 * Pure except for fail_never. A function that can fail takes a `struct fail *` as its last argument, fills it, and returns false or NULL.
 * The handler at the top logs the text, once. The text never contains a token, a password or row data.
 *
 * fail_never is for a state that only a bug of walpush, or a system without memory, files or threads, can cause. It ends the process with
 * one line that names the place and says what failed. It is the only function that calls abort().
 */
#ifndef WALPUSH_FAIL_H
#define WALPUSH_FAIL_H

#include <stdbool.h>
#include <stddef.h>

struct fail {
	char text[480];
	char sqlstate[6]; /* "" unless the error is PostgreSQL's */
	unsigned line;    /* of the configuration file; 0: unknown */
	size_t offset;    /* byte in the input; 0 if there is no input */
};

/* Always returns false, so that a caller can `return fail_set(…)`. */
bool fail_set(struct fail *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool fail_at_line(struct fail *f, unsigned line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "FILE:LINE: …" */
bool fail_in_file(struct fail *f, const char *file, unsigned line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
bool fail_at_offset(struct fail *f, size_t offset, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Bytes of the text that fail_never writes, with the zero. */
#define FAIL_NEVER_MAX 560

/* Any thread. Allocates nothing. Not for errors in input from outside. Writes a line of the log if log_setup was called, else bare text. */
#define fail_never(...) fail_never_at(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void fail_never_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Sets the function that writes the line; log_setup calls this. The text has no newline. NULL: bare text on stderr. */
void fail_never_through(void (*write_line)(const char *text));

#endif
