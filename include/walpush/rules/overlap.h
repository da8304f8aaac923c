/*
 * overlap: which queries of the configuration read a common table.
 *
 * If a query fails because a table is locked, or because its server process died, other queries that read this table
 * are likely to fail too. So the caller must know the tables of every query: of admit queries, lookups, data-queries
 * and the actor query.
 *
 * An overlap decides nothing about permission. It only saves waiting: if it knows a table too few, a query finds out by
 * itself that it waits; if it knows one too many, rows do not ask for a moment although they could. So it is simpler
 * than `reads`: columns do not count, and neither do system catalogs, the checks of domains, and what a function reads
 * by a name that it puts together. Partitions and other children count as read if their parent is, because a query on
 * the parent waits for the lock on a child.
 *
 * How the server is asked: all queries become temporary views (reads_view) in one transaction, which is rolled back. A
 * savepoint before each view keeps the views before it if the server refuses this one. Then one query over the catalog
 * gives the tables of all views.
 *
 * Queries are named by their index, see rules_query_at. Pure: the caller sends the statements and brings the rows.
 * PostgreSQL 13 to 18.
 */
#ifndef WALPUSH_OVERLAP_H
#define WALPUSH_OVERLAP_H

#include "walpush/base/buf.h"
#include "walpush/base/fail.h"
#include "walpush/rules/rules.h"

struct overlap;

/* Do both read a common table? A query overlaps with itself, and with one of the same text. If the tables of one of
 * them are unknown, or `o` is NULL because nobody has asked yet, it overlaps with nothing else. */
bool overlap_shares(const struct overlap *o, size_t a, size_t b);
/* Does the query read this table, as far as is known? `o` may be NULL. */
bool overlap_reads(const struct overlap *o, size_t query, const char *schema, const char *table);
/* The name of a table that both read, "public.users"; the same index twice: a table that the query reads. A parent
 * comes before its partitions. NULL: none is known. Borrowed from `o`. */
const char *overlap_table(const struct overlap *o, size_t a, size_t b);
/* Appends the tables of a query, "public.users, public.roles, and 3 more". */
void overlap_add_tables(const struct overlap *o, size_t query, struct buf *out);
/* Why the tables of the query are unknown. NULL: they are known. */
const char *overlap_unknown(const struct overlap *o, size_t query);
/* The tables of a query are unknown for a reason that may pass: ask again later. */
bool overlap_may_pass(const struct overlap *o);

/* All queries of these rules, as if they read no table. */
struct overlap *overlap_new(const struct rules *rules);
/* NULL is allowed. */
void overlap_free(struct overlap *o);
/* Adds a row of overlap_query: a table, and the indexes of the queries that read it, separated by blanks. False: the
 * row is unexpected. */
#define OVERLAP_COLUMNS 2
bool overlap_add(struct overlap *o, const char *const row[OVERLAP_COLUMNS], struct fail *why);
/* The server refused: the tables of this query are unknown. The first reason counts. */
void overlap_fail(struct overlap *o, size_t query, const struct fail *why);
/* A newer answer about the same rules takes the place of `before`, which may be NULL. But `before` stays if the newer
 * one knows fewer queries for a reason that may pass. Returns the one that counts, and frees the other. */
struct overlap *overlap_update(struct overlap *before, struct overlap *now);

/* --- asking the server --- */
/* A query that waits for a lock holds its locks on the tables of the views before it. So it waits less than the
 * server's deadlock_timeout (1 s): a migration must not fail because of it. In all it waits at most so long times the
 * number of queries. */
#define OVERLAP_LOCK_TIMEOUT "50ms"

/* For the views of all queries; the view of query 3 is walpush_reads_3. */
extern const char overlap_query[];

/* The conversation, one statement after the other. `rules` must outlive it. */
struct overlap_reading;

struct overlap_reading *overlap_begin(const struct rules *rules);
/* The statement to send. NULL: there is no more. Borrowed until the next call of overlap_answered. */
const char *overlap_statement(const struct overlap_reading *r);
/* A row of the answer to the statement. */
void overlap_row(struct overlap_reading *r, const char *const row[OVERLAP_COLUMNS]);
/* The server has executed the statement (NULL), or refused it. */
void overlap_answered(struct overlap_reading *r, const struct fail *why);
/* What is known so far; the caller owns it. Frees the reading. NULL is allowed. */
struct overlap *overlap_end(struct overlap_reading *r);

#endif
