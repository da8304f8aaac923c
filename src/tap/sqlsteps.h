/*
 * sqlsteps: SQL statements one after the other, on a connection of their own that ends with the sqlsteps. For what makes temporary views: a
 * statement that waits for a lock delays no other query.
 *
 * Nothing is tried again. It waits where the server refuses the process's logins (login.h). Bounds from then on: connect_timeout, then for each statement statement-timeout and 5 s more. Tap thread.
 */
#ifndef WALPUSH_SQLSTEPS_H
#define WALPUSH_SQLSTEPS_H

#include <event2/event.h>
#include <libpq-fe.h>

#include "walpush/conf/conf.h"
#include "walpush/base/fail.h"
#include "walpush/base/resolve.h"
#include "walpush/pg/login.h"

struct sqlsteps;

/* None is called from inside sqlsteps_new. */
struct sqlsteps_calls {
	/* Sends the next statement, by one of libpq's functions PQsend…, and returns what that returns. */
	bool (*send)(void *ctx, PGconn *conn);
	/* A result of the statement; borrowed. The server's refusal is a result, too. */
	void (*result)(void *ctx, const PGresult *result);
	/* The statement has no more results. False: it was the last one. */
	bool (*next)(void *ctx);
	/* Called once. `why` NULL: the last statement is done. Otherwise the connection has failed. The sqlsteps is freed before this call; do not
	 * cancel it. */
	void (*end)(void *ctx, const struct fail *why);
};

struct sqlsteps *sqlsteps_new(struct event_base *loop, struct resolve *names, const struct conf_database *conf,
			      struct login *login, const struct sqlsteps_calls *calls, void *ctx);
/* `end` is not called. NULL is allowed. */
void sqlsteps_cancel(struct sqlsteps *s);

#endif
