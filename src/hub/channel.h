/*
 * channel: which connections of this hub receive which topic. Hub thread.
 *
 *   channels ──▶ channel "requests_unit_{5}" ──▶ sub ⇄ sub ⇄ sub
 *      └─dirty─▶ channel ─▶ channel                │
 *                                                  └─ connection, cursor
 *
 * A channel exists while it has a sub. The tap counts the subs of a hub in a topic: it adds one for each seat that it gives, and
 * subtracts one for each MAIL_LEFT. So whoever leaves, or gives a seat back, posts exactly one MAIL_LEFT, and only after the cursor is
 * released: from then on the tap may forget the topic.
 */
#ifndef WALPUSH_HUB_CHANNEL_H
#define WALPUSH_HUB_CHANNEL_H

#include <uthash.h>

#include "walpush/share/mailbox.h"

struct conn;

struct channels { /* of one hub; zeroed but for the first two */
	unsigned hub;
	struct mailbox *to_tap;
	struct channel *all;
	struct channel *dirty;
};

struct channel { /* one topic, as this hub receives it */
	UT_hash_handle hh;
	struct topic *topic; /* a handle: the tap's, and never looked into */
	struct channels *of;
	struct sub *subs;
	bool dirty; /* in the list of that name */
	struct channel *next_dirty;
};

struct sub { /* one connection in one channel; memory of the connection */
	struct conn *conn;
	struct channel *channel;
	struct cursor cursor;
	struct sub *prev, *next; /* in the channel */
};

/* Takes over the seat's cursor. */
void channel_join(struct channels *all, struct sub *s, struct conn *c, const struct seat *seat);
/* Releases the cursor and tells the tap. */
void channel_leave(struct sub *s);
/* The same for a seat that no connection took. */
void channel_give_back(struct channels *all, struct seat *seat);
/* The topic has something new. Nothing happens if nobody here receives it. */
void channel_mark(struct channels *all, struct topic *topic);
/* A channel that was marked, which it is no more from then on; NULL: none is left. */
struct channel *channel_take_dirty(struct channels *all);

#endif
