/*
 * visitor: a socket from the moment the hub has it until it is closed. Hub thread.
 *
 *   taken ─▶ peeked at (peek.h) ─▶ the library's ─▶ a WebSocket
 *   └──────── in the list, with a deadline ───────┘
 *
 * A visitor knows the address of the socket: it is known before the WebSocket exists, and is needed after the HTTP request is freed. The library
 * keeps the visitor as its opaque pointer and reports the end. The gate counts the socket of each visitor, and also the visitor once it has
 * entered. Over TLS a peek cannot read the first bytes, so the socket goes to the library at once.
 */
#ifndef WALPUSH_HUB_VISITOR_H
#define WALPUSH_HUB_VISITOR_H

#include <libwebsockets.h>

#include "facts.h"
#include "peek.h"

struct visitor;

struct visitors { /* of one hub; zeroed except the first three */
	const struct hub_facts *hub;
	struct peeks peeks;
	struct lws_vhost *vhost;
	bool tls;
	struct visitor *shaking; /* visitors whose handshake is not done, oldest first */
};

/* Peeks at its request, then gives the socket to the library. */
void visitor_take(struct visitors *all, int fd, const struct address *address);
struct visitor *visitor_of(struct lws *wsi);
/* The client's address. After visitor_forwarded it differs from the socket's if the request came through a trusted proxy. */
const struct address *visitor_address(const struct visitor *v);
/* Finds the address of the client behind trusted proxies, once the headers are there. False: the header cannot be read. */
bool visitor_forwarded(struct visitor *v);
/* NULL: it may become a connection. Otherwise the refusal. */
const struct response *visitor_enter(struct visitor *v);
/* Its whole request is refused: counted, logged, audited. `path` and `origin`: as shown.h shows them. */
void visitor_refused(struct visitor *v, const struct response *response, const char *path, const char *origin);
/* The handshake is done. */
void visitor_arrived(struct visitor *v);
/* The library frees wsi. */
void visitor_gone(struct lws *wsi);
/* Once a second: ends visitors whose handshake takes too long. `now` in µs. */
void visitors_sweep(struct visitors *all, int64_t now);
/* The process stops: hangs up visitors that are not WebSockets yet, so that the clients try the successor. */
void visitors_hang_up(struct visitors *all);
/* Ends visitors that the library does not have yet: the library would not report their end. */
void visitors_fini(struct visitors *all);

#endif
