/*
 * rules: the configuration compiled: who hears of which row, and as what.
 *
 * Two steps. rules_new compiles what the file alone decides (templates, paths, actions) and reports errors with their
 * file and line, as conf does. rules_bind resolves column names against the catalog; a column that the table lacks is
 * an error with line, placeholder and the table's columns. Immutable after binding; the tap binds a new set when the
 * catalog changes. Pure; paths and admit queries may be read by hub threads.
 */
#ifndef WALPUSH_RULES_H
#define WALPUSH_RULES_H

#include "walpush/rules/catalog.h"
#include "walpush/conf/conf.h"
#include "walpush/text/jsontmpl.h"
#include "walpush/text/path.h"
#include "walpush/text/tmpl.h"

/* A query of the configuration. `sql` has $1, $2, …; refs[i] says what is bound to $(i+1). */
struct rules_query {
	char *name; /* unique and stable: names the prepared statement, and stands in messages ("admit of requests") */
	char *sql;
	struct tmpl source; /* its refs, in order, are the parameters */
	unsigned line;
};

struct rules_stream {
	const struct conf_stream *conf;
	uint64_t identity; /* of all that the section says: where it is the same, a ticket stays good */
	struct path_pattern *path;
	struct rules_query admit;
	struct tmpl *groups;
	size_t n_groups;
	struct jsontmpl hello;  /* n 0: the standard message */
	struct jsontmpl resync; /* the same */
	bool resync_closes;     /* with 1012, in place of it */
	char *strangers; /* what its admit query calls and belongs to somebody who is not trusted; NULL: nothing is known of */
	char *asks_time; /* "now in function public.f": what a function whose tables are listed does; NULL: nothing is known of */
	char *not_followed; /* see rules_reads: what its admit query reads and the log does not tell of; NULL: nothing is known of */
};

/*
 * Whether a row is in `when`, or what an action waits for. The texts are held JSON-escaped as wal2json prints them,
 * so that they are compared with a value's bytes as received. NULL: not asked.
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

struct rules_section { /* one entry of `tables` */
	const struct conf_table *conf;
	const struct catalog_table *table; /* set by rules_bind */
	struct tmpl *groups;               /* slot of {x} and {old.x}: the column */
	bool *group_uses_lookup;
	size_t n_groups;
	struct rules_query lookup; /* sql NULL: none */
	struct rules_query data;   /* its first value becomes `data`; sql NULL: none */
	bool data_is_query;        /* and nothing else does: without an answer there is no data */
	struct rules_condition *when;
	size_t n_when;
	struct rules_action *actions;
	size_t n_actions;
	int *fields; /* columns */
	size_t n_fields;
	bool *shown;      /* of each column: may a message show it? */
	bool key_shown;   /* false: a message of the section's own withholds it, and the audit log does too */
	bool *quiet;      /* of each column: is its change alone worth no message? NULL: each is worth one */
	int actor_column; /* -1: none */
	bool asks_actor;  /* there is an actor query */
	int updated_at;   /* column of that name; -1: none */
	char *type_json;  /* JSON-escaped; of a section with a message but no type, its name: for bulk messages */
	char *key_json;   /* NULL with a message of its own and no key */
	struct jsontmpl message; /* n 0: the standard message. Slots of {x} and {old.x} as in groups */
	bool message_uses_lookup;
};

struct rules_membership {
	const struct conf_membership *conf; /* NULL: no section names it, an admit query reads it */
	const struct catalog_table *table;
	int user;          /* column; -1: everybody */
	bool by_text;      /* users are equal where the texts of that column are; else a change asks everybody */
	bool is_inherited; /* of a parent of the table */
	bool any;          /* any column of an update counts; else these */
	int *columns;
	size_t n_columns;
};

struct rules_table { /* one table of the stream of changes */
	char *schema, *name;
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

/* `conf` must outlive the rules. */
struct rules *rules_new(const struct conf *conf, struct fail *why);
void rules_free(struct rules *r);
/* What the admit query of each stream reads, in their order: a table becomes a membership by itself, unless its section says `ignore`.
 * Once, before anything is bound. */
void rules_reads(struct rules *r, const struct reads *reads);
/* Must not be called on rules in use; the catalog must outlive the binding. May be called again, with another
 * catalog. A listed table that does not exist is an error; after an error the rules are good for nothing but
 * another try, or rules_free. */
bool rules_bind(struct rules *r, const struct catalog *catalog, struct fail *why);
/* One table of them: for `walpush check`, which says what is wrong with each. */
bool rules_bind_table(struct rules *r, size_t at, const struct catalog *catalog, struct fail *why);

size_t rules_n_tables(const struct rules *r);
const struct rules_table *rules_table(const struct rules *r, size_t i);
/* By the names wal2json prints. NULL: not listed. Bound rules only. */
const struct rules_table *rules_find(const struct rules *r, struct slice schema, struct slice table);
/* Of a partition or another child that is not listed itself, the nearest parent's; NULL: it is none's. Of several, one after
 * the other. */
const struct rules_table *rules_find_parent(const struct rules *r, struct slice schema, struct slice table, size_t at);
/* A table that was made since the catalog was read, and may be a child: read it again. */
bool rules_is_new(const struct rules *r, struct slice schema, struct slice table);
/* By the section's name in the file. NULL: there is none. */
const struct rules_section *rules_section(const struct rules *r, const char *name);
/* Of the file, or found. */
bool rules_has_memberships(const struct rules *r);
size_t rules_n_streams(const struct rules *r);
const struct rules_stream *rules_stream(const struct rules *r, size_t i);
/* -1: there is no stream with this identity any more. */
int rules_stream_index(const struct rules *r, uint64_t identity);
/* The first whose path matches; -1: none. The path is percent-decoded already, as libwebsockets gives it. */
int rules_match_path(const struct rules *r, struct slice path, struct path_values *out);
/* NULL when the configuration has no actor query. Its parameters all are {id}. */
const struct rules_query *rules_actor(const struct rules *r);
/* The columns of which the rules need the value before a change, each once; bound or not. Without them groups left and
 * deleted rows cannot be told to the right people, and an action that waits for a change never matches. The array is the
 * caller's, the names are borrowed. */
size_t rules_identity_columns(const struct rules_table *t, const char ***out);
/* Of a column that `quiet` names although its change is always told: what reads it ("groups", an action's name). NULL: it is
 * quiet, or not named. Bound sections only. */
const char *rules_loud(const struct rules_section *s, size_t column);
/* Do the section's messages show the column's value? Bound sections only. */
bool rules_sends(const struct rules_section *s, size_t column);
/* The same, and the column looks like a secret by its name, and `columns` does not say that it is meant. */
bool rules_sends_secret(const struct rules_section *s, size_t column);
/* Appends the names of all of them, "otp, ssn"; returns how many. */
size_t rules_add_secrets(const struct rules_section *s, struct buf *out);
/* Does `columns` leave out this column of the primary key, which a standard message shows all the same? */
bool rules_key_unlisted(const struct rules_section *s, size_t column);
/* Is `exclude` enough to keep it from being sent? Of a column that rules_sends_secret names. */
bool rules_may_exclude(const struct rules_section *s, size_t column);
/* wal2json's add-tables: "public.requests,public.crates", escaped as it wants; "public.*" for the schema of a table with children, which only
 * bound rules know of. */
void rules_add_tables(const struct rules *r, struct buf *out);
/* Its filter-tables: the others in such schemas, as far as the catalog knows them. */
void rules_filter_tables(const struct rules *r, struct buf *out);
/* What a stream that was asked for with such lists does not bring of what these bound rules need: nothing; rows of tables, or of their
 * children, that only decide permission; rows that are pushed. */
enum rules_lack { RULES_LACK_NOTHING, RULES_LACK_DECIDING, RULES_LACK_ROWS };
enum rules_lack rules_lack(const struct rules *r, const char *add_tables, const char *filter_tables);
/* The parameter of catalog_query: a literal of text[] with each listed table as "schema.table". */
void rules_catalog_param(const struct rules *r, struct buf *out);
/* The same of those that decide permission. */
void rules_deciding_param(const struct rules *r, struct buf *out);
/* Digest of the table rules, of the limits that fold messages, and of EVENT_NUMBERING and EVENT_ENTRY_FORMAT, for the epoch:
 * where it is equal, event ids are, and the entries of the relay mean the same. */
uint32_t rules_digest(const struct rules *r);
/* That, and all else that decides what is made of the stream of changes: tables listed, memberships. Bound rules of equal digest
 * are as good as each other. */
uint32_t rules_digest_feed(const struct rules *r);

#endif
