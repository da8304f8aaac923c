/*
 * pgurl: is this connection string usable, and may libpq's messages about it be shown?
 *
 * A password with '@', ':' or '/' that is not percent-encoded splits the URL: libpq takes the rest of the password for a host, a port or a
 * database, and libpq's or the server's messages then show a part of the password. So pgurl_trouble refuses a string unless each part that a
 * message could show looks as it should. libpq's own messages about a malformed string are never shown, because they quote the string.
 *
 * Pure; any thread.
 */
#ifndef WALPUSH_PGURL_H
#define WALPUSH_PGURL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

/* Both forms, postgresql://… and name=value. NULL: the string is fine. Else the text says what the string should be, as the rest of
 * "X should be …", and never contains a part of the string. */
const char *pgurl_trouble(const char *url);

/* The message of a failed connection, or a fixed text if the message repeats the password. Lives as long as the connection. */
const char *pgurl_error(const PGconn *conn);
/* The check of pgurl_error: does the message show the password? `shown`: texts that a message may always show; NULL entries are ignored. */
bool pgurl_reveals(const char *message, const char *password, const char *const *shown, size_t n_shown);

#endif
