/*
 * provider: who manages the server, and what to do there in place of what only the owner of a machine can do.
 *
 * A managed server has no pg_hba.conf that a customer could edit, and no ALTER SYSTEM. The roles that a provider makes in every server show it;
 * pg_roles is readable by everybody. Before there is a connection, the host's name can show it. Pure.
 */
#ifndef WALPUSH_PROVIDER_H
#define WALPUSH_PROVIDER_H

#include <stdbool.h>

#include "walpush/base/buf.h"

enum provider {
	PROVIDER_NONE, /* nothing shows one */
	PROVIDER_RDS,
	PROVIDER_CLOUDSQL,
	PROVIDER_ALLOYDB,
	PROVIDER_AZURE,
	PROVIDER_SUPABASE,
	PROVIDER_NEON,
	PROVIDER_YANDEX,
	PROVIDER_OTHER, /* managed, by somebody else */
	PROVIDERS
};

/* `host`: as in a connection string, so a list with commas or the directory of a socket; NULL is allowed. */
enum provider provider_of_host(const char *host);
/* By the name of one role. */
enum provider provider_of_role(const char *role);
/* Appends the names of all roles that show a provider, as PostgreSQL's array: {a,b}. */
void provider_roles(struct buf *out);

const char *provider_name(enum provider p);
/* Where its customers set parameters of the server: "in the DB parameter group of the instance". */
const char *provider_settings(enum provider p);
/* How its customers let an address in. */
const char *provider_door(enum provider p);
/* The statement that lets a role replicate, with @R for the role, or words. NULL: the provider does as PostgreSQL does. */
const char *provider_replication(enum provider p, bool *is_sql);
/* Appends the provider's way to do what the SQL text `fix` says with ALTER SYSTEM. False: there is no ALTER SYSTEM in it, and nothing is appended. */
bool provider_instead(enum provider p, const char *fix, bool restart, struct buf *out);

#endif
