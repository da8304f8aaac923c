/*
 * depart: closes many connections, one after the other. Hub thread.
 *
 * Connections must go for three reasons: the process stops, another process holds the slot, or a new edition changed their stream. They
 * connect again at once, here or at a replica, so they go at the pace of drain.h. The tap gives sockets to the hubs in turn, so each
 * hub has its share of the rate.
 *
 * The order is random within three groups. Connections that are not admitted go first: they receive nothing here, and another process
 * serves them sooner. Connections for which messages wait, because of their socket or of a limit, go last.
 */
#ifndef WALPUSH_HUB_DEPART_H
#define WALPUSH_HUB_DEPART_H

#include <libwebsockets.h>

#include "conn.h"

struct departing { /* of one hub; zeroed except the first two */
	struct conns *conns;
	struct lws_context *context;
	uint64_t *ids; /* of connections, in the order of their closes */
	size_t n, next;
	int64_t began, span; /* µs */
	bool told_gone;      /* MAIL_GONE was posted */
	lws_sorted_usec_list_t timer;
};

/* Closes the connections that are marked as departing, at the pace of drain.h. A departure that is under way begins again with the connections
 * that are left. `most`: µs allowed. */
void depart_begin(struct departing *l, int64_t most);
/* The same for every connection. */
void depart_all(struct departing *l, int64_t most);
/* The same because the process stops: `draining` of hub_facts is set already. Posts MAIL_GONE when the last connection is gone. */
void depart_for_good(struct departing *l, int64_t most);
bool depart_is_under_way(const struct departing *l);
/* Once in a while: closes connections that came after the process began to stop. */
void depart_stragglers(struct departing *l);
/* The timer calls it: closes the connections whose turn has come by `now`, µs. Returns µs until the next call; 0: no call is needed. */
int64_t depart_step(struct departing *l, int64_t now);
void depart_fini(struct departing *l);

#endif
