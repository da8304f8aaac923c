/*
 * fail: why something did not work, in one line that says what to do.
 *
 * Pure. A function that can fail takes a `struct fail *` last, fills it, and returns false or NULL.
 * The handler at the top logs it, once. Never holds a token, a password or row data.
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
bool fail_at_offset(struct fail *f, size_t offset, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Ends the process with one line on stderr: file, line, and a sentence that says what cannot be. For defects of walpush itself: what
 * arrives from outside is never one. Any thread. */
#define fail_never(...) fail_never_at(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void fail_never_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
