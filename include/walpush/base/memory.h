/*
 * memory: how much memory the process may have, and what it does when that is not enough.
 *
 * Above a cgroup's limit no allocation fails: the kernel kills the process. So memory_guard lowers the soft RLIMIT_DATA to the cgroup's limit
 * less a reserve. Now an allocation of libpq, which takes twice a record's size and more, fails instead. If an allocation of walpush fails
 * (mem.h), memory_relief lifts the lowered limit and the allocation is tried again. The process then uses the reserve, until memory_tick
 * finds room again. Under RLIMIT_AS or RLIMIT_DATA the reserve is a mapping, which memory_relief unmaps. memory_guard and memory_tick:
 * main thread; memory_relief: any.
 */
#ifndef WALPUSH_MEMORY_H
#define WALPUSH_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "walpush/base/slice.h"

#define MEMORY_UNLIMITED UINT64_MAX

/* Bytes that the process may have, by its cgroup, RLIMIT_AS or RLIMIT_DATA. */
uint64_t memory_limit(void);
/* limits.record-bytes; for 0, the smaller of MEMORY_RECORD_BYTES and a third of memory_limit. Bytes. */
#define MEMORY_RECORD_BYTES (UINT64_C(256) << 20)
uint64_t memory_record_bytes(uint64_t configured);
/* Bytes that a record of this size may take at its peak: libpq's buffer, the record, and the work on the record. */
uint64_t memory_for_record(uint64_t bytes);
/* From now on there is a reserve. */
void memory_guard(void);
/* Gives the reserve away. True: there is more memory than before the call. */
bool memory_relief(void);
/* Called now and then: restores the reserve when there is room. */
void memory_tick(void);

/* Pure. Finds the path of the memory cgroup in the text of /proc/self/cgroup. The path is below the mount of cgroup version 2 if `v2` is set, else
 * of the memory controller. False: there is none. */
bool memory_cgroup_path(struct slice text, struct slice *path, bool *v2);

#endif
