#include "parts.h"

#include "walpush/base/log.h"

/* A partition's rows are its parent's. */
static enum bound bind_child(struct intake *in, const struct change *change, const struct rules_table **table)
{
	*table = rules_find_parent(in->rules, change->schema, change->table, 0);
	if (!*table)
		return rules_is_new(in->rules, change->schema, change->table) ? BOUND_NEW : BOUND_NOT_LISTED;
	if (change->kind == CHANGE_TRUNCATE)
		return BOUND;
	return row_bind_child(&in->row, (*table)->catalog, change) ? BOUND : BOUND_STALE;
}

enum bound intake_bind_row(struct intake *in, const struct record *r, struct change *change,
			   const struct rules_table **table, struct fail *why)
{
	if (!decode_record(in->decoder, r->text, change, why))
		return BOUND_CORRUPT;
	*table = rules_find(in->rules, change->schema, change->table);
	if (!*table)
		return bind_child(in, change, table);
	if (change->kind == CHANGE_TRUNCATE)
		return BOUND;
	return row_bind(&in->row, (*table)->catalog, change) ? BOUND : BOUND_STALE;
}

static void mark_table(struct intake *in, const struct rules_table *table, const char *reason)
{
	for (size_t i = 0; i < table->n_sections; i++)
		txn_mark(in->txn, table->sections[i], reason);
}

/* Whose permission the row changes. Nothing is asked for it, so limits.bulk does not count it. */
static void note_members(struct intake *in, const struct rules_table *table, const struct change *change)
{
	struct route_members members;

	for (size_t i = 0; i < table->n_memberships; i++) {
		if (change->kind == CHANGE_TRUNCATE)
			members = (struct route_members){ .everybody = true };
		else
			route_membership(table->memberships[i], &in->row, &members);
		if (members.everybody)
			txn_add_member(in->txn, NULL);
		for (size_t k = 0; k < members.n; k++) {
			buf_clear(&in->scratch);
			row_text(members.users[k], &in->scratch);
			buf_add_char(&in->scratch, '\0');
			txn_add_member(in->txn, in->scratch.data);
		}
	}
}

/* It was made since, and is gone again: nobody can tell whose child it was. Whoever its parent may have been counts. */
static void note_gone(struct intake *in, const struct change *change)
{
	for (size_t i = 0; i < rules_n_tables(in->rules); i++) {
		const struct rules_table *table = rules_table(in->rules, i);

		if (!table->catalog || !table->catalog->has_children ||
		    !slice_equal(slice_of(table->catalog->json_schema), change->schema))
			continue;
		if (table->n_memberships)
			txn_add_member(in->txn, NULL);
		mark_table(in, table, "unknown");
	}
}

/* INHERITS may name several parents: the row is one of each. It is sent as the first one's; who listens to another is told to refetch. */
static void note_other_parents(struct intake *in, const struct rules_table *table, const struct change *change)
{
	const struct rules_table *other;

	if (rules_find_parent(in->rules, change->schema, change->table, 0) != table)
		return; /* it is listed itself */
	for (size_t i = 1; (other = rules_find_parent(in->rules, change->schema, change->table, i)); i++) {
		if (change->kind == CHANGE_TRUNCATE || row_bind_child(&in->row, other->catalog, change))
			note_members(in, other, change);
		else if (other->n_memberships)
			txn_add_member(in->txn, NULL);
		mark_table(in, other, "unknown");
	}
}

/* Once, not for every row. */
static void say_missing(struct intake *in, const struct rules_section *section, const char *column)
{
	if (!column || column == in->said_missing)
		return;
	in->said_missing = column;
	log_error(
		"a group or a message names a column that the query does not return; the group is left out, the value "
		"is null",
		log_s("column", column), log_s("section", section->conf->name),
		log_s("mend", "add the column to the SELECT list of the lookup, or of the actor query"));
}

static void route_row(struct intake *in, const struct record *r, const struct rules_table *table)
{
	for (size_t i = 0; i < table->n_sections; i++) {
		const struct answers *a = i < r->n_answers ? &r->answers[i] : NULL;
		struct txn_answers answers = { 0 };
		struct route_plan plan;

		if (a && a->lookup)
			answers.lookup = question_rows(a->lookup);
		if (a && a->actor)
			answers.actor = question_rows(a->actor);
		if (a && a->data)
			answers.data = question_rows(a->data);
		if (!route_section(table->sections[i], &in->row, &plan))
			continue;
		answers.data_left_out = plan.wants_data && a && a->left_out;
		say_missing(in, table->sections[i], txn_row(in->txn, &plan, &answers));
	}
}

/* The catalog is read again for a row that it does not fit. A catalog that was read behind the row's receipt and still does not fit it
 * is that of a table that was changed once more since: the row goes out as far as the two agree. */
static bool catalog_is_fresh(struct intake *in, const struct record *r)
{
	if (r->number <= in->catalog_covers)
		return true;
	in->catalog_covers = in->n_records;
	in->waiting_catalog = true;
	in->calls->stale_catalog(in->ctx);
	return false;
}

bool intake_handle_row(struct intake *in, struct record *r)
{
	const struct rules_table *table = NULL;
	struct change change;
	struct fail why = { 0 };

	if (r->transaction->repeated)
		return true;
	if (!r->transaction->visible || (r->asked && !intake_is_answered(r)))
		return false;
	if (r->skipped) {
		intake_skip_row(in, r);
		return true;
	}
	switch (intake_bind_row(in, r, &change, &table, &why)) {
	case BOUND_NOT_LISTED:
		return true;
	case BOUND_CORRUPT:
		intake_break(in, INTAKE_UNREADABLE, r->transaction, &why);
		return false;
	case BOUND_NEW:
		if (!catalog_is_fresh(in, r))
			return false;
		note_gone(in, &change);
		return true;
	case BOUND_STALE:
		if (!catalog_is_fresh(in, r))
			return false;
		break;
	case BOUND:
		break;
	}
	if (!r->asked) {
		intake_ask_questions(in, r, &change, table);
		if (in->ask_next == r)
			in->ask_next = r->next;
		if (!intake_is_answered(r))
			return false;
	}
	note_members(in, table, &change);
	if (change.kind == CHANGE_TRUNCATE)
		mark_table(in, table, "truncate");
	else
		route_row(in, r, table);
	note_other_parents(in, table, &change);
	return true;
}
