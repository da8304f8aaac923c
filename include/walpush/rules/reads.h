/*
 * reads: what an admit query reads, as the server itself knows it, so that no table that decides permission has to be listed.
 *
 * A temporary view over the query, made and rolled back, depends in the server's catalog on each column, function and operator that the
 * query names; from there views and the policies of tables are followed. What has changes in the log becomes a membership: a table, and
 * the columns of it that count. What has none (a function that may read anything, a materialized, foreign or unlogged relation, the
 * server's own catalog) is not followed, and is told by name, with what can be seen to stand behind it: the tables of a materialized view, and
 * those whose names are words of a function's source.
 *
 * Pure: the statements are texts, the rows come from whoever asked. PostgreSQL 13 to 18.
 */
#ifndef WALPUSH_READS_H
#define WALPUSH_READS_H

#include "walpush/base/buf.h"
#include "walpush/base/fail.h"
#include "walpush/rules/rules.h"
#include "walpush/text/sqltext.h"

/* The statements of one query, to be sent one by one: READS_BEGIN, reads_view, READS_OWN_NAMES, reads_query, READS_END. The view needs a session that may write
 * temporary objects, which a standby's may not, nor a role without TEMP. */
/* The planner takes reads_query for far dearer than it is, and would compile it for seconds. */
#define READS_BEGIN "BEGIN READ WRITE; " READS_NO_JIT
#define READS_NO_JIT "SET LOCAL jit = off"
/* Names and operators of walpush's own are the server's, whoever may create others in the schemas of the query. */
#define READS_OWN_NAMES "SET LOCAL search_path = " SQLTEXT_OWN_PATH
/* Where the session has taken walpush's own names already: those of the query, for the view. */
#define READS_QUERY_NAMES "SET LOCAL search_path = " SQLTEXT_PATH
#define READS_END "ROLLBACK"

/* The temporary views by which a query's reads are found out: this prefix and a number. */
#define READS_VIEW "walpush_reads_"

/* CREATE TEMP VIEW walpush_reads_N over the query with NULL for each placeholder. It need not be granted anything, nor is
 * anything read. Without a semicolon at the end. */
void reads_view(struct buf *out, unsigned n, const struct rules_query *q);
/* Of all the session's SQLTEXT_VIEWs: READS_COLUMNS columns a row (what, schema, name, attname, text), each for reads_add. */
extern const char reads_query[];
#define READS_COLUMNS 5

struct reads_table {
	char *schema, *name;
	char **columns; /* that the query depends on; none: rows that come and go alone */
	size_t n_columns;
	bool whole; /* all its columns count */
};

struct reads_of {
	char *schema, *name; /* of a function without its arguments */
	char *text;
};

struct reads { /* of one query; zeroed: nothing yet */
	struct reads_table *tables;
	size_t n_tables;
	struct reads_of *unknown; /* text: "function public.may_read(integer)", for a person */
	size_t n_unknown;
	struct reads_of *behind; /* what an unknown reads, as far as that can be seen. text: the unknown's */
	size_t n_behind;
	struct reads_of *sources; /* of unknown functions. text: what it runs */
	size_t n_sources;
	struct buf
		strangers; /* "function public.f(integer) of role x, …": what is called and belongs to somebody who is not trusted */
	struct buf objects;    /* OIDs of all relations on the way, with commas */
	struct buf definition; /* the query as the server has read it: literals that it computed are gone */
	char *failed;          /* owned; NULL: known. Else why nothing is, and all the rest is empty */
	struct fail
		refused; /* what the server says to the query itself, so that nobody is admitted by it; text "": nothing */
	bool may_pass; /* what it failed for: a lock, a timeout, want of room. It is worth to ask again */
};

/* A row of reads_query. False: it is none, which only another version of the server could send. */
bool reads_add(struct reads *r, const char *const row[READS_COLUMNS], struct fail *why);
/* The server refused. What is known is forgotten. */
void reads_fail(struct reads *r, const struct fail *why);
/* The query itself was refused. What may pass, a lock or a timeout, says nothing of it. */
void reads_refuse(struct reads *r, const struct fail *why);
void reads_fini(struct reads *r);
/* An array of `n` of them, and the array. NULL is allowed. */
void reads_free(struct reads *all, size_t n);
/* All that they say: equal where nothing has changed. */
void reads_text(const struct reads *all, size_t n, struct buf *out);
/* A literal of oid[] with all their objects. */
void reads_objects(const struct reads *all, size_t n, struct buf *out);
/* One of them failed for what may pass. */
bool reads_may_pass(const struct reads *all, size_t n);

#endif
