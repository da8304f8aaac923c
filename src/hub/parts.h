/*
 * hub parts: what the files of a hub share. Nobody else includes it. Everything here belongs to one hub's thread.
 */
#ifndef WALPUSH_HUB_PARTS_H
#define WALPUSH_HUB_PARTS_H

#include <libwebsockets.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <uthash.h>
#include <uv.h>

#include "walpush/text/clientmsg.h"
#include "conn_table.h"
#include "walpush/share/edition.h"
#include "walpush/base/flood.h"
#include "walpush/hub/hub.h"
#include "walpush/change/render.h"
#include "walpush/share/tls.h"

/* The most that one write takes from a log, and so the most that a stalled connection makes the library copy. */
#define RUN_BYTES 65536
/* The most that one connection gets before the others have their turn. */
#define TURN_BYTES (1u << 20)

/* µs from a close frame, ours or the client's, until the connection ends whatever the other side does. */
#define CLOSE_WAIT 5000000

struct conn;

struct channel { /* one topic, as heard on this hub */
	UT_hash_handle hh;
	struct topic *topic; /* a handle: the tap's, never looked into */
	struct sub *subs;
	bool dirty;
	struct channel *next_dirty;
};

struct sub { /* one connection in one channel */
	struct conn *conn;
	struct channel *channel;
	struct cursor cursor;
	struct sub *prev, *next; /* in the channel */
};

struct visitor {           /* a socket; until it is a WebSocket, it is in the hub's list */
	struct lws *wsi;   /* NULL: the library does not have it yet */
	struct peek *peek; /* NULL: the library has it */
	int fd;            /* of use until the library has it */
	size_t seen;       /* bytes of its head; once refused, those that came behind it */
	bool refused;      /* and that was counted */
	struct hub *hub;
	struct visitor *prev, *next;
	struct address socket; /* where it comes from */
	struct address
		address; /* the client's; another one once the request was read, if that came through a trusted proxy */
	int64_t deadline; /* µs: of the handshake */
	bool is_shaking;  /* hands: in the list */
	bool entered;     /* the gate */
};

struct conn { /* lives in the library's memory of the connection, zeroed by it */
	/* What every delivery looks at, side by side in the cache. */
	struct lws *wsi;
	struct hub *hub;
	struct sub *subs;
	size_t n_subs;
	struct buf reply; /* frames of our own that wait for the socket; bounded, see REPLY_BYTES */
	enum conn_state state;
	int direct;           /* the socket, where frames may go past the library; -1: they may not, for TLS */
	bool is_behind;       /* in the hub's list of that name; a writable callback is on its way */
	bool is_due, is_held; /* in those lists */
	bool resync_due;      /* with this reason and id: from there on the cursors stand */
	lsn_t limit; /* commits at or above it are not delivered: it is not known yet whether they may be; LSN_MAX: none */
	lsn_t frozen_at; /* the commit that changed its user's permission, which may have a last word for it; 0: none */

	uint64_t id;                            /* slot and generation; what mails name */
	struct conn *prev, *next;               /* all of the hub */
	struct conn *prev_behind, *next_behind; /* those that wait for their socket */
	struct conn *prev_held, *next_held;     /* those with a limit */
	struct conn *prev_due, *next_due;       /* those to be served when the mails are taken */
	struct address peer;
	bool pinged;
	bool departs; /* it is asked to go, when its turn comes; depart.c */
	bool has_since;
	bool said_goodbye; /* our close frame is out */
	bool is_hung_up;   /* the library was told to end it */
	uint8_t label;     /* of its stream, among the metrics */
	uint16_t close_code;
	uint16_t last_code;      /* it was refused: what is still due to it, then a close with this code; 0: no */
	unsigned said;           /* messages of the client, in this second */
	struct edition *edition; /* a reference: under which `stream` is counted */
	int stream;
	lsn_t admitted; /* the position when its admission was asked: no message of before closes it */
	struct ticket *ticket;
	uint32_t asked, answered; /* the newest token that the tap was asked about, and the newest of its answers */
	char *token;              /* from the handshake until it was verified */
	char *epoch;              /* what the client said it knows; NULL: nothing */
	struct event_id since;
	int64_t deadline;     /* µs: the token must have come, or the close be answered, by then; 0: none */
	int64_t born;         /* µs */
	int64_t heard;        /* µs: when anything last came from the client */
	int64_t expires;      /* s since 1970 */
	int64_t behind_since; /* µs: when the socket last took everything; while is_behind */
	const char *resync_reason;
	struct event_id resync_id;
	struct buf rx;            /* of a message that comes in pieces */
	struct path_values *path; /* from the handshake until the token was verified */
};

struct slot {
	struct conn *conn;
	uint32_t generation;
};

struct hub {
	unsigned index;
	const struct hub_shared *shared; /* of the edition */
	struct edition *edition;         /* a reference */
	struct metrics_counts *counts;
	pthread_t thread;
	bool started;
	sem_t awake; /* posted when the thread runs, and for MAIL_PROBE */
	struct mailbox inbox;
	struct mail *taken;
	size_t taken_cap;

	uv_loop_t loop;
	struct lws_context *context;
	struct lws_vhost *vhost;
	SSL_CTX *tls; /* of the virtual host, which owns it; NULL: no TLS */
	SSL_CTX *client_tls;
	lws_sorted_usec_list_t sweep;

	struct slot *slots;
	uint32_t n_slots, first_free;
	struct visitor *visitors; /* whose handshake is not done, oldest first */
	struct conn *conns;
	struct conn *behind;
	struct conn *held;
	struct conn *due;
	struct channel *channels;
	struct channel *dirty;
	lsn_t published; /* as read at the turn's begin */
	char epoch[48];
	_Atomic int64_t beat;  /* µs; read by the tap */
	struct departing {     /* depart.c */
		uint64_t *ids; /* of connections, in the order of their closes */
		size_t n, next;
		int64_t began, span; /* µs */
		lws_sorted_usec_list_t timer;
	} departing;
	bool draining; /* the process stops */
	bool told_gone;
	bool stopped;
	struct buf scratch;
	size_t head_most;  /* bytes of a request's head */
	char *peeked;      /* so many */
	int64_t committed; /* oldest commit of the news of this turn, µs since 1970; 0: none is known */
	uint64_t written;  /* messages written in this turn */
};

/* --- visitor.c --- */
/* Peeks at its request, then gives the socket to the library. */
void visitor_take(struct hub *h, int fd, const struct address *address);
/* Gives it to the library, or frees it. */
void visitor_adopt(struct visitor *v);
struct visitor *visitor_of(struct lws *wsi);
/* Finds the client behind trusted proxies, once the headers are there. False: they cannot be read. */
bool visitor_forwarded(struct visitor *v);
/* NULL: it may be a connection. Else why not, as METRICS_REFUSALS has it. */
const char *visitor_enter(struct visitor *v);
/* The handshake is done. */
void visitor_arrived(struct visitor *v);
/* The library frees wsi. */
void visitor_gone(struct lws *wsi);
/* Not a word of a request was understood before its end: counted and logged. */
void visitor_lost(struct visitor *v);
/* It is in no list any more, and counts nowhere. The socket is somebody else's to close. */
void visitor_free(struct visitor *v);
/* The process stops: those that are no WebSockets yet end without a word, and try the successor. */
void visitors_hang_up(struct hub *h);
/* Those that the library does not know of. */
void visitor_drop_all(struct hub *h);
/* Once a second: ends those whose handshake takes too long. */
void visitor_sweep(struct hub *h, int64_t now);

/* --- peek.c --- */
/* Waits for the head of its request; then it is adopted, refused, or gone: perhaps before this returns. */
void peek_begin(struct visitor *v);
/* Closes the socket and frees the visitor. */
void peek_end(struct visitor *v);

/* What every line of the log about a connection begins with. */
#define CONN_WHO(c)                                                                                                    \
	log_n("hub", (c)->hub->index), log_n("connection", (c)->id), log_peer(&(c)->peer),                             \
		log_s("user", (c)->ticket ? (c)->ticket->user : "")

/* --- conn.c: what a connection holds, from its birth to its end --- */
struct conn *conn_find(struct hub *h, uint64_t id);
/* The next state; the one place where it changes. */
void conn_to(struct conn *c, enum conn_state next);
/* Joins the hub of `wsi`, and takes path, token, since and epoch from the request. */
void conn_born(struct conn *c, struct lws *wsi);
/* The upgrade is done. */
void conn_arrive(struct conn *c);
/* The tap is told, cursors are released, the token is wiped; what is still to come is a close frame at most. */
void conn_retire(struct conn *c);
/* The peer goes first: its close frame, with this payload, is answered. */
void conn_leave(struct conn *c, const unsigned char *payload, size_t len);
/* Leaves the hub. The library owns the memory, and may go on calling. */
void conn_gone(struct conn *c);
/* A close frame with this code at the next opportunity; what the connection held is let go now. For everybody but conn_event. */
void conn_close(struct conn *c, unsigned code);
/* The same with a line in the audit log and a count among the refusals. */
void conn_refuse(struct conn *c, unsigned code, const char *reason);
/* The close frame, unless the socket is full or it is out. */
void conn_say_goodbye(struct conn *c);
/* Hangs up without a word, from the loop. */
void conn_kill(struct conn *c);
/* Verifies the token and asks the tap. */
void conn_ask_admission(struct conn *c);
/* The mail's seats. */
void conn_admitted(struct conn *c, const struct mail *mail);
void conn_moved(struct conn *c, const struct mail *mail);
/* The mail's ticket, and its seats if it has others. */
void conn_renewed(struct conn *c, const struct mail *mail);
/* The renewed token is in force: `epoch` is that of its claims, if the client is to be told it, else NULL. */
void conn_queue_auth_ok(struct conn *c, const char *epoch);
/* To the hub's edition. False: that does not know the connection's stream as it was, so it must connect anew. */
bool conn_follow(struct conn *c);
/* One text message of our own. */
void conn_send(struct conn *c, struct slice payload);
/* The same, when deliver is called next. */
void conn_queue(struct conn *c, struct slice payload);
/* Writes what is queued, as far as the socket takes it. Not while mails are taken. */
void conn_flush(struct conn *c);
/* A frame of our own, behind those that wait for the socket; none once the connection closes. */
void conn_reply(struct conn *c, unsigned char opcode, struct slice payload);
void conn_tell_audit(const struct conn *c, const char *what, unsigned code, const char *reason);

/* --- conn_event.c: what happens to a connection, by the table of conn_table.h --- */
struct conn_cause { /* of an event; what it does not need is zero */
	struct lws *wsi;
	const unsigned char *bytes; /* CONN_ON_BYTES, CONN_ON_PEER_CLOSE */
	size_t len;
	const struct mail *mail;
	const struct clientmsg *message;
	unsigned code; /* CONN_ON_CLOSE, CONN_ON_DUE, CONN_ON_STALL */
};

/* -1: the library is to hang up; only for events of the library. */
int conn_event(struct conn *c, enum conn_event event, const struct conn_cause *why);
int conn_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);
/* A mail that names a connection, which may be gone. */
void conn_mail(struct hub *h, enum conn_event event, const struct mail *mail);
/* Once a second: deadlines, expiry, pings. */
void conn_sweep(struct conn *c, int64_t now, int64_t wall_s);

/* --- depart.c: connections that are asked to go --- */
/* Closes, at a pace, those that are marked so. What is under way begins again with all that are left. `most`: µs allowed. */
void depart_begin(struct hub *h, int64_t most);
/* The same for every connection. */
void depart_all(struct hub *h, int64_t most);
/* The same, because the process stops: the tap is told when the last one is gone. */
void depart_for_good(struct hub *h, int64_t most);
bool depart_is_under_way(const struct hub *h);
/* While the process stops nobody is waited for as long as otherwise. */
int64_t depart_deadline(const struct hub *h, int64_t deadline);
/* Once in a while: closes those that became connections after the process began to stop. */
void depart_stragglers(struct hub *h);
void depart_fini(struct hub *h);

/* --- conn_message.c: what the client says --- */
/* A piece of a message. */
void conn_take_bytes(struct conn *c, const char *bytes, size_t len);
void conn_take_pong(struct conn *c);
/* The token that was waited for. */
void conn_take_token(struct conn *c, const char *token);
/* A token in place of the one before, or of one that still waits for its answer. */
void conn_renew(struct conn *c, const char *token_text);
void conn_take_ping(struct conn *c, const struct clientmsg *ping);

/* --- notice.c: what the server says by itself, and what is said otherwise on some streams --- */
void notice_hello(struct conn *c, struct event_id id, bool resumed);
/* `resync`, or what stands for it on this stream. -1: the connection is broken. */
int notice_refetch(struct conn *c, const char *reason, struct event_id id);
/* A run of one tagged entry. The same. */
int notice_tagged(struct conn *c, const struct run *run);

/* --- deliver.c --- */
/* Bytes that are frames already; a text message. -1: the connection is broken. */
int deliver_raw(struct conn *c, const char *bytes, size_t len);
int deliver_text(struct conn *c, struct slice payload);
/* Everything up to hub->published, as far as the socket takes it. -1: the connection is broken. */
int deliver(struct conn *c);
/* The same once all mails are taken: one of them may say that something must not be delivered. */
void deliver_later(struct conn *c);
void deliver_never(struct conn *c);
/* The commits whose closes concern it, should they be passed over unread. */
struct missed deliver_nothing_missed(const struct conn *c);
/* What is due: for the connections told so, and for all of the channels that are dirty. */
void deliver_due(struct hub *h);
/* Those that wait for their sockets, or for leave, must not hold on to what left the logs. */
void deliver_let_go(struct hub *h);
/* How far the slow ones are behind, for the metrics. */
void deliver_measure(struct hub *h, int64_t now);
void conn_behind(struct conn *c, bool behind);
void conn_limit(struct conn *c, lsn_t limit);
/* The cursors stand at this id, and the client must refetch. `reason`: a literal. */
void conn_resync(struct conn *c, const char *reason, struct event_id id);
struct channel *channel_for(struct hub *h, struct topic *t);
void channel_mark(struct hub *h, struct channel *ch);
void sub_join(struct sub *s, struct conn *c, struct channel *ch, struct cursor cursor);
/* The tap is told. */
void sub_leave(struct sub *s);

/* --- handshake.c --- */
/* NULL: go on. Else why not, as METRICS_REFUSALS has it; and the HTTP status that says so, or 0: it is too late for one. */
const char *handshake_check(const struct hub_shared *shared, struct lws *wsi, unsigned *status);
/* A bare response, and its length. */
#define HANDSHAKE_ANSWER 256
size_t handshake_answer(unsigned status, char out[HANDSHAKE_ANSWER]);
/* Sends it; the connection ends behind it. */
void handshake_refuse(struct lws *wsi, unsigned status);
/* Takes path, token, since and epoch from the headers. */
void handshake_read(const struct hub_shared *shared, struct conn *c);
bool handshake_path_exists(const struct hub_shared *shared, struct lws *wsi);

/* --- hub.c --- */
void hub_tell_tap(struct hub *h, const struct mail *mail);
/* Seats and a ticket that nobody takes. */
void hub_give_back(struct hub *h, const struct mail *mail);
/* The oldest commit of this turn's news. */
void hub_note_committed(struct hub *h, const struct mail *mail);
extern const struct lws_protocols hub_protocols[];

#endif
