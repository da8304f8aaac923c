#include "emit.h"

#include "walpush/base/log.h"
#include "walpush/text/jsontext.h"

static void mark_table(struct emit *e, const struct rules_table *table, const char *reason)
{
	for (size_t i = 0; i < table->n_sections; i++)
		txn_mark(e->txn, table->sections[i], reason);
}

/* Notes the users whose permission the row changes. This needs no query, so limits.bulk does not count it. */
static void note_members(struct emit *e, const struct rules_table *table, const struct change *change)
{
	struct route_members members;

	for (size_t i = 0; i < table->n_memberships; i++) {
		if (change->kind == CHANGE_TRUNCATE)
			members = (struct route_members){ .everybody = true };
		else
			route_membership(table->memberships[i], &e->bind->row, &members);
		if (members.everybody)
			txn_add_member(e->txn, NULL);
		for (size_t k = 0; k < members.n; k++) {
			buf_clear(&e->bind->scratch);
			row_text(members.users[k], &e->bind->scratch);
			buf_add_char(&e->bind->scratch, '\0');
			txn_add_member(e->txn, e->bind->scratch.data);
		}
	}
}

/* A table that matches a pattern is gone, has another name by now, or was left out: whoever may have seen its rows refetches, and nobody else. */
static void note_pattern(struct emit *e, const struct change *change)
{
	struct buf schema = { 0 };
	const struct rules_table *pattern;

	if (!jsontext_unescape(change->schema, &schema))
		return;
	for (size_t i = 0; (pattern = rules_pattern_of(e->bind->rules, change->schema, change->table, i)); i++)
		for (size_t k = 0; k < pattern->n_sections; k++)
			txn_mark_gone(e->txn, pattern->sections[k], schema.data);
	buf_fini(&schema);
}

/* The table was created and dropped after the catalog was read, so its parent is unknown. Every table that may have been its parent counts. */
static void note_gone(struct emit *e, const struct change *change)
{
	note_pattern(e, change);
	for (size_t i = 0; i < rules_n_tables(e->bind->rules); i++) {
		const struct rules_table *table = rules_table(e->bind->rules, i);

		if (!table->catalog || !table->catalog->has_children ||
		    !slice_equal(slice_of(table->catalog->json_schema), change->schema))
			continue;
		if (table->n_memberships)
			txn_add_member(e->txn, NULL);
		mark_table(e, table, "unknown");
	}
}

/* INHERITS may name several parents, and the row belongs to each of them. It is sent as a row of the first parent. Clients of the other parents are
 * told to refetch. */
static void note_other_parents(struct emit *e, const struct rules_table *table, const struct change *change)
{
	const struct rules_table *other;

	if (rules_find_parent(e->bind->rules, change->schema, change->table, 0) != table)
		return; /* the table itself is listed */
	for (size_t i = 1; (other = rules_find_parent(e->bind->rules, change->schema, change->table, i)); i++) {
		if (change->kind == CHANGE_TRUNCATE || row_bind_child(&e->bind->row, other->catalog, change))
			note_members(e, other, change);
		else if (other->n_memberships)
			txn_add_member(e->txn, NULL);
		mark_table(e, other, "unknown");
	}
}

/* Logs the column once, not for every row. */
static void say_missing(struct emit *e, const struct rules_section *section, const char *column)
{
	if (!column || column == e->said_missing)
		return;
	e->said_missing = column;
	log_error(
		"a group or a message names a column that the query does not return; the group is left out, the value "
		"is null",
		log_s("column", column), log_s("section", section->conf->name),
		log_fix("add the column to the SELECT list of the lookup, or of the actor query"));
}

/* What is known of later transactions may be a guess, because nobody can tell; a lookup that does not read the row is used all the same then. */
struct judged {
	struct later_says says;
	bool is_guess;
};

/* Receivers and content are two questions, with a moment between them. If the rows by which the lookup names receivers changed meanwhile, the content
 * may be for others. */
static bool are_apart(const struct emit *e, const struct rules_section *section, const struct transaction *t,
		      const struct txn_answers *answers)
{
	const struct rules *rules = e->bind->rules;

	for (size_t i = 0; answers->lookup && answers->data && later_any(e->later) && i < rules_n_tables(rules); i++) {
		const struct rules_table *table = rules_table(rules, i);

		if (table->catalog && later_table(e->later, t, table) &&
		    e->asker->reads(e->asker->ctx, section->lookup.at, table->catalog))
			return true;
	}
	return false;
}

/* Answers that are newer than the commit say: the content would show too much, or the receivers are others. True: something was left out. */
static bool leave_out(const struct emit *e, const struct record *r, const struct rules_section *section,
		      const struct judged *later, struct txn_answers *answers)
{
	struct txn_answers before = *answers;
	bool reads = later->says.receivers && answers->lookup && asker_reads_itself(e->asker, section);

	if (later->says.content || are_apart(e, section, r->transaction, answers))
		answers->data = answers->actor = NULL;
	if (reads || (later->says.content && section->message_uses_lookup))
		answers->lookup = NULL;
	answers->lookup_is_late = later->says.since && !later->is_guess && answers->lookup && answers->lookup->n_rows;
	return answers->data != before.data || answers->actor != before.actor || answers->lookup != before.lookup ||
	       answers->lookup_is_late;
}

static struct txn_answers answers_of(const struct section_questions *a)
{
	struct txn_answers answers = { 0 };

	if (a && a->lookup)
		answers.lookup = question_rows(a->lookup);
	if (a && a->actor)
		answers.actor = question_rows(a->actor);
	if (a && a->data)
		answers.data = question_rows(a->data);
	return answers;
}

static void route_row(struct emit *e, const struct record *r, const struct rules_table *table,
		      const struct judged *later)
{
	bool is_void = false;

	for (size_t i = 0; i < table->n_sections; i++) {
		const struct section_questions *a = i < r->answers.n ? &r->answers.at[i] : NULL;
		struct txn_answers answers = answers_of(a);
		struct route_plan plan;

		if (!route_section(table->sections[i], &e->bind->row, &plan))
			continue;
		answers.data_left_out = plan.wants_data && a && a->left_out;
		is_void |= leave_out(e, r, table->sections[i], later, &answers) || (a && a->is_vain);
		say_missing(e, table->sections[i], txn_row(e->txn, &plan, &answers));
	}
	metrics_add(e->counts, METRICS_ANSWERS_VOID, is_void);
}

static void push(struct emit *e, const struct record *r, const struct rules_table *table, const struct change *change,
		 const struct judged *later)
{
	note_members(e, table, change);
	if (change->kind == CHANGE_TRUNCATE)
		mark_table(e, table, "truncate");
	else
		route_row(e, r, table, later);
	note_other_parents(e, table, change);
}

/* Asks each of the row's questions once. True: all of them are answered, or given up. */
static bool ask(struct emit *e, struct record *r, const struct rules_table *table, const struct change *change)
{
	if (r->given_up) {
		answers_count(&r->answers, e->bind, change, table, r->transaction);
		return true;
	}
	if (r->asked)
		return answers_ask_rest(&r->answers, e->asker, e->bind, table, r->transaction) &&
		       answers_are_here(&r->answers);
	r->asked = answers_ask(&r->answers, e->asker, e->bind, change, table, r->transaction);
	return r->asked && answers_are_here(&r->answers);
}

/* What must not be newer than the commit: content, and receivers that depend on the row. */
static lsn_t needs(const struct emit *e, const struct answers *answers, const struct rules_table *table)
{
	lsn_t upto = 0;

	for (size_t i = 0; i < answers->n; i++) {
		const struct rules_section *section = table->sections[i];

		if (answers->at[i].lookup && asker_lookup_waits(e->asker, section))
			upto = answers_upto(upto, answers->at[i].lookup);
		upto = answers_upto(upto, answers->at[i].data);
		upto = answers_upto(upto, answers->at[i].actor);
	}
	return upto;
}

static void read_later(struct emit *e, const struct record *r, const struct rules_table *table, lsn_t upto,
		       struct judged *later)
{
	later_read(e->later, e->queue, upto);
	later->says = later_changed(e->later, r, table, &e->bind->row);
}

/* What may not be used of the answers? False: nobody can tell yet. Receivers that do not depend on the row are judged by what came soon. */
static bool judge(struct emit *e, const struct record *r, const struct rules_table *table, struct judged *later)
{
	lsn_t need = needs(e, &r->answers, table), lookups = answers_lookups_upto(&r->answers);
	lsn_t upto = need ? need : lookups;
	enum heard_says says = HEARD;

	*later = (struct judged){ 0 };
	heard_leave(need ? e->soon : e->heard);
	if (upto == LSN_MAX)
		says = HEARD_IN_VAIN;
	else if (upto)
		says = heard_by(need ? e->heard : e->soon, upto, *e->is_full);
	if (says == HEARD_NOT_YET)
		return false;
	if (need && says == HEARD_IN_VAIN)
		*later = (struct judged){ { true, true, true }, true };
	else if (upto)
		read_later(e, r, table, upto > lookups ? upto : lookups, later);
	return true;
}

static enum emit_says handle(struct emit *e, struct record *r, bool is_fresh, struct fail *why)
{
	const struct rules_table *table = NULL;
	struct judged later;
	struct change change;

	switch (bind_row(e->bind, r, &change, &table, why)) {
	case BOUND_NOT_LISTED:
		return EMIT_OVER;
	case BOUND_UNFIT:
		note_pattern(e, &change);
		return EMIT_OVER;
	case BOUND_CORRUPT:
		return EMIT_BROKEN;
	case BOUND_NEW:
		if (!is_fresh)
			return EMIT_STALE;
		note_gone(e, &change);
		return EMIT_OVER;
	case BOUND_STALE:
		if (!is_fresh)
			return EMIT_STALE;
		break;
	case BOUND:
		break;
	}
	if (!ask(e, r, table, &change))
		return EMIT_WAITS;
	if (!judge(e, r, table, &later))
		return EMIT_HEARS;
	push(e, r, table, &change, &later);
	return EMIT_OVER;
}

enum emit_says emit_row(struct emit *e, struct record *r, bool is_fresh, struct fail *why)
{
	if (r->transaction->repeated)
		return EMIT_OVER;
	if (!transaction_is_visible(r->transaction) || (r->asked && !answers_are_here(&r->answers)))
		return EMIT_WAITS;
	if (!r->is_skipped)
		return handle(e, r, is_fresh, why);
	skip_row(e->skip, e->bind->rules, e->txn, r);
	return EMIT_OVER;
}
