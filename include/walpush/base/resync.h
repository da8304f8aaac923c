/* resync: why a client must refetch. Pure. */
#ifndef WALPUSH_RESYNC_H
#define WALPUSH_RESYNC_H

#include <stdbool.h>
#include <stdint.h>

enum resync_reason {
	RESYNC_HISTORY,
	RESYNC_EPOCH,
	RESYNC_GAP,
	RESYNC_MEMBERSHIP,
	RESYNC_TRUNCATE,
	RESYNC_UNKNOWN,
	RESYNC_LOOKUP,
	RESYNC_BULK,
	RESYNC_SKIPPED
};

/* "history", "epoch", …: as in messages. */
const char *resync_name(enum resync_reason reason);
bool resync_is_reason(const char *name);
/* Ends the process if no reason has this name. */
enum resync_reason resync_reason(const char *name);

#endif
