/*
 * visitor: a socket from the moment the hub has it until it is closed. Hub thread.
 *
 *   taken ─▶ peeked at (peek.h) ─▶ the library's ─▶ a WebSocket
 *   └──────── in the list, with a deadline ───────┘
 *
 * A visitor knows where the socket comes from, which outlives the HTTP request and is known before the WebSocket exists. The library keeps the
 * visitor as its opaque pointer and tells its end. The gate counts the socket of each visitor, and the visitor itself once it entered. Over
 * TLS the first bytes say nothing, so such a socket goes to the library at once.
 */
#ifndef WALPUSH_HUB_VISITOR_H
#define WALPUSH_HUB_VISITOR_H

#include <libwebsockets.h>

#include "facts.h"
#include "peek.h"

struct visitor;

struct visitors { /* of one hub; zeroed but for the first three */
	const struct hub_facts *hub;
	struct peeks peeks;
	struct lws_vhost *vhost;
	bool tls;
	struct visitor *shaking; /* whose handshake is not done, oldest first */
};

/* Peeks at its request, then gives the socket to the library. */
void visitor_take(struct visitors *all, int fd, const struct address *address);
struct visitor *visitor_of(struct lws *wsi);
/* The client's: another one than the socket's once the request was read, if that came through a trusted proxy. */
const struct address *visitor_address(const struct visitor *v);
/* Finds the client behind trusted proxies, once the headers are there. False: they cannot be read. */
bool visitor_forwarded(struct visitor *v);
/* NULL: it may be a connection. Else why not, as METRICS_REFUSALS has it. */
const char *visitor_enter(struct visitor *v);
/* It was refused, and that was counted. */
void visitor_refused(struct visitor *v);
/* The handshake is done. */
void visitor_arrived(struct visitor *v);
/* The library frees wsi. */
void visitor_gone(struct lws *wsi);
/* Once a second: ends those whose handshake takes too long. `now` in µs. */
void visitors_sweep(struct visitors *all, int64_t now);
/* The process stops: those that are no WebSockets yet end without a word, and try the successor. */
void visitors_hang_up(struct visitors *all);
/* Ends those that the library does not know of, so that it will not tell their end. */
void visitors_fini(struct visitors *all);

#endif
