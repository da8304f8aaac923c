/*
 * rules: the compiled configuration: which rows are pushed, who receives them, and what each message contains.
 *
 * There are two steps. rules_new compiles what the file alone decides (templates, paths, actions), and reports errors
 * with file and line, as conf does. rules_bind resolves column names against the catalog; a column that the table lacks
 * is an error with line, placeholder and the table's columns. Rules are immutable after binding; the tap binds a new
 * set when the catalog changes. Pure; hub threads may read paths and admit queries.
 *
 * A section whose `from` has a `*` in its schema, "tenant_*.orders", is a pattern. rules_bind makes a section of its own
 * for each table of the catalog that matches, because tenants may be migrated at different times. Which schemas exist
 * changes neither a digest nor an index of a query.
 */
#ifndef WALPUSH_RULES_H
#define WALPUSH_RULES_H

#include "walpush/rules/catalog.h"
#include "walpush/conf/conf.h"
#include "walpush/text/jsontmpl.h"
#include "walpush/text/path.h"
#include "walpush/text/tmpl.h"

/* A query of the configuration. `sql` has $1, $2, …; refs[i] of `source` says what is bound to $(i+1). */
struct rules_query {
	char *name; /* unique and stable, several words: the prepared statement's name, also used in messages ("admit of requests") */
	char *sql;
	struct tmpl source; /* its refs, in order, are the parameters */
	unsigned line;
	unsigned at; /* its index among the queries of the rules: see rules_query_at */
};

struct rules_stream {
	const struct conf_stream *conf;
	uint64_t identity; /* digest of all settings of the stream: while it is the same, a ticket stays valid */
	struct path_pattern *path;
	struct rules_query admit;
	struct tmpl *groups;
	size_t n_groups;
	struct jsontmpl hello;  /* n 0: the standard message */
	struct jsontmpl resync; /* the same */
	bool resync_closes;     /* close with 1012 instead of sending a resync */
	char *strangers;        /* what its admit query calls and an untrusted role owns; NULL: nothing known */
	char *asks_time; /* "now in function public.f": a function whose tables are listed uses the clock; NULL: none known */
	char *not_followed; /* see rules_reads: what its admit query reads and the WAL does not show; NULL: nothing known */
};

/*
 * The condition of `when`, or of an action. The texts are JSON-escaped as wal2json prints them, so that they can be
 * compared with a value's bytes as received. NULL: no such comparison.
 */
struct rules_condition {
	int column; /* -1: no condition */
	char *becomes;
	char *was;
	char *equals;
	bool changes;
};

struct rules_action {
	const struct conf_action *conf;
	char *name_json; /* JSON-escaped */
	struct rules_condition condition;
	int actor_column; /* -1: the section's */
};

struct rules_section { /* one entry of `tables`; of a pattern, one for each table that matches */
	const struct conf_table *conf;
	const char *label; /* its name; for a table that matches a pattern "orders:tenant_a": see rules_labelled */
	const struct catalog_table *table; /* set by rules_bind */
	struct tmpl *groups;               /* slot of {x} and {old.x}: the column */
	bool *group_uses_lookup;
	size_t n_groups;
	struct rules_query lookup; /* sql NULL: none */
	struct rules_query data;   /* its first value becomes `data`; sql NULL: none */
	bool data_is_query;        /* only the query makes `data`: without an answer there is none */
	struct rules_condition *when;
	size_t n_when;
	struct rules_action *actions;
	size_t n_actions;
	int *fields; /* columns */
	size_t n_fields;
	bool *shown;      /* of each column: may a message show it? */
	bool key_shown;   /* false: the section's own message withholds it, and so does the audit log */
	bool *quiet;      /* of each column: does its change alone cause no message? NULL: every change causes one */
	int actor_column; /* -1: none */
	bool asks_actor;  /* there is an actor query */
	int updated_at;   /* column of that name; -1: none */
	char *type_json;  /* JSON-escaped; for a section with a message but no type, its name: for bulk messages */
	char *key_json;   /* NULL: the section has its own message and no key */
	struct jsontmpl message; /* n 0: the standard message. Slots of {x} and {old.x} as in groups */
	bool message_uses_lookup, message_uses_actor;
};

struct rules_membership {
	const struct conf_membership *conf; /* NULL: no entry of the file names it, an admit query reads it */
	const struct catalog_table *table;
	int user;          /* column; -1: a change concerns every user */
	bool by_text;      /* equal users have equal texts in that column; false: a change asks again for every user */
	bool is_inherited; /* it comes from a parent of the table */
	bool any;          /* any column of an update counts; false: only `columns` */
	int *columns;
	size_t n_columns;
};

struct rules_table {                           /* one table of the replication stream */
	char *schema, *name;                   /* the schema of a pattern has a `*` */
	bool is_matched;                       /* nothing but patterns lists it */
	const struct catalog_table *catalog;   /* NULL until bound */
	struct rules_section *const *sections; /* in the file's order */
	size_t n_sections;
	struct rules_membership *const *memberships;
	size_t n_memberships;
	struct rules_read { /* by admit queries; see rules_reads */
		bool is_read;
		bool whole; /* all columns count */
		char **columns;
		size_t n_columns;
	} read;
};

struct reads;

struct rules;

/* `conf` must outlive the rules. Of several errors `why` says the first, and how many others there are. */
struct rules *rules_new(const struct conf *conf, struct fail *why);
/* Adds all errors. NULL: `all` has errors, even if only those of conf_load_all, which it may hold already. */
struct rules *rules_new_all(const struct conf *conf, struct fails *all);
/* Loads the file and compiles it. NULL: `all` has every error of both, and *out is NULL. `out` NULL: only the errors are wanted. */
struct conf *rules_load(const char *file, struct rules **out, struct fails *all);
void rules_free(struct rules *r);
/* Takes what the admit query of each stream reads, in the order of the streams. A table that is read becomes a
 * membership by itself, unless the file says `ignore` for it. Call it once, before anything is bound. */
void rules_reads(struct rules *r, const struct reads *reads);
/* Must not be called on rules in use; the catalog must outlive the binding. May be called again with another catalog. A
 * listed table that does not exist is an error; after an error, only rules_bind and rules_free may be called. */
bool rules_bind(struct rules *r, const struct catalog *catalog, struct fail *why);
/* The two steps of it, for `walpush check`, which reports the error of each table. The first one adds the tables that
 * match patterns; more than RULES_MATCHED_MOST are an error. */
bool rules_expand(struct rules *r, const struct catalog *catalog, struct fail *why);
bool rules_bind_table(struct rules *r, size_t at, const struct catalog *catalog, struct fail *why);
#define RULES_MATCHED_MOST 10000

/* The patterns of the file; each as a table whose sections are not bound. */
size_t rules_n_patterns(const struct rules *r);
const struct rules_table *rules_pattern(const struct rules *r, size_t i);
/* Does a pattern list the table? Never one of the server's own schemas. */
bool rules_matches(const struct rules *r, const char *schema, const char *table);
/* How many tables that match were left out by rules_bind, because they lack a column that the file names. *first: what the first
 * one lacks. If none that matches fits, rules_bind fails. */
size_t rules_unfit(const struct rules *r, const char **first);
/* Such a table; NULL: it is none. */
const struct catalog_table *rules_left_out(const struct rules *r, struct slice schema, struct slice table);
/* Have the tables that match been added? */
bool rules_is_expanded(const struct rules *r);
/* The parameter of CATALOG_MATCHES: a literal of text[] with each pattern. */
void rules_patterns_param(const struct rules *r, struct buf *out);

/* Calls `each` for every bound table of `after` that is in another schema than in `before`: the server's OID tells that it
 * is the same table. */
void rules_each_moved(const struct rules *before, const struct rules *after,
		      void (*each)(void *ctx, const struct rules_table *t), void *ctx);

size_t rules_n_tables(const struct rules *r);
const struct rules_table *rules_table(const struct rules *r, size_t i);
/* By the names that PostgreSQL knows. NULL: not listed, or the rules are not expanded. */
const struct rules_table *rules_listed(const struct rules *r, const char *schema, const char *table);
/* By the names that wal2json prints. NULL: not listed. Bound rules only. */
const struct rules_table *rules_find(const struct rules *r, struct slice schema, struct slice table);
/* For a partition or another child that is not listed itself: the nearest parent's table; NULL: it has none. `at`
 * counts several parents. */
const struct rules_table *rules_find_parent(const struct rules *r, struct slice schema, struct slice table, size_t at);
/* The table was made since the catalog was read, and may be a child, or matches a pattern: read the catalog again. */
bool rules_is_new(const struct rules *r, struct slice schema, struct slice table);
/* The pattern `at` of those that match the names of the replication stream; NULL: there is none. */
const struct rules_table *rules_pattern_of(const struct rules *r, struct slice schema, struct slice table, size_t at);
/* By the names that PostgreSQL knows. */
const struct rules_table *rules_pattern_at(const struct rules *r, struct slice schema, struct slice table, size_t at);
/* By the section's name in the file. NULL: there is none. */
const struct rules_section *rules_section(const struct rules *r, const char *name);
/* By the label of a section of any rules with the same digest; *schema: of the tables that are meant, NULL for any. It
 * points into the label. Which schemas exist does not matter, so replicas understand each other. */
const struct rules_section *rules_labelled(const struct rules *r, const char *label, const char **schema);
/* The label of a pattern's section for a schema. */
void rules_add_label(const struct rules_section *s, const char *schema, struct buf *out);
/* Memberships of the file, or found by rules_reads. */
bool rules_has_memberships(const struct rules *r);
size_t rules_n_streams(const struct rules *r);
const struct rules_stream *rules_stream(const struct rules *r, size_t i);
/* -1: no stream has this identity any more. */
int rules_stream_index(const struct rules *r, uint64_t identity);
/* The first stream whose path matches; -1: none. The path is already percent-decoded, as libwebsockets gives it. */
int rules_match_path(const struct rules *r, struct slice path, struct path_values *out);
/* NULL: the configuration has no actor query. All its parameters are {id}. */
const struct rules_query *rules_actor(const struct rules *r);
/* All queries of the configuration: first those of rows, which are the lookup and the data-query of each section, in the
 * file's order, and the actor query; then the admit queries, in the order of the streams. Rules of the same
 * configuration, bound or not, have the same queries at the same indexes; rules with the same rules_digest_feed have the
 * same queries of rows. */
size_t rules_n_queries(const struct rules *r);
/* How many of them are of rows. */
size_t rules_n_row_queries(const struct rules *r);
const struct rules_query *rules_query_at(const struct rules *r, size_t i);
/* The columns whose value before a change the rules need, each once; works for rules bound or not. Without these values
 * walpush does not know which groups a row has left or a deleted row was in, and an action that waits for a change
 * never matches. The caller owns the array; the names are borrowed. */
size_t rules_identity_columns(const struct rules_table *t, const char ***out);
/* For a column that `quiet` names although its change always causes a message: what reads it ("groups", an action's
 * name). NULL: the column is quiet, or not named. Bound sections only. */
const char *rules_loud(const struct rules_section *s, size_t column);
/* Do the section's messages show the column's value? Bound sections only. */
bool rules_sends(const struct rules_section *s, size_t column);
/* As rules_sends, and the column's name looks like a secret, and `columns` does not list it. */
bool rules_sends_secret(const struct rules_section *s, size_t column);
/* Appends the names of all columns for which rules_sends_secret is true, "otp, ssn"; returns how many. */
size_t rules_add_secrets(const struct rules_section *s, struct buf *out);
/* Does `columns` leave out this column of the primary key, although a standard message shows it? */
bool rules_key_unlisted(const struct rules_section *s, size_t column);
/* Is `exclude` enough to stop sending this column? For a column for which rules_sends_secret is true. */
bool rules_may_exclude(const struct rules_section *s, size_t column);
/* wal2json's add-tables: "public.requests,public.crates", escaped as wal2json needs it. A schema that has a table with
 * children is "public.*"; only bound rules know of children. A pattern is "*.orders", so that schemas made later come
 * too. */
void rules_add_tables(const struct rules *r, struct buf *out);
/* wal2json's filter-tables: the other tables that this would bring, as far as the catalog knows them. */
void rules_filter_tables(const struct rules *r, struct buf *out);
/* What these bound rules need, and a replication stream started with these lists does not bring: nothing; rows of
 * tables, or of their children, that only decide permission; rows that are pushed. */
enum rules_lack { RULES_LACK_NOTHING, RULES_LACK_DECIDING, RULES_LACK_ROWS };
enum rules_lack rules_lack(const struct rules *r, const char *add_tables, const char *filter_tables);
/* The first parameter of catalog_query: a literal of text[] with each listed table as "schema.table"; of expanded rules,
 * those that match too. */
void rules_catalog_param(const struct rules *r, struct buf *out);
/* The same for the tables that decide permission. */
void rules_deciding_param(const struct rules *r, struct buf *out);
/* Digest of the table rules, of the limits that fold messages, and of EVENT_NUMBERING and EVENT_ENTRY_FORMAT, for the
 * epoch. If it is equal, event ids are equal and the entries of the relay mean the same. */
uint32_t rules_digest(const struct rules *r);
/* rules_digest and everything else that decides what is made of the replication stream: listed tables and memberships.
 * Bound rules of equal digest can replace each other. */
uint32_t rules_digest_feed(const struct rules *r);

#endif
