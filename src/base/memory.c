#include "walpush/base/memory.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "walpush/base/mem.h"
#include "walpush/base/file.h"

#define MIB (UINT64_C(1) << 20)
/* For threads, connections and logs while a record is handled. */
#define RESERVE_LEAST (24 * MIB)
#define RESERVE_PART 16
#define BALLAST (8 * MIB)
/* There is room again when so many bytes could be allocated. */
#define ROOM (16 * MIB)
/* Without a limit cgroup v1 reports INT64_MAX, rounded down to pages; every limit from here on means none. */
#define V1_UNLIMITED (UINT64_C(1) << 60)

static struct rlimit before; /* RLIMIT_DATA as the process found it */
static rlim_t lowered;       /* the soft RLIMIT_DATA that memory_guard has set; 0: it has set none */
static atomic_bool is_lifted;
static void *_Atomic ballast;
static bool wants_ballast;

/* --- limits -------------------------------------------------------------------------------------------------------- */

static uint64_t read_limit(const char *path)
{
	char text[64];

	if (file_read_short(path, text, sizeof(text)) <= 0 || text[0] < '0' || text[0] > '9')
		return MEMORY_UNLIMITED; /* "max" */
	return strtoull(text, NULL, 10) >= V1_UNLIMITED ? MEMORY_UNLIMITED : strtoull(text, NULL, 10);
}

/* Is "memory" in the list of controllers? */
static bool has_memory(struct slice controllers)
{
	for (size_t at = 0; at <= controllers.len;) {
		const char *comma = memchr(controllers.at + at, ',', controllers.len - at);
		size_t n = comma ? (size_t)(comma - controllers.at) - at : controllers.len - at;

		if (n == 6 && memcmp(controllers.at + at, "memory", 6) == 0)
			return true;
		at += n + 1;
	}
	return false;
}

/* The text has lines "0::/path" (version 2) or "9:memory:/path" (version 1). If there are both, version 1 counts. */
bool memory_cgroup_path(struct slice text, struct slice *path, bool *v2)
{
	bool found = false;

	while (text.len) {
		const char *end = memchr(text.at, '\n', text.len);
		size_t len = end ? (size_t)(end - text.at) : text.len;
		const char *first = memchr(text.at, ':', len);
		const char *second = first ? memchr(first + 1, ':', len - (size_t)(first + 1 - text.at)) : NULL;

		if (second) {
			struct slice controllers = { first + 1, (size_t)(second - first - 1) };
			bool is_v1 = has_memory(controllers), is_v2 = controllers.len == 0;

			if (is_v1 || (is_v2 && !found)) {
				*path = (struct slice){ second + 1, len - (size_t)(second + 1 - text.at) };
				*v2 = !is_v1;
				found = true;
			}
		}
		text.at += len + (end ? 1 : 0);
		text.len -= len + (end ? 1 : 0);
	}
	return found;
}

/* The limits of all parent cgroups count too. In a container the path may be the host's and not be mounted: then the limit of the mount's root
 * counts. */
static uint64_t cgroup_limit(void)
{
	char text[4096], file[4400], path[4096];
	uint64_t limit = MEMORY_UNLIMITED;
	struct slice found;
	bool v2;

	if (file_read_short("/proc/self/cgroup", text, sizeof(text)) <= 0 ||
	    !memory_cgroup_path(slice_of(text), &found, &v2))
		return limit;
	snprintf(path, sizeof(path), "%.*s", (int)found.len, found.at);
	for (char *slash = path + strlen(path);; slash = strrchr(path, '/')) {
		uint64_t here;

		if (!slash)
			return limit;
		*slash = '\0';
		snprintf(file, sizeof(file), "/sys/fs/cgroup%s%s/%s", v2 ? "" : "/memory", path,
			 v2 ? "memory.max" : "memory.limit_in_bytes");
		here = read_limit(file);
		limit = here < limit ? here : limit;
	}
}

uint64_t memory_limit(void)
{
	uint64_t limit = cgroup_limit();
	struct rlimit space;

	if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY && space.rlim_cur < limit)
		limit = space.rlim_cur;
	if (getrlimit(RLIMIT_DATA, &space) == 0 && space.rlim_cur != RLIM_INFINITY && !lowered &&
	    space.rlim_cur < limit)
		limit = space.rlim_cur;
	return limit;
}

uint64_t memory_record_bytes(uint64_t configured)
{
	uint64_t third = memory_limit() / 3;

	if (configured)
		return configured;
	return third < MEMORY_RECORD_BYTES ? third : MEMORY_RECORD_BYTES;
}

uint64_t memory_for_record(uint64_t bytes)
{
	uint64_t buffer = MIB;

	while (buffer < bytes)
		buffer *= 2;
	return buffer + bytes + bytes / 10;
}

/* --- the reserve --------------------------------------------------------------------------------------------------- */

static void keep_ballast(void)
{
	void *p;

	if (!wants_ballast || atomic_load(&ballast))
		return;
	p = mmap(NULL, BALLAST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p != MAP_FAILED)
		atomic_store(&ballast, p);
}

static bool set_data_limit(rlim_t soft)
{
	struct rlimit limit = { .rlim_cur = soft, .rlim_max = before.rlim_max };

	return setrlimit(RLIMIT_DATA, &limit) == 0;
}

void memory_guard(void)
{
	uint64_t limit = cgroup_limit(), reserve = limit / RESERVE_PART;
	struct rlimit space;

	wants_ballast = (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY) ||
			(getrlimit(RLIMIT_DATA, &space) == 0 && space.rlim_cur != RLIM_INFINITY);
	keep_ballast();
	if (reserve < RESERVE_LEAST)
		reserve = RESERVE_LEAST;
	if (limit == MEMORY_UNLIMITED || limit <= 2 * reserve || getrlimit(RLIMIT_DATA, &before) != 0)
		return;
	if (before.rlim_cur != RLIM_INFINITY && before.rlim_cur <= limit - reserve)
		return;
	if (set_data_limit(limit - reserve))
		lowered = limit - reserve;
}

bool memory_relief(void)
{
	void *p = atomic_exchange(&ballast, NULL);
	bool more = p && munmap(p, BALLAST) == 0;

	if (lowered && !atomic_exchange(&is_lifted, true))
		more = set_data_limit(before.rlim_cur) || more;
	return more;
}

void memory_tick(void)
{
	if (mem_is_there(ROOM))
		keep_ballast();
	if (!atomic_load(&is_lifted) || !set_data_limit(lowered))
		return;
	if (mem_is_there(ROOM))
		atomic_store(&is_lifted, false);
	else
		set_data_limit(before.rlim_cur);
}
