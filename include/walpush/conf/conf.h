/*
 * conf: sidecar.conf as the program uses it.
 *
 * Read with libconfig. Every option, also those of streams and tables, has one row in the option table (src/conf/conf_options.c): name, type,
 * range, default, reloadable, documentation. docs/configuration.md is generated from this table. An unknown key, an invalid value or an unset
 * ${VARIABLE} is an error with file and line. A loaded configuration is immutable, and threads may share it. The only I/O is the file of
 * conf_load and the key files that it names. File names are relative to the directory of the configuration, and resolved here.
 *
 * Templates are texts with their line here; src/rules/rules.c compiles them.
 */
#ifndef WALPUSH_CONF_H
#define WALPUSH_CONF_H

#include <stdint.h>

#include "walpush/base/buf.h"
#include "walpush/base/fail.h"
#include "walpush/base/fails.h"
#include "walpush/base/texts.h"

struct conf_database {
	char *url;
	char *url_file; /* read at each connect; either `url` or this is set */
	char *slot;
	char *plugin;              /* "auto": the slot's */
	char *publication;         /* of pgoutput; never empty */
	char *timezone;            /* of every session */
	int64_t connect_timeout;   /* ms */
	int64_t statement_timeout; /* ms */
	int64_t lock_timeout;      /* ms; less than statement_timeout */
	int64_t status_interval;   /* ms */
	int64_t admit_connections; /* at most, for admit queries; 1 to LANES_MOST */
	int64_t watch;             /* ms */
	int64_t warn_bytes;
	bool async_commits; /* others may see a commit before it is flushed, whatever the catalog says */
	bool skip;          /* skip a transaction that cannot be decoded */
};

struct conf_listen {
	char *address;
	int64_t port; /* 0: any free port, printed at start */
	struct texts origins;
	int64_t threads; /* 0: one per core, at most 4 */
	char *certificate;
	char *certificate_key;
	struct texts trusted_proxies;
	int64_t ping;    /* ms */
	int64_t max_age; /* ms; 0: off */
	bool compression;
};

struct conf_admin {
	char *address;
	int64_t port;
	struct texts hosts;     /* names that a request's Host may have */
	char *token;            /* for /explain; NULL: off */
	int64_t ready_bytes;    /* 0: no limit */
	int64_t ready_seconds;  /* in ms, as all durations */
	int64_t check_interval; /* 0: run does not check */
};

struct conf_jwt_key {
	char *kid; /* NULL: none */
	char *key; /* the secret, or PEM text */
	unsigned line;
};

struct conf_jwt {
	char *algorithm;
	unsigned line;             /* of the jwt group */
	struct conf_jwt_key *keys; /* key, key-file and keys together; at least one */
	size_t n_keys;
	char *user_claim;
	char *token_type; /* "" : not checked */
	char *issuer;     /* NULL: not checked */
	char *audience;
	int64_t leeway; /* ms */
};

struct conf_replay {
	int64_t seconds; /* in ms, as all durations */
	int64_t bytes;
};

struct conf_limits {
	int64_t connections;
	int64_t per_user;
	int64_t per_address;
	int64_t handshakes_per_second;
	int64_t handshake; /* ms */
	int64_t token_bytes;
	int64_t message_bytes;
	int64_t messages_per_second;
	int64_t admit_timeout; /* ms */
	int64_t answer;        /* ms */
	int64_t stall;         /* ms */
	int64_t drain;         /* ms */
	int64_t bulk;
	int64_t transaction_bytes;
	int64_t row_bytes;
	int64_t record_bytes;
	int64_t group_bytes;
	int64_t log_bytes;
};

struct conf_data {
	bool relations; /* a foreign key column loses its _id */
};

struct conf_log {
	char *level;  /* error, warn, info, debug */
	char *format; /* logfmt, json */
};

struct conf_relay {
	char *url; /* NULL: no relay */
	char *stream;
	int64_t wait; /* Redis replicas that must have an event before the slot is confirmed past it */
};

struct conf_stream {
	char *name;
	unsigned line;
	struct text path;
	struct text admit;
	struct texts groups;
	struct text hello;  /* JSON template; NULL: the standard one */
	struct text resync; /* JSON template or "close"; NULL: the standard one */
	int64_t recheck;    /* ms; 0: never */
	bool public;        /* its admit asks about no user on purpose: for `walpush check` alone */
};

struct conf_condition { /* of an action, or one of `when` */
	char *column;
	unsigned line;
	char *becomes; /* NULL: not checked; compared as text */
	char *was;
	char *equals; /* `when` only */
	bool changes;
};

struct conf_action {
	char *name;
	unsigned line;
	unsigned on;                     /* bit set of CONF_ON_*; default update */
	struct conf_condition condition; /* column NULL: none */
	char *actor;                     /* column; NULL: the table's */
	int64_t close;                   /* 0: none */
};

enum { CONF_ON_INSERT = 1, CONF_ON_UPDATE = 2, CONF_ON_DELETE = 4 };

struct conf_table {
	char *name; /* of the section */
	unsigned line;
	struct text from; /* "schema.table" or "table" (schema public); always set */
	struct text type; /* "request" */
	struct text key;  /* "request_id" */
	struct texts groups;
	struct texts fields;
	struct texts columns;
	struct texts exclude;
	struct texts quiet;        /* columns whose changes alone make no message */
	struct texts reads_ignore; /* tables of its queries whose changes need not be told: for `walpush check` alone */
	struct text lookup;
	struct text data_query;
	struct text actor; /* column */
	struct text message;
	struct conf_condition *when; /* all must hold */
	size_t n_when;
	struct conf_action *actions; /* in the file's order */
	size_t n_actions;
	bool only_actions; /* a change that no action matches makes no message */
	int64_t close;
};

struct conf_membership {
	char *table; /* "schema.table" or "table" */
	unsigned line;
	char *user;           /* column; NULL: a row concerns every user */
	struct texts columns; /* empty: the columns that an admit query reads, or all if none reads the table */
	bool ignore;          /* no change of the table changes the answer of an admit query */
};

struct conf {
	char *file;
	char *text; /* of the file, as it was read */
	struct conf_database database;
	struct conf_listen listen;
	struct conf_admin admin;
	struct conf_jwt jwt;
	struct conf_replay replay;
	struct conf_limits limits;
	struct conf_data data;
	struct conf_log log;
	char *audit_file; /* NULL: off */
	struct conf_relay relay;
	struct conf_stream *streams;
	size_t n_streams;
	struct conf_table *tables;
	size_t n_tables;
	struct text actor_query; /* text NULL: updated_by is always null */
	struct texts actor_reads_ignore;
	struct conf_membership *memberships;
	size_t n_memberships;
};

/* NULL on failure; `why` is then "sidecar.conf:12: …", with line 0 if the file cannot be read. Of several errors it says the first, and how many
 * others there are. */
struct conf *conf_load(const char *file, struct fail *why);
/* The same from memory, for tests and fuzzing. Messages contain `name`. */
struct conf *conf_parse(const char *name, struct slice text, struct fail *why);
/*
 * Adds every error of the file to `all`. NULL: it cannot be read, or has an error of syntax, which is the only one then. Else the result exists
 * with errors too, so that rules_load finds the errors of the rules; whoever uses it looks at `all` first. A value with an error is as if it
 * were not set, even a required one, but a `struct text` keeps its line.
 */
struct conf *conf_load_all(const char *file, struct fails *all);
struct conf *conf_parse_all(const char *name, struct slice text, struct fails *all);
void conf_free(struct conf *c);

/* Connections to PostgreSQL, at most: one streams, one sees which commits are visible, one is for lookups and one is its spare, one watches for DDL,
 * one finds out for a moment what queries read, one is for the checks, for a moment too; those for admissions; and one for /explain, if it is on. */
#define CONF_SESSIONS_BESIDE 7
static inline int64_t conf_sessions(const struct conf *c)
{
	return CONF_SESSIONS_BESIDE + c->database.admit_connections + (c->admin.token != NULL);
}
/* Called before `next` replaces `now`. Options that only a restart can change keep the value of `now`. The names of those that differ are added to
 * `changed`. */
void conf_keep(const struct conf *now, struct conf *next, struct buf *changed);
/* docs/configuration.md, from the option table. */
void conf_document(struct buf *out);

#endif
