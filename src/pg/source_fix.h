/* source_fix: what an error of the replication connection means, and how to fix it. Private to the source; pure. */
#ifndef WALPUSH_SOURCE_FIX_H
#define WALPUSH_SOURCE_FIX_H

#include "walpush/base/fail.h"

struct source_fix {
	const char *sqlstate; /* a prefix */
	const char *what;     /* for the log */
	bool slow;            /* a person must act */
};

/* NULL: not known. */
const struct source_fix *source_fix_for(const struct fail *why);
/* Does the error speak of the record that comes next? Other errors pass with what caused them. */
bool source_fix_is_poison(const struct fail *why);

#endif
