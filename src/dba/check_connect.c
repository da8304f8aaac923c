/* Makes the connections of walpush as walpush makes them, and says what a refusal means. */
#include "parts.h"

#include <stdlib.h>

#include "walpush/base/buf.h"
#include "walpush/base/mem.h"
#include "walpush/pg/pgdial.h"
#include "walpush/text/sqltext.h"

#define VERSION_LEAST 130000

/* The fix for a refusal is in the first row whose `sqlstate` begins the SQLSTATE and whose `word` is in the text. @R is the role, @D the
 * database, and @H a line of pg_hba.conf without its method. */
static const struct refusal {
	const char *sqlstate, *word;
	enum check_fix kind;
	const char *fix;
} refusals[] = {
	{ "28", "pg_hba.conf", CHECK_HBA, "@H scram-sha-256" },
	{ "28", "", CHECK_SHELL, "walpush sql -c sidecar.conf | WALPUSH_PASSWORD='…' psql -d @D" },
	{ "3D", "", CHECK_WORDS, "correct the database's name in database.url" },
	{ "42501", "database", CHECK_SQL, "GRANT CONNECT ON DATABASE @D TO @R;" },
	{ "42501", "", CHECK_SQL, "ALTER ROLE @R REPLICATION;" },
	{ "53300", "for role \"", CHECK_SQL, "ALTER ROLE @R CONNECTION LIMIT -1;" },
	{ "53300", "for database \"", CHECK_SQL, "ALTER DATABASE @D CONNECTION LIMIT -1;" },
	{ "53300", "", CHECK_WORDS, "raise max_connections, or let the application pool its own" },
	{ "57P", "", CHECK_WORDS, "wait until the server takes connections" },
	{ "08P01", "", CHECK_WORDS, "connect to PostgreSQL itself: a pooler carries no replication" },
	{ "", RESOLVE_TROUBLE, CHECK_WORDS,
	  "correct the host in database.url, /etc/hosts, or the name servers in /etc/resolv.conf" },
	{ "", "", CHECK_WORDS, "start PostgreSQL there, or correct host and port in database.url" },
};

/* A line of pg_hba.conf without its method. The server's text names the client that it refused: … for host "10.0.0.7", user …. */
static void add_hba(struct buf *out, const char *role, const char *database, const char *text)
{
	const char *host = strstr(text, "host \"");
	size_t n = host ? strcspn(host + 6, "\"") : 0;

	if (!host || host[6] == '[')
		buf_addf(out, "local %s %s", database, role);
	else
		buf_addf(out, "host %s %s %.*s/%d", database, role, (int)n, host + 6,
			 memchr(host + 6, ':', n) ? 128 : 32);
}

static void add_fix(struct buf *out, const char *fix, const char *role, const char *database, const char *text)
{
	for (; *fix; fix++) {
		if (*fix != '@') {
			buf_add_char(out, *fix);
			continue;
		}
		fix++;
		if (*fix == 'R')
			buf_add_text(out, role);
		else if (*fix == 'D')
			buf_add_text(out, database);
		else
			add_hba(out, role, database, text);
	}
}

static void refused(struct check *c, const char *what, const struct fail *why)
{
	const struct refusal *r = refusals;
	struct buf fix = { 0 };

	while (strncmp(why->sqlstate, r->sqlstate, strlen(r->sqlstate)) != 0 || !strstr(why->text, r->word))
		r++;
	add_fix(&fix, r->fix, c->role ? c->role : "walpush", c->database ? c->database : "app", why->text);
	check_add(c, CHECK_FAILURE, r->kind, fix.data, "%s: %s", what, why->text);
	buf_fini(&fix);
}

static char *quoted(char *name)
{
	struct buf out = { 0 };

	if (!name)
		return NULL;
	sqltext_ident(&out, name);
	free(name);
	return buf_steal(&out);
}

void check_connection(struct check *c)
{
	struct fail why = { 0 };
	char *role, *database;

	if (!pgdial_identity(&c->conf->database, &role, &database, &why)) {
		check_add(c, CHECK_FAILURE, CHECK_WORDS,
			  "let database.url-file name a file that walpush may read, and that holds such a string", "%s",
			  why.text);
		return;
	}
	c->database = quoted(database ? database : role ? mem_text(role) : NULL);
	c->role = quoted(role);
	c->sql = pgdial_open(&c->conf->database, PGDIAL_SQL, &why);
	if (!c->sql) {
		refused(c, "cannot connect", &why);
		return;
	}
	PQclear(PQexec(c->sql, CHECK_OWN_NAMES));
	free(c->role);
	free(c->database);
	c->role = quoted(mem_text(PQuser(c->sql)));
	c->database = quoted(mem_text(PQdb(c->sql)));
	check_find_plugin(c);
	check_ok(c, "database %s as %s", c->database, c->role);
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

void check_replication(struct check *c)
{
	struct fail why = { 0 };
	PGconn *conn = pgdial_open(&c->conf->database, PGDIAL_REPLICATION, &why);
	PGresult *result;

	if (!conn) {
		refused(c, "cannot connect for replication", &why);
		return;
	}
	result = PQexec(conn, "IDENTIFY_SYSTEM");
	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		check_ok(c, "system %s, timeline %s", PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1));
	} else {
		pgdial_result_fail(result, &why);
		refused(c, "IDENTIFY_SYSTEM", &why);
	}
	PQclear(result);
	PQfinish(conn);
}
