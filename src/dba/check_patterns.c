/* Patterns of tables, a schema per tenant: which schemas are there, and do the groups keep them apart? */
#include "parts.h"

#include "walpush/base/buf.h"

static size_t count_matched(const struct check *c, const struct rules_table *pattern)
{
	size_t n = 0;

	for (size_t i = 0; i < rules_n_tables(c->rules); i++) {
		const struct rules_table *t = rules_table(c->rules, i);
		const struct rules_table *p;

		for (size_t k = 0; (p = rules_pattern_at(c->rules, slice_of(t->schema), slice_of(t->name), k)); k++)
			n += p == pattern && t->catalog;
	}
	return n;
}

static void check_matched(struct check *c, const struct rules_table *pattern)
{
	size_t n = count_matched(c, pattern);

	if (n)
		check_ok(c, "%zu table%s %s.%s", n, n == 1 ? " matches" : "s match", pattern->schema, pattern->name);
	else
		check_add(c, CHECK_WARNING, CHECK_WORDS,
			  "correct the line, or make the first tenant; a schema that is made later is found by itself",
			  "line %u: no schema of this database matches %s and has a table %s",
			  pattern->sections[0]->conf->from.line, pattern->schema, pattern->name);
}

static bool keeps_apart(const struct tmpl *group)
{
	return tmpl_uses(group, TMPL_TABLE) || tmpl_uses(group, TMPL_LOOKUP);
}

/* A key of one tenant may be a key of another one, too. */
static void check_apart(struct check *c, const struct rules_section *s)
{
	for (size_t i = 0; i < s->n_groups; i++)
		if (!keeps_apart(&s->groups[i]))
			check_add(
				c, CHECK_WARNING, CHECK_WORDS,
				"name {schema} in the group, and spell it in the stream's, from the path, the token or "
				"an admit row",
				"groups of %s (line %u): %s has no {schema}: rows of all schemas that match reach "
				"whoever "
				"may listen to it",
				s->conf->name, s->conf->groups.at[i].line, s->conf->groups.at[i].text);
}

static bool queries_use_it(const struct rules_section *s)
{
	return (s->lookup.sql && tmpl_uses(&s->lookup.source, TMPL_TABLE)) ||
	       (s->data.sql && tmpl_uses(&s->data.source, TMPL_TABLE));
}

static bool uses_schema(const struct rules_section *s)
{
	for (size_t i = 0; i < s->n_groups; i++)
		if (tmpl_uses(&s->groups[i], TMPL_TABLE))
			return true;
	return queries_use_it(s) || jsontmpl_uses(&s->message, TMPL_TABLE);
}

static void check_word(struct check *c, const struct rules_table *t)
{
	if (!t->catalog || catalog_column_index(t->catalog, "schema") < 0)
		return;
	check_about(c, t);
	for (size_t i = 0; i < t->n_sections; i++)
		if (uses_schema(t->sections[i]))
			check_add(
				c, CHECK_WARNING, CHECK_WORDS,
				"write the column between quotes, {\"schema\"}, where it is meant",
				"%s (line %u): %s.%s has a column named schema, and {schema} is the name of its schema",
				t->sections[i]->conf->name, t->sections[i]->conf->line, t->schema, t->name);
	check_about(c, NULL);
}

void check_patterns(struct check *c)
{
	size_t before = c->n_findings;

	for (size_t i = 0; i < rules_n_patterns(c->rules); i++) {
		const struct rules_table *pattern = rules_pattern(c->rules, i);

		check_matched(c, pattern);
		for (size_t k = 0; k < pattern->n_sections; k++)
			check_apart(c, pattern->sections[k]);
	}
	for (size_t i = 0; i < rules_n_tables(c->rules); i++)
		check_word(c, rules_table(c->rules, i));
	if (c->n_findings == before)
		check_ok(c, "no section is about more than one table");
}
