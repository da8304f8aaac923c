/* Which columns of a table the rules use: what is sent of a row must have them. */
#include "parts.h"

/* Is the value a reason for a message, or a part of one? */
static bool section_uses(const struct rules_section *s, size_t column)
{
	return rules_names(s, column) || rules_sends(s, column) || s->updated_at == (int)column ||
	       (s->quiet && !s->quiet[column]);
}

static bool membership_uses(const struct rules_membership *m, size_t column)
{
	for (size_t i = 0; i < m->n_columns; i++)
		if (m->columns[i] == (int)column)
			return true;
	return m->user == (int)column;
}

static const struct rules_section *user_of(const struct rules_table *t, size_t column)
{
	for (size_t i = 0; i < t->n_sections; i++)
		if (section_uses(t->sections[i], column))
			return t->sections[i];
	return NULL;
}

static bool decides(const struct rules_table *t, size_t column)
{
	for (size_t i = 0; i < t->n_memberships; i++)
		if (membership_uses(t->memberships[i], column))
			return true;
	return false;
}

bool rules_uses(const struct rules_table *t, size_t column)
{
	return !t->catalog->columns[column].is_virtual && (user_of(t, column) || decides(t, column));
}

bool rules_needs(const struct rules_table *t, size_t column)
{
	for (size_t i = 0; i < t->n_sections; i++)
		if (rules_names(t->sections[i], column))
			return true;
	return decides(t, column);
}

void rules_add_user(const struct rules_table *t, size_t column, struct buf *out)
{
	const struct rules_section *s = user_of(t, column);

	if (s)
		buf_addf(out, "section %s uses", s->conf->name);
	else
		buf_add_text(out, "who may listen depends on");
}
