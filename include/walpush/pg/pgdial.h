/*
 * pgdial: opens a connection to PostgreSQL without blocking the loop.
 *
 * One attempt: from the connection string to CONNECTION_OK or an error, within connect_timeout. Tap thread. First the names of hosts are
 * looked up, outside the loop (resolve.h, pghosts.h). Each attempt looks them up again, and tries their addresses in turn. If there are
 * several hosts, a host that does not resolve in half of connect_timeout is left out. libpq itself may still block: on a service file that
 * refers to LDAP, and on Kerberos if the process has credentials.
 * Every session has the configured time zone, ISO dates, hexadecimal bytea, TCP keepalives and a fixed search_path. A replication session has
 * wal_sender_timeout=60s. An SQL session is read-only and has statement_timeout and lock_timeout. All of that is in the startup packet, and
 * poolers may leave it out (PgBouncer's ignore_startup_parameters): pgdial_settings says it once more.
 */
#ifndef WALPUSH_PGDIAL_H
#define WALPUSH_PGDIAL_H

#include <event2/event.h>
#include <libpq-fe.h>

#include "walpush/conf/conf.h"
#include "walpush/base/buf.h"
#include "walpush/base/fail.h"
#include "walpush/base/resolve.h"
#include "walpush/pg/refusal.h"

enum pgdial_kind { PGDIAL_SQL, PGDIAL_REPLICATION };

struct pgdial;

/* Called exactly once, never from inside pgdial_start. `conn` is non-blocking and belongs to the callee; NULL: the attempt failed, and `why` says
 * why, with the server's SQLSTATE if there is one. The attempt is over when this is called; do not cancel it. */
typedef void pgdial_done(void *ctx, PGconn *conn, const struct fail *why);

struct pgdial *pgdial_start(struct event_base *loop, struct resolve *names, const struct conf_database *conf,
			    enum pgdial_kind kind, pgdial_done *done, void *ctx);
/* Ends the attempt; `done` is not called. NULL is allowed. */
void pgdial_cancel(struct pgdial *d);

/* One attempt that blocks until its end: for commands, never on a loop's thread. The connection is blocking and belongs to the caller. NULL:
 * `why` is filled. */
PGconn *pgdial_open(const struct conf_database *conf, enum pgdial_kind kind, struct fail *why);

/* Appends calls of set_config for all settings of a session, each with a comma before it: for the SELECT that a session begins with. */
void pgdial_settings(const struct conf_database *conf, enum pgdial_kind kind, struct buf *sql);

/* User and database in the connection string; the caller frees them. NULL: the string does not name one. False: the string cannot be read or
 * is not usable. */
bool pgdial_identity(const struct conf_database *conf, char **user, char **database, struct fail *why);

/* One part of the connection string, "host" for example; the caller frees it. NULL: the string does not name it, or cannot be read. */
char *pgdial_part(const struct conf_database *conf, const char *keyword);

/* Appends the fix for an attempt that failed, for the log. */
void pgdial_fix(const struct conf_database *conf, enum pgdial_kind kind, const struct fail *why, struct buf *fix);

/* What an attempt with sslmode=require comes to. Blocks, as pgdial_open does. */
enum refusal_tls pgdial_try_tls(const struct conf_database *conf, enum pgdial_kind kind);

/* The error of a failed result, without data of rows or parameters: the SQLSTATE and, for classes whose texts contain only names, the
 * server's text. */
void pgdial_result_fail(const PGresult *result, struct fail *why);

/* A notice receiver: if the server ends a session, libpq may report the reason as a notice. The server itself says it as a warning if the session
 * must end at once, because another server process has crashed (57P02) or the server stops without waiting (57P01). `words`: a struct fail; other
 * notices do not change it. */
void pgdial_last_words(void *words, const PGresult *notice);

#endif
