/* What admit queries read: tables that decide permission although the file does not name them, and objects that cannot
 * be followed. */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/mem.h"
#include "walpush/rules/reads.h"
#include "walpush/text/sqlclock.h"

void rules_free_read(struct rules_read *read)
{
	for (size_t i = 0; i < read->n_columns; i++)
		free(read->columns[i]);
	free(read->columns);
}

void rules_free_found(struct rules *r)
{
	for (size_t i = 0; i < r->n_found; i++) {
		free(r->found[i]->columns);
		free(r->found[i]);
	}
	free(r->found);
}

static bool is_ignored(const struct rules *r, const char *schema, const char *name)
{
	bool ignored = false;

	for (size_t i = 0; i < r->conf->n_memberships && !ignored; i++) {
		char *of_schema, *of_name;

		if (!r->conf->memberships[i].ignore)
			continue;
		rules_split_name(r->conf->memberships[i].table, &of_schema, &of_name);
		ignored = strcmp(of_schema, schema) == 0 && strcmp(of_name, name) == 0;
		free(of_schema);
		free(of_name);
	}
	return ignored;
}

static void add_column(struct rules_read *read, const char *column)
{
	for (size_t i = 0; i < read->n_columns; i++)
		if (strcmp(read->columns[i], column) == 0)
			return;
	read->columns = mem_resize(read->columns, read->n_columns + 1, sizeof(*read->columns));
	read->columns[read->n_columns++] = mem_text(column);
}

struct rules_membership *rules_found_new(struct rules *r, struct rules_table *t)
{
	struct rules_membership *m = mem_new(sizeof(*m));

	m->user = -1;
	r->found = mem_resize((void *)r->found, r->n_found + 1, sizeof(struct rules_membership *));
	r->found[r->n_found++] = m;
	rules_add_membership(t, m);
	return m;
}

/* Inherited memberships are the last ones in both arrays. */
void rules_drop_inherited(struct rules *r)
{
	for (size_t i = 0; i < r->n_tables; i++) {
		struct rules_table *t = &r->tables[i];

		while (t->n_memberships && t->memberships[t->n_memberships - 1]->is_inherited)
			t->n_memberships--;
	}
	while (r->n_found && r->found[r->n_found - 1]->is_inherited) {
		r->n_found--;
		free(r->found[r->n_found]->columns);
		free(r->found[r->n_found]);
	}
}

static void add_table(struct rules *r, const struct reads_table *found)
{
	struct rules_table *t;

	if (is_ignored(r, found->schema, found->name))
		return;
	t = rules_table_named(r, found->schema, found->name);
	t->read.is_read = true;
	t->read.whole |= found->whole;
	for (size_t i = 0; i < found->n_columns; i++)
		add_column(&t->read, found->columns[i]);
	if (!t->n_memberships)
		rules_found_new(r, t);
}

/* The file lists a table that no query is known to read. If the reads of a query are unknown, this table stands for
 * them. */
static bool lists_what_is_behind(const struct rules *r)
{
	for (size_t i = 0; i < r->n_tables; i++)
		if (r->tables[i].n_memberships && !r->tables[i].read.is_read)
			return true;
	return false;
}

static struct rules_table *table_that_counts(const struct rules *r, const struct reads_of *of)
{
	for (size_t i = 0; i < r->n_tables; i++) {
		struct rules_table *t = &r->tables[i];

		if (t->n_memberships && strcmp(t->schema, of->schema) == 0 && strcmp(t->name, of->name) == 0)
			return t;
	}
	return NULL;
}

static bool is_listed(const struct rules *r, const struct reads_of *of)
{
	const struct rules_table *t = table_that_counts(r, of);

	return t ? t->memberships[0]->conf != NULL : is_ignored(r, of->schema, of->name);
}

/* Nobody knows which columns of the table the function reads, so all count. */
static void count_whole(struct rules *r, const struct reads_of *behind)
{
	struct rules_table *t = table_that_counts(r, behind);

	if (t)
		t->read.whole = true;
}

/*
 * Everything behind the unknown is watched or ignored, and the file names at least one of these objects: somebody has
 * thought of it. `lacks` gets the objects that are neither watched nor ignored.
 */
static bool is_covered(struct rules *r, const struct reads *reads, const struct reads_of *unknown, struct buf *lacks)
{
	bool listed = false;

	for (size_t i = 0; i < reads->n_behind; i++) {
		const struct reads_of *b = &reads->behind[i];

		if (strcmp(b->text, unknown->text) != 0)
			continue;
		count_whole(r, b);
		listed |= is_listed(r, b);
		if (!table_that_counts(r, b) && !is_ignored(r, b->schema, b->name))
			buf_addf(lacks, "%s%s.%s", lacks->len ? ", " : "", b->schema, b->name);
	}
	return listed && !lacks->len;
}

static void add_unknown(struct rules *r, const struct reads *reads, const struct reads_of *unknown, struct buf *out)
{
	struct buf lacks = { 0 };

	if (!is_ignored(r, unknown->schema, unknown->name) && !is_covered(r, reads, unknown, &lacks)) {
		buf_addf(out, "%s%s", out->len ? ", " : "", unknown->text);
		if (lacks.len)
			buf_addf(out, " (not listed: %s)", lacks.data);
	}
	buf_fini(&lacks);
}

static char *not_followed(struct rules *r, const struct reads *reads)
{
	struct buf out = { 0 };

	if (reads->failed)
		return lists_what_is_behind(r) ? NULL : mem_text(reads->failed);
	for (size_t i = 0; i < reads->n_unknown; i++)
		add_unknown(r, reads, &reads->unknown[i], &out);
	return out.len ? buf_steal(&out) : NULL;
}

static char *asks_time(const struct rules *r, const struct reads *reads)
{
	struct buf out = { 0 };

	for (size_t i = 0; i < reads->n_sources && !out.len; i++) {
		const struct reads_of *f = &reads->sources[i];
		const char *word = is_ignored(r, f->schema, f->name) ? NULL : sqlclock_find(f->text, false);

		if (word)
			buf_addf(&out, "%s in function %s.%s", word, f->schema, f->name);
	}
	return out.len ? buf_steal(&out) : NULL;
}

void rules_reads(struct rules *r, const struct reads *reads)
{
	for (size_t s = 0; s < r->conf->n_streams; s++)
		for (size_t i = 0; i < reads[s].n_tables; i++)
			add_table(r, &reads[s].tables[i]);
	for (size_t s = 0; s < r->conf->n_streams; s++) {
		r->streams[s].not_followed = not_followed(r, &reads[s]);
		/* A stream that is not followed is asked about as time passes anyway. */
		if (!r->streams[s].not_followed)
			r->streams[s].asks_time = asks_time(r, &reads[s]);
		if (reads[s].strangers.len)
			r->streams[s].strangers = mem_text(reads[s].strangers.data);
	}
}
