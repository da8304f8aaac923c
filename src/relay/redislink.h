/*
 * redislink: commands over one Redis connection that is made again whenever it is lost.
 *
 * Tap thread. Commands are answered in the order in which they were sent. A lost connection is made again (capped
 * full-jitter backoff, 100 ms to 2 s), but unanswered commands are not sent again: nobody knows whether Redis has seen
 * them. So the caller gets NULL, and must check. A connection with an overdue answer counts as dead.
 *
 * The server must be the master. An error that belongs to the connection (redisrefusal.h) ends the connection, and so
 * does an answer to ROLE that names a replica or a sentinel. ROLE is sent when the connection begins and every second,
 * because a replica may accept writes that its master overwrites. A user without the right to run ROLE is accepted;
 * then only the errors show it.
 *
 * For each connection the host's name is looked up, off the loop (resolve.h), and its addresses are tried in turn until
 * one is up.
 *
 * Bounds: the caller's.
 */
#ifndef WALPUSH_REDISLINK_H
#define WALPUSH_REDISLINK_H

#include <event2/event.h>
#include <hiredis/hiredis.h>

#include "walpush/base/fail.h"
#include "walpush/base/resolve.h"
#include "walpush/base/slice.h"

struct redislink;

/* Called once for each command, from the loop. NULL: the connection was lost, or this answer ended it. Other errors of
 * Redis are a reply of type REDIS_REPLY_ERROR. */
typedef void redislink_done(void *ctx, const redisReply *reply);
/* The connection is up (authenticated, database chosen), or went down. Before it is reported down, all its commands
 * have been answered with NULL. */
typedef void redislink_state(void *ctx, bool up);

/* `url` must have passed redisurl_check. `patience`: µs that an answer may take, also an answer of the name servers.
 * Connects at once. */
struct redislink *redislink_new(struct event_base *loop, struct resolve *names, const char *name, const char *url,
				int64_t patience, redislink_state *state, void *ctx);
/* Answers all open commands with NULL before it returns. */
void redislink_free(struct redislink *l);
bool redislink_is_up(const struct redislink *l);
/* Why the connection is not up; NULL: it is up, or was not tried yet. */
const char *redislink_trouble(const struct redislink *l);
/* The connection is not up, because of an error of Redis. */
bool redislink_is_refused(const struct redislink *l);
/* Only while the connection is up. The arguments are copied. */
void redislink_ask(struct redislink *l, size_t n, const struct slice *arguments, redislink_done *done, void *ctx);
/* Connects again, because the answers of Redis make no sense. */
void redislink_drop(struct redislink *l, const char *why);

#endif
