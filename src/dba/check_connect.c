/* Makes the connections of walpush as walpush makes them, and says what a refusal means (refusal.h). */
#include "parts.h"

#include <stdlib.h>

#include "walpush/base/buf.h"
#include "walpush/base/mem.h"
#include "walpush/pg/pgdial.h"
#include "walpush/text/sqltext.h"

#define VERSION_LEAST 130000

static enum check_fix kind_of(enum refusal_kind kind)
{
	static const enum check_fix kinds[] = {
		[REFUSAL_WORDS] = CHECK_WORDS,
		[REFUSAL_SQL] = CHECK_SQL,
		[REFUSAL_HBA] = CHECK_HBA,
		[REFUSAL_SHELL] = CHECK_SHELL,
	};

	return kinds[kind];
}

void check_refused(struct check *c, enum pgdial_kind of, const char *what, const struct fail *why)
{
	struct refusal_facts facts = { .role = c->role_name,
				       .database = c->database_name,
				       .host = c->host,
				       .file = c->conf->file,
				       .provider = c->provider,
				       .is_replication = of == PGDIAL_REPLICATION };
	struct buf fix = { 0 };
	enum refusal_kind kind;

	if (refusal_is_about_tls(why))
		facts.tls = pgdial_try_tls(&c->conf->database, of);
	kind = refusal_fix(why, &facts, &fix);
	check_add(c, CHECK_FAILURE, kind_of(kind), fix.data, "%s: %s%s%s", what, why->text,
		  why->sqlstate[0] ? ", SQLSTATE " : "", why->sqlstate);
	buf_fini(&fix);
}

/* Both steal the name. */
static void name_role(struct check *c, char *name)
{
	struct buf quoted = { 0 };

	free(c->role);
	free(c->role_name);
	if (name)
		sqltext_ident(&quoted, name);
	c->role = name ? buf_steal(&quoted) : NULL;
	c->role_name = name;
}

static void name_database(struct check *c, char *name)
{
	struct buf quoted = { 0 };

	free(c->database);
	free(c->database_name);
	if (name)
		sqltext_ident(&quoted, name);
	c->database = name ? buf_steal(&quoted) : NULL;
	c->database_name = name;
}

/* The roles show it better than the host's name, which may be one's own. */
static void find_provider(struct check *c)
{
	struct buf names = { 0 };
	PGresult *result;

	provider_roles(&names);
	result = check_ask(c, "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1::name[]) ORDER BY rolname", 1,
			   (const char *[]){ names.data });
	for (int i = 0; result && i < PQntuples(result); i++)
		c->provider = provider_of_role(PQgetvalue(result, i, 0));
	PQclear(result);
	buf_fini(&names);
}

static void name_all(struct check *c, char *role, char *database)
{
	name_database(c, database ? database : role ? mem_text(role) : NULL);
	name_role(c, role);
	c->host = pgdial_part(&c->conf->database, "host");
	c->provider = provider_of_host(c->host);
}

static const char *no_string(const struct conf_database *conf)
{
	return conf->url_file ? "let database.url-file name a file that walpush may read, and that holds such a string"
			      : "correct database.url, or the variable of the environment that it takes";
}

void check_connection(struct check *c)
{
	struct fail why = { 0 };
	char *role, *database;

	if (!pgdial_identity(&c->conf->database, &role, &database, &why)) {
		check_add(c, CHECK_FAILURE, CHECK_WORDS, no_string(&c->conf->database), "%s", why.text);
		return;
	}
	name_all(c, role, database);
	c->sql = pgdial_open(&c->conf->database, PGDIAL_SQL, &why);
	if (!c->sql) {
		check_refused(c, PGDIAL_SQL, "cannot connect", &why);
		return;
	}
	PQclear(PQexec(c->sql, CHECK_OWN_NAMES));
	name_role(c, mem_text(PQuser(c->sql)));
	name_database(c, mem_text(PQdb(c->sql)));
	find_provider(c);
	check_find_plugin(c);
	check_ok(c, "database %s as %s%s%s", c->database, c->role, c->provider ? ", managed by " : "",
		 provider_name(c->provider));
}

/* PostgreSQL 13 is the first with what walpush needs: wal_status and safe_wal_size of a slot, and pg_current_snapshot(). */
void check_version(struct check *c)
{
	int version = PQserverVersion(c->sql);

	if (version >= VERSION_LEAST)
		check_ok(c, "PostgreSQL %s", PQparameterStatus(c->sql, "server_version"));
	else
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "upgrade to PostgreSQL 13 or later",
			  "PostgreSQL %s has neither pg_current_snapshot() nor the state of a slot's WAL",
			  PQparameterStatus(c->sql, "server_version"));
}

/* Whether a role may replicate is the server's to say: attributes, memberships and providers' own rights decide, and the catalog shows only some. */
void check_role(struct check *c)
{
	struct fail why = { 0 };
	PGconn *conn = pgdial_open(&c->conf->database, PGDIAL_REPLICATION, &why);

	PQfinish(conn);
	if (!conn && strcmp(why.sqlstate, "42501") == 0)
		check_refused(c, PGDIAL_REPLICATION, "the role may not replicate", &why);
	else
		check_ok(c, conn ? "may replicate" : "nothing is known against it: see \"replication\"");
}

void check_replication(struct check *c)
{
	struct fail why = { 0 };
	PGconn *conn = pgdial_open(&c->conf->database, PGDIAL_REPLICATION, &why);
	PGresult *result;

	if (!conn) {
		check_refused(c, PGDIAL_REPLICATION, "cannot connect for replication", &why);
		return;
	}
	result = PQexec(conn, "IDENTIFY_SYSTEM");
	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		check_ok(c, "system %s, timeline %s", PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
	} else {
		pgdial_result_fail(result, &why);
		check_refused(c, PGDIAL_REPLICATION, "IDENTIFY_SYSTEM", &why);
	}
	PQclear(result);
	PQfinish(conn);
}
