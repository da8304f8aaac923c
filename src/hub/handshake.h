/*
 * handshake: what the HTTP request says, read before and while it is upgraded. Hub thread.
 *
 * A request is refused here, with an HTTP status, or not at all: a client that got its 101 sees only close codes from then on.
 */
#ifndef WALPUSH_HUB_HANDSHAKE_H
#define WALPUSH_HUB_HANDSHAKE_H

#include <libwebsockets.h>

#include "response.h"
#include "walpush/share/edition.h"

/* The subprotocol, which a client may offer. */
#define HANDSHAKE_PROTOCOL "walpush"

struct handshake { /* what a connection keeps of its request until its token is verified; zeroed before and after */
	struct path_values *path; /* with names of the edition that matched it */
	char *token;              /* NULL: none came yet. Wiped before it is freed. */
	char *epoch;              /* the epoch that the client knows; NULL: none */
	struct event_id since;
	bool has_since; /* the client expects to resume, even if `since` or `epoch` cannot be used */
};

/* NULL: go on. Otherwise the refusal. */
const struct response *handshake_check(const struct hub_shared *shared, struct lws *wsi);
/* The refusal of a request without an upgrade. */
const struct response *handshake_check_plain(const struct hub_shared *shared, struct lws *wsi);
/* Sends the response, unless the library has sent one already, and tells visitor.h. The connection must end after it. */
void handshake_refuse(struct lws *wsi, const struct response *response);

/* Reads path, token, since and epoch from the headers. Returns the path's stream; -1: no stream has this path. */
int handshake_read(const struct hub_shared *shared, struct lws *wsi, struct handshake *out);
/* Wipes and frees the token, and frees the path: the token is verified, or never will be. */
void handshake_forget_token(struct handshake *h);
/* The same, and frees the rest. */
void handshake_forget(struct handshake *h);

#endif
