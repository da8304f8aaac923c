/*
 * notice: messages that the server sends by itself. Hub thread.
 *
 * All connections share the logs, and some entries of them are tagged. `resync` is an entry without text: it names the epoch, which ends
 * in a digest of the receiver's claims, so it is written for each connection. A bulk message is an entry with the standard text; a stream with
 * its own text for a resync, or with a close in its place, gets that instead. A message that closes its readers' connections is tagged too.
 */
#ifndef WALPUSH_HUB_NOTICE_H
#define WALPUSH_HUB_NOTICE_H

#include "conn.h"

/* Queued: goes out with the next delivery. */
void notice_hello(struct conn *c, struct event_id id, bool resumed);
/* Queued: the renewed token is in force. `epoch`: the epoch of its claims if the client must learn it, or NULL. */
void notice_auth_ok(struct conn *c, const char *epoch);
/* Writes `resync`, or does what this stream has in its place. -1: the connection is broken. */
int notice_refetch(struct conn *c, const char *reason, struct event_id id);
/* Writes a run of one tagged entry. -1: the connection is broken. */
int notice_tagged(struct conn *c, const struct run *run);

#endif
