/*
 * fails: all errors of one file, in the order of its lines.
 *
 * Pure. A zeroed one is empty. At most FAILS_MOST are kept: those of the first lines; the others are counted. Errors of one line keep the order in
 * which they were added. They are on the heap, because the first thread's stack may be small.
 */
#ifndef WALPUSH_FAILS_H
#define WALPUSH_FAILS_H

#include "walpush/base/fail.h"

#define FAILS_MOST 50

struct fails {
	struct fail *at; /* NULL, or room for FAILS_MOST */
	size_t n;
	size_t more; /* errors of later lines that are not in `at` */
};

/* "FILE:LINE: …". Always returns false, as fail_set does. */
bool fails_add(struct fails *all, const char *file, unsigned line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void fails_fini(struct fails *all);
/* For a caller that has room for one line: `out` says the first error, and how many others there are. Frees them. False: there was one. */
bool fails_end(struct fails *all, struct fail *out);

#endif
