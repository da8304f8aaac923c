/* file: reading files that fit into memory. Any thread. */
#ifndef WALPUSH_FILE_H
#define WALPUSH_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "walpush/base/buf.h"

/* The whole file, behind what `out` holds. False: it cannot be read, is a directory, or `out` would hold more than `max` bytes; *problem says which,
 * in words that stand until the next error of this thread. */
bool file_read(const char *path, size_t max, struct buf *out, const char **problem);
/* What one read gives, with a zero behind it: the whole of a short file, or of one that the kernel makes, if cap - 1 bytes suffice. Allocates
 * nothing. Returns how many bytes; 0: the file is empty or cannot be read, and `out` is ""; -1: it cannot be opened either, and errno says why. */
ssize_t file_read_short(const char *path, char *out, size_t cap);

#endif
