/*
 * pgdial: opening a connection to PostgreSQL without blocking the loop.
 *
 * One attempt: from the connection string to CONNECTION_OK or an error, within connect_timeout. Tap thread. The names of hosts
 * are looked up first, off the loop (resolve.h, pghosts.h), and each attempt looks them up again; their addresses are tried in turn.
 * Of several hosts, one that does not resolve in half of connect_timeout is left out. What libpq itself may block on is a service
 * file that refers to LDAP, and Kerberos, where the process has credentials.
 * Every session gets UTC, ISO dates, hexadecimal bytea, TCP keepalives and a pinned search_path; a replication session
 * wal_sender_timeout=60s; an SQL session is read-only and has statement_timeout.
 */
#ifndef WALPUSH_PGDIAL_H
#define WALPUSH_PGDIAL_H

#include <event2/event.h>
#include <libpq-fe.h>

#include "walpush/conf/conf.h"
#include "walpush/base/fail.h"
#include "walpush/base/resolve.h"

enum pgdial_kind { PGDIAL_SQL, PGDIAL_REPLICATION };

struct pgdial;

/* Exactly once, never from inside pgdial_start: the connection, non-blocking and now the callee's, or NULL and why. The
 * attempt is over when it is called; do not cancel it. */
typedef void pgdial_done(void *ctx, PGconn *conn, const struct fail *why);

struct pgdial *pgdial_start(struct event_base *loop, struct resolve *names, const struct conf_database *conf,
			    enum pgdial_kind kind, pgdial_done *done, void *ctx);
/* Gives up; `done` is not called. NULL is allowed. */
void pgdial_cancel(struct pgdial *d);

/* The same, waiting for the end of the attempt: for commands, never on a loop's thread. The connection is blocking and the
 * caller's; NULL: `why` has the server's SQLSTATE where it gave one. */
PGconn *pgdial_open(const struct conf_database *conf, enum pgdial_kind kind, struct fail *why);

/* Who connects where, as far as the connection string says: names of the caller's, NULL where it does not. False: the file
 * with the string cannot be read. */
bool pgdial_identity(const struct conf_database *conf, char **user, char **database, struct fail *why);

/* What a failed result says, in words that hold no data of rows or parameters: SQLSTATE and, for classes that speak of names
 * only, the server's text. */
void pgdial_result_fail(const PGresult *result, struct fail *why);

/* A notice receiver, for an idle session: the server says why it ends one, and libpq hands that over as a notice. `words`: a struct
 * fail, which is left alone by other notices. */
void pgdial_last_words(void *words, const PGresult *notice);

#endif
