/*
 * refusal: what a connection that could not be opened means, and its fix.
 *
 * The choice depends on the SQLSTATE, on the text, and on facts that the caller knows. Without an SQLSTATE, libpq has written the text and no
 * server has answered, or the TLS between them failed. With one, a server or a proxy has answered: then the fix is never to start a server.
 * No fix lets anybody in without TLS where TLS is the matter. On a managed server no fix edits pg_hba.conf, and none says ALTER SYSTEM. Pure.
 */
#ifndef WALPUSH_REFUSAL_H
#define WALPUSH_REFUSAL_H

#include <stdbool.h>

#include "walpush/base/buf.h"
#include "walpush/base/fail.h"
#include "walpush/pg/provider.h"

enum refusal_kind {
	REFUSAL_WORDS, /* a person must decide or do something */
	REFUSAL_SQL,   /* statements, as superuser */
	REFUSAL_HBA,   /* the first line of pg_hba.conf, then a reload */
	REFUSAL_SHELL  /* a command */
};

/* What an attempt with sslmode=require came to, after the server had refused one without TLS. */
enum refusal_tls {
	REFUSAL_TLS_UNKNOWN, /* nobody tried */
	REFUSAL_TLS_WORKS,
	REFUSAL_TLS_REFUSED, /* the server speaks TLS, and refuses the role all the same */
	REFUSAL_TLS_NONE     /* the server has none */
};

struct refusal_facts {
	const char *role, *database; /* as they are, not quoted; NULL: not known */
	const char *host;            /* as in the connection string; NULL: not known */
	const char *file;            /* the configuration's; NULL: sidecar.conf */
	enum provider provider;
	enum refusal_tls tls;
	bool is_replication; /* of the connection that was refused */
};

/* Appends the fix, one line. */
enum refusal_kind refusal_fix(const struct fail *why, const struct refusal_facts *facts, struct buf *fix);
/* "first line of pg_hba.conf, then reload: ", or as short as "do: ". */
const char *refusal_title(enum refusal_kind kind);
/* Was an attempt without TLS refused, so that one with it says more? */
bool refusal_is_about_tls(const struct fail *why);
/* Has the server, or what stands before it, refused this role or database? More tries are refused too, and may get the address banned. */
bool refusal_is_of_login(const struct fail *why);

/* Appends a text as one word of a shell. */
void refusal_add_word(struct buf *out, const char *text);

#endif
