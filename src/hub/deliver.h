/*
 * deliver: from the logs to the sockets. Hub thread.
 *
 * A connection receives the messages between its cursors and the published position. If it reads one log, runs of frames are written one
 * after the other from the log's memory, without a copy. If it reads several logs, their runs are merged by event id, and an id that is in
 * two of them is written once.
 *
 * A mark is an entry that tells to refetch because a lookup was not answered. While the database does not answer, there is one for each row, for
 * everybody who could be its receiver. Each resync that a client gets makes the next mark rest for CONN_REST, and what is behind it too. Then all
 * that is published goes out, and of its marks the last alone. If messages are before that, the first one too: a client that connects again names
 * the last id that it has received, so no message may pass all of the marks.
 */
#ifndef WALPUSH_HUB_DELIVER_H
#define WALPUSH_HUB_DELIVER_H

#include "conn.h"

/* Once in each turn of the hub, after its mails: delivers to the connections in the list `due`, and to those of all dirty channels. */
void deliver_turn(struct conns *all);
/* Writes to one connection, as far as the socket takes it: queued frames first, then everything up to hub->published and below the limit. -1: the
 * connection is broken. */
int deliver(struct conn *c);
/* The same, but hangs up a broken connection itself. Not while mails are taken. */
void deliver_flush(struct conn *c);
/* Sends a frame of our own after those that wait for the socket. Does nothing if the connection is closing. Not while mails are taken. */
void deliver_reply(struct conn *c, unsigned char opcode, struct slice payload);
/* Keeps the commit time of the mail if it is the oldest of this turn. */
void deliver_note_committed(struct conns *all, const struct mail *mail);
/* Serves those that have rested. Returns µs until the next; 0: nobody rests. */
int64_t deliver_rested(struct conns *all, int64_t now);
/* The range of commits in which a close concerns the connection, for entries that are skipped unread. */
struct missed deliver_missed_range(const struct conn *c);
/* Measures for the metrics how far slow connections are behind. `now` in µs. */
void deliver_measure(struct conns *all, int64_t now);

#endif
