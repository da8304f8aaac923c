/*
 * hub: a thread that serves WebSockets: one libwebsockets context on a libuv loop of its own.
 *
 * The tap accepts sockets and hands them over; the hub does the handshake, verifies the token, asks the tap for admission, and then
 * writes the bytes between each connection's cursors and the published position. The functions here are the tap's; everything
 * else happens on the hub's thread. Between the two there are only mailboxes, tickets, and the topic log.
 *
 * One turn of a hub: read the published position, then take the mailbox, then deliver up to the position. A mail posted
 * before an append is so always seen before what was appended.
 */
#ifndef WALPUSH_HUB_H
#define WALPUSH_HUB_H

#include "walpush/share/mailbox.h"

struct hub;

struct edition;

/* Takes a reference on the edition. */
struct hub *hub_new(unsigned index, const struct edition *edition, struct fail *why);
bool hub_start(struct hub *h, struct fail *why);
/* Wakes the started hub as hub_post does and waits for its answer, for 5 s at most. False: it must not be freed. */
bool hub_wakes(struct hub *h, struct fail *why);
/* Posts, and wakes the hub if it sleeps. */
void hub_post(struct hub *h, const struct mail *mail);
/* µs of clock_us: when its loop last turned for certain; it does so every second. Any thread. */
int64_t hub_beat(const struct hub *h);
/* Waits for the thread, which must have been posted MAIL_STOP if it was started, and frees all. */
void hub_free(struct hub *h);

#endif
