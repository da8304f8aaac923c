/*
 * anchor: the server that the replication stream comes from. All sessions of the process must be on it. Tap thread.
 *
 * A snapshot of another server says nothing about what the stream's server shows, and an answer of it may be older than the row. A name that leads to
 * several servers, or a failover while sessions stand, can lead sessions astray. A server is known by the time when it started and by whether it is
 * in recovery: unlike its address, both are the same on every way to it.
 */
#ifndef WALPUSH_ANCHOR_H
#define WALPUSH_ANCHOR_H

#include <stdbool.h>

/* An SQL expression without operators and casts, which others can define: the server, as text of at most ANCHOR_TEXT bytes. */
#define ANCHOR_SQL                                                                                                     \
	"pg_catalog.format('%s.%s %s', pg_catalog.int8(pg_catalog.date_part('epoch', "                                 \
	"pg_catalog.pg_postmaster_start_time())), pg_catalog.int8(pg_catalog.date_part('microseconds', "               \
	"pg_catalog.pg_postmaster_start_time())), pg_catalog.pg_is_in_recovery())"
#define ANCHOR_TEXT 64

/* A session. Embedded; belongs to the caller. */
struct anchor_ear {
	struct anchor_ear *prev, *next;
	/* The stream's server is another one. Must not call the anchor, but for anchor_holds. */
	void (*moved)(void *ctx);
	void *ctx;
};

struct anchor {                   /* zeroed, but for the calls */
	char server[ANCHOR_TEXT]; /* "": not known yet */
	struct anchor_ear *ears;
	void (*astray)(void *ctx); /* a session is on another server than the stream */
	void *ctx;
};

void anchor_listen(struct anchor *a, struct anchor_ear *ear);
void anchor_leave(struct anchor *a, struct anchor_ear *ear);
/* The stream begins on this server. */
void anchor_set(struct anchor *a, const char *server);
/* Is this the stream's server? Also true if one of both is not known, which is "". */
bool anchor_holds(const struct anchor *a, const char *server);
/* Was it a standby? Of a server that is not known: no. */
bool anchor_is_standby(const char *server);
/* A session is on another server. */
void anchor_astray(struct anchor *a);

#endif
