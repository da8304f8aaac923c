/* The users whose permission a row changes. */
#include <string.h>

#include "walpush/change/route.h"

/* If a value was not sent, nobody can say that it is the same. */
static bool is_same(const struct row *row, int column)
{
	const struct column *now = row->now[column], *old = row->old[column];

	return now && old && now->kind == old->kind && slice_equal(now->value, old->value);
}

static bool counts(const struct rules_membership *m, const struct row *row)
{
	if (row->change->kind != CHANGE_UPDATE || m->any)
		return true;
	for (size_t i = 0; i < m->n_columns; i++)
		if (!is_same(row, m->columns[i]))
			return true;
	return m->user >= 0 && !is_same(row, m->user);
}

static void add(struct route_members *out, const struct column *user)
{
	if (user && user->kind != VALUE_NULL)
		out->users[out->n++] = user;
	else
		out->everybody = true;
}

void route_membership(const struct rules_membership *m, const struct row *row, struct route_members *out)
{
	*out = (struct route_members){ 0 };
	if (!counts(m, row))
		return;
	if (m->user < 0 || !m->by_text) {
		out->everybody = true;
		return;
	}
	if (row->change->kind != CHANGE_DELETE)
		add(out, row->now[m->user]);
	if (row->change->kind == CHANGE_DELETE || (row->change->kind == CHANGE_UPDATE && !is_same(row, m->user)))
		add(out, row->old[m->user]);
}
