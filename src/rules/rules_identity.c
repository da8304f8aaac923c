/* The columns whose old values the rules need: the replica identity of the table must hold them. */
#include "walpush/rules/rules.h"

#include <stdlib.h>

#include "walpush/base/mem.h"

struct names {
	const char **at;
	size_t n;
};

static void add(struct names *names, const char *column)
{
	if (!column)
		return;
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->at[i], column) == 0)
			return;
	names->at = mem_resize((void *)names->at, names->n + 1, sizeof(*names->at));
	names->at[names->n++] = column;
}

/* A column of a group's name or of a lookup: the old value tells where an updated or deleted row was. */
static void add_template(struct names *names, const struct tmpl *t)
{
	for (size_t i = 0; i < t->n_parts; i++)
		if (t->parts[i].is_ref && (t->parts[i].scope == TMPL_ROW || t->parts[i].scope == TMPL_OLD))
			add(names, t->parts[i].text);
}

/* The message about a deleted row has only the old values. */
static void add_message(struct names *names, const struct jsontmpl *t)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct tmpl_part *part = &t->pieces[i].part;

		if (t->pieces[i].kind != JSONTMPL_LITERAL && (part->scope == TMPL_ROW || part->scope == TMPL_OLD))
			add(names, part->text);
	}
}

static void add_section(struct names *names, const struct rules_section *s)
{
	for (size_t i = 0; i < s->n_groups; i++)
		add_template(names, &s->groups[i]);
	if (s->lookup.sql)
		add_template(names, &s->lookup.source);
	add_message(names, &s->message);
	for (size_t i = 0; i < s->conf->n_when; i++)
		add(names, s->conf->when[i].column);
	for (size_t i = 0; i < s->conf->n_actions; i++)
		if (s->conf->actions[i].on != CONF_ON_INSERT)
			add(names, s->conf->actions[i].condition.column);
}

size_t rules_identity_columns(const struct rules_table *t, const char ***out)
{
	struct names names = { 0 };

	for (size_t i = 0; i < t->n_sections; i++)
		add_section(&names, t->sections[i]);
	for (size_t i = 0; i < t->n_memberships; i++) {
		const struct conf_membership *m = t->memberships[i]->conf;

		add(&names, m ? m->user : NULL);
		for (size_t k = 0; m && k < m->columns.n; k++)
			add(&names, m->columns.at[k].text);
	}
	for (size_t i = 0; i < t->read.n_columns; i++)
		add(&names, t->read.columns[i]);
	*out = names.at;
	return names.n;
}
