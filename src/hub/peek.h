/*
 * peek: the first bytes of a socket before the library has it. Hub thread.
 *
 *   new ─▶ waits ─head is whole▶ (whole)
 *            │
 *            ├─ malformed, too long ─▶ (refused) answered, and read until the client ends, so that no reset overtakes the answer ─▶ (ended)
 *            └─ the client ends ─▶ (ended)
 *
 * Nothing is read: the bytes stay in the socket, where the library finds them. SO_RCVLOWAT keeps the loop from turning for bytes that were
 * seen. A peek knows nothing of its owner but the three calls. With `whole` and `ended` it is over: the peek frees itself first, and
 * the socket is the owner's to hand on or to close.
 */
#ifndef WALPUSH_HUB_PEEK_H
#define WALPUSH_HUB_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct peek;

struct peeks { /* of one hub */
	uv_loop_t *loop;
	size_t head_most; /* bytes of a request's head */
	char *bytes;      /* so many; NULL until the first peek */
};

struct peek_calls {
	/* The head of a request is there, well-formed. */
	void (*whole)(void *ctx);
	/* It will not be one: answered with this status. `reason` as METRICS_REFUSALS has it, `bytes` of the head were seen. */
	void (*refused)(void *ctx, unsigned status, const char *reason, size_t bytes);
	/* The client ended; `broke_off`: in the middle of a head. */
	void (*ended)(void *ctx, bool broke_off);
};

/* NULL: the loop watches no more sockets, *why says it. `calls` is borrowed. */
struct peek *peek_new(struct peeks *all, int fd, const struct peek_calls *calls, void *ctx, const char **why);
/* Looks at what is there already. One of the calls may come, and the peek be gone, before this returns. */
void peek_look(struct peek *p);
/* The loop looks at the socket no more; none of the calls comes. */
void peek_free(struct peek *p);
void peeks_fini(struct peeks *all);

#endif
