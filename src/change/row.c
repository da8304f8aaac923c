#include "walpush/change/row.h"

#include <stdlib.h>

#include "walpush/text/jsontext.h"
#include "walpush/base/mem.h"

static bool is_named(const struct catalog_column *known, const struct column *c)
{
	return known->json_len == c->name.len && memcmp(known->json_name, c->name.at, c->name.len) == 0;
}

/* wal2json prints columns in the order of attnum, and the catalog has the same order: one pass over both is enough. */
static bool lay_out(const struct column **at, const struct catalog_table *t, const struct column *columns, size_t n)
{
	bool fits = true;
	size_t next = 0;

	memset(at, 0, t->n_columns * sizeof(struct column *));
	for (size_t i = 0; i < n; i++) {
		size_t k = next;

		while (k < t->n_columns && !is_named(&t->columns[k], &columns[i]))
			k++;
		if (k == t->n_columns) {
			fits = false;
			continue;
		}
		next = k + 1;
		fits = fits && t->columns[k].declared == columns[i].type;
		if (!t->columns[k].is_virtual)
			at[k] = &columns[i];
	}
	return fits;
}

static bool lay_out_child(const struct column **at, const struct catalog_table *t, const struct column *columns,
			  size_t n)
{
	size_t next = 0;
	bool fits = true;

	memset(at, 0, t->n_columns * sizeof(struct column *));
	for (size_t i = 0; i < n; i++) {
		/* Mostly the order is the same as the parent's. */
		for (size_t tries = 0; tries < t->n_columns; tries++, next++) {
			const struct catalog_column *known = &t->columns[next % t->n_columns];

			if (!is_named(known, &columns[i]))
				continue;
			fits = fits && known->declared == columns[i].type;
			if (!known->is_virtual)
				at[next % t->n_columns] = &columns[i];
			next++;
			break;
		}
	}
	return fits;
}

static void make_room(struct row *r, const struct catalog_table *table)
{
	if (r->cap < table->n_columns) {
		r->cap = table->n_columns;
		r->now = mem_resize(r->now, r->cap, sizeof(struct column *));
		r->old = mem_resize(r->old, r->cap, sizeof(struct column *));
	}
}

/* An INSERT carries every column. If one is missing, it was dropped or is not there yet. wal2json prints a virtual column too, as null. */
static bool is_complete(const struct row *r)
{
	const struct change *change = r->change;

	if (change->kind != CHANGE_INSERT || change->n_columns == r->table->n_columns)
		return true;
	for (size_t i = 0; i < r->table->n_columns; i++) {
		const struct catalog_column *c = &r->table->columns[i];

		if (!r->now[i] && !(change->leaves_out_stored && (c->is_stored || c->is_virtual)))
			return false;
	}
	return true;
}

bool row_bind(struct row *r, const struct catalog_table *table, const struct change *change)
{
	bool now_fits, old_fits;

	make_room(r, table);
	r->table = table;
	r->change = change;
	r->fits = change->n_columns == 0 && change->n_identity == 0;
	if (table->n_columns == 0)
		return r->fits;
	now_fits = lay_out(r->now, table, change->columns, change->n_columns);
	old_fits = lay_out(r->old, table, change->identity, change->n_identity);
	r->fits = now_fits && old_fits;
	return r->fits && is_complete(r);
}

void row_fini(struct row *r)
{
	free(r->now);
	free(r->old);
	*r = (struct row){ 0 };
}

const struct column *row_value(const struct row *r, size_t i)
{
	return r->now[i] ? r->now[i] : r->old[i];
}

const struct column *row_former(const struct row *r, size_t i)
{
	return r->old[i] ? r->old[i] : r->now[i];
}

bool row_text(const struct column *c, struct buf *out)
{
	switch (c->kind) {
	case VALUE_NULL:
		return false;
	case VALUE_STRING:
		jsontext_unescape(c->value, out);
		return true;
	case VALUE_BOOL:
	case VALUE_NUMBER:
		break;
	}
	buf_add_slice(out, c->value);
	return true;
}

bool row_bind_child(struct row *r, const struct catalog_table *parent, const struct change *change)
{
	bool fits;

	make_room(r, parent);
	r->table = parent;
	r->change = change;
	if (parent->n_columns == 0)
		return true;
	fits = lay_out_child(r->now, parent, change->columns, change->n_columns);
	fits = lay_out_child(r->old, parent, change->identity, change->n_identity) && fits;
	for (size_t i = 0; change->kind == CHANGE_INSERT && i < parent->n_columns; i++) {
		const struct catalog_column *c = &parent->columns[i];

		fits = fits && (r->now[i] || c->is_virtual || (change->leaves_out_stored && c->is_stored));
	}
	return fits;
}
