/*
 * reads_ask: asks the server what the admit queries read (reads.h), on a connection of its own (sqlsteps.h).
 *
 * The queries are asked about one after the other, each in a transaction that is rolled back, so a query that the server refuses does not affect
 * the others. Tap thread.
 */
#ifndef WALPUSH_READS_ASK_H
#define WALPUSH_READS_ASK_H

#include <event2/event.h>

#include "walpush/conf/conf.h"
#include "walpush/base/fail.h"
#include "walpush/rules/reads.h"
#include "walpush/base/resolve.h"
#include "walpush/pg/login.h"

struct reads_ask;

/* Called once, never from inside reads_ask_new. `reads` has one element for each stream of the rules, in their order; the callee owns the array and
 * what it holds. NULL: the connection failed, and `why` says why. The reads_ask is freed before this call; do not cancel it. */
typedef void reads_ask_done(void *ctx, struct reads *reads, const struct fail *why);

/* `rules`, bound or not, must outlive it. */
struct reads_ask *reads_ask_new(struct event_base *loop, struct resolve *names, const struct conf_database *conf,
				struct login *login, const struct rules *rules, reads_ask_done *done, void *ctx);
/* `done` is not called. NULL is allowed. */
void reads_ask_cancel(struct reads_ask *a);

#endif
