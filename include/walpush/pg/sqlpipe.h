/*
 * sqlpipe: read-only queries over one pipelined connection, which is opened again after each loss.
 *
 * Tap thread. Answers arrive in the order of the queries. A lost connection is opened again (capped full-jitter backoff, 50 ms to 5 s), and
 * queries without an answer are sent again. So a query never fails because a connection was lost; it waits. A caller that cannot wait keeps a
 * timer, and calls sqlpipe_forget.
 *
 * Each query text is prepared once a connection. Each query ends with its own Sync, so that the error of one query does not affect the others.
 * At most SQLPIPE_IN_FLIGHT queries are with the server at a time. The others wait here; the callers bound their number. A server that does
 * not answer for statement_timeout + 5 s counts as dead.
 */
#ifndef WALPUSH_SQLPIPE_H
#define WALPUSH_SQLPIPE_H

#include <event2/event.h>

#include "walpush/conf/conf.h"
#include "walpush/base/fail.h"
#include "walpush/base/resolve.h"
#include "walpush/base/sqlrows.h"

#define SQLPIPE_IN_FLIGHT 256

struct sqlpipe;
struct sqlpipe_query;

/* Called once for each query, from the loop, never from inside sqlpipe_ask. The callee frees `rows`; NULL: `why` has SQLSTATE and text. */
typedef void sqlpipe_done(void *ctx, struct sqlrows *rows, const struct fail *why);
/* The connection is up or down now. */
typedef void sqlpipe_state(void *ctx, bool up, const struct fail *why);

struct sqlpipe *sqlpipe_new(struct event_base *loop, struct resolve *names, const char *name,
			    const struct conf_database *conf, sqlpipe_state *state, void *ctx);
/* Drops queries without an answer. */
void sqlpipe_free(struct sqlpipe *p);
bool sqlpipe_is_up(const struct sqlpipe *p);
/* Why the connection is not up. NULL: it is up, or has not been tried yet. */
const char *sqlpipe_trouble(const struct sqlpipe *p);

/* Opens another session. Queries without an answer are sent again there. Must not be called from `done` of a query of this pipe. */
void sqlpipe_renew(struct sqlpipe *p);

/* The server is available again: connects now instead of after the backoff. */
void sqlpipe_hurry(struct sqlpipe *p);

/* `statement`: the query's name in the server's log. All texts are copied. A NULL value is SQL NULL. */
struct sqlpipe_query *sqlpipe_ask(struct sqlpipe *p, const char *statement, const char *sql, size_t n_values,
				  const char *const *values, sqlpipe_done *done, void *ctx);
/* The answer is not needed any more; `done` is not called. */
void sqlpipe_forget(struct sqlpipe *p, struct sqlpipe_query *q);

#endif
