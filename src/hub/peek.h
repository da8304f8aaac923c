/*
 * peek: the first bytes of a socket before the library has it. Hub thread.
 *
 *   new ─▶ waits ─head is whole▶ (whole)
 *            │
 *            ├─ malformed, too long ─▶ (refused) answered, and read until the client ends, so that no reset overtakes the answer ─▶ (ended)
 *            └─ the client ends ─▶ (ended)
 *
 * Before a refusal nothing is read: the bytes stay in the socket, where the library finds them. SO_RCVLOWAT keeps the loop from waking up for
 * bytes that the peek has already seen. A peek knows only the three calls of its owner. `whole` and `ended` are the last calls: the peek frees
 * itself before them, and the owner hands the socket on or closes it.
 */
#ifndef WALPUSH_HUB_PEEK_H
#define WALPUSH_HUB_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "response.h"
#include "walpush/base/slice.h"

struct peek;

struct peeks { /* of one hub */
	uv_loop_t *loop;
	size_t head_most; /* bytes of a request's head */
	char *bytes;      /* head_most of them; NULL until the first peek */
};

struct peek_calls {
	/* The head of a request is complete and well-formed. */
	void (*whole)(void *ctx);
	/* The head is malformed or too long, and gets this response. `head`: what was seen of it. */
	void (*refused)(void *ctx, const struct response *response, struct slice head);
	/* The client ended the connection; `broke_off`: in the middle of a head. */
	void (*ended)(void *ctx, bool broke_off);
};

/* NULL: the loop cannot watch the socket, and *why says why. `calls` is borrowed. */
struct peek *peek_new(struct peeks *all, int fd, const struct peek_calls *calls, void *ctx, const char **why);
/* Looks at the bytes that are there already. One of the calls may come before this returns, and the peek may be freed then. */
void peek_look(struct peek *p);
/* The loop stops watching the socket; none of the calls comes afterwards. */
void peek_free(struct peek *p);
void peeks_fini(struct peeks *all);

#endif
