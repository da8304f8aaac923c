#include "walpush/change/route.h"

#include "walpush/text/pgtypes.h"

enum presence { OUTSIDE, INSIDE };

/* PostgreSQL's output function of one type printed both, so equal values have equal bytes. */
static bool same_value(const struct column *a, const struct column *b)
{
	return a->kind == b->kind && slice_equal(a->value, b->value);
}

static bool has_text(const struct column *c, const char *text)
{
	return c && c->kind != VALUE_NULL && slice_equal(c->value, slice_of(text));
}

/* A missing value counts as inside, because one message too many does less harm than silence. */
static enum presence presence_in(const struct rules_section *s, const struct row *row, bool before)
{
	for (size_t i = 0; i < s->n_when; i++) {
		size_t at = (size_t)s->when[i].column;
		const struct column *c = before ? row->old[at] : row_value(row, at);

		if (c && !has_text(c, s->when[i].equals))
			return OUTSIDE;
	}
	return INSIDE;
}

/* False: the row is outside before and after. */
static bool find_op(const struct rules_section *s, const struct row *row, enum route_op *op)
{
	enum presence before = INSIDE, after = INSIDE;

	if (s->n_when) {
		before = presence_in(s, row, true);
		after = presence_in(s, row, false);
	}
	switch (row->change->kind) {
	case CHANGE_INSERT:
		*op = ROUTE_CREATED;
		return after == INSIDE;
	case CHANGE_DELETE:
		*op = ROUTE_DELETED;
		return before == INSIDE;
	case CHANGE_UPDATE:
		*op = after == OUTSIDE ? ROUTE_DELETED : before == OUTSIDE ? ROUTE_CREATED : ROUTE_UPDATED;
		return before == INSIDE || after == INSIDE;
	default:
		return false;
	}
}

enum holds { NO, MAYBE, YES };

/* For an UPDATE. A value that neither row has is unchanged, because PostgreSQL does not send unchanged large values. A
 * new value without an old one may be unchanged. */
static enum holds update_holds(const struct rules_condition *c, const struct column *now, const struct column *old)
{
	if (!now || (c->becomes && !has_text(now, c->becomes)))
		return NO;
	if (!old)
		return c->was && has_text(now, c->was) ? NO : MAYBE;
	return !same_value(now, old) && (!c->was || has_text(old, c->was)) ? YES : NO;
}

static enum holds condition_holds(const struct rules_condition *c, const struct row *row)
{
	const struct column *now, *old;

	if (c->column < 0)
		return YES;
	old = row->old[c->column];
	if (row->change->kind == CHANGE_DELETE) {
		if (!c->was || c->becomes || c->changes)
			return NO;
		return !old ? MAYBE : has_text(old, c->was) ? YES : NO;
	}
	now = row_value(row, (size_t)c->column);
	if (row->change->kind == CHANGE_INSERT)
		return c->becomes && has_text(now, c->becomes) && !c->was && !c->changes ? YES : NO;
	return update_holds(c, now, old);
}

/* The first action that holds. *unknown: an action before it may hold as well, and nobody can tell. */
static const struct rules_action *find_action(const struct rules_section *s, const struct row *row, bool *unknown)
{
	unsigned on = row->change->kind == CHANGE_INSERT   ? CONF_ON_INSERT
		      : row->change->kind == CHANGE_UPDATE ? CONF_ON_UPDATE
							   : CONF_ON_DELETE;

	*unknown = false;
	for (size_t i = 0; i < s->n_actions; i++) {
		enum holds holds = s->actions[i].conf->on & on ? condition_holds(&s->actions[i].condition, row) : NO;

		*unknown = holds == MAYBE;
		if (holds != NO)
			return holds == YES ? &s->actions[i] : NULL;
	}
	return NULL;
}

static bool names_column(const struct tmpl_part *part)
{
	return part->is_ref && (part->scope == TMPL_ROW || part->scope == TMPL_OLD);
}

/* The value of {x} or {old.x}; *out NULL: there was no old row. False: PostgreSQL did not send it. For a deleted row,
 * {x} is the old value. */
static bool placeholder_value(const struct route_plan *plan, const struct tmpl_part *part, const struct column **out)
{
	const struct row *row = plan->row;

	if (part->scope == TMPL_OLD || plan->op == ROUTE_DELETED)
		*out = row->old[part->slot];
	else
		*out = row_value(row, (size_t)part->slot);
	return *out || (part->scope == TMPL_OLD && row->change->kind == CHANGE_INSERT);
}

/* Can this query run, or is a parameter missing? */
static bool is_known(const struct route_plan *plan, const struct tmpl *t)
{
	const struct column *value;

	for (size_t i = 0; i < t->n_parts; i++)
		if (names_column(&t->parts[i]) && !placeholder_value(plan, &t->parts[i], &value))
			return false;
	return true;
}

/* A value that an update did not send is large and unchanged. */
static bool is_unchanged(const struct row *row, size_t i)
{
	const struct column *now = row->now[i], *old = row->old[i];

	return !now || (old && same_value(now, old));
}

/* The update changed only quiet columns. An unknown value counts as a change. A row that does not fit the catalog
 * counts as a change of another column. */
static bool is_quiet(const struct rules_section *s, const struct row *row)
{
	bool changed = false;

	if (!s->quiet || !row->fits)
		return false;
	for (size_t i = 0; i < row->table->n_columns; i++) {
		if (is_unchanged(row, i))
			continue;
		if (!s->quiet[i])
			return false;
		changed = true;
	}
	return changed;
}

static void plan_queries(struct route_plan *plan)
{
	const struct rules_section *s = plan->section;
	const struct column *actor;
	bool uses_lookup = s->message_uses_lookup;

	for (size_t i = 0; i < s->n_groups; i++)
		uses_lookup = uses_lookup || s->group_uses_lookup[i];
	plan->lookup_unknown = uses_lookup && !is_known(plan, &s->lookup.source);
	plan->wants_lookup = uses_lookup && !plan->lookup_unknown;
	plan->wants_data = s->data.sql && plan->op != ROUTE_DELETED && is_known(plan, &s->data.source);
	/* The table's own actor column names the user who wrote the row, not the user who deletes it. */
	plan->actor_column = plan->op == ROUTE_DELETED ? -1 : s->actor_column;
	if (plan->action && plan->action->actor_column >= 0)
		plan->actor_column = plan->action->actor_column;
	actor = plan->actor_column < 0 ? NULL : row_value(plan->row, (size_t)plan->actor_column);
	plan->wants_actor = s->asks_actor && actor && actor->kind != VALUE_NULL;
}

bool route_section(const struct rules_section *s, const struct row *row, struct route_plan *out)
{
	bool unknown;

	*out = (struct route_plan){ .section = s, .row = row, .actor_column = -1 };
	if (!find_op(s, row, &out->op))
		return false;
	if (out->op == ROUTE_UPDATED && is_quiet(s, row))
		return false;
	out->action = find_action(s, row, &unknown);
	out->is_unknown = unknown && s->conf->only_actions;
	if (!out->action && s->conf->only_actions)
		return out->is_unknown;
	plan_queries(out);
	return true;
}

bool route_standing(const struct rules_section *s, const struct row *row, struct route_plan *out)
{
	*out = (struct route_plan){ .section = s, .row = row, .op = ROUTE_CREATED, .actor_column = -1 };
	if (presence_in(s, row, false) == OUTSIDE)
		return false;
	plan_queries(out);
	out->wants_data = out->wants_actor = false;
	return true;
}

bool route_param(const struct route_plan *plan, const struct tmpl_part *part, struct buf *out)
{
	const struct column *value;

	if (part->scope == TMPL_TABLE) {
		buf_add_text(out, plan->section->table->schema);
		return true;
	}
	if (!placeholder_value(plan, part, &value) || !value)
		return false;
	/* wal2json omits the prefix that marks hexadecimal for PostgreSQL, but not for a domain over bytea. */
	if (value->type == PG_BYTEA && value->kind == VALUE_STRING)
		buf_add_text(out, "\\x");
	return row_text(value, out);
}

struct expansion { /* answers the placeholders of a section's groups */
	const struct route_plan *plan;
	const struct sqlrows *lookup;
	size_t lookup_row;
	struct groups *groups;
	bool from_old; /* for the groups left */
	bool unknown;
};

static bool expansion_value(void *ctx, const struct tmpl_part *part, struct buf *out)
{
	struct expansion *e = ctx;
	const struct column *value;

	if (part->scope == TMPL_LOOKUP)
		return groups_sql_value(e->groups, e->lookup, e->lookup_row, part->text, out);
	if (part->scope == TMPL_TABLE)
		return route_param(e->plan, part, out);
	if (e->from_old)
		value = e->plan->row->old[part->slot];
	else if (!placeholder_value(e->plan, part, &value))
		e->unknown = true;
	return value && row_text(value, out);
}

static void join_groups(const struct route_plan *plan, const struct sqlrows *lookup, struct route_result *out)
{
	const struct rules_section *s = plan->section;
	struct expansion e = { .plan = plan, .lookup = lookup, .groups = &out->joined.groups };

	for (size_t i = 0; i < s->n_groups; i++) {
		if (!s->group_uses_lookup[i])
			groups_expand(e.groups, &s->groups[i], expansion_value, &e, NULL, 0);
		else if (plan->lookup_unknown)
			e.unknown = true;
		else if (lookup)
			for (e.lookup_row = 0; e.lookup_row < lookup->n_rows; e.lookup_row++)
				groups_expand(e.groups, &s->groups[i], expansion_value, &e, NULL,
					      (uint32_t)e.lookup_row);
	}
	e.unknown = e.unknown || (plan->lookup_unknown && s->message_uses_lookup);
	out->unknown = out->unknown || e.unknown;
}

enum movement { STAYED, MOVED, UNKNOWN };

static enum movement movement_of(const struct tmpl *t, const struct row *row)
{
	enum movement result = STAYED;

	for (size_t i = 0; i < t->n_parts; i++) {
		const struct column *now, *old;

		if (!names_column(&t->parts[i]))
			continue;
		old = row->old[t->parts[i].slot];
		now = row_value(row, (size_t)t->parts[i].slot);
		if (!old || !now)
			return UNKNOWN;
		if (!same_value(now, old))
			result = MOVED;
	}
	return result;
}

/* Old groups without the new ones, only from columns: a lookup answers only for the present, and {old.x} names a former
 * group as such. */
static void leave_groups(const struct route_plan *plan, struct route_result *out)
{
	const struct rules_section *s = plan->section;
	struct expansion e = { .plan = plan, .groups = &out->left.groups, .from_old = true };

	for (size_t i = 0; i < s->n_groups; i++) {
		enum movement movement;

		if (s->group_uses_lookup[i] || tmpl_uses(&s->groups[i], TMPL_OLD))
			continue;
		movement = movement_of(&s->groups[i], plan->row);
		if (movement == MOVED)
			groups_expand(e.groups, &s->groups[i], expansion_value, &e, &out->joined.groups, 0);
		out->unknown = out->unknown || movement == UNKNOWN;
	}
}

bool route_takes_away(const struct rules_section *s, const struct row *row)
{
	enum route_op op;

	if (!find_op(s, row, &op))
		return false;
	if (op != ROUTE_UPDATED)
		return op == ROUTE_DELETED;
	for (size_t i = 0; i < s->n_groups; i++)
		if (!s->group_uses_lookup[i] && movement_of(&s->groups[i], row) != STAYED)
			return true;
	return false;
}

/* The server sends an old key only if it changed, whatever the replica identity. */
static bool is_same_still(const struct row *row, size_t i)
{
	const struct column *now = row->now[i], *old = row->old[i];

	return !now || (old ? same_value(now, old) : row->table->columns[i].in_key);
}

static bool asks_as_before(const struct rules_query *q, const struct row *row)
{
	for (size_t i = 0; q->sql && i < q->source.n_parts; i++)
		if (names_column(&q->source.parts[i]) && !is_same_still(row, (size_t)q->source.parts[i].slot))
			return false;
	return true;
}

bool route_gives_away(const struct rules_section *s, const struct row *row)
{
	if (row->change->kind != CHANGE_UPDATE)
		return false;
	for (size_t i = 0; i < row->table->n_columns; i++)
		if (row->table->columns[i].in_key && !is_same_still(row, i))
			return true;
	return !asks_as_before(&s->data, row) || !asks_as_before(&s->lookup, row);
}

static bool could_be_looked_up(const void *ctx, struct slice name)
{
	const struct rules_section *s = ctx;

	for (size_t i = 0; i < s->n_groups; i++)
		if (s->group_uses_lookup[i] && tmpl_could_spell(&s->groups[i], name, s->table->schema))
			return true;
	return false;
}

void route_without_lookup(const struct route_plan *plan, struct route_result *r)
{
	groups_drop(&r->left.groups, could_be_looked_up, plan->section);
}

static bool is_looked_up(const void *ctx, struct slice name)
{
	return groups_has(ctx, name);
}

void route_looked_up(const struct route_plan *plan, const struct sqlrows *lookup, struct route_result *r,
		     struct groups *out)
{
	const struct rules_section *s = plan->section;
	struct expansion e = { .plan = plan, .lookup = lookup, .groups = out };

	groups_clear(out);
	for (size_t i = 0; i < s->n_groups; i++)
		for (e.lookup_row = 0; s->group_uses_lookup[i] && e.lookup_row < lookup->n_rows; e.lookup_row++)
			groups_expand(out, &s->groups[i], expansion_value, &e, &r->joined.groups, 0);
	r->unknown = r->unknown || e.unknown;
	groups_drop(&r->left.groups, is_looked_up, out);
}

static const char *action_name(const struct route_plan *plan)
{
	static const char *const names[] = { "created", "updated", "deleted" };

	return plan->action ? plan->action->name_json : names[plan->op];
}

void route_messages(const struct route_plan *plan, const struct sqlrows *lookup, struct route_result *out)
{
	groups_clear(&out->left.groups);
	groups_clear(&out->joined.groups);
	out->joined.groups.tracks_rows = plan->section->message_uses_lookup;
	out->joined.op = plan->op;
	out->joined.action = action_name(plan);
	out->joined.key_only = plan->op == ROUTE_DELETED;
	out->left.op = ROUTE_DELETED;
	out->left.action = "moved";
	out->left.key_only = true;
	out->unknown = plan->is_unknown;
	if (plan->is_unknown)
		return;
	join_groups(plan, lookup, out);
	if (plan->op == ROUTE_UPDATED)
		leave_groups(plan, out);
}

void route_result_fini(struct route_result *r)
{
	groups_fini(&r->left.groups);
	groups_fini(&r->joined.groups);
}
