#include "parts.h"

#include <assert.h>
#include <stdlib.h>

#include "walpush/base/mem.h"

static const struct question_kind lookup_kind = {
	.failed = "a lookup failed; its groups are told to refetch",
	.mend = "correct the `lookup` query, or grant SELECT on what it reads",
};
static const struct question_kind data_kind = {
	.failed = "a data query failed; `data` is null, or has what `columns` names",
	.mend = "correct the `data-query`, or grant SELECT on what it reads",
	.no_json = "a data query does not return JSON; `data` is null, or has what `columns` names",
};
static const struct question_kind actor_kind = {
	.failed = "the actor query failed; updated_by is null",
	.mend = "correct `actor.query`, or grant SELECT on what it reads",
};

static struct question *ask_about_row(struct intake *in, const struct route_plan *plan,
				      const struct question_kind *kind, const struct rules_query *q)
{
	char **values = mem_new_array(q->source.n_refs, sizeof(char *));
	struct question *asked;
	size_t n = 0;

	for (size_t i = 0; i < q->source.n_parts; i++) {
		if (!q->source.parts[i].is_ref)
			continue;
		buf_clear(&in->scratch);
		if (route_param(plan, &q->source.parts[i], &in->scratch))
			values[n] = mem_text_of(buf_slice(&in->scratch));
		n++;
	}
	asked = questions_ask(in->questions, kind, q, n, (const char *const *)values);
	for (size_t i = 0; i < n; i++)
		free(values[i]);
	free(values);
	return asked;
}

static struct question *ask_actor(struct intake *in, const struct route_plan *plan)
{
	const struct rules_query *q = rules_actor(in->rules);
	const struct column *id = row_value(plan->row, (size_t)plan->actor_column);
	const char *values[16];

	buf_clear(&in->scratch);
	if (!id || !row_text(id, &in->scratch))
		return NULL;
	assert(q->source.n_refs <= sizeof(values) / sizeof(*values));
	for (size_t i = 0; i < q->source.n_refs; i++)
		values[i] = in->scratch.data;
	return questions_ask(in->questions, &actor_kind, q, q->source.n_refs, values);
}

static void ask_section(struct intake *in, struct record *r, const struct rules_section *section, size_t i, size_t n)
{
	struct answers *a;
	struct route_plan plan;
	bool questions;

	if (!route_section(section, &in->row, &plan))
		return;
	questions = plan.wants_lookup || plan.wants_data;
	if (!questions && !plan.wants_actor)
		return;
	if (!r->answers) {
		r->answers = mem_new_array(n, sizeof(*r->answers));
		r->n_answers = n;
	}
	a = &r->answers[i];
	a->left_out = questions && r->transaction->questioned++ >= in->bulk;
	if (plan.wants_lookup && !a->left_out)
		a->lookup = ask_about_row(in, &plan, &lookup_kind, &section->lookup);
	if (plan.wants_data && !a->left_out)
		a->data = ask_about_row(in, &plan, &data_kind, &section->data);
	if (plan.wants_actor)
		a->actor = ask_actor(in, &plan);
}

void intake_ask_questions(struct intake *in, struct record *r, const struct change *change,
			  const struct rules_table *table)
{
	r->asked = true;
	if (change->kind == CHANGE_TRUNCATE)
		return;
	for (size_t i = 0; i < table->n_sections; i++)
		ask_section(in, r, table->sections[i], i, table->n_sections);
}

static bool is_open(const struct question *q)
{
	return q && !question_is_answered(q);
}

bool intake_is_answered(const struct record *r)
{
	for (size_t i = 0; i < r->n_answers; i++)
		if (is_open(r->answers[i].lookup) || is_open(r->answers[i].data) || is_open(r->answers[i].actor))
			return false;
	return true;
}

void intake_drop_answers(struct record *r)
{
	for (size_t i = 0; i < r->n_answers; i++) {
		question_unref(r->answers[i].lookup);
		question_unref(r->answers[i].data);
		question_unref(r->answers[i].actor);
	}
	free(r->answers);
	r->answers = NULL;
	r->n_answers = 0;
}

void intake_ask_ahead(struct intake *in)
{
	while (in->ask_next && questions_open(in->questions) < INTAKE_ASKED &&
	       questions_bytes(in->questions) < INTAKE_BYTES) {
		struct record *r = in->ask_next;
		const struct rules_table *table = NULL;
		struct change change;
		struct fail why; /* said when it is the head */

		if (r->kind != 'B' && r->kind != 'C' && !r->transaction->repeated && !r->asked && !r->skipped) {
			if (!intake_may_ask(in, r->transaction))
				return;
			switch (intake_bind_row(in, r, &change, &table, &why)) {
			case BOUND:
				intake_ask_questions(in, r, &change, table);
				break;
			case BOUND_NEW:
			case BOUND_STALE:
				return; /* its turn will come as the head */
			default:
				break;
			}
		}
		in->ask_next = r->next;
	}
}
