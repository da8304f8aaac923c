#include "answers.h"

#include <assert.h>
#include <stdlib.h>

#include "walpush/base/mem.h"
#include "visible.h"
#include "walpush/change/route.h"

static const struct question_kind lookup_kind = {
	.failed = "a lookup failed; its groups are told to refetch",
	.fix = "correct the `lookup` query, or grant SELECT on what it reads",
};
static const struct question_kind data_kind = {
	.failed = "a data query failed; `data` is null, or has what `columns` names",
	.fix = "correct the `data-query`, or grant SELECT on what it reads",
	.no_json = "a data query does not return JSON; `data` is null, or has what `columns` names",
};
static const struct question_kind actor_kind = {
	.failed = "the actor query failed; updated_by is null",
	.fix = "correct `actor.query`, or grant SELECT on what it reads",
};

static struct question *ask_about_row(struct questions *questions, struct buf *scratch, const struct route_plan *plan,
				      const struct question_kind *kind, const struct rules_query *q)
{
	char **values = mem_new_array(q->source.n_refs, sizeof(char *));
	struct question *asked;
	size_t n = 0;

	for (size_t i = 0; i < q->source.n_parts; i++) {
		if (!q->source.parts[i].is_ref)
			continue;
		buf_clear(scratch);
		if (route_param(plan, &q->source.parts[i], scratch))
			values[n] = mem_text_of(buf_slice(scratch));
		n++;
	}
	asked = questions_ask(questions, kind, q, n, (const char *const *)values);
	for (size_t i = 0; i < n; i++)
		free(values[i]);
	free(values);
	return asked;
}

static struct question *ask_actor(struct questions *questions, struct bind *b, const struct route_plan *plan)
{
	const struct rules_query *q = rules_actor(b->rules);
	const struct column *id = row_value(plan->row, (size_t)plan->actor_column);
	const char *values[16];

	buf_clear(&b->scratch);
	if (!id || !row_text(id, &b->scratch))
		return NULL;
	assert(q->source.n_refs <= sizeof(values) / sizeof(*values));
	for (size_t i = 0; i < q->source.n_refs; i++)
		values[i] = b->scratch.data;
	return questions_ask(questions, &actor_kind, q, q->source.n_refs, values);
}

/* --- which questions make sense ----------------------------------------------------------------------------------- */

bool asker_reads_itself(const struct asker *asker, const struct rules_section *section)
{
	return section->lookup.sql && asker->reads(asker->ctx, section->lookup.at, section->table);
}

bool asker_lookup_waits(const struct asker *asker, const struct rules_section *section)
{
	return section->message_uses_lookup || asker_reads_itself(asker, section);
}

struct wanted {
	bool lookup, data, actor;
	bool is_vain; /* the section wants more, which would have to wait for the log, and the log is too far behind */
};

static struct wanted wanted_of(const struct asker *asker, const struct route_plan *plan)
{
	struct wanted w = { plan->wants_lookup, plan->wants_data, plan->wants_actor, false };

	if (!heard_is_vain(asker->heard))
		return w;
	w.lookup = w.lookup && !asker_lookup_waits(asker, plan->section);
	w.data = w.actor = false;
	w.is_vain = plan->wants_data || plan->wants_actor || w.lookup != plan->wants_lookup;
	return w;
}

/* Is there a query among them that is asked at present? */
static bool asks(const struct asker *asker, const struct bind *b, const struct route_plan *plan, const struct wanted *w)
{
	const struct questions *qs = asker->questions;

	return (w->lookup && questions_may_ask(qs, &plan->section->lookup)) ||
	       (w->data && questions_may_ask(qs, &plan->section->data)) ||
	       (w->actor && questions_may_ask(qs, rules_actor(b->rules)));
}

bool answers_in_vain(const struct asker *asker, struct bind *b, const struct change *change,
		     const struct rules_table *table)
{
	bool is_vain = false;

	if (!heard_is_vain(asker->heard) || change->kind == CHANGE_TRUNCATE)
		return false;
	for (size_t i = 0; i < table->n_sections; i++) {
		struct route_plan plan;
		struct wanted w;

		if (!route_section(table->sections[i], &b->row, &plan))
			continue;
		w = wanted_of(asker, &plan);
		if (w.lookup)
			return false;
		is_vain |= w.is_vain;
	}
	return is_vain;
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static bool asks_by_key(const struct route_plan *plan)
{
	return plan->wants_lookup || plan->wants_data;
}

/* What counts for limits.bulk depends on the rows alone, not on which of them were asked about, nor how often: after a crash the same ones are left
 * out. */
void answers_count(struct answers *answers, const struct bind *b, const struct change *change,
		   const struct rules_table *table, struct transaction *t)
{
	struct route_plan plan;

	if (answers->is_counted)
		return;
	answers->is_counted = true;
	answers->before = t->asking;
	for (size_t i = 0; change->kind != CHANGE_TRUNCATE && i < table->n_sections; i++)
		t->asking += route_section(table->sections[i], &b->row, &plan) && asks_by_key(&plan);
}

static void ask_section(struct section_questions *a, const struct asker *asker, struct bind *b,
			const struct route_plan *plan, const struct wanted *w)
{
	const struct rules_section *section = plan->section;

	a->is_vain = w->is_vain;
	if (w->lookup && !a->left_out)
		a->lookup = ask_about_row(asker->questions, &b->scratch, plan, &lookup_kind, &section->lookup);
	if (w->data && !a->left_out)
		a->data = ask_about_row(asker->questions, &b->scratch, plan, &data_kind, &section->data);
	if (w->actor)
		a->actor = ask_actor(asker->questions, b, plan);
}

static bool is_too_early(const struct asker *asker, struct transaction *t)
{
	visible_want(asker->known, t);
	return !visible_may_ask(asker->known, t);
}

bool answers_ask(struct answers *answers, const struct asker *asker, struct bind *b, const struct change *change,
		 const struct rules_table *table, struct transaction *t)
{
	uint64_t asking;

	if (change->kind == CHANGE_TRUNCATE)
		return true;
	answers_count(answers, b, change, table, t);
	asking = answers->before;
	for (size_t i = 0; i < table->n_sections; i++) {
		struct route_plan plan;
		struct wanted w;

		if (!route_section(table->sections[i], &b->row, &plan) || !(asks_by_key(&plan) || plan.wants_actor))
			continue;
		w = wanted_of(asker, &plan);
		if (asks(asker, b, &plan, &w) && is_too_early(asker, t)) {
			answers_drop(answers);
			return false;
		}
		if (!answers->at) {
			answers->at = mem_new_array(table->n_sections, sizeof(*answers->at));
			answers->n = table->n_sections;
		}
		answers->at[i].left_out = asks_by_key(&plan) && asking++ >= asker->bulk;
		ask_section(&answers->at[i], asker, b, &plan, &w);
	}
	return true;
}

bool answers_ask_rest(struct answers *answers, const struct asker *asker, struct bind *b,
		      const struct rules_table *table, struct transaction *t)
{
	for (size_t i = 0; i < answers->n && !heard_is_vain(asker->heard); i++) {
		struct section_questions *a = &answers->at[i];
		struct route_plan plan;
		struct wanted w;

		if (!a->is_vain || !route_section(table->sections[i], &b->row, &plan))
			continue;
		w = wanted_of(asker, &plan);
		w.lookup = w.lookup && !a->lookup;
		if (asks(asker, b, &plan, &w) && is_too_early(asker, t))
			return false;
		ask_section(a, asker, b, &plan, &w);
	}
	return true;
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

static bool is_open(const struct question *q)
{
	return q && !question_is_answered(q);
}

bool answers_are_here(const struct answers *answers)
{
	for (size_t i = 0; i < answers->n; i++) {
		const struct section_questions *a = &answers->at[i];

		if (is_open(a->lookup) || is_open(a->data) || is_open(a->actor))
			return false;
	}
	return true;
}

lsn_t answers_upto(lsn_t upto, const struct question *q)
{
	lsn_t other = q ? question_upto(q) : 0;

	return other > upto ? other : upto;
}

lsn_t answers_lookups_upto(const struct answers *answers)
{
	lsn_t upto = 0;

	for (size_t i = 0; i < answers->n; i++)
		upto = answers_upto(upto, answers->at[i].lookup);
	return upto;
}

static void give_up(struct question **q)
{
	if (!is_open(*q))
		return;
	question_unref(*q);
	*q = NULL;
}

void answers_give_up(struct answers *answers)
{
	for (size_t i = 0; i < answers->n; i++) {
		give_up(&answers->at[i].lookup);
		give_up(&answers->at[i].data);
		give_up(&answers->at[i].actor);
	}
}

void answers_drop(struct answers *answers)
{
	for (size_t i = 0; i < answers->n; i++) {
		question_unref(answers->at[i].lookup);
		question_unref(answers->at[i].data);
		question_unref(answers->at[i].actor);
	}
	free(answers->at);
	answers->at = NULL;
	answers->n = 0;
}
