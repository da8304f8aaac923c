/*
 * memory: how much the process may have, and what it does when that is not enough.
 *
 * Where a cgroup limits it, nothing fails: the kernel kills. So the soft RLIMIT_DATA is lowered to the cgroup's limit less a reserve, and
 * libpq, which takes twice a record's size and more, is told "no" instead. Whatever else is told "no" meanwhile lifts that limit, and tries
 * again: it may go on with the reserve, until memory_tick finds that there is room again. Under RLIMIT_AS the reserve is a mapping that is
 * let go of. memory_guard and memory_tick: main thread; memory_relief: any.
 */
#ifndef WALPUSH_MEMORY_H
#define WALPUSH_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "walpush/base/slice.h"

#define MEMORY_UNLIMITED UINT64_MAX

/* Bytes that the process may have, by its cgroup or RLIMIT_AS. */
uint64_t memory_limit(void);
/* limits.record-bytes where the file says 0: RECORD_BYTES, or a third of what the process may have. */
#define MEMORY_RECORD_BYTES (UINT64_C(256) << 20)
uint64_t memory_record_bytes(uint64_t configured);
/* What a record of that size may take at its peak: libpq's buffer, the record, and what handling it takes. */
uint64_t memory_for_record(uint64_t bytes);
/* From now on the reserve is kept. */
void memory_guard(void);
/* True: there is more than a moment ago. */
bool memory_relief(void);
/* Now and then: keeps the reserve again. */
void memory_tick(void);

/* Pure. The path of the memory cgroup in the text of /proc/self/cgroup, below the controller's mount; `v2` says which. False: none. */
bool memory_cgroup_path(struct slice text, struct slice *path, bool *v2);

#endif
