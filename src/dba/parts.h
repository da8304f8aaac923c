/*
 * dba parts: what the files of `walpush check` share. No other layer includes it.
 *
 * A check is a row of the table in check_run.c: a name, the checks that must succeed before it, and either SQL whose rows are
 * findings, or a function. Single-threaded and synchronous: a command may wait. Nothing is changed in the database: a check
 * that must try something (a temporary slot, a temporary view) undoes it at once.
 *
 *   check_run.c      the table and its order
 *   check.c          the findings
 *   check_ask.c      asking the server
 *   check_sql.c      the checks that are one SQL query
 *   check_streams.c  who may hear too much, and which pages stay dark, by the file alone
 *   check_local.c    what needs no database: keys, certificate, file limit
 *   check_failover.c  what becomes of the slot if another server takes over
 *   check_connect.c  the connections, and what a refusal means
 *   check_plugin.c   which plugin, is it there, and may it be used
 *   check_publication.c  what a slot of pgoutput sends
 *   check_waiting.c  what waits in the slot, and what holds it
 *   check_membership.c  the tables that decide permission
 *   check_security.c row level security
 *   check_tables.c   tables, columns, replica identity
 *   check_patterns.c patterns of tables: a schema per tenant
 *   check_shown.c    what messages show
 *   check_queries.c  the queries of the configuration, their grants and plans
 *   check_reads.c    what queries of rows read, and whether its changes are told
 *   check_plan.c     what EXPLAIN says
 *   check_promise.c  do admit queries keep the promise of `user`
 *   check_tie.c      does a plan tie a table's rows to one user
 *   check_cond.c     which equalities hold if a condition is true
 *   check_exec.c     transactions for queries that are run
 *   check_runs.c     runs each query, with check_values.c, check_volatile.c and check_refused.c: see check_exec.h
 *   check_bound.c    with which columns a plan compares parameters
 *   check_sees.c     does the role see the rows that decide permission
 *   check_relay.c    Redis
 *   check_redis.c    what Redis says of itself
 *   check_wal2json.c is wal2json new enough
 *   check_slot.c     the slot's WAL, and where it is from
 *   check_server.c   what the connection shows: clock, certificate, version
 *   check_kin.c      partitions and children that are not listed
 */
#ifndef WALPUSH_DBA_PARTS_H
#define WALPUSH_DBA_PARTS_H

#include <libpq-fe.h>

#include "walpush/dba/check.h"
#include "walpush/rules/catalog.h"
#include "walpush/conf/conf.h"
#include "walpush/pg/pgdial.h"
#include "walpush/rules/rules.h"
#include "walpush/text/redisurl.h"
#include "walpush/text/sqltext.h"

enum check_state { CHECK_OK, CHECK_WARNING, CHECK_FAILURE, CHECK_SKIPPED, CHECK_STATES };

/* The kind of a fix, so that a person or a script knows where to apply it. */
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

/* Their names in the SQL of the checks and in JSON. */
extern const char *const check_states[CHECK_STATES], *const check_fixes[CHECK_FIXES];

struct check_finding {
	const char *check; /* the row's name */
	enum check_state state;
	char *text; /* one line */
	enum check_fix kind;
	char *fix;  /* one line; NULL with CHECK_NONE */
	bool stops; /* a certain leak: walpush admits nobody to the streams concerned until it is gone */
};

/* How many findings of one kind about tables of a pattern are told; the others are counted. */
#define CHECK_NAMED 3

struct check_fold { /* findings of the running check, in one state, about tables that match a pattern */
	enum check_state state;
	const struct rules_table *pattern;
	size_t n;
};

struct check {
	const struct conf *conf;
	struct rules *rules;
	enum check_where where;
	struct catalog *catalog;         /* NULL until read */
	struct reads *reads;             /* of each stream's admit query; NULL before check_membership */
	PGconn *sql;                     /* NULL: no connection */
	char *role, *database;           /* quoted for SQL if needed; NULL before check_connection */
	char *role_name, *database_name; /* the same as they are */
	char *host;                      /* as in the connection string; NULL: it names none */
	enum provider provider;          /* who manages the server; known before a connection only by its name */
	const char *plugin;  /* that the slot has, or will have; NULL before check_connection. See check_find_plugin */
	const char *running; /* the name of the row that runs */
	const struct rules_table *about; /* see check_about */
	struct check_fold *folds;
	size_t n_folds;
	struct check_finding *findings;
	size_t n_findings;
};

void check_add(struct check *c, enum check_state state, enum check_fix kind, const char *fix, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
/* The last finding stops admissions, as the rules do with the same facts, in each replica (rules_stream, tap_published). */
void check_stops(struct check *c);
/* The next findings are about this table; NULL: about none. With hundreds of tenants the first ones of a kind are told, and a
 * finding that was told already is not told again. */
void check_about(struct check *c, const struct rules_table *t);
/* Tells how many were left out of what the running check found. */
void check_unfold(struct check *c);
#define check_ok(c, ...) check_add((c), CHECK_OK, CHECK_NONE, NULL, __VA_ARGS__)

struct check_row {
	const char *name;
	const char *needs[4]; /* rows that must not have failed or been skipped */
	bool offline;         /* runs without a server; `needs` then names only such rows */
	bool alone;           /* does not run beside a walpush that serves, whose connections show the same */
	/* Some of its findings stop admissions: see check_stops. All others only report. */
	bool stops;
	void (*run)(struct check *c);
	/* Instead of `run`: a query for rows of state, text, kind of fix, fix, as text; perhaps also schema and name of the table
	 * that the finding is about. No rows: the finding is `fine`. Parameters,
	 * all of type text: $1 slot, $2 plugin, $3 replay.bytes, $4 the array of tables, $5 sessions, $6 publication,
	 * $7 database.warn-bytes. */
	const char *sql;
	const char *fine;
};

/* The queries of check itself find names and operators only in this path, so objects of other roles have no effect. The queries of the
 * configuration are checked under SQLTEXT_PATH. What is asked of the catalog is cheap to run and dear to compile. */
#define CHECK_OWN_NAMES "SET jit = off; SET search_path = " SQLTEXT_OWN_PATH
/* Runs a query on c->sql, with parameters of type text. NULL: it failed, and a finding says why. */
PGresult *check_ask(struct check *c, const char *sql, size_t n_values, const char *const *values);
/* Runs the query of `row`, and adds its rows as findings. */
void check_sql(struct check *c, const struct check_row *row);

extern const char check_sql_primary[], check_sql_encoding[], check_sql_wal_level[], check_sql_standby[],
	check_sql_slots[], check_sql_walsenders[], check_sql_slot[], check_sql_slot_kind[], check_sql_slot_database[],
	check_sql_slot_state[], check_sql_slot_reader[], check_sql_keep_size[], check_sql_prepared[],
	check_sql_superuser[], check_sql_connection_limit[], check_sql_server_connections[],
	check_sql_password_expiry[], check_sql_schemas[], check_sql_persistence[], check_sql_published_identity[];
extern const char check_sql_slot_wal[], check_sql_slot_idle[], check_sql_slot_left[], check_sql_database_limit[];
extern const char check_sql_failover[], check_sql_feedback[];

void check_configuration(struct check *c);
void check_origins(struct check *c);
void check_path_values(struct check *c);
void check_public(struct check *c);
void check_groups(struct check *c);
void check_secret_names(struct check *c);
void check_key(struct check *c);
void check_memory(struct check *c);
void check_certificate(struct check *c);
void check_file_limit(struct check *c);
void check_connection(struct check *c);
void check_version(struct check *c);
void check_ddl_decoding(struct check *c);
void check_server_clock(struct check *c);
void check_server_certificate(struct check *c);
/* Appends the command that runs what `walpush sql` prints. */
void check_add_script(const struct check *c, struct buf *out);
/* Adds the failure of a connection that could not be opened. */
void check_refused(struct check *c, enum pgdial_kind of, const char *what, const struct fail *why);
void check_role(struct check *c);
void check_replication(struct check *c);
/* Resolves database.plugin = "auto", once there is a connection: the slot's plugin if walpush knows it, else wal2json. */
void check_find_plugin(struct check *c);
bool check_is_pgoutput(const struct check *c);
void check_plugin(struct check *c);
void check_wal2json(struct check *c);
void check_publication(struct check *c);
void check_waiting(struct check *c);
void check_creators(struct check *c);
void check_membership(struct check *c);
void check_tables(struct check *c);
void check_partitions(struct check *c);
void check_siblings(struct check *c);
void check_foreign(struct check *c);
void check_identity(struct check *c);
void check_row_security(struct check *c);
void check_keys(struct check *c);
void check_secrets(struct check *c);
void check_quiet(struct check *c);
void check_queries(struct check *c);
void check_reads(struct check *c);
void check_patterns(struct check *c);
/* The query under check is prepared with this name. */
#define CHECK_STATEMENT "walpush_check"
/* Runs a statement without rows. False: it failed. */
bool check_do(struct check *c, const char *sql);
/* The generic plan of CHECK_STATEMENT, as JSON; all parameters are null. */
PGresult *check_explain(struct check *c, int n_params);
/* Runs `sql` while a temporary view over the query exists (reads_view), then rolls the view back. NULL, or no rows: there is no view. */
PGresult *check_view(struct check *c, const struct rules_query *q, const char *sql);
/* For an admit query that is prepared. */
void check_promises(struct check *c, const struct rules_query *q);
void check_runs(struct check *c);
void check_sees(struct check *c);
void check_relay(struct check *c);
/* `text` is the answer of INFO. False: a finding says why the relay cannot use this Redis. */
bool check_redis_info(struct check *c, const struct redisurl *u, const char *text);

#endif
