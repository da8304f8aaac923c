/*
 * sqltext: names and literals as SQL writes them, and where a session looks for names. Pure.
 */
#ifndef WALPUSH_SQLTEXT_H
#define WALPUSH_SQLTEXT_H

#include "walpush/base/buf.h"

/* The search_path of all sessions: where the queries of the configuration find their names. */
#define SQLTEXT_PATH "pg_catalog,public,pg_temp"
/* That of walpush's own SQL, where it is not the session's: the server's names and operators alone. */
#define SQLTEXT_OWN_PATH "pg_catalog, pg_temp"

/* 'text', with its quotes doubled; standard_conforming_strings is taken for on. */
void sqltext_literal(struct buf *out, const char *text);
/* A name, between double quotes where it needs them. */
void sqltext_ident(struct buf *out, const char *name);

#endif
