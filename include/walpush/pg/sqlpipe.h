/*
 * sqlpipe: read-only queries over one pipelined connection, which is opened again after each loss.
 *
 * Tap thread. Answers arrive in the order of the queries. A lost connection is opened again (capped full-jitter backoff, 50 ms to 5 s), and
 * queries without an answer are sent again. So a query never fails because a connection was lost; it waits. A caller that cannot wait keeps a
 * timer, and calls sqlpipe_forget.
 *
 * The exception is a question that has ended its server process twice (suspects.h): in its turn it fails with 57P02 instead of being sent. Only
 * queries of the configuration are such questions. walpush's own are sent after each loss; they read nothing that could end a server process.
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
#include "walpush/pg/anchor.h"
#include "walpush/pg/login.h"
#include "walpush/pg/suspects.h"

#define SQLPIPE_IN_FLIGHT 256

struct sqlpipe;
struct sqlpipe_query;

/* Called once for each query, from the loop, never from inside sqlpipe_ask. The callee frees `rows`; NULL: `why` has SQLSTATE and text. */
typedef void sqlpipe_done(void *ctx, struct sqlrows *rows, const struct fail *why);
/* The connection is up or down now. */
typedef void sqlpipe_state(void *ctx, bool up, const struct fail *why);

/* `suspects`: of all connections of the process, and outlives them. NULL: a question is sent as often as it takes. */
struct sqlpipe *sqlpipe_new(struct event_base *loop, struct resolve *names, const char *name,
			    const struct conf_database *conf, struct suspects *suspects, sqlpipe_state *state,
			    void *ctx);
/*
 * The connection is opened only by sqlpipe_open, and closed when no query was without an answer for `idle_us`. If it cannot be opened, or is lost,
 * it is not opened again by itself, and sqlpipe_open does nothing until the backoff is over. That it cannot be opened is logged with the level
 * debug, because whoever calls sqlpipe_open knows what it means. Queries that are asked while it is closed wait.
 */
struct sqlpipe *sqlpipe_new_on_demand(struct event_base *loop, struct resolve *names, const char *name,
				      const struct conf_database *conf, struct suspects *suspects, int64_t idle_us,
				      sqlpipe_state *state, void *ctx);
/* From now on a connection to another server than the anchor's is closed before it answers anything, and opened again after the backoff. Once, at the
 * beginning; the anchor outlives the pipe. */
void sqlpipe_anchor(struct sqlpipe *p, struct anchor *anchor);
/* From now on the session waits where the server refuses the process's logins (login.h). Once, at the beginning; `login` outlives the pipe. */
void sqlpipe_login(struct sqlpipe *p, struct login *login);
/* Does nothing if the connection is open, being opened, or lost a moment ago. */
void sqlpipe_open(struct sqlpipe *p);
/* Drops queries without an answer. */
void sqlpipe_free(struct sqlpipe *p);
bool sqlpipe_is_up(const struct sqlpipe *p);
/* Why the connection is not up. NULL: it is up, or has not been tried yet. */
const char *sqlpipe_trouble(const struct sqlpipe *p);

/* Opens another session. Queries without an answer are sent again there. Must not be called from `done` of a query of this pipe. */
void sqlpipe_renew(struct sqlpipe *p);

/* The server is available again: connects now instead of after the backoff. */
void sqlpipe_hurry(struct sqlpipe *p);

/* `statement`: the query's name in the server's log: one word for a query of walpush itself, several for one of the configuration ("admit of
 * requests"). All texts are copied. A NULL value is SQL NULL. */
struct sqlpipe_query *sqlpipe_ask(struct sqlpipe *p, const char *statement, const char *sql, size_t n_values,
				  const char *const *values, sqlpipe_done *done, void *ctx);
/* The answer is not needed any more; `done` is not called. */
void sqlpipe_forget(struct sqlpipe *p, struct sqlpipe_query *q);
/* The answer is not needed any more, but the end of the query is: `done` is called then, with whatever came of it. It is not sent again, neither after
 * a cancel that hits it instead of another one nor after a loss; then `done` is not called. If it waits, it is not sent at all. */
void sqlpipe_let_go(struct sqlpipe *p, struct sqlpipe_query *q);
/* As sqlpipe_forget, for all queries without an answer. */
void sqlpipe_forget_all(struct sqlpipe *p);

/* Is this query the oldest without an answer, so that the server runs it? */
bool sqlpipe_runs(const struct sqlpipe *p, const struct sqlpipe_query *q);
/* µs of clock_us: since when the server runs the oldest query without an answer, a forgotten one included; 0: none is with the server. */
int64_t sqlpipe_turn(const struct sqlpipe *p);
/* The pid of the server process, as it answered itself; 0: not known yet, or not connected. */
int sqlpipe_pid(const struct sqlpipe *p);

/*
 * Ends the query that the server runs for `victim`: its oldest without an answer, forgotten or not. It is asked for in the session of `by`, which has
 * the same role, before all that waits there. False: nothing happens, because one of the sessions is not up, its pid is not known yet, `victim` runs
 * nothing, or both are the same.
 *
 * The query that was meant fails with 57014, unless it ends before. If the cancel hits its successor, that one and those behind it are asked again
 * (cancels.h). A forgotten query may take a cancel that was meant for another one.
 */
bool sqlpipe_cancel(struct sqlpipe *victim, struct sqlpipe *by);

#endif
