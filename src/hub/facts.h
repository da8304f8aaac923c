/*
 * facts: what all files of a hub read, and only hub.c writes. Hub thread.
 *
 * The files of the hub. Each knows only those before it in this list:
 *
 *   response.c    the answer to a request that is refused
 *   peek.c        the first bytes of a socket
 *   goodbye.c     a close frame and its words
 *   channel.c     which connections have a subscription in which log
 *   writer.c      bytes to a socket
 *   sent.c        which messages were written lately, to how many and when
 *   visitor.c     a socket and its address, from accept to close
 *   handshake.c   the request: path, origin, upgrade
 *   conn.c        one connection, and the lists of all
 *   notice.c      messages about the connection itself: hello, resync, auth_ok
 *   deliver.c     from the logs to the writers
 *   admission.c   tokens, and the tap's answers
 *   message.c     what the client says
 *   conn_event.c  what happens to a connection; conn_table.c, which is pure, chooses
 *   session.c     makes events of the library's callbacks, of mails and of the clock
 *   depart.c      closes many connections at the pace of drain.c, which is pure
 *   hub.c         wires the parts; only it knows struct hub
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
