/*
 * hub_impl: what the files of a hub share. Nobody else includes it. Everything here belongs to one hub's thread.
 */
#ifndef WALPUSH_HUB_IMPL_H
#define WALPUSH_HUB_IMPL_H

#include <libwebsockets.h>
#include <stdatomic.h>
#include <uthash.h>
#include <uv.h>

#include "walpush/clientmsg.h"
#include "walpush/edition.h"
#include "walpush/flood.h"
#include "walpush/hub.h"
#include "walpush/render.h"
#include "walpush/tls.h"

/* The most that one write takes from a log, and so the most that a stalled connection makes the library copy. */
#define RUN_BYTES 65536
/* The most that one connection gets before the others have their turn. */
#define TURN_BYTES (1u << 20)

/*
 *   NEW ─▶ WAIT_AUTH ─token▶ ADMITTING ─▶ OPEN
 *    │          │               │          │
 *    └──────────┴─── any ───────┴──────────┴──▶ CLOSING (a close frame is due) ─▶ gone
 */
enum conn_state { CONN_NEW, CONN_WAIT_AUTH, CONN_ADMITTING, CONN_OPEN, CONN_CLOSING };

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
	bool has_since;
	bool said_goodbye; /* our close frame is out */
	uint8_t label;     /* of its stream, among the metrics */
	uint16_t close_code;
	uint16_t last_code;      /* it was refused: what is still due to it, then a close with this code; 0: no */
	unsigned said;           /* messages of the client, in this second */
	struct edition *edition; /* a reference: under which `stream` is counted */
	int stream;
	lsn_t admitted; /* the position when its admission was asked: no message of before closes it */
	struct ticket *ticket;
	char *token; /* from the handshake until it was verified */
	char *epoch; /* what the client said it knows; NULL: nothing */
	struct event_id since;
	int64_t deadline;     /* µs: the token must have come, or the close be answered, by then; 0: none */
	int64_t born;         /* µs */
	int64_t heard;        /* µs: when anything last came from the client */
	int64_t expires;      /* s since 1970 */
	int64_t close_at;     /* µs: a spread close; 0: none */
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
	_Atomic int64_t beat; /* µs; read by the tap */
	bool draining, told_gone;
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
/* Those that the library does not know of. */
void visitor_drop_all(struct hub *h);
/* Once a second: ends those whose handshake takes too long. */
void visitor_sweep(struct hub *h, int64_t now);

/* --- peek.c --- */
/* Waits for the head of its request; then it is adopted, refused, or gone: perhaps before this returns. */
void peek_begin(struct visitor *v);
/* Closes the socket and frees the visitor. */
void peek_end(struct visitor *v);

/* --- conn.c --- */
/* It is open, and its client has not said that it goes. */
static inline bool conn_listens(const struct conn *c)
{
	return c->state == CONN_OPEN && c->ticket;
}

/* What every line of the log about a connection begins with. */
#define CONN_WHO(c)                                                                                                    \
	log_n("hub", (c)->hub->index), log_n("connection", (c)->id), log_peer(&(c)->peer),                             \
		log_s("user", (c)->ticket ? (c)->ticket->user : "")

int conn_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);
struct conn *conn_find(struct hub *h, uint64_t id);
void conn_admitted(struct conn *c, const struct mail *mail);
void conn_moved(struct conn *c, const struct mail *mail);
/* To the hub's edition. False: that does not know the connection's stream as it was, so it must connect anew. */
bool conn_follow(struct conn *c);
/* A close frame with this code at the next opportunity; what the connection held is let go now. */
void conn_close(struct conn *c, unsigned code);
/* Hangs up without a word, from the loop. */
void conn_kill(struct conn *c);
/* One text message of our own. */
void conn_send(struct conn *c, struct slice payload);
/* The same, when deliver is called next. */
void conn_queue(struct conn *c, struct slice payload);
/* A frame of our own, behind those that wait for the socket; none while the connection closes. */
void conn_reply(struct conn *c, unsigned char opcode, struct slice payload);
/* Verifies the token and asks the tap. */
void conn_ask_admission(struct conn *c);
void conn_tell_audit(const struct conn *c, const char *what, unsigned code, const char *reason);
/* Once a second: deadlines, expiry, pings. */
void conn_sweep(struct conn *c, int64_t now, int64_t wall_s);

/* --- conn_message.c: what the client says --- */
/* A piece of a message. */
void conn_take_bytes(struct conn *c, const char *bytes, size_t len);
void conn_take_pong(struct conn *c);

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
extern const struct lws_protocols hub_protocols[];

#endif
