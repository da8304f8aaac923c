/*
 * Is wal2json new enough? Before 2.5 it accepts `include-type-oids` and prints no type, so walpush can read no row. No function and no catalog tells its
 * version, so what it does is looked at, in a slot that nobody reads:
 *
 *   - it refuses an option of walpush's: it is older than 2.3.
 *   - it knows an option that came with 2.6.
 *   - the first row that waits in the slot has no type: it is older than 2.5.
 *
 * Without such a row the server's version decides: 2.4 cannot be compiled for PostgreSQL 15. A peek moves nothing. While walpush streams it says the
 * same of the first row (decode.h).
 */
#include <string.h>

#include "parts.h"
#include "walpush/base/buf.h"
#include "walpush/pg/pgdial.h"
#include "walpush/text/sqltext.h"

#define OPTIONS "'format-version', '2', 'include-types', 'false', 'include-type-oids', 'true'"
/* The peek ends before it decodes anything. */
#define AT_ONCE ", '0/1', 1, " OPTIONS
/* The peek ends with the first transaction that has a row. No message has this prefix. */
#define FIRST_ROW                                                                                                      \
	", NULL, 1, " OPTIONS                                                                                          \
	", 'include-transaction', 'false', 'actions', 'insert,update,delete', 'add-msg-prefixes', 'walpush.none'"
#define PATIENCE "2s"

/* `what` of the first record that has columns. */
static PGresult *peek(struct check *c, const char *what, const char *options)
{
	struct buf sql = { 0 };
	PGresult *result;

	buf_addf(&sql, "SELECT %s FROM pg_logical_slot_peek_changes(", what);
	sqltext_literal(&sql, c->conf->database.slot);
	buf_addf(&sql, "%s) WHERE strpos(data, '[{\"name\":') > 0 LIMIT 1", options);
	check_do(c, "SET statement_timeout = '" PATIENCE "'");
	result = PQexec(c->sql, sql.data);
	check_do(c, "RESET statement_timeout");
	buf_fini(&sql);
	return result;
}

static bool is_free(struct check *c)
{
	PGresult *result = check_ask(c,
				     "SELECT FROM pg_replication_slots WHERE slot_name = $1 AND plugin = 'wal2json'"
				     " AND database = current_database() AND wal_status <> 'lost' AND NOT active",
				     1, (const char *[]){ c->conf->database.slot });
	bool is = result && PQntuples(result) == 1;

	PQclear(result);
	return is;
}

/* True: the plugin itself refuses an option, or its value. */
static bool refuses(struct check *c, const char *options, struct fail *why)
{
	PGresult *result = peek(c, "1", options);
	bool ok = PQresultStatus(result) == PGRES_TUPLES_OK;

	if (!ok)
		pgdial_result_fail(result, why);
	PQclear(result);
	return !ok && (strcmp(why->sqlstate, "22023") == 0 || strcmp(why->sqlstate, "0A000") == 0);
}

enum typed { TYPED_UNKNOWN, TYPED_YES, TYPED_NO };

/* Text in a row has its quotes escaped, so it cannot look like a key. */
static enum typed first_row(struct check *c)
{
	PGresult *result = peek(c, "strpos(data, '\"typeoid\":') > 0", FIRST_ROW);
	enum typed typed = TYPED_UNKNOWN;

	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
		typed = PQgetvalue(result, 0, 0)[0] == 't' ? TYPED_YES : TYPED_NO;
	PQclear(result);
	return typed;
}

static void too_old(struct check *c, const char *because)
{
	struct buf fix = { 0 };

	buf_addf(&fix, "apt-get install postgresql-%d-wal2json", PQserverVersion(c->sql) / 10000);
	check_add(c, CHECK_FAILURE, CHECK_SHELL, fix.data,
		  "wal2json is older than 2.5, and walpush can read no row of it: %s", because);
	buf_fini(&fix);
}

static void say_unknown(struct check *c)
{
	if (PQserverVersion(c->sql) >= 150000)
		check_ok(c, "2.5 or later: this server has no older one");
	else
		check_ok(c, "seen with the first row: walpush run says it if wal2json is older than 2.5");
}

void check_wal2json(struct check *c)
{
	struct fail why = { 0 };

	if (check_is_pgoutput(c))
		check_ok(c, "the plugin comes with PostgreSQL");
	else if (!is_free(c))
		say_unknown(c);
	else if (refuses(c, AT_ONCE ", 'add-msg-prefixes', 'walpush'", &why))
		too_old(c, why.text);
	else if (why.sqlstate[0])
		say_unknown(c);
	else if (!refuses(c, AT_ONCE ", 'numeric-data-types-as-string', 'false'", &why) && !why.sqlstate[0])
		check_ok(c, "wal2json 2.6 or later");
	else
		switch (first_row(c)) {
		case TYPED_UNKNOWN:
			say_unknown(c);
			break;
		case TYPED_YES:
			check_ok(c, "wal2json 2.5 or later");
			break;
		case TYPED_NO:
			too_old(c, "it prints no typeoid");
			break;
		}
}
