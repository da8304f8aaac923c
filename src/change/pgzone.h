/*
 * pgzone: when a time zone changes its distance from UTC, as the server says it. wal2json prints a commit's time in the session's zone; pgoutput sends
 * a number, so walpush must know the zone too. The server knows the names of zones and their rules; nothing is installed beside walpush. Pure.
 */
#ifndef WALPUSH_PGZONE_H
#define WALPUSH_PGZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pgzone_change {
	int64_t at;     /* s since 1970 */
	int32_t offset; /* s east of UTC, from `at` on */
};

struct pgzone { /* zeroed: UTC */
	struct pgzone_change *changes;
	size_t n;
};

/* "at offset,at offset", as source_start has it, in the order of `at`. False: it is malformed, and the zone is UTC. Frees what was there before. */
bool pgzone_read(struct pgzone *zone, const char *text);
void pgzone_fini(struct pgzone *zone);
/* Before the first change its offset counts, too. */
int32_t pgzone_offset(const struct pgzone *zone, int64_t at);

#endif
