/* source_mend: what an error of the replication connection means, and what to do about it. Private to the source; pure. */
#ifndef WALPUSH_SOURCE_MEND_H
#define WALPUSH_SOURCE_MEND_H

#include "walpush/base/fail.h"

struct source_mend {
	const char *sqlstate; /* a prefix */
	const char *what;     /* for the log */
	bool slow;            /* a person must act */
};

/* NULL: not known. */
const struct source_mend *source_mend_for(const struct fail *why);
/* Does the error speak of the record that comes next? Other errors pass with what caused them. */
bool source_mend_is_poison(const struct fail *why);

#endif
