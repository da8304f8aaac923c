/*
 * explain parts: what the files of explain share. No other layer includes it. Each file calls only those above it in this list:
 *
 *   explain_question.c  what is asked
 *   explain_key.c       keys as a person writes them
 *   explain_names.c     names of groups in a document
 *   explain_user.c      the steps of an admission
 *   explain_row.c       the steps of a row
 *   explain.c           one of the two; the functions of explain.h
 *   explain_print.c     the document for a person
 */
#ifndef WALPUSH_EXPLAIN_PARTS_H
#define WALPUSH_EXPLAIN_PARTS_H

#include "walpush/change/route.h"
#include "walpush/explain/explain.h"
#include "walpush/share/ticket.h"

#define GROUPS_TOLD 100 /* groups that a document names */

struct explain {
	struct explain_present now;
	const struct explain_question *question;
	struct group_names *names;
	struct explain_sql sql; /* the query to run; sql.sql NULL: none */
	char **values;          /* of it; owned */
	struct groups groups;
	json_t *document;
	/* explain_user.c */
	const struct rules_stream *stream;
	struct path_values path;
	struct ticket *ticket;
	/* explain_row.c */
	const struct rules_table *table;
	json_t *key; /* texts, a column each */
	struct buf select;
	struct sqlrows *row;  /* its wanted columns; NULL: not there, or not known */
	struct change change; /* the row as one that was inserted */
	struct column *columns;
	struct buf texts; /* of the columns */
	struct row bound;
	size_t section; /* the one that is asked about */
	struct route_plan plan;
};

/* --- explain_key.c --- */
/* An array of n texts; NULL: it is not so many. "[1,\"a\"]" of several, else the text itself, in quotes or not. */
json_t *explain_key_read(const char *text, size_t n);

/* --- explain_user.c, explain_row.c: the first steps, and those after an answer --- */
void explain_user_begin(struct explain *e);
void explain_user_answer(struct explain *e, struct sqlrows *rows, const struct fail *why);
void explain_row_begin(struct explain *e);
void explain_row_answer(struct explain *e, struct sqlrows *rows, const struct fail *why);
void explain_row_fini(struct explain *e);

/* --- tools for them --- */
static inline void explain_set(struct explain *e, const char *name, json_t *value)
{
	json_object_set_new(e->document, name, value);
}

/* A server that was not reached, or libc, may speak in another encoding. */
static inline json_t *explain_text(const char *text)
{
	json_t *json = json_string(text);

	return json ? json : json_string("(an error that is not UTF-8)");
}

/* "" as fix: there is none. */
static inline void explain_no(struct explain *e, const char *step, const char *reason, const char *fix)
{
	explain_set(e, "step", json_string(step));
	explain_set(e, "reason", explain_text(reason));
	explain_set(e, "fix", *fix ? json_string(fix) : json_null());
}

#endif
