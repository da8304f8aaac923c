#include "check_plan.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "walpush/base/mem.h"
#include "walpush/text/sqltext.h"

static const char *text_of(const json_t *node, const char *name)
{
	const char *text = json_string_value(json_object_get(node, name));

	return text ? text : "";
}

static size_t name_before(const char *start, const char *end)
{
	size_t n = 0;

	while (end - n > start && (isalnum((unsigned char)end[-1 - (long)n]) || end[-1 - (long)n] == '_'))
		n++;
	return n;
}

/* "((m.user_id = $1) AND …)", "((name)::text = $1)": the column of the first comparison with a parameter. Names that need
 * quotes, and expressions, are ignored: the column is only a hint. */
static char *compared_column(const char *filter)
{
	for (const char *at = filter; (at = strstr(at, " = $")); at++) {
		const char *end = at;
		size_t n = name_before(filter, end);

		if (end - n >= filter + 3 && strncmp(end - n - 3, ")::", 3) == 0) {
			end -= n + 3;
			n = name_before(filter, end);
			if (end - n == filter || end[-1 - (long)n] != '(')
				continue;
		}
		if (n)
			return mem_text_of((struct slice){ end - n, n });
	}
	return NULL;
}

static void add_scan(struct plan *p, const json_t *node)
{
	struct buf table = { 0 };

	if (p->n_scans == PLAN_SCANS_MOST)
		return;
	sqltext_ident(&table, text_of(node, "Schema"));
	buf_add_char(&table, '.');
	sqltext_ident(&table, text_of(node, "Relation Name"));
	p->scans[p->n_scans].table = buf_steal(&table);
	p->scans[p->n_scans++].column = compared_column(text_of(node, "Filter"));
}

/* jansson bounds the depth when it parses. */
static void walk(struct plan *p, const json_t *node)
{
	const char *type = text_of(node, "Node Type");
	const json_t *children = json_object_get(node, "Plans");

	if (strcmp(type, "Seq Scan") == 0)
		add_scan(p, node);
	if (strcmp(type, "ModifyTable") == 0 || strcmp(type, "LockRows") == 0)
		p->writes = true;
	for (size_t i = 0; i < json_array_size(children); i++)
		walk(p, json_array_get(children, i));
}

bool plan_parse(const char *json, struct plan *out, struct fail *why)
{
	json_error_t error;
	json_t *document = json_loads(json, 0, &error);
	const json_t *root = json_object_get(json_array_get(document, 0), "Plan");

	*out = (struct plan){ 0 };
	if (root) {
		out->cost = json_number_value(json_object_get(root, "Total Cost"));
		walk(out, root);
	} else {
		fail_set(why, "EXPLAIN answered something unexpected");
	}
	json_decref(document);
	return root != NULL;
}

void plan_fini(struct plan *p)
{
	for (size_t i = 0; i < p->n_scans; i++) {
		free(p->scans[i].table);
		free(p->scans[i].column);
	}
	*p = (struct plan){ 0 };
}
