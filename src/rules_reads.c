/* What admit queries read: tables that decide permission though no section names them, and what cannot be followed. */
#include "rules_impl.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/mem.h"
#include "walpush/reads.h"

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

/* They stand behind those of the table's own. */
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

/* Somebody has listed a table that no query reads by itself: what lies behind a function. Which one is behind which, nobody can tell. */
static bool lists_what_is_behind(const struct rules *r)
{
	for (size_t i = 0; i < r->n_tables; i++)
		if (r->tables[i].n_memberships && !r->tables[i].read.is_read)
			return true;
	return false;
}

static char *not_followed(const struct rules *r, const struct reads *reads)
{
	struct buf out = { 0 };

	if (lists_what_is_behind(r))
		return NULL;
	if (reads->failed)
		return mem_text(reads->failed);
	for (size_t i = 0; i < reads->n_unknown; i++)
		if (!is_ignored(r, reads->unknown[i].schema, reads->unknown[i].name))
			buf_addf(&out, "%s%s", out.len ? ", " : "", reads->unknown[i].what);
	return out.len ? buf_steal(&out) : NULL;
}

void rules_reads(struct rules *r, const struct reads *reads)
{
	for (size_t s = 0; s < r->conf->n_streams; s++)
		for (size_t i = 0; i < reads[s].n_tables; i++)
			add_table(r, &reads[s].tables[i]);
	for (size_t s = 0; s < r->conf->n_streams; s++) {
		r->streams[s].not_followed = not_followed(r, &reads[s]);
		if (reads[s].strangers.len)
			r->streams[s].strangers = mem_text(reads[s].strangers.data);
	}
}
