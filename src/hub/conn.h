/*
 * conn: one connection, from its upgrade to its end, and the lists of a hub's connections. Hub thread.
 *
 * The library gives the memory, zeroed, and frees it after its last callback. A connection is in `all` from conn_born until conn_gone, and
 * has an id meanwhile: mails name it by that id, because it outlives the connection. conn_table.h says in which state what may happen.
 *
 * What may keep a connection from its messages, beside its socket (writer.h):
 *   limit       a commit changed its user's permission: nothing of commits at or above `limit` is delivered until the tap answers
 *   resync_due  the client must refetch first: `resync` goes out before the next message, because the cursors stand at resync_id
 *   due         the mails of this turn are not all taken; one of them may set a limit
 */
#ifndef WALPUSH_HUB_CONN_H
#define WALPUSH_HUB_CONN_H

#include "channel.h"
#include "conn_table.h"
#include "facts.h"
#include "handshake.h"
#include "writer.h"

struct slot {
	struct conn *conn;
	uint32_t generation;
};

struct conns { /* of one hub; zeroed but for `hub`, and for what channels and writers need */
	const struct hub_facts *hub;
	struct channels channels;
	struct writers writers;
	struct slot *slots;
	uint32_t n_slots, first_free;
	struct conn *all;
	struct conn *held; /* those with a limit */
	struct conn *due;  /* those to be served when the mails are taken */
	/* deliver.c's, of this turn: */
	int64_t committed; /* µs since 1970: the oldest commit of the news; 0: none is known */
	uint64_t written;  /* messages */
};

struct conn {
	/* What every delivery looks at, side by side in the cache. */
	struct writer out;
	const struct hub_facts *hub; /* NULL: it has left the hub */
	struct sub *subs;
	size_t n_subs;
	enum conn_state state;
	bool is_due, is_held; /* in those lists */
	bool resync_due;      /* with this reason and id: the cursors stand there */
	lsn_t limit;          /* LSN_MAX: none */
	lsn_t frozen_at; /* the commit that changed its user's permission, which may have a last word for it; 0: none */

	struct conns *of;
	uint64_t id; /* slot and generation */
	struct conn *prev, *next;
	struct conn *prev_held, *next_held;
	struct conn *prev_due, *next_due;
	struct address peer;
	uint8_t label;      /* of its stream, among the metrics */
	uint16_t last_code; /* it was refused: what is still due to it, then a close with this code; 0: no */
	const char *resync_reason;
	struct event_id resync_id;
	int64_t deadline; /* µs: the token must have come, or the close be answered, by then; 0: none */
	int64_t born;     /* µs */

	/* admission.c's */
	struct edition *edition; /* a reference: `stream` is a number in its rules */
	int stream;              /* -1: the path is of no stream */
	struct ticket *ticket;
	lsn_t admitted;           /* the position when its admission was asked: no message from before that closes it */
	uint32_t asked, answered; /* the newest token that the tap was asked about, and the newest of its answers */
	int64_t expires;          /* s since 1970 */
	struct handshake request; /* of use until the token is verified */

	/* message.c's */
	struct buf rx; /* of a message that comes in pieces */
	unsigned said; /* messages of the client, in this second */
	bool pinged;   /* and no answer came yet */
	int64_t heard; /* µs: when anything last came from the client */

	bool departs; /* depart.c's: it is asked to go, when its turn comes */
};

/* What every line of the log about a connection begins with. */
#define CONN_WHO(c)                                                                                                    \
	log_n("hub", (c)->hub->index), log_n("connection", (c)->id), log_peer(&(c)->peer),                             \
		log_s("user", (c)->ticket ? (c)->ticket->user : "")

/* A writer is part of its connection. */
static inline struct conn *conn_of_writer(struct writer *w)
{
	return (struct conn *)((char *)w - offsetof(struct conn, out));
}

/* --- birth and death --- */
/* Joins the hub: CONN_NEW, with an id. */
void conn_born(struct conn *c, struct conns *all, struct lws *wsi);
/* Lets everything go: the tap is told, cursors are released, the token is wiped. At most a close frame is still to come. */
void conn_retire(struct conn *c);
/* Leaves the hub: CONN_GONE. The library owns the memory, and may go on calling. */
void conn_gone(struct conn *c);
/* NULL: it is gone. */
struct conn *conn_find(const struct conns *all, uint64_t id);
/* After the last connection has gone. */
void conns_fini(struct conns *all);

/* --- state --- */
/* The next state; the one place where it changes. Dies if that is not a later one. */
void conn_to(struct conn *c, enum conn_state next);
/* By the table's answer to CONN_ON_CLOSE: a close frame with this code at the next opportunity; what the connection held is let go now. */
void conn_close(struct conn *c, unsigned code);
/* The same with a line in the audit log and a count among the refusals. */
void conn_refuse(struct conn *c, unsigned code, const char *reason);
/* CONN_CLOSING, whatever the table says: for the acts that are the table's answer. */
void conn_start_to_close(struct conn *c, unsigned code);
/* The peer goes first: its close frame, with this payload, is answered. CONN_LEAVING. */
void conn_leave(struct conn *c, const unsigned char *payload, size_t len);
/* Puts the deadline of a close nearer, where the process stops. `now` in µs. */
void conn_hurry(struct conn *c, int64_t now);
void conn_tell_audit(const struct conn *c, const char *what, unsigned code, const char *reason);

/* --- what it receives --- */
/* The mail's seats are the connection's from now on. It has none before. */
void conn_sit(struct conn *c, const struct mail *mail);
void conn_stand_up(struct conn *c);
/* LSN_MAX: deliver everything. Whoever freezes the connection at a commit sets frozen_at afterwards. */
void conn_limit(struct conn *c, lsn_t limit);
/* The cursors stand at this id, and the client must refetch. `reason`: a literal. */
void conn_resync(struct conn *c, const char *reason, struct event_id id);
/* To be served when all mails of this turn are taken, or not. */
void conn_due(struct conn *c, bool is_due);

#endif
