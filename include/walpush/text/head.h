/*
 * head: is this the head of an HTTP/1 request, before the library parses it?
 *
 * libwebsockets undoes %XX while it parses. A %00 then ends a path, %0A ends the request line, and a head that does not fit its memory ends the
 * connection without an answer. So the bytes are judged first. A head that is whole holds what RFC 9112 allows: a request line of three parts,
 * lines "name: value", no control characters, neither as they are nor as %XX in the target.
 *
 * Pure; any thread. Cost: the bytes.
 */
#ifndef WALPUSH_HEAD_H
#define WALPUSH_HEAD_H

#include "walpush/base/slice.h"

/* Header lines and arguments of the query together; the library keeps a table of about a hundred. */
#define HEAD_LINES_MOST 80

enum head_verdict {
	HEAD_MORE,      /* fine so far, and not at its end */
	HEAD_WHOLE,     /* and fine */
	HEAD_MALFORMED, /* 400 */
	HEAD_TOO_LONG   /* 431 (RFC 6585): longer than `limit` bytes, or of too many lines */
};

/* Of the bytes that have come so far. What stands behind the head's empty line is not looked at. */
enum head_verdict head_judge(struct slice bytes, size_t limit);

#endif
