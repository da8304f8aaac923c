/*
 * fails: all errors of one file, in the order of its lines.
 *
 * Pure. A zeroed one is empty, and there is nothing to free. At most FAILS_MOST are kept: those of the first lines; the others are counted.
 * Errors of one line keep the order in which they were added.
 */
#ifndef WALPUSH_FAILS_H
#define WALPUSH_FAILS_H

#include "walpush/base/fail.h"

#define FAILS_MOST 50

struct fails {
	struct fail at[FAILS_MOST];
	size_t n;
	size_t more; /* errors of later lines that are not in `at` */
};

/* "FILE:LINE: …". Always returns false, as fail_set does. */
bool fails_add(struct fails *all, const char *file, unsigned line, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* One line for a caller that has room for one: the first error, and how many others there are. There must be one. */
void fails_first(const struct fails *all, struct fail *out);

#endif
