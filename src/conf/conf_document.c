/* docs/configuration.md: the option table in Markdown, with one chapter for each group. */
#include <stdio.h>
#include <string.h>

#include "parts.h"

static bool has_members(const struct conf_option *o)
{
	return o->type == CONF_GROUP || o->type == CONF_SECTIONS || o->type == CONF_LIST;
}

static void add_default(const struct conf_option *o, struct buf *out)
{
	if (o->flags & CONF_REQUIRED)
		buf_add_text(out, "**required**");
	else if (o->initial && (o->type == CONF_TEXT || o->type == CONF_EVENTS || strchr(o->initial, ' ')))
		buf_addf(out, "`\"%s\"`", o->initial);
	else if (o->initial && !(o->type == CONF_CLOSE_CODE))
		buf_addf(out, "`%s`", o->initial);
	else
		buf_add_text(out, "not set");
}

static void add_row(const struct conf_option *o, const char *leaf, struct buf *out)
{
	buf_addf(out, "| `%s`%s | ", leaf, conf_option_restarts(o) ? "" : " ↻");
	conf_value_expected(o, out);
	buf_add_text(out, " | ");
	add_default(o, out);
	buf_addf(out, " | %s%s |\n", o->doc, o->flags & CONF_LATER ? " *Not in effect yet.*" : "");
}

static void add_table(const struct conf_option *o, struct buf *out)
{
	char prefix[CONF_NAME_SHOWN];

	snprintf(prefix, sizeof(prefix), "%s%s", o->name, o->type == CONF_GROUP ? "." : ".*.");
	buf_add_text(out, "\n| option | value | default | meaning |\n|---|---|---|---|\n");
	for (size_t i = 0; i < conf_n_options; i++) {
		const char *leaf = conf_option_leaf(&conf_options[i], prefix);

		if (leaf)
			add_row(&conf_options[i], leaf, out);
	}
}

static void add_chapter(const struct conf_option *o, struct buf *out)
{
	bool top = !strchr(o->name, '.');
	const char *guide = conf_guide(o->name);

	buf_addf(out, "\n%s `%s`%s\n", top ? "##" : "### Each of", o->name,
		 o->flags & CONF_REQUIRED ? " (required)" : "");
	if (top)
		buf_addf(out, "\n%s\n", o->doc);
	if (guide)
		buf_addf(out, "\n%s", guide);
	add_table(o, out);
}

/* The table of a chapter comes first, then the tables of its groups. */
void conf_document(struct buf *out)
{
	buf_add_text(out, conf_guide(""));
	for (size_t i = 0; i < conf_n_options; i++)
		if (has_members(&conf_options[i]))
			add_chapter(&conf_options[i], out);
}
