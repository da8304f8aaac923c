/*
 * deliver: from the topic logs to the sockets. Hub thread.
 *
 * A connection gets what lies between its cursors and the published position. With one topic that is one run of frames after the
 * other, written from the log's memory without a copy. With several, runs are merged by event id, and an id that is in two of
 * them is written once.
 */
#ifndef WALPUSH_HUB_DELIVER_H
#define WALPUSH_HUB_DELIVER_H

#include "conn.h"

/* Once in each turn of the hub, after its mails: what is due, for the connections that are in that list and for all of the channels that are
 * dirty. */
void deliver_turn(struct conns *all);
/* To one connection: everything up to hub->published, as far as the socket takes it. -1: the connection is broken. */
int deliver(struct conn *c);
/* The same with what is queued first, and a broken connection is hung up. Not while mails are taken. */
void deliver_flush(struct conn *c);
/* A frame of our own, behind those that wait for the socket; none once the connection closes. Not while mails are taken. */
void deliver_reply(struct conn *c, unsigned char opcode, struct slice payload);
/* The oldest commit of this turn's news. */
void deliver_note_committed(struct conns *all, const struct mail *mail);
/* The commits whose closes concern the connection, should they be passed over unread. */
struct missed deliver_nothing_missed(const struct conn *c);
/* How far the slow ones are behind, for the metrics. `now` in µs. */
void deliver_measure(struct conns *all, int64_t now);

#endif
