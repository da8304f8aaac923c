/*
 * conn_event: what happens to a connection, from the library, the client, the tap and the clock. Hub thread.
 *
 * Each event is looked up in conn_table with the connection's state, and the act found there is done. No act asks for the state by
 * itself.
 *
 * After a protocol error libwebsockets drops the connection at once (conn_gone), sends its close frame, and goes on parsing what
 * it had read: it may report bytes, pongs and a close of the peer for a connection that has left the hub. Such a connection is
 * CONN_GONE until the library frees its memory, and a timer ends it once the close frame had its time to go out.
 */
#ifndef WALPUSH_HUB_CONN_EVENT_H
#define WALPUSH_HUB_CONN_EVENT_H

#include "conn.h"

struct conn_cause { /* of an event; what it does not need is zero */
	struct lws *wsi;
	struct conns *all;          /* CONN_ON_UPGRADE */
	const unsigned char *bytes; /* CONN_ON_BYTES, CONN_ON_PEER_CLOSE */
	size_t len;
	const struct mail *mail;
	const struct clientmsg *message; /* CONN_ON_AUTH, CONN_ON_PING */
	unsigned code;                   /* CONN_ON_REFUSED, CONN_ON_AGE, CONN_ON_STALL */
};

/* -1: the library is to hang up; only for events of the library. NULL: CONN_UNBORN. */
int conn_event(struct conn *c, enum conn_event event, const struct conn_cause *why);

#endif
