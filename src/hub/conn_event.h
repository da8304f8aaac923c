/*
 * conn_event: what happens to a connection, from the library, the client, the tap and the clock. Hub thread.
 *
 * conn_event looks up each event in conn_table with the connection's state, and does the act that the table has. The table, not the
 * act, decides what a state allows.
 *
 * After a protocol error libwebsockets drops the connection at once (conn_gone), sends its close frame, and continues to parse the
 * bytes that it has read. So it may report bytes, pongs and a close of the peer for a connection that has left the hub. Such a
 * connection is CONN_GONE until the library frees its memory. A timer ends it, late enough for the close frame to go out.
 */
#ifndef WALPUSH_HUB_CONN_EVENT_H
#define WALPUSH_HUB_CONN_EVENT_H

#include "conn.h"

struct conn_cause { /* of an event; members that the event does not need are zero */
	struct lws *wsi;
	struct conns *all;          /* CONN_ON_UPGRADE */
	const unsigned char *bytes; /* CONN_ON_BYTES, CONN_ON_PEER_CLOSE */
	size_t len;
	const struct mail *mail;
	const struct clientmsg *message; /* CONN_ON_AUTH, CONN_ON_PING */
	unsigned code;                   /* CONN_ON_REFUSED, CONN_ON_AGE, CONN_ON_STALL */
	const char *words;               /* for the close frame, a literal; NULL: those of the code */
};

/* -1: the library must hang up; only for events of the library. `c` NULL: CONN_UNBORN. */
int conn_event(struct conn *c, enum conn_event event, const struct conn_cause *why);

#endif
