/*
 * hub: a thread that serves WebSockets: one libwebsockets context on a libuv loop of its own.
 *
 * The tap accepts sockets and hands them over. The hub does the handshake, verifies the token, asks the tap for admission, and then
 * writes the bytes between each connection's cursors and the published position. The tap calls the functions below; everything
 * else happens on the hub's thread. Tap and hub share the logs, mailboxes, the edition in force, tickets, the gate, the audit
 * log's queue, and the cells of the metrics.
 *
 * One turn of a hub: read the published position, then take the mailbox, then deliver up to the position. So if the tap posts a
 * mail before it appends a message, the hub takes the mail before it delivers the message.
 */
#ifndef WALPUSH_HUB_H
#define WALPUSH_HUB_H

#include "walpush/share/mailbox.h"

struct hub;

struct edition;

/* Takes a reference on the edition. */
struct hub *hub_new(unsigned index, const struct edition *edition, struct fail *why);
bool hub_start(struct hub *h, struct fail *why);
/* Wakes the started hub as hub_post does, and waits up to 5 s for its answer. False: the hub must not be freed. */
bool hub_wakes(struct hub *h, struct fail *why);
/* Posts, and wakes the hub if it sleeps. */
void hub_post(struct hub *h, const struct mail *mail);
/* µs of clock_us: the last turn of its loop that is certain; the loop stores this time every second. Any thread. */
int64_t hub_beat(const struct hub *h);
/* Waits for the thread and frees everything. If the hub was started, MAIL_STOP must have been posted to it. */
void hub_free(struct hub *h);

#endif
