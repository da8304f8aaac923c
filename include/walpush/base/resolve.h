/*
 * resolve: the addresses of a name, without blocking the loop.
 *
 * The thread of the loop that it was made for. getaddrinfo answers as it does for every other program of the machine (nsswitch.conf,
 * hosts, search domains), but it blocks, for minutes where the name servers are silent, and cannot be interrupted. So each lookup runs in
 * a thread of its own and nobody ever joins that thread: a question ends with the answer, with its time limit, or when the asker forgets
 * it. The thread owns what it works with and frees it when getaddrinfo returns, also after resolve_free.
 *
 * Nothing is cached: each attempt to connect asks again, so a failover by DNS is followed. A question joins a lookup of the same name
 * that began less than RESOLVE_FRESH ago. An older one may hang in a name server that has been replaced since, so another is started.
 *
 * Bounds: RESOLVE_OF_NAME threads for a name and RESOLVE_THREADS in all; a question beyond them joins the newest lookup of its name, or
 * waits for a thread. Failures are logged here, once for each name and reason, and then now and again (repeat.h).
 */
#ifndef WALPUSH_RESOLVE_H
#define WALPUSH_RESOLVE_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "walpush/base/fail.h"

#define RESOLVE_FRESH 5000000 /* µs: as long as the C library waits for one name server (RES_TIMEOUT) */
#define RESOLVE_OF_NAME 8
#define RESOLVE_THREADS 16
#define RESOLVE_ADDRESSES 16   /* of a name; the rest is left out */
#define RESOLVE_ADDRESS_MAX 64 /* INET6_ADDRSTRLEN and the zone of a link-local address */

/* How every text about it begins. */
#define RESOLVE_TROUBLE "names do not resolve"

struct resolve;
struct resolve_question;

struct resolve_answer {
	size_t n;                                               /* 0: the name does not resolve */
	char addresses[RESOLVE_ADDRESSES][RESOLVE_ADDRESS_MAX]; /* numeric, in the order in which to try them */
	char reason[96];                                        /* why n is 0 */
};

/* Once, from the loop, never from inside resolve_ask. The answer is borrowed for the call. */
typedef void resolve_done(void *ctx, const struct resolve_answer *answer);

/* logs: say which names do not resolve, as the server does; a command says it in its own words. */
struct resolve *resolve_new(struct event_base *loop, bool logs);
/* At once, whatever the threads do. No question may be left. */
void resolve_free(struct resolve *r);

/* patience: µs, after which the name counts as one that does not resolve. */
struct resolve_question *resolve_ask(struct resolve *r, const char *name, int64_t patience, resolve_done *done,
				     void *ctx);
/* `done` is not called any more. NULL is allowed. */
void resolve_forget(struct resolve_question *q);

/* An address needs no lookup. */
bool resolve_is_address(const char *host);
/* "names do not resolve: HOST: REASON" */
void resolve_fail(struct fail *why, const char *host, const struct resolve_answer *answer);
/* Names that did not resolve, so far. */
uint64_t resolve_failures(const struct resolve *r);

/* For commands, which may wait: the addresses of a name, or the address itself. False: `why` is filled. */
bool resolve_now(const char *host, int64_t patience, struct resolve_answer *out, struct fail *why);

#endif
