/* rules parts: what the files of the rules module share. Nobody else includes it. */
#ifndef WALPUSH_RULES_PARTS_H
#define WALPUSH_RULES_PARTS_H

#include "walpush/rules/rules.h"

struct rules {
	const struct conf *conf;
	struct rules_stream *streams; /* as many as conf has, and so on */
	struct rules_section *sections;
	struct rules_membership *memberships;
	struct rules_membership **found; /* of tables that no section names */
	size_t n_found;
	struct rules_query actor;   /* sql NULL: none */
	struct rules_table *tables; /* each table once; they own their arrays */
	size_t n_tables;
	const struct catalog *catalog; /* NULL until bound */
};

/* "schema.table" split at the first dot, or "table" of schema public. The texts are the caller's. */
void rules_split_name(const char *name, char **schema, char **table);

/* Made when missing. */
struct rules_table *rules_table_named(struct rules *r, const char *schema, const char *name);
void rules_add_membership(struct rules_table *t, struct rules_membership *m);
void rules_free_read(struct rules_read *read);
void rules_free_found(struct rules *r);
/* A membership of the table that stands in no file; the rules own it. */
struct rules_membership *rules_found_new(struct rules *r, struct rules_table *t);
void rules_drop_inherited(struct rules *r);

/* Compiling what the file alone decides. Each fills a zeroed struct, also on failure as far as it came. */
bool rules_compile_stream(const struct rules *r, const struct conf_stream *conf, struct rules_stream *s,
			  struct fail *why);
bool rules_compile_section(const struct rules *r, const struct conf_table *conf, struct rules_section *s,
			   struct fail *why);
bool rules_compile_actor(const struct rules *r, struct rules_query *q, struct fail *why);
/* rules_digest of a program with these versions: EVENT_NUMBERING, EVENT_ENTRY_FORMAT. */
uint32_t rules_digest_of(const struct rules *r, uint32_t numbering, uint32_t entries);
uint64_t rules_digest_stream(const struct conf_stream *conf);
/* One more name of a list for wal2json, escaped as it wants; NULL: all tables of the schema. */
void rules_add_name(struct buf *out, const char *schema, const char *name);
/* Nothing of the file names a column that the section withholds. */
bool rules_check_shown(const struct rules *r, const struct rules_section *s, struct fail *why);
/* The same of the primary key, once the section is bound and `shown` is filled; sets `key_shown`. */
bool rules_check_key(const struct rules *r, struct rules_section *s, struct fail *why);
/* Fills `quiet`, once the section is bound. */
void rules_mark_quiet(struct rules_section *s);
void rules_free_stream(struct rules_stream *s);
void rules_free_section(struct rules_section *s);
void rules_free_query(struct rules_query *q);

#endif
