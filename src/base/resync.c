#include "walpush/base/resync.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/fail.h"

static const char *const names[] = { "history", "epoch",  "gap",  "membership", "truncate",
				     "unknown", "lookup", "bulk", "skipped" };

#define N_NAMES (sizeof(names) / sizeof(names[0]))

const char *resync_name(enum resync_reason reason)
{
	if ((size_t)reason >= N_NAMES)
		fail_never("there is no resync reason %d", (int)reason);
	return names[reason];
}

bool resync_is_reason(const char *name)
{
	for (size_t i = 0; i < N_NAMES; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

enum resync_reason resync_reason(const char *name)
{
	for (size_t i = 0; i < N_NAMES; i++)
		if (strcmp(names[i], name) == 0)
			return (enum resync_reason)i;
	fail_never("no resync reason is called %s", name);
}
