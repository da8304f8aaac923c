/*
 * clientmsg: the messages that a client may send. Parsed with jansson; pure.
 *
 * {"type":"ping","timestamp":…} and {"type":"auth","token":"…"}. Every other message is CLIENTMSG_OTHER, which is ignored and counted.
 * Depth and size are checked before jansson parses the bytes.
 */
#ifndef WALPUSH_CLIENTMSG_H
#define WALPUSH_CLIENTMSG_H

#include <jansson.h>

#include "walpush/base/buf.h"
#include "walpush/base/slice.h"

enum clientmsg_kind { CLIENTMSG_PING, CLIENTMSG_AUTH, CLIENTMSG_OTHER };

struct clientmsg {
	enum clientmsg_kind kind;
	json_t *root;      /* owned; may be NULL for OTHER */
	json_t *timestamp; /* ping: borrowed from root; NULL if absent */
	const char *token; /* auth: borrowed from root */
};

void clientmsg_parse(struct slice text, struct clientmsg *out);
void clientmsg_fini(struct clientmsg *m);
/* {"type":"pong","timestamp":x}; without `timestamp` if the ping had none. */
void clientmsg_pong(const struct clientmsg *ping, struct buf *out);

#endif
