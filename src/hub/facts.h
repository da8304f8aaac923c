/*
 * facts: what all files of a hub read, and only hub.c writes. Hub thread.
 */
#ifndef WALPUSH_HUB_FACTS_H
#define WALPUSH_HUB_FACTS_H

#include <pthread.h>
#include <stdbool.h>

#include "walpush/share/edition.h"

struct hub_facts {
	unsigned index;
	const struct hub_shared *shared; /* of the edition */
	struct edition *edition;         /* a reference: the newest, for new connections */
	struct metrics_counts *counts;   /* this hub's */
	lsn_t published;                 /* as it was read when the turn began */
	char epoch[48];
	bool draining;    /* the process stops */
	bool has_thread;  /* false: the thread that made the hub may call */
	pthread_t thread; /* written by this thread itself */
};

/* Is the caller the hub's thread? For assertions. */
static inline bool hub_is_here(const struct hub_facts *hub)
{
	return !hub->has_thread || pthread_equal(hub->thread, pthread_self());
}

#endif
