/* file: reading files that fit into memory. Any thread. */
#ifndef WALPUSH_FILE_H
#define WALPUSH_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "walpush/base/buf.h"

/* Appends the whole file to `out`. False: the file cannot be read, is a directory, or `out` would hold more than `max` bytes. *problem says
 * which; its text is valid until the next error of this thread. */
bool file_read(const char *path, size_t max, struct buf *out, const char **problem);
/* The bytes of one read(2), then a zero: the whole file if it is short or a kernel file (/proc), and cap - 1 bytes are enough. Allocates nothing.
 * Returns the number of bytes. 0: the file is empty or cannot be read, and `out` is "". -1: the file cannot be opened, `out` is "", and errno
 * says why. */
ssize_t file_read_short(const char *path, char *out, size_t cap);

#endif
