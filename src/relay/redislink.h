/*
 * redislink: commands over one Redis connection that is made again whenever it is lost.
 *
 * Tap thread. Commands are answered in the order in which they were asked. A connection that is lost is made again (capped full-jitter
 * backoff, 100 ms to 2 s), but what was not answered is not asked again: whether Redis has seen it nobody knows, so the asker is
 * told, and looks. A connection on which an answer is overdue is taken for dead.
 *
 * The server must be the master. An error that belongs to the connection (redisrefusal.h) ends it, and so does an answer to ROLE, which is
 * asked when the connection begins and every second: a replica may accept what its master overwrites. A user who may not run ROLE is no
 * trouble; then only the errors tell.
 *
 * For each connection the host's name is looked up, off the loop (resolve.h), and its addresses are tried in turn until one is up.
 *
 * Bounds: the asker's.
 */
#ifndef WALPUSH_REDISLINK_H
#define WALPUSH_REDISLINK_H

#include <event2/event.h>
#include <hiredis/hiredis.h>

#include "walpush/base/fail.h"
#include "walpush/base/resolve.h"
#include "walpush/base/slice.h"

struct redislink;

/* Once a command, from the loop. NULL: the connection was lost, or ended by this answer. Other errors of Redis are a reply of type
 * REDIS_REPLY_ERROR. */
typedef void redislink_done(void *ctx, const redisReply *reply);
/* The connection is up (authenticated, database chosen), or went down, after all that was asked on it has been answered with NULL. */
typedef void redislink_state(void *ctx, bool up);

/* url must have passed redisurl_check. patience: µs that an answer may take, of the name servers too. Connects at once. */
struct redislink *redislink_new(struct event_base *loop, struct resolve *names, const char *name, const char *url,
				int64_t patience, redislink_state *state, void *ctx);
/* What was asked is answered with NULL, before it returns. */
void redislink_free(struct redislink *l);
bool redislink_is_up(const struct redislink *l);
/* Why it is not up; NULL: it is, or has not tried yet. */
const char *redislink_trouble(const struct redislink *l);
/* It is not up, because of what Redis said. */
bool redislink_is_refused(const struct redislink *l);
/* Only while it is up. The arguments are copied. */
void redislink_ask(struct redislink *l, size_t n, const struct slice *arguments, redislink_done *done, void *ctx);
/* Connect anew: what Redis says makes no sense. */
void redislink_drop(struct redislink *l, const char *why);

#endif
