/*
 * head: is this the head of an HTTP/1 request, before the library parses it?
 *
 * libwebsockets decodes %XX while it parses. Then %00 ends a path, %0A ends the request line, and a head that is too large for its memory ends
 * the connection without an answer. So head_judge checks the bytes first. A whole head contains only what RFC 9112 allows: a request line of
 * three parts, lines "name: value", and no control characters, neither as bytes nor as %XX in the target.
 *
 * Pure; any thread. Cost: one pass over the bytes.
 */
#ifndef WALPUSH_HEAD_H
#define WALPUSH_HEAD_H

#include "walpush/base/slice.h"

/* Header lines and arguments of the query together; libwebsockets has a table of about a hundred. */
#define HEAD_LINES_MOST 80

enum head_verdict {
	HEAD_MORE,      /* well-formed so far, but not complete */
	HEAD_WHOLE,     /* complete and well-formed */
	HEAD_MALFORMED, /* 400 */
	HEAD_TOO_LONG   /* 431 (RFC 6585): longer than `limit` bytes, or too many lines */
};

/* `bytes`: everything received so far. Bytes after the head's empty line are ignored. */
enum head_verdict head_judge(struct slice bytes, size_t limit);
/* The target of the request line, as far as it is there, whatever it holds: for the log. Empty: the bytes do not begin as a request does. */
struct slice head_target(struct slice bytes);

#endif
