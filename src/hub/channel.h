/*
 * channel: which connections of this hub have a subscription in which log. Hub thread.
 *
 *   channels ──▶ channel "requests_unit_{5}" ──▶ sub ⇄ sub ⇄ sub
 *      └─dirty─▶ channel ─▶ channel                │
 *                                                  └─ connection, cursor
 *
 * A channel exists while it has a sub. The tap counts the subs of each hub in each log: it adds one for each seat that it gives, and
 * subtracts one for each MAIL_LEFT. So channel_leave and channel_give_back post exactly one MAIL_LEFT for a seat, and release its cursor
 * first: after the mail the tap may free the log's `struct topic`.
 */
#ifndef WALPUSH_HUB_CHANNEL_H
#define WALPUSH_HUB_CHANNEL_H

#include <uthash.h>

#include "walpush/share/mailbox.h"

struct conn;

struct channels { /* of one hub; zeroed except the first two */
	unsigned hub;
	struct mailbox *to_tap;
	struct channel *all;
	struct channel *dirty;
};

struct channel { /* one log, with its subs of this hub */
	UT_hash_handle hh;
	struct topic *topic; /* a handle: the tap owns it, and the hub never looks into it */
	struct channels *of;
	struct sub *subs;
	bool dirty; /* it is in the list `dirty` */
	struct channel *next_dirty;
};

struct sub { /* a subscription: one connection in one channel; part of the connection's `subs` */
	struct conn *conn;
	struct channel *channel;
	struct cursor cursor;
	struct sub *prev, *next; /* in the channel */
};

/* Takes over the seat's cursor. */
void channel_join(struct channels *all, struct sub *s, struct conn *c, const struct seat *seat);
/* Releases the cursor and posts MAIL_LEFT. */
void channel_leave(struct sub *s);
/* The same for a seat that no connection took. */
void channel_give_back(struct channels *all, struct seat *seat);
/* The log has new messages. Does nothing if no connection of this hub has a subscription in it. */
void channel_mark(struct channels *all, struct topic *topic);
/* Returns a marked channel and removes its mark; NULL: none is left. */
struct channel *channel_take_dirty(struct channels *all);

#endif
