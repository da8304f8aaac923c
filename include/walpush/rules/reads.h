/*
 * reads: what an admit query reads, as the server itself knows it. So nobody has to list the tables that decide
 * permission.
 *
 * A temporary view over the query is made and rolled back. In the server's catalog this view depends on each column,
 * function and operator that the query names. From there the views and the policies of tables are followed. A table
 * whose changes are in the log becomes a membership: the table, and its columns that count. An object without changes
 * in the log (a function that may read anything, a materialized, foreign or unlogged relation, the server's own
 * catalog) is not followed. It is reported by name, with what can be seen behind it: the tables of a materialized view,
 * and the tables whose names are words of a function's source.
 *
 * Pure: the statements are texts, and the caller brings the rows. PostgreSQL 13 to 18.
 */
#ifndef WALPUSH_READS_H
#define WALPUSH_READS_H

#include "walpush/base/buf.h"
#include "walpush/base/fail.h"
#include "walpush/rules/rules.h"
#include "walpush/text/sqltext.h"

/* The statements of one query, sent one by one: READS_BEGIN, reads_view, READS_OWN_NAMES, reads_query, READS_END. The
 * view needs a session that may write temporary objects: a standby's session may not, and neither may a role without
 * TEMP. */
/* The planner estimates far too many rows for reads_query: JIT would compile it for seconds, and the memory of hash tables for so many rows
 * would take longer to clear than all the rest. */
#define READS_BEGIN                                                                                                    \
	"BEGIN READ WRITE; SET LOCAL jit = off; SET LOCAL work_mem = '1MB'; SET LOCAL hash_mem_multiplier = 1"
/* Names and operators of walpush's own statements are the server's, even if somebody creates others in the schemas of
 * the query. */
#define READS_OWN_NAMES "SET LOCAL search_path = " SQLTEXT_OWN_PATH
/* For a session that has READS_OWN_NAMES in force already: the names of the query again, for the view. */
#define READS_QUERY_NAMES "SET LOCAL search_path = " SQLTEXT_PATH
#define READS_END "ROLLBACK"

/* The name of a temporary view that shows a query's reads: this prefix and a number. */
#define READS_VIEW "walpush_reads_"

/* CREATE TEMP VIEW walpush_reads_N over the query, with NULL for each placeholder. It needs no grant on what the query
 * reads, and it reads nothing. No semicolon at the end. */
void reads_view(struct buf *out, unsigned n, const struct rules_query *q);
/* For all READS_VIEWs of the session: READS_COLUMNS columns a row (what, schema, name, attname, text), each row for
 * reads_add. */
extern const char reads_query[];
#define READS_COLUMNS 5

struct reads_table {
	char *schema, *name;
	char **columns; /* the columns that the query depends on; none: only inserts and deletes count */
	size_t n_columns;
	bool whole; /* all its columns count */
};

struct reads_of {
	char *schema, *name; /* a function's name is without its arguments */
	char *text;
};

struct reads { /* of one query; zeroed: nothing yet */
	struct reads_table *tables;
	size_t n_tables;
	struct reads_of *unknown; /* text: "function public.may_read(integer)", for a person */
	size_t n_unknown;
	struct reads_of *behind; /* what an unknown reads, as far as that can be seen. text: the text of the unknown */
	size_t n_behind;
	struct reads_of *sources; /* of unknown functions. text: the source that it runs */
	size_t n_sources;
	struct buf strangers; /* "function public.f(integer) of role x, …": called objects whose owner is not trusted */
	struct buf objects;   /* OIDs of all relations on the way, separated by commas */
	struct buf definition; /* the query as the server has read it: literals that the server computed are gone */
	char *failed;          /* owned; why nothing is known: the rest is empty then. NULL: the reads are known */
	struct fail refused;   /* the server's error about the query itself: it can admit nobody; text "": none */
	bool may_pass;         /* it failed for a lock, a timeout or lack of room: try again later */
};

/* Adds a row of reads_query. False: the row is of no known kind, which only another version of the server could
 * send. */
bool reads_add(struct reads *r, const char *const row[READS_COLUMNS], struct fail *why);
/* The server refused. Everything known so far is forgotten. */
void reads_fail(struct reads *r, const struct fail *why);
/* The server refused the query itself. An error that may pass (a lock, a timeout) says nothing about the query and is
 * not stored. */
void reads_refuse(struct reads *r, const struct fail *why);
void reads_fini(struct reads *r);
/* Frees an array of `n` reads and its elements. NULL is allowed. */
void reads_free(struct reads *all, size_t n);
/* Everything that they say, as a text: equal if nothing has changed. */
void reads_text(const struct reads *all, size_t n, struct buf *out);
/* A literal of oid[] with all their objects. */
void reads_objects(const struct reads *all, size_t n, struct buf *out);
/* One of them failed for a reason that may pass. */
bool reads_may_pass(const struct reads *all, size_t n);

#endif
