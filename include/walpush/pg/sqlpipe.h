/*
 * sqlpipe: read-only queries over one pipelined connection that is made again whenever it is lost.
 *
 * Tap thread. Queries are answered in the order in which they were asked. A connection that is lost is made again (capped
 * full-jitter backoff, 50 ms to 5 s) and what was not answered is asked again: so a query never fails because a connection did,
 * it waits. Who cannot wait keeps a timer and calls sqlpipe_forget.
 *
 * Each text of a query is prepared once a connection and ended by its own Sync, so that one query's error
 * leaves the others alone. At most SQLPIPE_IN_FLIGHT are with the server at a time; the rest waits here, bounded by the askers.
 * A server that does not answer for statement_timeout + 5 s is taken for dead.
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

/* Once a query, from the loop, never from inside sqlpipe_ask. rows: the callee's to free; NULL: `why` has SQLSTATE and text. */
typedef void sqlpipe_done(void *ctx, struct sqlrows *rows, const struct fail *why);
/* The connection came up or went down. */
typedef void sqlpipe_state(void *ctx, bool up, const struct fail *why);

struct sqlpipe *sqlpipe_new(struct event_base *loop, struct resolve *names, const char *name,
			    const struct conf_database *conf, sqlpipe_state *state, void *ctx);
/* Pending queries are dropped without an answer. */
void sqlpipe_free(struct sqlpipe *p);
bool sqlpipe_is_up(const struct sqlpipe *p);
/* Why it is not up; NULL: it is, or has not tried yet. */
const char *sqlpipe_trouble(const struct sqlpipe *p);

/* Another session: what is not answered yet is asked again there. Not from inside `done` of one of its own. */
void sqlpipe_renew(struct sqlpipe *p);

/* The server is there again: do not wait out the backoff. */
void sqlpipe_hurry(struct sqlpipe *p);

/* statement: what the query is called in the server's log. All texts are copied; a NULL value is SQL NULL. */
struct sqlpipe_query *sqlpipe_ask(struct sqlpipe *p, const char *statement, const char *sql, size_t n_values,
				  const char *const *values, sqlpipe_done *done, void *ctx);
/* The answer is not wanted any more; `done` will not be called. */
void sqlpipe_forget(struct sqlpipe *p, struct sqlpipe_query *q);

#endif
