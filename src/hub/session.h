/*
 * session: from the library's callbacks, the tap's mails and the clock to the events of conn_event.h. Hub thread.
 */
#ifndef WALPUSH_HUB_SESSION_H
#define WALPUSH_HUB_SESSION_H

#include "conn.h"

/* The library's callback for everything that concerns one socket. The context's user is the hub's `struct conns`. */
int session_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);
/* A mail that names a connection. If the connection is gone, the mail's seats go back to the tap and its ticket is released. Frees the array of
 * the seats. */
void session_mail(struct conns *all, const struct mail *mail);
/* The logs were emptied, and the hub's position is the mail's from now on. */
void session_emptied(struct conns *all, const struct mail *mail);
/* The hub has a new edition. True: some clients must connect again, and their connections are marked as departing. */
bool session_edition(struct conns *all);
/* Once a second: checks deadlines, expiry and pings of each connection. `now` in µs. */
void session_sweep(struct conns *all, int64_t now, int64_t wall_s);

#endif
