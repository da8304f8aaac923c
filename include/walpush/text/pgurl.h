/*
 * pgurl: can this connection string be used, and can what libpq says about it be shown?
 *
 * Somebody who writes a password with '@', ':' or '/' into a URL as it is splits it: libpq takes the rest for a host, a port or a database,
 * and its messages, or the server's, then show a part of the password. So a string is refused unless each part of it that a message
 * could show looks like what it should be, and libpq's complaints about a string are never passed on: they quote it.
 *
 * Pure; any thread.
 */
#ifndef WALPUSH_PGURL_H
#define WALPUSH_PGURL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

/* Both forms, postgresql://… and name=value. NULL: it is fine. Else what it should be, as the rest of "X should be …"; never a part of it. */
const char *pgurl_trouble(const char *url);

/* The message of a failed connection; words of our own if it repeats the password. Lives as long as the connection. */
const char *pgurl_error(const PGconn *conn);
/* What pgurl_error decides by. */
bool pgurl_reveals(const char *message, const char *password, const char *const *shown, size_t n_shown);

#endif
