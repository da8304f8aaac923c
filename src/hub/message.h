/* message: what the client says: pieces of messages, pings, and too much. Hub thread. */
#ifndef WALPUSH_HUB_MESSAGE_H
#define WALPUSH_HUB_MESSAGE_H

#include "conn.h"
#include "walpush/text/clientmsg.h"

/* A piece of a message. True: it was the last, and *out, to be freed by the caller, is what the message says. Too many messages, or too
 * long ones, close the connection. */
bool message_read(struct conn *c, const char *bytes, size_t len, struct clientmsg *out);
/* A pong of the client came. */
void message_heard_pong(struct conn *c);
/* The client's ping is answered. */
void message_answer(struct conn *c, const struct clientmsg *ping);

#endif
