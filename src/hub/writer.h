/*
 * writer: from frames to one socket. Hub thread.
 *
 * A frame goes past the library into the socket, as far as the socket takes it. The library copies the rest, and calls back when the
 * socket has taken the rest. Until then the writer is *behind*, and nothing more is written. So a slow client costs one copy of one write
 * (RUN_BYTES in deliver.c) and never a queue.
 *
 * Frames of our own (hello, pongs, auth_ok) are queued in `reply` and go out before the next message. The callers bound this queue:
 * message.c counts the replies that a client causes.
 *
 * The close frame is ours, not the library's: with libuv, Debian's build ends a connection that a callback wants closed before its close
 * frame is out. The close frame is written once, even if several callers ask for it.
 */
#ifndef WALPUSH_HUB_WRITER_H
#define WALPUSH_HUB_WRITER_H

#include <libwebsockets.h>

#include "walpush/base/buf.h"
#include "walpush/watch/metrics.h"

struct writers { /* of one hub */
	struct writer *behind;
	struct metrics_counts *counts;
	struct buf scratch; /* a frame that is being made */
};

struct writer { /* part of a connection; each delivery reads the first cache line */
	struct lws *wsi;
	struct writers *all;
	struct buf reply;  /* frames of our own that wait for the socket */
	int direct;        /* the socket, if frames may go past the library; -1: they may not, because of TLS */
	bool is_behind;    /* in the list `behind`; a writable callback will come */
	bool said_goodbye; /* our close frame is written */
	bool is_hung_up;   /* the library was asked to end the connection */
	uint16_t close_code;
	int64_t behind_since; /* µs: when the socket last took everything; while is_behind */
	struct writer *prev, *next;
	const char *close_words; /* a literal, for the close frame */
};

void writer_init(struct writer *w, struct writers *all, struct lws *wsi);
/* Leaves the list `behind`, and drops what is queued. May be called again. */
void writer_fini(struct writer *w);

/* Writes bytes that are frames already. -1: the connection is broken. Only while the writer is not behind. */
int writer_raw(struct writer *w, const char *bytes, size_t len);
/* Writes one text message. The rest as above. */
int writer_text(struct writer *w, struct slice payload);
/* Queues a frame of our own for writer_queued. */
void writer_queue(struct writer *w, unsigned char opcode, struct slice payload);
/* Writes what is queued. -1: the connection is broken. */
int writer_queued(struct writer *w);

/* True: joins the list of writers that wait for their sockets, and requests a callback. False: leaves the list. */
void writer_behind(struct writer *w, bool behind);
/* Writes the close frame with close_code and close_words, unless the writer is behind or the frame is written already. */
void writer_goodbye(struct writer *w);
/* Answers the peer's close frame. The answer repeats the code in `payload`, if there is one. */
void writer_answer_close(struct writer *w, const unsigned char *payload, size_t len);
/* Hangs up without a close frame. The library ends the connection from its own loop: nothing is freed here. */
void writer_kill(struct writer *w);

#endif
