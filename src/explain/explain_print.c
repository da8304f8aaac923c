/* The document for a person: short lines, the verdict first. */
#include <stdlib.h>

#include "walpush/explain/explain.h"

static const char *text_of(const json_t *document, const char *name)
{
	return json_string_value(json_object_get(document, name));
}

static long long number_of(const json_t *document, const char *name)
{
	return (long long)json_integer_value(json_object_get(document, name));
}

static void line(struct buf *out, const char *name, const char *value)
{
	if (value)
		buf_addf(out, "%-12s %s\n", name, value);
}

static void add_list(struct buf *out, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		buf_addf(out, "%s%s", i ? ", " : "", json_string_value(json_array_get(list, i)));
}

static void list(struct buf *out, const char *name, const json_t *values)
{
	buf_addf(out, "%-12s ", name);
	add_list(out, values);
	buf_add_text(out, json_array_size(values) ? "\n" : "none\n");
}

static void add_pairs(struct buf *out, const json_t *pairs)
{
	const char *name, *between = "";
	json_t *value;

	json_object_foreach((json_t *)pairs, name, value)
	{
		buf_addf(out, "%s%s=%s", between, name, json_string_value(value));
		between = " ";
	}
}

static void pairs(struct buf *out, const char *name, const json_t *values)
{
	if (json_object_size(values) == 0)
		return;
	buf_addf(out, "%-12s ", name);
	add_pairs(out, values);
	buf_add_char(out, '\n');
}

static void print_why(const json_t *d, struct buf *out)
{
	line(out, "because", text_of(d, "reason"));
	line(out, "do", text_of(d, "fix"));
}

static void print_connections(const json_t *connections, struct buf *out)
{
	const json_t *shown = json_object_get(connections, "shown");

	if (!connections)
		return;
	buf_addf(out, "%-12s %lld\n", "connected", number_of(connections, "open"));
	for (size_t i = 0; i < json_array_size(shown); i++) {
		const json_t *c = json_array_get(shown, i);

		buf_addf(out, "  %s ",
			 text_of(c, "stream") ? text_of(c, "stream") : "(a stream that a reload removed)");
		add_pairs(out, json_object_get(c, "values"));
		buf_addf(out, "%sfrom %s, %s; ", json_object_size(json_object_get(c, "values")) ? " " : "",
			 text_of(c, "peer"), text_of(c, "state"));
		add_list(out, json_object_get(c, "groups"));
		buf_add_char(out, '\n');
	}
}

static void print_user(const json_t *d, struct buf *out)
{
	const json_t *admitted = json_object_get(d, "admitted"),
		     *rows = json_object_get(json_object_get(d, "admit"), "rows");

	buf_addf(out, "user %s at %s: %s", text_of(d, "user"), text_of(d, "path"),
		 json_is_true(admitted) ? "admitted" : "not admitted");
	if (number_of(d, "code"))
		buf_addf(out, ", close code %lld", number_of(d, "code"));
	buf_add_char(out, '\n');
	print_why(d, out);
	line(out, "stream", text_of(d, "stream"));
	pairs(out, "path", json_object_get(d, "values"));
	pairs(out, "claims", json_object_get(d, "claims"));
	if (rows)
		buf_addf(out, "%-12s %lld row%s\n", "admit", (long long)json_integer_value(rows),
			 json_integer_value(rows) == 1 ? "" : "s");
	if (json_is_true(admitted))
		list(out, "groups", json_object_get(d, "groups"));
	print_connections(json_object_get(d, "connections"), out);
}

static void print_event(const char *name, const json_t *e, struct buf *out)
{
	if (json_is_object(e))
		buf_addf(out, "%-12s %s %s %s at %s, event %s, %lld receivers\n", name, text_of(e, "table"),
			 text_of(e, "action"), text_of(e, "key"), text_of(e, "published"), text_of(e, "id"),
			 number_of(e, "receivers"));
	else if (e)
		buf_addf(out, "%-12s not among the last messages that are remembered\n", name);
}

static void print_receivers(const json_t *r, struct buf *out)
{
	const json_t *groups = json_object_get(r, "groups");

	if (!r)
		return;
	buf_addf(out, "%-12s %lld connection%s of %lld user%s: ", "receivers", number_of(r, "connections"),
		 number_of(r, "connections") == 1 ? "" : "s", number_of(r, "users"),
		 number_of(r, "users") == 1 ? "" : "s");
	add_list(out, json_object_get(r, "shown"));
	buf_add_char(out, '\n');
	for (size_t i = 0; i < json_array_size(groups); i++)
		buf_addf(out, "  %s: %lld\n", text_of(json_array_get(groups, i), "group"),
			 number_of(json_array_get(groups, i), "connections"));
}

static void print_section(const json_t *s, struct buf *out)
{
	const json_t *lookup = json_object_get(s, "lookup");

	buf_addf(out, "%-12s %s: ", "section", text_of(s, "section"));
	if (!json_is_true(json_object_get(s, "counts")))
		buf_add_text(out, "does not count the row (when)");
	else if (json_array_size(json_object_get(s, "groups")))
		add_list(out, json_object_get(s, "groups"));
	else
		buf_add_text(out, "no group");
	if (text_of(lookup, "error"))
		buf_addf(out, "; the lookup failed: %s", text_of(lookup, "error"));
	else if (json_is_object(lookup))
		buf_addf(out, "; lookup: %lld rows", number_of(lookup, "rows"));
	buf_add_char(out, '\n');
}

static void print_row(const json_t *d, struct buf *out)
{
	const json_t *found = json_object_get(d, "found"), *sections = json_object_get(d, "sections");

	buf_addf(out, "%s %s: %s\n", text_of(d, "table"), text_of(d, "key"),
		 json_is_true(found)    ? "the row is there"
		 : json_is_false(found) ? "no such row"
					: "not known");
	print_why(d, out);
	for (size_t i = 0; i < json_array_size(sections); i++)
		print_section(json_array_get(sections, i), out);
	print_event("last change", json_object_get(d, "last"), out);
	print_receivers(json_object_get(d, "receivers"), out);
}

static void print_message(const json_t *d, struct buf *out)
{
	const json_t *event = json_object_get(d, "event"), *written = json_object_get(d, "written");

	if (!json_is_object(event)) {
		buf_addf(out, "event %s: not known\n", text_of(d, "id"));
		print_why(d, out);
		return;
	}
	buf_addf(out, "event %s: %s %s %s\n", text_of(d, "id"), text_of(event, "table"), text_of(event, "action"),
		 text_of(event, "key"));
	list(out, "groups", json_object_get(event, "groups"));
	buf_addf(out, "%-12s %lld\n", "receivers", number_of(event, "receivers"));
	line(out, "published", text_of(event, "published"));
	buf_addf(out, "%-12s to %lld connection%s", "written", number_of(written, "connections"),
		 number_of(written, "connections") == 1 ? "" : "s");
	if (text_of(written, "first"))
		buf_addf(out, ", from %s to %s", text_of(written, "first"), text_of(written, "last"));
	buf_add_char(out, '\n');
}

void explain_print(const json_t *document, struct buf *out)
{
	const char *asked = text_of(document, "asked");

	if (strcmp(asked, "user") == 0)
		print_user(document, out);
	else if (strcmp(asked, "row") == 0)
		print_row(document, out);
	else
		print_message(document, out);
	line(out, "not known", text_of(document, "not_known"));
}
