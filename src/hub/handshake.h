/*
 * handshake: what the HTTP request says, read before and while it is upgraded. Hub thread.
 *
 * A request is refused here, with an HTTP status, or not at all: a client that got its 101 sees only close codes from then on.
 */
#ifndef WALPUSH_HUB_HANDSHAKE_H
#define WALPUSH_HUB_HANDSHAKE_H

#include <libwebsockets.h>

#include "walpush/share/edition.h"

/* The subprotocol, which a client may offer. */
#define HANDSHAKE_PROTOCOL "walpush"

struct handshake { /* what a connection keeps of its request until its token is verified; zeroed before and after */
	struct path_values *path; /* with names of the edition under which it was matched */
	char *token;              /* NULL: none came yet. Wiped before it is freed. */
	char *epoch;              /* what the client said it knows; NULL: nothing */
	struct event_id since;
	bool has_since; /* the client expects to resume, whatever `since` and `epoch` are good for */
};

/* NULL: go on. Else why not, as METRICS_REFUSALS has it; and the HTTP status that says so, or 0: it is too late for one. */
const char *handshake_check(const struct hub_shared *shared, struct lws *wsi, unsigned *status);
/* Sends the bare response; the connection ends behind it. */
void handshake_refuse(struct lws *wsi, unsigned status);
bool handshake_path_exists(const struct hub_shared *shared, struct lws *wsi);

/* Takes the headers' path, token, since and epoch. Returns the path's stream, -1: it is of none. */
int handshake_read(const struct hub_shared *shared, struct lws *wsi, struct handshake *out);
/* The token was verified, or it never will be. */
void handshake_forget_token(struct handshake *h);
/* The same, and all the rest. */
void handshake_forget(struct handshake *h);

#endif
