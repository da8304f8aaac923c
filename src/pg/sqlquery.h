/*
 * sqlquery: a query of sqlpipe, from its text to its answer. Private to the layer.
 *
 * No I/O. Whoever holds the query in a list owns it.
 */
#ifndef WALPUSH_SQLQUERY_H
#define WALPUSH_SQLQUERY_H

#include <libpq-fe.h>

#include "walpush/pg/sqlpipe.h"

struct sqlpipe_query {
	struct sqlpipe_query *prev, *next;
	char *statement;
	char *sql;
	size_t n_values;
	char **values;
	sqlpipe_done *done; /* NULL: forgotten */
	void *ctx;
	bool prepares;        /* sent together with a PREPARE */
	bool is_of_session;   /* it concerns only the session for which it was made, and ends with it */
	bool is_greeting;     /* the first of a session */
	bool is_meant;        /* a cancel is meant for it */
	bool is_let_go;       /* sqlpipe_let_go */
	unsigned conflicts;   /* how often it was asked again because of one with recovery */
	bool has_id;          /* `id` is known */
	uint64_t id;          /* suspects_id */
	struct sqlrows *rows; /* the answer so far */
	struct fail why;
};

struct sqlpipe_query *sqlquery_new(const char *statement, const char *sql, size_t n_values, const char *const *values,
				   sqlpipe_done *done, void *ctx);
void sqlquery_free(struct sqlpipe_query *q);
/* Before it is sent again. */
void sqlquery_reset(struct sqlpipe_query *q);
/* Takes the place of a query that is with the server and will be sent again: its answer is dropped. It has the values too: if the server process
 * ends while it runs, it is a suspect like any other question. */
struct sqlpipe_query *sqlquery_stand_in(const struct sqlpipe_query *q);
/* Otherwise it is not sent again. */
bool sqlquery_is_wanted(const struct sqlpipe_query *q);
/* Is it a query of the configuration? See sqlpipe_ask. */
bool sqlquery_is_question(const struct sqlpipe_query *q);

/* The answer of a result with rows. */
struct sqlrows *sqlquery_rows(const PGresult *result);

#endif
