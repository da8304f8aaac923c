/*
 * publication: what a publication sends of the tables of the rules, and what of that the rules lack.
 *
 * A slot of pgoutput sends what the publication says: some tables, some operations, some columns, some rows. What it
 * leaves out is left out without a word, so it is compared with the rules before anything is streamed, and again when
 * its digest has changed.
 *
 * How it is used: run publication_query with the name of conf.database.publication and rules_catalog_param, give the
 * rows to publication_new, and call publication_compare with bound rules. Nothing is taken: the publication sends
 * enough. A lack says whether the table decides permission or is pushed, in one sentence, and with the statements that
 * fix it, or advice if no statement can. A lack with is_hint is worth a line of the log and no more, and so is one with
 * is_later: the schema was made after the publication, and nobody has heard of it yet. Pure.
 */
#ifndef WALPUSH_PUBLICATION_H
#define WALPUSH_PUBLICATION_H

#include <stdbool.h>
#include <stdint.h>

#include "walpush/base/fail.h"
#include "walpush/base/sqlrows.h"
#include "walpush/rules/rules.h"

/* Parameters: the publication's name, and an array of "schema.table" texts. All results are text. Reads only
 * pg_catalog, which needs no grant. It waits for no lock, except for that of a table with a row filter, while DDL holds
 * it: the server prints no expression without one. PostgreSQL 13 to 18. */
extern const char publication_query[];
#define PUBLICATION_COLUMNS 12

struct publication;

/* Copies the rows. NULL: they are not an answer of publication_query. */
struct publication *publication_new(const struct sqlrows *rows, struct fail *why);
/* NULL is allowed. */
void publication_free(struct publication *p);
bool publication_exists(const struct publication *p);
/* Of all that the query returned: also of the tables' children and of whether their replica identity is usable. */
uint32_t publication_digest(const struct publication *p);

/* Of the names under which rows come: the listed tables and their children, without partitions that are sent as another table. Where it is another one,
 * rows may have come under a name that was not known, or not have come. Tables that only match a pattern do not count: see publication_sends. */
uint32_t publication_names(const struct publication *p, const struct rules *r);
/* Does it send the table, under whatever name? */
bool publication_sends(const struct publication *p, const struct rules_table *t);
/* It is FOR ALL TABLES: it sends a table from its first row on. */
bool publication_has_all(const struct publication *p);

enum publication_kind {
	PUBLICATION_ABSENT,    /* there is no such publication; nothing else is compared */
	PUBLICATION_OPERATION, /* it does not publish insert, update, delete or truncate; one lack for each */
	PUBLICATION_ROOT,      /* it sends partitions under their own names, and their root is listed */
	PUBLICATION_TABLE,     /* it lacks the table, or children of it; or one of them is unlogged */
	PUBLICATION_AS_ROOT,   /* it sends the listed partition as its root, so nothing under the listed name */
	PUBLICATION_COLUMN,    /* its column list lacks columns that the rules use */
	PUBLICATION_FILTER,    /* it has a row filter */
	PUBLICATION_IDENTITY,  /* it sends a partition as its root, whose replica identity is another */
	PUBLICATION_GENERATED, /* the rules use a stored generated column, and it is not sent */
};

struct publication_lack {
	enum publication_kind kind;
	const struct rules_table *table; /* NULL: it concerns all tables */
	bool is_deciding;                /* the table, or one of all tables, decides permission */
	bool is_pushed;                  /* it has a section; it may be both */
	bool is_hint;                    /* messages lack a value that only `data` would show; no reason to refuse */
	bool is_later;                   /* nothing but a pattern lists the table, and it is not sent at all */
	const char *text;                /* one line, what is lacking and what follows from it */
	const char *mend;                /* one line: statements with semicolons, or what a person must decide */
	bool is_sql;                     /* `mend` is statements */
};

/* The lack and its texts are valid during the call. */
typedef void publication_take(void *ctx, const struct publication_lack *lack);
/* Returns how many lacks were taken that are neither hints nor is_later. The rules are bound; a table that is gone is left out. */
size_t publication_compare(const struct publication *p, const struct rules *r, publication_take *take, void *ctx);

#endif
