#include "walpush/base/files.h"

#include <inttypes.h>

/* The process uses about 20 files; the rest is for clients of the admin port. */
#define OWN 96
/* libwebsockets and libuv open 7 files for each loop: epoll, pipes, eventfds, /dev/urandom. */
#define PER_HUB 8

uint64_t files_kept(unsigned hubs)
{
	return OWN + (uint64_t)PER_HUB * hubs;
}

bool files_suffice(uint64_t files, unsigned hubs, struct fail *why)
{
	uint64_t needed = files_kept(hubs) + FILES_CLIENTS_LEAST;

	if (files >= needed)
		return true;
	return fail_set(why,
			"the limit of open files is %" PRIu64 ", and walpush with %u %s needs %" PRIu64
			" to serve its first clients; raise it (ulimit -n, LimitNOFILE)",
			files, hubs, hubs == 1 ? "thread" : "threads", needed);
}
