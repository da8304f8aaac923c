#include "check_tie.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "check_cond.h"
#include "walpush/base/buf.h"
#include "walpush/base/slice.h"
#include "walpush/text/sqltext.h"

/* If `from` is the user, `to` is the user: for other rows of `to` it does not matter whether they are there. */
struct edge {
	struct slice from, to;
	const json_t *whose; /* not NULL: `from` is any column of the scans below this node */
	bool is_tied;
};

struct scan {
	const json_t *node;
	struct buf name;   /* "alias.column", as the plan spells it */
	struct buf parent; /* the same above the scans of a parent's children; empty: it is no such scan */
};

struct search {
	const json_t *root;
	const struct tie_column *column;
	const bool *is_user;
	size_t n_params;
	struct edge edges[TIE_COMPARISONS_MOST];
	size_t n_edges;
	struct scan scans[TIE_SCANS_MOST];
	size_t n_scans;
	bool too_many; /* scans; nothing is known of the scans that are left out */
};

/*
 * The rows that are gone if a condition is not true: the rows of a node and of all nodes below it, and of further nodes above that give no row
 * if this node gives none. A comparison ties only columns of these nodes: rows that an outer join preserves stay, whatever its condition says.
 */
struct scope {
	const json_t *tree;
	const struct scope *above;
};

struct place { /* where a condition is in the plan */
	struct search *f;
	const struct scope *scope;
};

/* --- names -------------------------------------------------------------------------------------------------------- */

/* Children are scanned as "m_1", "m_2"; above their scans the plan calls them "m". Returns the length of "m"; 0: the alias has no such form. */
static size_t parents_len(const char *alias)
{
	size_t len = strlen(alias), digits = 0;

	while (digits < len && isdigit((unsigned char)alias[len - digits - 1]))
		digits++;
	return digits && len >= digits + 2 && alias[len - digits - 1] == '_' ? len - digits - 1 : 0;
}

static bool is_named(const json_t *node, struct slice alias, bool as_child)
{
	const char *name = json_string_value(json_object_get(node, "Alias"));
	struct buf base = { 0 }, quoted = { 0 };
	bool same;

	if (!name)
		return false;
	buf_add(&base, name, as_child ? parents_len(name) : strlen(name));
	sqltext_ident(&quoted, base.len ? base.data : "");
	same = base.len && slice_equal(buf_slice(&quoted), alias);
	buf_fini(&base);
	buf_fini(&quoted);
	return same;
}

/* --- the tree ----------------------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *node, const char *name)
{
	const char *text = json_string_value(json_object_get(node, name));

	return text ? text : "";
}

static bool is_one_of(const char *text, const char *const *names)
{
	for (; *names; names++)
		if (strcmp(text, *names) == 0)
			return true;
	return false;
}

static bool is_subplan(const json_t *node)
{
	return is_one_of(text_of(node, "Parent Relationship"), (const char *const[]){ "SubPlan", "InitPlan", NULL });
}

/* True: the rows that come out of the node also depend on rows below with other values: one row more takes the place of another. DISTINCT ON is
 * such a node, DISTINCT of one column is not. */
static bool mixes_rows(const json_t *node)
{
	static const char *const names[] = { "Limit", "WindowAgg", "SetOp", "Recursive Union", NULL };
	const char *type = text_of(node, "Node Type");

	return is_one_of(type, names) ||
	       (strcmp(type, "Unique") == 0 && json_array_size(json_object_get(node, "Output")) != 1);
}

/* Is a node with this name in the tree, so that its columns name its rows also above? `everywhere`: also in subplans, and below nodes that mix
 * rows. */
static bool holds(const json_t *tree, struct slice alias, bool as_child, bool everywhere)
{
	const json_t *children = json_object_get(tree, "Plans");

	if (is_named(tree, alias, as_child))
		return true;
	for (size_t i = 0; (everywhere || !mixes_rows(tree)) && i < json_array_size(children); i++) {
		const json_t *child = json_array_get(children, i);

		if ((everywhere || !is_subplan(child)) && holds(child, alias, as_child, everywhere))
			return true;
	}
	return false;
}

static bool holds_node(const json_t *tree, const json_t *node)
{
	const json_t *children = json_object_get(tree, "Plans");

	if (tree == node)
		return true;
	for (size_t i = 0; i < json_array_size(children); i++)
		if (holds_node(json_array_get(children, i), node))
			return true;
	return false;
}

static bool in_scope(const struct place *p, struct slice alias)
{
	bool as_child = !holds(p->f->root, alias, false, true);

	for (const struct scope *s = p->scope; s; s = s->above)
		if (holds(s->tree, alias, as_child, false))
			return true;
	return false;
}

static bool scope_holds(const struct scope *s, const json_t *node)
{
	for (; s; s = s->above)
		if (holds_node(s->tree, node))
			return true;
	return false;
}

/* --- comparisons -------------------------------------------------------------------------------------------------- */

static void add_edge(struct search *f, struct slice from, struct slice to, const json_t *whose)
{
	if (f->n_edges < TIE_COMPARISONS_MOST)
		f->edges[f->n_edges++] = (struct edge){ from, to, whose, false };
}

/* What holds for a parent's column above the children also holds for the children's columns. */
static void add_children(const struct place *p, struct slice parent)
{
	for (size_t i = 0; i < p->f->n_scans; i++) {
		const struct scan *scan = &p->f->scans[i];

		if (slice_equal(buf_slice(&scan->parent), parent) && scope_holds(p->scope, scan->node))
			add_edge(p->f, parent, buf_slice(&scan->name), NULL);
	}
}

/* A parameter is the same everywhere, but it must equal another only if the whole plan gives no row otherwise. */
static void may_tie(const struct place *p, struct slice from, struct slice to)
{
	struct slice alias = cond_alias(to);

	if (!alias.len && !cond_parameter(to))
		return;
	if (alias.len ? !in_scope(p, alias) : !scope_holds(p->scope, p->f->root))
		return;
	add_edge(p->f, from, to, NULL);
	if (alias.len)
		add_children(p, to);
}

static void take_equality(void *ctx, struct slice left, struct slice right)
{
	may_tie(ctx, left, right);
	may_tie(ctx, right, left);
}

static void take_condition(struct search *f, const json_t *node, const char *name, const struct scope *scope)
{
	struct place p = { f, scope };

	cond_each(slice_of(text_of(node, name)), f->column->casts, take_equality, &p);
}

/* --- hashes ------------------------------------------------------------------------------------------------------- */

struct hashed { /* the output of a subplan, as a condition prints it */
	struct search *f;
	json_t *node; /* the node with the condition */
	const json_t *output;
	struct buf name; /* "hashed SubPlan 1)"; before 17 it is also one of "(alternatives: …)" */
};

static void add_output(struct hashed *h, size_t i, struct slice from, const json_t *whose)
{
	const char *column = json_string_value(json_array_get(h->output, i));

	if (column)
		add_edge(h->f, from, cond_bare(slice_of(column), h->f->column->casts), whose);
}

/* "u.id = (hashed SubPlan 1).col1" */
static void take_hashed_equality(void *ctx, struct slice left, struct slice right)
{
	struct hashed *h = ctx;
	size_t number = 0;

	if (right.len < h->name.len + 6 || memcmp(right.at + 1, h->name.data, h->name.len) != 0 ||
	    memcmp(right.at + 1 + h->name.len, ".col", 4) != 0)
		return;
	for (size_t i = h->name.len + 5; i < right.len && isdigit((unsigned char)right.at[i]); i++)
		number = number * 10 + (size_t)(right.at[i] - '0');
	if (number)
		add_output(h, number - 1, left, NULL);
}

/*
 * PostgreSQL 17 prints "(ANY (u.id = (hashed SubPlan 1).col1))". Earlier versions print only "(hashed SubPlan 1)" of the comparison: if the rows
 * that compare have the user in some column, this is taken for a comparison with that column.
 */
static void take_hashed_text(struct hashed *h, const char *text)
{
	static const char any[] = "(ANY (";
	const char *at = strstr(text, h->name.data);

	if (!at)
		return;
	if (at[h->name.len] != '.') {
		for (size_t i = 0; i < json_array_size(h->output); i++)
			add_output(h, i, (struct slice){ "", 0 }, h->node);
		return;
	}
	for (at = text; (at = strstr(at, any)); at++) {
		struct slice rest = slice_of(at + sizeof(any) - 2);

		cond_each((struct slice){ rest.at, cond_behind(rest, 0) }, h->f->column->casts, take_hashed_equality,
			  h);
	}
}

static void take_hashed(struct search *f, json_t *node, const json_t *subplan)
{
	struct hashed h = { f, node, json_object_get(subplan, "Output"), { 0 } };

	buf_addf(&h.name, "hashed %s)", text_of(subplan, "Subplan Name"));
	for (void *at = json_object_iter(node); at; at = json_object_iter_next(node, at)) {
		const json_t *value = json_object_iter_value(at);

		if (json_is_string(value))
			take_hashed_text(&h, json_string_value(value));
		for (size_t i = 0; i < json_array_size(value); i++)
			if (json_is_string(json_array_get(value, i)))
				take_hashed_text(&h, json_string_value(json_array_get(value, i)));
	}
	buf_fini(&h.name);
}

/* --- the plan ----------------------------------------------------------------------------------------------------- */

static bool is_child(const struct tie_column *c, const char *schema, const char *name)
{
	const struct catalog_table *parent = c->catalog ? catalog_find(c->catalog, c->schema, c->table) : NULL;
	const struct catalog_kin *kin;

	for (size_t i = 0; parent && (kin = catalog_kin(c->catalog, i)); i++)
		if (kin->parent == parent && strcmp(kin->schema, schema) == 0 && strcmp(kin->name, name) == 0)
			return true;
	return false;
}

static bool has_children(const struct tie_column *c)
{
	const struct catalog_table *t = c->catalog ? catalog_find(c->catalog, c->schema, c->table) : NULL;

	return t && t->has_children;
}

static void name_column(struct buf *out, const char *alias, const char *column)
{
	sqltext_ident(out, alias);
	buf_add_char(out, '.');
	sqltext_ident(out, column);
}

static void take_scan(struct search *f, const json_t *node)
{
	const char *alias = json_string_value(json_object_get(node, "Alias"));
	const char *schema = json_string_value(json_object_get(node, "Schema"));
	const char *name = json_string_value(json_object_get(node, "Relation Name"));
	struct scan *scan = &f->scans[f->n_scans];
	struct buf parent = { 0 };
	bool is_itself;

	if (!alias || !schema || !name)
		return;
	is_itself = strcmp(schema, f->column->schema) == 0 && strcmp(name, f->column->table) == 0;
	if (!is_itself && !is_child(f->column, schema, name))
		return;
	if (f->n_scans == TIE_SCANS_MOST) {
		f->too_many = true;
		return;
	}
	scan->node = node;
	name_column(&scan->name, alias, f->column->column);
	if (parents_len(alias) && (!is_itself || has_children(f->column))) {
		buf_add(&parent, alias, parents_len(alias));
		name_column(&scan->parent, parent.data, f->column->column);
	}
	buf_fini(&parent);
	f->n_scans++;
}

static void take_scans(struct search *f, const json_t *node)
{
	const json_t *children = json_object_get(node, "Plans");

	take_scan(f, node);
	for (size_t i = 0; i < json_array_size(children); i++)
		take_scans(f, json_array_get(children, i));
}

/* If the node has a name, is a join or is a Result, its conditions are about its own rows. Conditions above a group or a window are about
 * other rows. */
static void take_conditions(struct search *f, const json_t *node, const struct scope *scope)
{
	static const char *const conditions[] = { "Filter", "One-Time Filter", "Index Cond", "Recheck Cond",
						  "TID Cond" };

	if (!json_object_get(node, "Alias") && !json_object_get(node, "Join Type") &&
	    strcmp(text_of(node, "Node Type"), "Result") != 0)
		return;
	for (size_t i = 0; i < sizeof(conditions) / sizeof(*conditions); i++)
		take_condition(f, node, conditions[i], scope);
}

static const json_t *child_of(const json_t *node, const char *relationship)
{
	const json_t *children = json_object_get(node, "Plans");

	for (size_t i = 0; i < json_array_size(children); i++)
		if (strcmp(text_of(json_array_get(children, i), "Parent Relationship"), relationship) == 0)
			return json_array_get(children, i);
	return NULL;
}

/* Do the rows of this child pass the join if no row of the other child fits? */
static bool is_preserved(const json_t *join, const char *relationship)
{
	static const char *const outer[] = { "Left", "Anti", "Full", NULL };
	static const char *const inner[] = { "Right", "Right Anti", "Full", NULL };

	return is_one_of(text_of(join, "Join Type"), strcmp(relationship, "Outer") == 0 ? outer : inner);
}

static void take_join(struct search *f, const json_t *node, const struct scope *own)
{
	static const char *const conditions[] = { "Hash Cond", "Merge Cond", "Join Filter" };
	static const char *const known[] = {
		"Inner", "Semi", "Right Semi", "Left", "Anti", "Right", "Right Anti", NULL
	};
	bool keeps_outer = is_preserved(node, "Outer"), keeps_inner = is_preserved(node, "Inner");
	struct scope side = { child_of(node, keeps_outer ? "Inner" : "Outer"), NULL };

	if (!is_one_of(text_of(node, "Join Type"), known))
		return;
	for (size_t i = 0; i < sizeof(conditions) / sizeof(*conditions); i++)
		take_condition(f, node, conditions[i], keeps_outer || keeps_inner ? &side : own);
}

/* True: the node gives no row if this child gives none. */
static bool needs(const json_t *node, const json_t *child)
{
	static const char *const names[] = {
		"Sort",         "Incremental Sort", "Materialize", "Memoize", "Limit",         "Unique", "Gather",
		"Gather Merge", "LockRows",         "Hash",        "Result",  "Subquery Scan", NULL
	};
	const char *relationship = text_of(child, "Parent Relationship");

	if (is_subplan(child))
		return false;
	if (json_object_get(node, "Join Type"))
		return !is_preserved(node, strcmp(relationship, "Outer") == 0 ? "Inner" : "Outer");
	return is_one_of(text_of(node, "Node Type"), names);
}

/* jansson bounds the depth when it parses. */
static void take_node(struct search *f, json_t *node, const struct scope *above)
{
	const json_t *children = json_object_get(node, "Plans");
	struct scope own = { node, above };

	take_conditions(f, node, &own);
	take_join(f, node, &own);
	for (size_t i = 0; i < json_array_size(children); i++) {
		json_t *child = json_array_get(children, i);

		if (is_subplan(child))
			take_hashed(f, node, child);
		take_node(f, child, needs(node, child) ? &own : NULL);
	}
}

/* --- which columns are the user ----------------------------------------------------------------------------------- */

static bool is_user(const struct search *f, struct slice s)
{
	size_t number = cond_parameter(s);

	if (number >= 1 && number <= f->n_params && f->is_user[number - 1])
		return true;
	for (size_t i = 0; i < f->n_edges; i++)
		if (f->edges[i].is_tied && slice_equal(f->edges[i].to, s))
			return true;
	return false;
}

static bool has_user(const struct search *f, const json_t *node)
{
	for (size_t i = 0; i < f->n_edges; i++)
		if (f->edges[i].is_tied && cond_alias(f->edges[i].to).len &&
		    holds(node, cond_alias(f->edges[i].to), false, false))
			return true;
	return false;
}

static bool tie_one_more(struct search *f)
{
	for (size_t i = 0; i < f->n_edges; i++) {
		struct edge *e = &f->edges[i];

		if (!e->is_tied && (e->whose ? has_user(f, e->whose) : is_user(f, e->from)))
			return e->is_tied = true;
	}
	return false;
}

static enum tie judge(struct search *f)
{
	if (!f->n_scans)
		return TIE_UNREAD;
	if (f->too_many)
		return TIE_LOOSE;
	while (tie_one_more(f))
		;
	for (size_t i = 0; i < f->n_scans; i++)
		if (!is_user(f, buf_slice(&f->scans[i].name)))
			return TIE_LOOSE;
	return TIE_TIED;
}

enum tie tie_of(const char *json, const struct tie_column *column, const bool *is_user, size_t n_params)
{
	struct search f = { .column = column, .is_user = is_user, .n_params = n_params };
	json_t *document = json_loads(json, 0, NULL), *root = json_object_get(json_array_get(document, 0), "Plan");
	enum tie tie;

	f.root = root;
	take_scans(&f, root);
	take_node(&f, root, NULL);
	tie = judge(&f);
	for (size_t i = 0; i < f.n_scans; i++) {
		buf_fini(&f.scans[i].name);
		buf_fini(&f.scans[i].parent);
	}
	json_decref(document);
	return tie;
}
