/*
 * dba parts: what the files of `walpush check` share. Nobody else includes it.
 *
 * A check is a row of the table in check_run.c: a name, what must be well before it makes sense, and either SQL whose rows are
 * findings, or a function. Single-threaded and synchronous: a command may wait. Nothing is changed in the database: what
 * must be tried by doing it (a temporary slot, a temporary view) is undone at once.
 *
 *   check_run.c      the table and its order
 *   check.c          the findings
 *   check_ask.c      asking the server
 *   check_sql.c      the checks that are one SQL query
 *   check_local.c    what needs no database: keys, certificate, file limit
 *   check_connect.c  the connections, and what a refused one means
 *   check_plugin.c   is wal2json there
 *   check_membership.c  the tables that decide permission
 *   check_security.c row level security
 *   check_tables.c   tables, columns, replica identity
 *   check_shown.c    what messages show
 *   check_queries.c  the queries of the configuration, their grants and plans
 *   check_plan.c     what EXPLAIN says
 *   check_promise.c  do admit queries keep the promise of `user`
 *   check_tie.c      does a plan tie a table's rows to one user
 *   check_cond.c     which equalities hold where a condition is met
 *   check_relay.c    Redis
 */
#ifndef WALPUSH_DBA_PARTS_H
#define WALPUSH_DBA_PARTS_H

#include <libpq-fe.h>

#include "walpush/rules/catalog.h"
#include "walpush/conf/conf.h"
#include "walpush/pg/pgdial.h"
#include "walpush/rules/rules.h"
#include "walpush/text/sqltext.h"

enum check_state { CHECK_OK, CHECK_WARNING, CHECK_FAILURE, CHECK_SKIPPED, CHECK_STATES };

/* What a fix is, so that a person or a script knows where it goes. */
enum check_fix {
	CHECK_NONE,
	CHECK_SQL,     /* statements, as superuser, in this database */
	CHECK_RESTART, /* statements, then a restart of PostgreSQL */
	CHECK_HBA,     /* the first line of pg_hba.conf, then a reload */
	CHECK_CONF,    /* a setting of sidecar.conf: database.slot = "x" */
	CHECK_SHELL,   /* a command */
	CHECK_WORDS,   /* a decision that a person must take */
	CHECK_FIXES
};

/* The words for them, in SQL of the checks and in JSON. */
extern const char *const check_states[CHECK_STATES], *const check_fixes[CHECK_FIXES];

struct check_finding {
	const char *check; /* the row's name */
	enum check_state state;
	char *text; /* one line */
	enum check_fix kind;
	char *fix; /* one line; NULL with CHECK_NONE */
};

struct check {
	const struct conf *conf;
	struct rules *rules;
	bool offline;            /* no connection is opened */
	struct catalog *catalog; /* NULL until read */
	PGconn *sql;             /* NULL: no connection */
	char *role, *database;   /* quoted for SQL where they need it; known once connected */
	const char *running;     /* the row at work */
	struct check_finding *findings;
	size_t n_findings;
};

void check_add(struct check *c, enum check_state state, enum check_fix kind, const char *fix, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
#define check_ok(c, ...) check_add((c), CHECK_OK, CHECK_NONE, NULL, __VA_ARGS__)

struct check_row {
	const char *name;
	const char *needs[4]; /* rows that must not have failed or been skipped */
	bool offline;         /* can be judged without a server; such a row needs none that cannot */
	void (*run)(struct check *c);
	/* Instead of a function: rows of state, text, kind of fix, fix, as words. None: `fine` is said. Parameters, all of
	 * them text: $1 slot, $2 plugin, $3 replay.bytes, $4 the array of tables. */
	const char *sql;
	const char *fine;
};

/* What check itself asks finds its names and operators there alone, whoever may create others. The queries of the configuration are looked
 * at under SQLTEXT_PATH. */
#define CHECK_OWN_NAMES "SET search_path = " SQLTEXT_OWN_PATH
/* A query on c->sql with the parameters of the rows; NULL after saying what failed. */
PGresult *check_ask(struct check *c, const char *sql, size_t n_values, const char *const *values);
/* The rows of a check_row's query. */
void check_sql(struct check *c, const struct check_row *row);

extern const char check_sql_primary[], check_sql_encoding[], check_sql_wal_level[], check_sql_standby[],
	check_sql_slots[], check_sql_walsenders[], check_sql_slot[], check_sql_slot_kind[], check_sql_slot_database[],
	check_sql_slot_state[], check_sql_slot_reader[], check_sql_keep_size[], check_sql_replication_role[],
	check_sql_superuser[], check_sql_connection_limit[], check_sql_password_expiry[], check_sql_schemas[],
	check_sql_persistence[];

void check_configuration(struct check *c);
void check_origins(struct check *c);
void check_key(struct check *c);
void check_memory(struct check *c);
void check_certificate(struct check *c);
void check_file_limit(struct check *c);
void check_connection(struct check *c);
void check_version(struct check *c);
void check_replication(struct check *c);
void check_plugin(struct check *c);
void check_creators(struct check *c);
void check_membership(struct check *c);
void check_tables(struct check *c);
void check_partitions(struct check *c);
void check_identity(struct check *c);
void check_row_security(struct check *c);
void check_keys(struct check *c);
void check_secrets(struct check *c);
void check_quiet(struct check *c);
void check_queries(struct check *c);
/* The query that is looked at is prepared under this name. */
#define CHECK_STATEMENT "walpush_check"
/* A statement without rows. False: it failed. */
bool check_do(struct check *c, const char *sql);
/* The generic plan of what is prepared, as JSON; its parameters are null. */
PGresult *check_explain(struct check *c, int n_params);
/* What `sql` tells of a temporary view over the query (sqltext.h), which is taken back; NULL, or no rows: there is none. */
PGresult *check_view(struct check *c, const struct rules_query *q, const char *sql);
/* Of an admit query that is prepared. */
void check_promises(struct check *c, const struct rules_query *q);
void check_relay(struct check *c);

#endif
