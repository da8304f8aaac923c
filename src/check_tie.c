#include "check_tie.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "walpush/buf.h"
#include "walpush/slice.h"
#include "walpush/sqltext.h"

struct comparison {
	struct slice left, right;
	bool is_tied; /* both sides are the user */
};

struct search {
	const char *json;
	const struct tie_column *column;
	const bool *is_user;
	size_t n_params;
	struct comparison comparisons[TIE_COMPARISONS_MOST];
	size_t n_comparisons;
	struct buf scans[TIE_SCANS_MOST]; /* "alias.column" of each scan, as the plan spells it */
	struct buf
		parents[TIE_SCANS_MOST]; /* and above the scans of one parent's children; empty: it is no such scan */
	size_t n_scans;
};

/* --- one condition ------------------------------------------------------------------------------------------------ */

/* Behind what begins at `i` and is one thing: a literal, a quoted name, or a byte. */
static size_t behind(struct slice s, size_t i)
{
	char quote = s.at[i++];

	if (quote != '\'' && quote != '"')
		return i;
	while (i < s.len && s.at[i] != quote)
		i++;
	return i < s.len ? i + 1 : i;
}

/* Behind the parenthesis that closes the one at `i`; 0: none does. */
static size_t behind_parenthesis(struct slice s, size_t i)
{
	size_t depth = 0;

	for (; i < s.len; i = behind(s, i)) {
		depth += s.at[i] == '(';
		if (s.at[i] == ')' && --depth == 0)
			return i + 1;
	}
	return 0;
}

/* "::numeric(10,2)", "::character varying": the rest of a cast, and nothing behind it. */
static bool is_cast(struct slice s)
{
	if (s.len < 3 || memcmp(s.at, "::", 2) != 0)
		return false;
	for (size_t i = 2; i < s.len; i++)
		if (!isalnum((unsigned char)s.at[i]) && !strchr("_ .,()[]\"", s.at[i]))
			return false;
	return true;
}

/* "((u.id)::text)" is "u.id". */
static struct slice bare(struct slice s)
{
	size_t end;

	while (s.len && s.at[0] == '(' && (end = behind_parenthesis(s, 0))) {
		struct slice rest = { s.at + end, s.len - end };

		if (rest.len && !is_cast(rest))
			break;
		s = (struct slice){ s.at + 1, end - 2 };
	}
	return s;
}

static void add_comparison(struct search *f, struct slice left, struct slice right)
{
	if (f->n_comparisons < TIE_COMPARISONS_MOST)
		f->comparisons[f->n_comparisons++] = (struct comparison){ bare(left), bare(right), false };
}

/* `s`: behind an opening parenthesis. Where it is "left = right)", that is a comparison. */
static void take_comparison(struct search *f, struct slice s)
{
	static const char equals[] = " = ";
	size_t middle = 0, end = 0;

	for (size_t i = 0; i < s.len && !end;) {
		if (!middle && s.len - i > 3 && memcmp(s.at + i, equals, 3) == 0)
			middle = i;
		if (s.at[i] == ')')
			end = i;
		i = s.at[i] == '(' ? behind_parenthesis(s, i) : behind(s, i);
		if (i == 0)
			return;
	}
	if (middle && end)
		add_comparison(f, (struct slice){ s.at, middle },
			       (struct slice){ s.at + middle + 3, end - middle - 3 });
}

static void take_condition(struct search *f, const char *text)
{
	struct slice s = slice_of(text);

	for (size_t i = 0; i < s.len; i = behind(s, i))
		if (s.at[i] == '(')
			take_comparison(f, (struct slice){ s.at + i + 1, s.len - i - 1 });
}

/* --- the plan ----------------------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

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

/* Children are scanned as "m_1", "m_2", and above them they are "m": what holds for one of these names holds for all of them. */
static void take_parent(struct search *f, const char *alias)
{
	size_t len = strlen(alias), digits = 0;
	struct buf *parent = &f->parents[f->n_scans];
	struct buf name = { 0 };

	while (digits < len && isdigit((unsigned char)alias[len - digits - 1]))
		digits++;
	if (!digits || len < digits + 2 || alias[len - digits - 1] != '_')
		return;
	buf_add(&name, alias, len - digits - 1);
	name_column(parent, name.data, f->column->column);
	add_comparison(f, slice_of(f->scans[f->n_scans].data), slice_of(parent->data));
	buf_fini(&name);
}

static void take_scan(struct search *f, const json_t *node)
{
	const char *alias = json_string_value(json_object_get(node, "Alias"));
	const char *schema = json_string_value(json_object_get(node, "Schema"));
	const char *name = json_string_value(json_object_get(node, "Relation Name"));
	bool is_itself;

	if (!alias || !schema || !name || f->n_scans == TIE_SCANS_MOST)
		return;
	is_itself = strcmp(schema, f->column->schema) == 0 && strcmp(name, f->column->table) == 0;
	if (!is_itself && !is_child(f->column, schema, name))
		return;
	name_column(&f->scans[f->n_scans], alias, f->column->column);
	if (!is_itself || has_children(f->column))
		take_parent(f, alias);
	f->n_scans++;
}

static void add_tied(struct search *f, struct slice column)
{
	if (f->n_comparisons < TIE_COMPARISONS_MOST)
		f->comparisons[f->n_comparisons++] = (struct comparison){ column, column, true };
}

/* "… (hashed SubPlan 1)": of that comparison most versions print no more. Its columns are what the subplan yields, and are taken for tied. */
static void take_hashed(struct search *f, const json_t *node)
{
	const char *name = json_string_value(json_object_get(node, "Subplan Name"));
	const json_t *output = json_object_get(node, "Output");
	struct buf hashed = { 0 };

	if (!name)
		return;
	buf_addf(&hashed, "hashed %s", name);
	for (size_t i = 0; strstr(f->json, hashed.data) && i < json_array_size(output); i++) {
		const char *column = json_string_value(json_array_get(output, i));

		if (column)
			add_tied(f, bare(slice_of(column)));
	}
	buf_fini(&hashed);
}

static void take_conditions(struct search *f, json_t *node)
{
	for (void *at = json_object_iter(node); at; at = json_object_iter_next(node, at)) {
		const char *name = json_object_iter_key(at), *text = json_string_value(json_object_iter_value(at));

		if (text && (ends_with(name, "Cond") || ends_with(name, "Filter")))
			take_condition(f, text);
	}
}

/* jansson bounds the depth when it parses. */
static void take_node(struct search *f, json_t *node)
{
	const json_t *children = json_object_get(node, "Plans");

	take_scan(f, node);
	take_hashed(f, node);
	take_conditions(f, node);
	for (size_t i = 0; i < json_array_size(children); i++)
		take_node(f, json_array_get(children, i));
}

/* --- what is the user --------------------------------------------------------------------------------------------- */

/* "$2" is 2; 0: it is no parameter. */
static size_t parameter(struct slice s)
{
	size_t number = 0;

	if (s.len < 2 || s.len > 6 || s.at[0] != '$')
		return 0;
	for (size_t i = 1; i < s.len; i++) {
		if (!isdigit((unsigned char)s.at[i]))
			return 0;
		number = number * 10 + (size_t)(s.at[i] - '0');
	}
	return number;
}

/* "alias.column", as it stands: an expression would be no name. */
static bool is_column(struct slice s)
{
	size_t dots = 0;

	for (size_t i = 0; i < s.len; i = behind(s, i)) {
		unsigned char c = (unsigned char)s.at[i];

		dots += c == '.';
		if (c != '.' && c != '"' && c != '_' && c != '$' && c < 0x80 && !isalnum(c))
			return false;
	}
	return dots == 1 && s.at[0] != '$';
}

static bool is_user(const struct search *f, struct slice s)
{
	size_t number = parameter(s);

	if (number >= 1 && number <= f->n_params && f->is_user[number - 1])
		return true;
	for (size_t i = 0; i < f->n_comparisons; i++)
		if (f->comparisons[i].is_tied &&
		    (slice_equal(f->comparisons[i].left, s) || slice_equal(f->comparisons[i].right, s)))
			return true;
	return false;
}

static bool may_be_user(struct slice s)
{
	return is_column(s) || parameter(s);
}

static bool tie_one_more(struct search *f)
{
	for (size_t i = 0; i < f->n_comparisons; i++) {
		struct comparison *c = &f->comparisons[i];

		if (!c->is_tied && may_be_user(c->left) && may_be_user(c->right) &&
		    (is_user(f, c->left) || is_user(f, c->right)))
			return c->is_tied = true;
	}
	return false;
}

static enum tie judge(struct search *f)
{
	if (!f->n_scans)
		return TIE_UNREAD;
	while (tie_one_more(f))
		;
	for (size_t i = 0; i < f->n_scans; i++)
		if (!is_user(f, slice_of(f->scans[i].data)))
			return TIE_LOOSE;
	return TIE_TIED;
}

enum tie tie_of(const char *json, const struct tie_column *column, const bool *is_user, size_t n_params)
{
	struct search f = { .json = json, .column = column, .is_user = is_user, .n_params = n_params };
	json_t *document = json_loads(json, 0, NULL);
	enum tie tie;

	take_node(&f, json_object_get(json_array_get(document, 0), "Plan"));
	tie = judge(&f);
	for (size_t i = 0; i < f.n_scans; i++) {
		buf_fini(&f.scans[i]);
		buf_fini(&f.parents[i]);
	}
	json_decref(document);
	return tie;
}
