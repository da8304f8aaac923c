/* message: what the client sends: pieces of messages, pings and pongs, and their limits. Hub thread. */
#ifndef WALPUSH_HUB_MESSAGE_H
#define WALPUSH_HUB_MESSAGE_H

#include "conn.h"
#include "walpush/text/clientmsg.h"

/* Takes a piece of a message. True: this was the last piece, and *out is the parsed message, which the caller frees. Too many messages, or too
 * long ones, close the connection. */
bool message_read(struct conn *c, const char *bytes, size_t len, struct clientmsg *out);
/* A pong of the client came. */
void message_heard_pong(struct conn *c);
/* Answers the client's ping. */
void message_answer(struct conn *c, const struct clientmsg *ping);

#endif
