/*
 * explain: why does this user receive nothing there, and who would receive this row?
 *
 * The steps of an admission, and of the routing of a row, made once more and written down: each step that could say no is named, with the reason and
 * what to do. Values of rows are never shown: only the caller's own words, names, numbers, and groups.
 *
 * Pure: it says which SQL to run, one query after the other, and is given the answers. So a running process asks them on its loop, and the command
 * by itself asks them and waits. The queries of the configuration are run as they are, with the values that admission and routing would bind.
 */
#ifndef WALPUSH_EXPLAIN_H
#define WALPUSH_EXPLAIN_H

#include "walpush/base/sqlrows.h"
#include "walpush/explain/explain_question.h"
#include "walpush/rules/group_name.h"
#include "walpush/rules/groups.h"

struct explain;

struct explain_present { /* what is in force; borrowed until explain_free */
	const struct conf *conf;
	const struct rules *plain;
	const struct rules *bound; /* NULL: not known yet, for a row */
	const char *withheld;      /* why nobody is admitted at present; NULL: somebody may be */
	int64_t connections;       /* that the user has already */
};

struct explain_sql {      /* borrowed until the answer */
	const char *name; /* in the server's log */
	const char *sql;
	size_t n_values;
	const char *const *values; /* NULL is SQL NULL */
};

/* Of a user, or of a row. The question must outlive it. */
struct explain *explain_new(const struct explain_present *now, const struct explain_question *q);
void explain_free(struct explain *e);
/* The query to run; NULL: everything is known. */
const struct explain_sql *explain_next(const struct explain *e);
/* Its answer. Takes over `rows`; NULL: `why` has SQLSTATE and text. */
void explain_answer(struct explain *e, struct sqlrows *rows, const struct fail *why);
/* The groups that were found, by their names inside. */
const struct groups *explain_groups(const struct explain *e);
/* Of a row: is the message of this section and key, as the audit log has it, about it? */
bool explain_is_about(const struct explain *e, const char *section, const char *key);
/* A new object, once everything is known; docs/status.md describes it. */
json_t *explain_document(const struct explain *e);

/* Do a key as messages have it, JSON, and a key as a person writes it mean the same? */
bool explain_key_is(const char *json, const char *text);

/* An array of the groups' names as a person reads them; at most `most`. `groups`: n names, each terminated by a zero. */
json_t *explain_names(const struct group_names *names, const char *groups, size_t n, size_t most);

/* The document for a person: short lines. */
void explain_print(const json_t *document, struct buf *out);
/* Does the document say yes: admitted, found? For the exit status. */
bool explain_says_yes(const json_t *document);

#endif
