/*
 * sqltext: names and literals as SQL text, and the search_path of sessions. Pure.
 */
#ifndef WALPUSH_SQLTEXT_H
#define WALPUSH_SQLTEXT_H

#include "walpush/base/buf.h"

/* The search_path of all sessions: the queries of the configuration find their names in it. */
#define SQLTEXT_PATH "pg_catalog,public,pg_temp"
/* The search_path of walpush's own SQL, if it differs from the session's: only the server's names and operators. */
#define SQLTEXT_OWN_PATH "pg_catalog, pg_temp"

/* 'text', with its quotes doubled. standard_conforming_strings must be on. */
void sqltext_literal(struct buf *out, const char *text);
/* A name, in double quotes if it needs them. */
void sqltext_ident(struct buf *out, const char *name);

#endif
