/*
 * notice: what the server says by itself. Hub thread.
 *
 * All connections share the logs, and some entries of them are tagged. `resync` is an entry without text: it names the epoch, which ends
 * in a digest of the receiver's claims, so it is written for each connection. A bulk message is an entry with the standard text, and a stream
 * that has other words for it, or none, gets those instead. A message that ends its readers' connections is tagged too.
 */
#ifndef WALPUSH_HUB_NOTICE_H
#define WALPUSH_HUB_NOTICE_H

#include "conn.h"

/* Queued: goes out with the next delivery. */
void notice_hello(struct conn *c, struct event_id id, bool resumed);
/* The renewed token is in force, queued: `epoch` is that of its claims, if the client is to be told it, else NULL. */
void notice_auth_ok(struct conn *c, const char *epoch);
/* `resync`, or what stands for it on this stream. -1: the connection is broken. */
int notice_refetch(struct conn *c, const char *reason, struct event_id id);
/* A run of one tagged entry. The same. */
int notice_tagged(struct conn *c, const struct run *run);

#endif
