/*
 * auditfile: a file of lines that holds only whole lines, also on a full disk and after a crash.
 *
 * If a write falls short, the file is cut back to the end of the last whole line. A crash may leave a torn line at the
 * end; it is cut when the file is taken. The file is cut only if it is a regular file and no other process holds it
 * (flock), because otherwise the end may be another process's line. If the file cannot be cut (a pipe, an append-only
 * file), a newline ends the torn line before the next line.
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
	bool torn; /* the file ends in the middle of a line that could not be cut */
	int error;
};

#define AUDITFILE_NONE ((struct auditfile){ .fd = -1 })

/* Returns the descriptor, or -1 with errno. "-" is standard error. */
int auditfile_open(const char *name);
/* Closes the previous file and uses this one; -1: none. */
void auditfile_take(struct auditfile *f, int fd);
void auditfile_close(int fd);
/* Cuts a torn line at the end, if the file is held or can be held. Returns how many bytes were cut. May be called again
 * to try again. */
size_t auditfile_hold(struct auditfile *f);
/* `bytes` are whole lines. Returns how many bytes of whole lines the file has accepted. */
size_t auditfile_write(struct auditfile *f, const char *bytes, size_t len);

#endif
