/* source_fix: the meaning of an error of the replication connection, and its fix. Private to the source; pure. */
#ifndef WALPUSH_SOURCE_FIX_H
#define WALPUSH_SOURCE_FIX_H

#include "walpush/base/fail.h"

struct source_fix {
	const char *sqlstate; /* a prefix */
	const char *text;     /* a part of the error's text; NULL: any */
	const char *what;     /* meaning and fix, for the log */
	bool slow;            /* a person must act */
};

/* NULL: not known. */
const struct source_fix *source_fix_for(const struct fail *why);
/* Is the next record the reason of the error? Other errors end when their cause ends. */
bool source_fix_is_poison(const struct fail *why);

#endif
