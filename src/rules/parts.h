/* rules parts: what the files of rules share. No other layer includes it. */
#ifndef WALPUSH_RULES_PARTS_H
#define WALPUSH_RULES_PARTS_H

#include "walpush/rules/rules.h"

struct rules {
	const struct conf *conf;
	struct rules_stream *streams; /* as many as conf has; sections and memberships too */
	struct rules_section *sections;
	struct rules_membership *memberships;
	struct rules_membership **found; /* memberships that are not in the file: found by rules_reads, or inherited */
	size_t n_found;
	struct rules_query actor;     /* sql NULL: none */
	struct rules_query **queries; /* all that exist, in the order of rules_query_at; the array alone is owned */
	size_t n_queries, n_row_queries;
	struct rules_table *tables; /* each table once; they own their arrays */
	size_t n_tables;
	struct rules_table *patterns; /* as tables, but never bound */
	size_t n_patterns;
	size_t n_named;                  /* tables that the file or a query names; those that match patterns follow */
	struct rules_section **expanded; /* sections of patterns, each for one table; see rules_expand.c */
	size_t n_expanded, cap_expanded;
	size_t n_unfit;                /* of those that match patterns */
	struct fail unfit;             /* of the first one */
	struct rules_table **of;       /* by the index of the catalog's table; NULL: it is a parent, and not listed */
	const struct catalog *catalog; /* NULL until bound */
};

/* Splits "schema.table" at the first dot; "table" alone is in schema public. The caller owns the texts. */
void rules_split_name(const char *name, char **schema, char **table);

/* Never NULL: the table is made when it is missing. */
struct rules_table *rules_table_named(struct rules *r, const char *schema, const char *name);
void rules_add_membership(struct rules_table *t, struct rules_membership *m);
/* A section keeps its place in the order of the file. */
void rules_add_section(struct rules_table *t, struct rules_section *s);
void rules_free_table(struct rules_table *t);
bool rules_is_pattern(const char *from);
struct rules_table *rules_pattern_named(struct rules *r, const char *schema, const char *name);
/* Takes back what rules_expand has added. */
void rules_drop_expanded(struct rules *r);
/* A table that matches a pattern, and lacks a column that the file names: its rows are passed over. */
void rules_leave_out(struct rules *r, struct rules_table *t);
void rules_free_read(struct rules_read *read);
void rules_free_found(struct rules *r);
/* Adds a membership to the table that no entry of the file makes; the rules own it. */
struct rules_membership *rules_found_new(struct rules *r, struct rules_table *t);
void rules_drop_inherited(struct rules *r);

/* These compile what the file alone decides, and add all errors. Each fills a zeroed struct; with an error the struct is filled in part. The
 * configuration may have errors too, which are not said again. */
void rules_compile_stream(const struct rules *r, const struct conf_stream *conf, struct rules_stream *s,
			  struct fails *all);
void rules_compile_section(const struct rules *r, const struct conf_table *conf, struct rules_section *s,
			   struct fails *all);
void rules_compile_actor(const struct rules *r, struct rules_query *q, struct fails *all);
/* rules_digest for a program with these versions: EVENT_NUMBERING, EVENT_ENTRY_FORMAT. */
uint32_t rules_digest_of(const struct rules *r, uint32_t numbering, uint32_t entries);
uint64_t rules_digest_stream(const struct conf_stream *conf);
/* Appends one name to a list for wal2json, escaped as wal2json needs it; name NULL: all tables of the schema; schema NULL:
 * all schemas. */
void rules_add_name(struct buf *out, const char *schema, const char *name);
/* Checks that no setting names a column that the section withholds. */
void rules_check_shown(const struct rules *r, const struct rules_section *s, struct fails *all);
/* The same check for the primary key, once the section is bound and `shown` is filled; sets `key_shown`. */
bool rules_check_key(const struct rules *r, struct rules_section *s, struct fail *why);
/* Fills `quiet`, once the section is bound. */
void rules_mark_quiet(struct rules_section *s);
/* Does a setting of the section name the column, or is it in the primary key? Otherwise at most `data` shows it. Bound
 * sections only. */
bool rules_names(const struct rules_section *s, size_t column);
/* Does a section or a membership of the bound table use the column? No for a virtual one, which the WAL does not have. */
bool rules_uses(const struct rules_table *t, size_t column);
/* Is it used for more than being shown in `data`? */
bool rules_needs(const struct rules_table *t, size_t column);
/* What uses it: "section people uses". */
void rules_add_user(const struct rules_table *t, size_t column, struct buf *out);
void rules_free_stream(struct rules_stream *s);
void rules_free_section(struct rules_section *s);
void rules_free_query(struct rules_query *q);
/* The class of the error says that it was about a lock, a timeout or lack of room, not about the query. */
bool reads_error_may_pass(const char *sqlstate);

#endif
