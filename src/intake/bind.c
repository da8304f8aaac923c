#include "bind.h"

#include "record.h"

void bind_init(struct bind *b)
{
	*b = (struct bind){ 0 };
	plugin_decoder_init(&b->decoder);
}

void bind_fini(struct bind *b)
{
	plugin_decoder_fini(&b->decoder);
	row_fini(&b->row);
	buf_fini(&b->scratch);
}

/* A table that was left out may have got its column with this row. */
static enum bound bind_none(struct bind *b, const struct change *change)
{
	const struct catalog_table *left_out = rules_left_out(b->rules, change->schema, change->table);

	if (!left_out)
		return rules_is_new(b->rules, change->schema, change->table) ? BOUND_NEW : BOUND_NOT_LISTED;
	return change->kind == CHANGE_TRUNCATE || row_bind(&b->row, left_out, change) ? BOUND_UNFIT : BOUND_NEW;
}

/* Rows of a partition are handled as rows of its parent. */
static enum bound bind_child(struct bind *b, const struct change *change, const struct rules_table **table)
{
	*table = rules_find_parent(b->rules, change->schema, change->table, 0);
	if (!*table)
		return bind_none(b, change);
	if (change->kind == CHANGE_TRUNCATE)
		return BOUND;
	return row_bind_child(&b->row, (*table)->catalog, change) ? BOUND : BOUND_STALE;
}

enum bound bind_row(struct bind *b, const struct record *r, struct change *change, const struct rules_table **table,
		    struct fail *why)
{
	if (!plugin_decode(&b->decoder, r->relation, r->text, change, why))
		return BOUND_CORRUPT;
	*table = rules_find(b->rules, change->schema, change->table);
	if (!*table)
		return bind_child(b, change, table);
	if (change->kind == CHANGE_TRUNCATE)
		return BOUND;
	return row_bind(&b->row, (*table)->catalog, change) ? BOUND : BOUND_STALE;
}
