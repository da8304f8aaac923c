#include "walpush/explain/explain.h"

#include <stdlib.h>

#include "parts.h"
#include "walpush/base/mem.h"

struct explain *explain_new(const struct explain_present *now, const struct explain_question *q)
{
	struct explain *e = mem_new(sizeof(*e));

	e->now = *now;
	e->question = q;
	e->names = group_names_new(now->plain);
	if (q->kind == EXPLAIN_USER)
		explain_user_begin(e);
	else
		explain_row_begin(e);
	return e;
}

static void forget_sql(struct explain *e)
{
	for (size_t i = 0; i < e->sql.n_values; i++)
		free(e->values[i]);
	free(e->values);
	e->values = NULL;
	e->sql = (struct explain_sql){ 0 };
}

void explain_free(struct explain *e)
{
	if (!e)
		return;
	forget_sql(e);
	explain_row_fini(e);
	ticket_unref(e->ticket);
	groups_fini(&e->groups);
	group_names_free(e->names);
	json_decref(e->document);
	free(e);
}

const struct explain_sql *explain_next(const struct explain *e)
{
	return e->sql.sql ? &e->sql : NULL;
}

void explain_answer(struct explain *e, struct sqlrows *rows, const struct fail *why)
{
	forget_sql(e);
	if (e->question->kind == EXPLAIN_USER)
		explain_user_answer(e, rows, why);
	else
		explain_row_answer(e, rows, why);
}

const struct groups *explain_groups(const struct explain *e)
{
	return &e->groups;
}

bool explain_is_about(const struct explain *e, const char *section, const char *key)
{
	for (size_t i = 0; e->table && i < e->table->n_sections; i++)
		if (strcmp(e->table->sections[i]->conf->name, section) == 0)
			return explain_key_is(key, e->question->key);
	return false;
}

json_t *explain_document(const struct explain *e)
{
	return json_deep_copy(e->document);
}

bool explain_says_yes(const json_t *document)
{
	return json_is_true(json_object_get(document, "admitted")) || json_is_true(json_object_get(document, "found"));
}
