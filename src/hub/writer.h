/*
 * writer: from frames to one socket. Hub thread.
 *
 * A frame goes past the library into the socket, as far as that takes it. What is left, the library copies, and calls back when the
 * socket took it: until then the writer is *behind*, and nothing more is written. So a slow client costs one copy of one write
 * (RUN_BYTES in deliver.c) and never a queue.
 *
 * Frames of our own (hello, pongs, auth_ok) are queued in `reply` and go out before the next message. The queue is bounded by those who
 * fill it: message.c counts what a client makes us say.
 *
 * The close frame is ours, not the library's: with libuv, Debian's build ends a connection that a callback wants closed before its close
 * frame is out. It is written once, whoever asks for it.
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

struct writer { /* part of a connection; the first line is what each delivery looks at */
	struct lws *wsi;
	struct writers *all;
	struct buf reply;  /* frames of our own that wait for the socket */
	int direct;        /* the socket, where frames may go past the library; -1: they may not, because of TLS */
	bool is_behind;    /* in the list of that name; a writable callback is on its way */
	bool said_goodbye; /* our close frame is out */
	bool is_hung_up;   /* the library was told to end the connection */
	uint16_t close_code;
	int64_t behind_since; /* µs: when the socket last took everything; while is_behind */
	struct writer *prev, *next;
};

void writer_init(struct writer *w, struct writers *all, struct lws *wsi);
/* No longer behind; what is queued is dropped. May be called again. */
void writer_fini(struct writer *w);

/* Bytes that are frames already. -1: the connection is broken. Only while the writer is not behind. */
int writer_raw(struct writer *w, const char *bytes, size_t len);
/* One text message. The same. */
int writer_text(struct writer *w, struct slice payload);
/* A frame of our own, for writer_queued. */
void writer_queue(struct writer *w, unsigned char opcode, struct slice payload);
/* What is queued. -1: the connection is broken. */
int writer_queued(struct writer *w);

/* Into the list of those that wait for the socket, with a callback ordered, or out of it. */
void writer_behind(struct writer *w, bool behind);
/* The close frame with close_code, unless the writer is behind or the frame is out. */
void writer_goodbye(struct writer *w);
/* The answer to the peer's close frame. It repeats the code in `payload`, if there is one. */
void writer_answer_close(struct writer *w, const unsigned char *payload, size_t len);
/* Hangs up without a word. The library ends the connection from its own loop: nothing is freed here. */
void writer_kill(struct writer *w);

#endif
