/*
 * conn: one connection, from its upgrade to its end, and the lists of a hub's connections. Hub thread.
 *
 * The library allocates the memory, zeroed, and frees it after its last callback. A connection is in `all` and has an id from conn_born
 * until conn_gone. Mails name a connection by its id, because the id outlives the connection. conn_table.h says what may happen in each state.
 *
 * Besides a full socket (writer.h), these stop the delivery to a connection:
 *   limit       a commit changed its user's permission: nothing of commits at or above `limit` is delivered until the tap answers
 *   resync_due  the client must refetch first: `resync` goes out before the next message, because the cursors are at resync_id
 *   rest        the next entry is a mark (deliver.h), and the client was told to refetch a moment ago
 *   due         not all mails of this turn are taken; one of them may set a limit
 */
#ifndef WALPUSH_HUB_CONN_H
#define WALPUSH_HUB_CONN_H

#include "channel.h"
#include "conn_table.h"
#include "facts.h"
#include "handshake.h"
#include "sent.h"
#include "writer.h"

/* µs of rest that each resync costs. */
#define CONN_REST 1000000

struct slot {
	struct conn *conn;
	uint32_t generation;
};

struct conns { /* of one hub; zeroed except `hub` and what channels and writers need */
	const struct hub_facts *hub;
	struct channels channels;
	struct writers writers;
	struct slot *slots;
	uint32_t n_slots, first_free;
	struct conn *all;
	struct conn *limited; /* those with a limit */
	struct conn *due;     /* those to serve after the mails are taken */
	struct conn *resting; /* those before a mark that rests; deliver.c's, like the timer */
	lws_sorted_usec_list_t rest;
	int64_t rest_ends; /* µs: when the timer is due; 0: it is not set */
	/* deliver.c's, of this turn: */
	int64_t committed; /* µs since 1970: the oldest commit that a mail has named; 0: none */
	uint64_t written;  /* messages */
	struct sent sent;
};

struct conn {
	/* Every delivery reads these members, so they are side by side in the cache. */
	struct writer out;
	const struct hub_facts *hub; /* NULL: the connection has left the hub */
	struct sub *subs;
	size_t n_subs;
	enum conn_state state;
	bool is_due, is_limited, is_resting; /* in the lists `due`, `limited` and `resting` */
	bool resync_due;                     /* with resync_reason; the cursors are at resync_id */
	lsn_t limit;                         /* LSN_MAX: none */
	lsn_t rests_at;                      /* deliver.c's: the commit before which it rests; 0: none */
	lsn_t changed_at; /* the commit that changed its user's permission; its last message may be due; 0: none */
	uint64_t told;    /* messages */

	struct conns *of;
	uint64_t id; /* slot and generation */
	struct conn *prev, *next;
	struct conn *prev_limited, *next_limited;
	struct conn *prev_due, *next_due;
	struct conn *prev_resting, *next_resting;
	struct address peer;
	uint8_t label;          /* of its stream, among the metrics */
	uint16_t last_code;     /* it was refused: deliver what is due, then close with this code; 0: it was not */
	const char *last_words; /* and with these words */
	const char *resync_reason;
	struct event_id resync_id;
	int64_t rest_until; /* µs: the next mark rests as long */
	bool passes;        /* over marks below last_mark, which is told */
	struct event_id last_mark;
	int64_t deadline; /* µs: by then the token, or the answer to a close, must come; 0: none */
	int64_t born;     /* µs */

	/* admission.c's */
	struct edition *edition; /* a reference; `stream` is an index in its rules */
	int stream;              /* -1: no stream has this path */
	struct ticket *ticket;
	lsn_t admitted; /* the position when its admission was asked: no message below it closes the connection */
	uint32_t asked, answered; /* numbers of the newest token sent to the tap, and of its newest answer */
	int64_t expires;          /* s since 1970 */
	struct handshake request; /* used until the token is verified */

	/* message.c's */
	struct buf rx; /* the pieces of an incomplete message */
	unsigned said; /* messages of the client, in this second */
	bool pinged;   /* a ping was sent, and no answer came yet */
	int64_t heard; /* µs: when anything last came from the client */

	bool departs; /* depart.c's: it is closed when its turn comes */
};

/* The first fields of every log line about a connection. */
#define CONN_WHO(c)                                                                                                    \
	log_n("hub", (c)->hub->index), log_n("connection", (c)->id), log_peer(&(c)->peer),                             \
		log_s("user", (c)->ticket ? (c)->ticket->user : ""), log_s("stream", conn_stream_name(c)),             \
		log_s("path", conn_path(c))

/* A writer is part of its connection. */
static inline struct conn *conn_of_writer(struct writer *w)
{
	return (struct conn *)((char *)w - offsetof(struct conn, out));
}

/* --- birth and death --- */
/* Joins the hub: CONN_NEW, with an id. */
void conn_born(struct conn *c, struct conns *all, struct lws *wsi);
/* Releases what the connection holds: posts MAIL_ENDED, releases the cursors, wipes the token. Only a close frame may follow. */
void conn_retire(struct conn *c);
/* Leaves the hub: CONN_GONE. The library owns the memory, and may still call back. */
void conn_gone(struct conn *c);
/* NULL: it is gone. */
struct conn *conn_find(const struct conns *all, uint64_t id);
/* After the last connection has gone. */
void conns_fini(struct conns *all);

/* --- state --- */
/* Changes the state; the only function that does. Dies if `next` is not a later state. */
void conn_to(struct conn *c, enum conn_state next);
/* Does what the table says for CONN_ON_CLOSE: sends a close frame with this code as soon as possible, and calls conn_retire now. */
void conn_close(struct conn *c, unsigned code);
/* The words of a close that the configuration wants behind a message; its code may mean anything. */
#define CONN_BY_A_CHANGE "ended by a change"
/* The same with these words, a literal, in the close frame. NULL: those of goodbye_words. */
void conn_close_saying(struct conn *c, unsigned code, const char *words);
/* The same, with a line in the audit log and a count in METRICS_REFUSALS. */
void conn_refuse(struct conn *c, unsigned code, const char *reason, const char *words);
/* To CONN_CLOSING without a look at the table: for acts that the table has chosen. */
void conn_start_to_close(struct conn *c, unsigned code, const char *words);
/* The peer closes first: answers its close frame, which has this payload. To CONN_LEAVING. */
void conn_leave(struct conn *c, const unsigned char *payload, size_t len);
/* Shortens the deadline of a close if the process stops. `now` in µs. */
void conn_hurry(struct conn *c, int64_t now);
/* "": no stream has its path. */
const char *conn_stream_name(const struct conn *c);
/* Its path, as shown.h shows it; "" after conn_retire. */
const char *conn_path(const struct conn *c);
void conn_tell_audit(const struct conn *c, const char *what, unsigned code, const char *reason);

/* --- what it receives --- */
/* The connection takes over the mail's seats. It must have none before. */
void conn_sit(struct conn *c, const struct mail *mail);
void conn_stand_up(struct conn *c);
/* LSN_MAX: deliver everything. Clears changed_at: a caller that limits the connection at a commit sets it afterwards. */
void conn_limit(struct conn *c, lsn_t limit);
/* The cursors are at this id, and the client must refetch. `reason`: a literal. */
void conn_resync(struct conn *c, const char *reason, struct event_id id);
/* Does the connection rest before a mark? */
void conn_rest(struct conn *c, bool rests);
/* Is the connection served after all mails of this turn are taken? */
void conn_due(struct conn *c, bool is_due);

#endif
