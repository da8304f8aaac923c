/*
 * resolve: the addresses of a name, without blocking the loop.
 *
 * All functions run in the thread of the loop. getaddrinfo answers as it does for every other program of the machine (nsswitch.conf,
 * hosts, search domains), but it blocks, for minutes if the name servers do not answer, and cannot be interrupted. So each lookup runs in a
 * thread of its own, and no thread joins it. A question ends with the answer, with its time limit, or with resolve_forget. The lookup's
 * thread owns the memory that it uses, and frees it when getaddrinfo returns, also after resolve_free.
 *
 * Nothing is cached: each attempt to connect asks again, so walpush follows a failover by DNS. A question joins a lookup of the same name
 * that began less than RESOLVE_FRESH ago. An older lookup may hang in a name server that has been replaced since, so a new lookup starts.
 *
 * Bounds: RESOLVE_OF_NAME threads for a name and RESOLVE_THREADS in all. Beyond these bounds a question joins the newest lookup of its name,
 * or waits for a thread. Failures are logged here, once for each name and reason, and then from time to time (repeat.h).
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
#define RESOLVE_ADDRESSES 16   /* of a name; others are ignored */
#define RESOLVE_ADDRESS_MAX 64 /* INET6_ADDRSTRLEN and the zone of a link-local address */

/* Every error text about names begins with this. */
#define RESOLVE_TROUBLE "names do not resolve"

struct resolve;
struct resolve_question;

struct resolve_answer {
	size_t n;                                               /* 0: the name does not resolve */
	char addresses[RESOLVE_ADDRESSES][RESOLVE_ADDRESS_MAX]; /* numeric, in the order in which to try them */
	char reason[96];                                        /* why n is 0 */
};

/* Called once, from the loop, never from inside resolve_ask. The answer is borrowed for the call. */
typedef void resolve_done(void *ctx, const struct resolve_answer *answer);

/* `logs`: log the names that do not resolve. The server sets it; a command writes its own error. */
struct resolve *resolve_new(struct event_base *loop, bool logs);
/* Returns at once, without waiting for the threads. No question may be left. */
void resolve_free(struct resolve *r);

/* `patience`: µs; without an answer until then, the name does not resolve. */
struct resolve_question *resolve_ask(struct resolve *r, const char *name, int64_t patience, resolve_done *done,
				     void *ctx);
/* `done` is not called any more. NULL is allowed. */
void resolve_forget(struct resolve_question *q);

/* Is it a numeric address, which needs no lookup? */
bool resolve_is_address(const char *host);
/* "names do not resolve: HOST: REASON" */
void resolve_fail(struct fail *why, const char *host, const struct resolve_answer *answer);
/* How many times a name has not resolved. */
uint64_t resolve_failures(const struct resolve *r);

/* For commands, which may block: the addresses of a name, or the numeric address itself. False: `why` is filled. */
bool resolve_now(const char *host, int64_t patience, struct resolve_answer *out, struct fail *why);

#endif
