#include "check_bound.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "check_cond.h"
#include "walpush/base/buf.h"
#include "walpush/base/mem.h"
#include "walpush/text/sqltext.h"

struct search {
	const json_t *root;
	struct bounds *out;
};

static char *table_of(const json_t *node)
{
	const char *schema = json_string_value(json_object_get(node, "Schema"));
	const char *name = json_string_value(json_object_get(node, "Relation Name"));
	struct buf table = { 0 };

	if (!schema || !name)
		return NULL;
	sqltext_ident(&table, schema);
	buf_add_char(&table, '.');
	sqltext_ident(&table, name);
	return buf_steal(&table);
}

static bool is_named(const json_t *node, struct slice alias)
{
	const char *name = json_string_value(json_object_get(node, "Alias"));
	struct buf quoted = { 0 };
	bool same;

	if (!name)
		return false;
	sqltext_ident(&quoted, name);
	same = slice_equal(buf_slice(&quoted), alias);
	buf_fini(&quoted);
	return same;
}

/* The table that the plan scans under this name; NULL: none. jansson bounds the depth when it parses. */
static char *find_table(const json_t *node, struct slice alias)
{
	const json_t *children = json_object_get(node, "Plans");
	char *table = is_named(node, alias) ? table_of(node) : NULL;

	for (size_t i = 0; !table && i < json_array_size(children); i++)
		table = find_table(json_array_get(children, i), alias);
	return table;
}

static void take_pair(struct search *s, struct slice parameter, struct slice column)
{
	struct slice alias = cond_alias(column);
	size_t number = cond_parameter(parameter);
	char *table;

	if (!number || !alias.len || s->out->n == BOUND_MOST)
		return;
	table = find_table(s->root, alias);
	if (!table)
		return;
	column = (struct slice){ column.at + alias.len + 1, column.len - alias.len - 1 };
	s->out->at[s->out->n++] = (struct bound){ number, table, mem_text_of(column) };
}

/* `text` is what stands between two parentheses. */
static void take_comparison(struct search *s, struct slice text)
{
	static const char equals[] = " = ";
	const size_t len = sizeof(equals) - 1;

	for (size_t i = 0; i + len < text.len; i = cond_behind(text, i)) {
		struct slice left, right;

		if (memcmp(text.at + i, equals, len) != 0)
			continue;
		left = cond_bare((struct slice){ text.at, i }, COND_ALL);
		right = cond_bare((struct slice){ text.at + i + len, text.len - i - len }, COND_ALL);
		take_pair(s, left, right);
		take_pair(s, right, left);
		return;
	}
}

static void take_text(struct search *s, struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		size_t behind;

		if (text.at[i] == '\'' || text.at[i] == '"') {
			i = cond_behind(text, i) - 1;
		} else if (text.at[i] == '(') {
			behind = cond_behind(text, i);
			if (text.at[behind - 1] == ')')
				take_comparison(s, (struct slice){ text.at + i + 1, behind - i - 2 });
		}
	}
}

static void walk(struct search *s, const json_t *node)
{
	static const char *const conditions[] = { "Filter",    "One-Time Filter", "Index Cond", "Recheck Cond",
						  "Hash Cond", "Join Filter",     "Merge Cond" };
	const json_t *children = json_object_get(node, "Plans");

	for (size_t i = 0; i < sizeof(conditions) / sizeof(*conditions); i++) {
		const char *text = json_string_value(json_object_get(node, conditions[i]));

		if (text)
			take_text(s, slice_of(text));
	}
	for (size_t i = 0; i < json_array_size(children); i++)
		walk(s, json_array_get(children, i));
}

void bounds_parse(const char *json, struct bounds *out)
{
	json_error_t error;
	json_t *document = json_loads(json, 0, &error);
	struct search s = { json_object_get(json_array_get(document, 0), "Plan"), out };

	*out = (struct bounds){ 0 };
	if (s.root)
		walk(&s, s.root);
	json_decref(document);
}

void bounds_fini(struct bounds *b)
{
	for (size_t i = 0; i < b->n; i++) {
		free(b->at[i].table);
		free(b->at[i].column);
	}
	*b = (struct bounds){ 0 };
}
