/*
 * auditfile: a file of lines, of which it only ever holds whole ones, also on a full disk and after a crash.
 *
 * What does not fit is cut back to the end of the last whole line. A crash may leave a torn line at the end: it is cut when the file is taken.
 * Both are done to a regular file that no other process holds (flock), because its end may be another's line otherwise; what cannot be
 * cut (a pipe, an append-only file) is ended with a newline before the next line.
 *
 * One thread. Errors: `error` is the errno of the last write that fell short.
 */
#ifndef WALPUSH_AUDITFILE_H
#define WALPUSH_AUDITFILE_H

#include <stdbool.h>
#include <stddef.h>

struct auditfile {
	int fd; /* -1: none; standard error is never closed */
	bool is_held;
	bool torn; /* it ends in the middle of a line, which could not be cut */
	int error;
};

#define AUDITFILE_NONE ((struct auditfile){ .fd = -1 })

/* -1 and errno. "-" is standard error. */
int auditfile_open(const char *name);
/* Closes the file before and goes on in this one, -1: in none. */
void auditfile_take(struct auditfile *f, int fd);
void auditfile_close(int fd);
/* Cuts a torn line at the end, if the file is or can be held. Returns how many bytes that were. Called again it tries again. */
size_t auditfile_hold(struct auditfile *f);
/* `bytes` are whole lines. Returns how many of them the file has: all, or those of the first whole lines. */
size_t auditfile_write(struct auditfile *f, const char *bytes, size_t len);

#endif
