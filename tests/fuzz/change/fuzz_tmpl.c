/*
 * A template that is accepted can be written again and reads the same. A group's name tells its template and its values: it
 * matches the template, and other values give another name. The input is a template, a zero byte, and two values of
 * the same length behind it. The same text as a template of JSON makes JSON, whatever the values.
 */
#include <stdlib.h>

#include "pgvalue.h"
#include "walpush/text/jsontmpl.h"
#include "walpush/base/mem.h"
#include "walpush/change/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* All, and of the two whose words share a name the first. */
static const unsigned scopes_allowed = 0x3FF;

static void write_quoted(const char *name, struct buf *out)
{
	buf_add_char(out, '"');
	for (; *name; name++) {
		if (*name == '"')
			buf_add_char(out, '"');
		buf_add_char(out, *name);
	}
	buf_add_char(out, '"');
}

static void write_again(const struct tmpl *t, struct buf *out)
{
	static const char *const scopes[] = {
		"", "old.", "path.", "token.", "admit.", "lookup.", "actor.", "", "", ""
	};

	buf_add_text(out, "");
	for (size_t i = 0; i < t->n_parts; i++) {
		const struct tmpl_part *part = &t->parts[i];

		if (part->is_ref) {
			buf_addf(out, "{%s", scopes[part->scope]);
			if (part->scope == TMPL_TABLE || part->scope == TMPL_EVENT || part->scope == TMPL_STREAM)
				buf_add_text(out, part->text);
			else
				write_quoted(part->text, out);
			buf_add_text(out, part->as_text ? ":text}" : "}");
			continue;
		}
		for (const char *c = part->text; *c; c++) {
			if (*c == '{' || *c == '}')
				buf_add_char(out, *c);
			buf_add_char(out, *c);
		}
	}
}

static void check_round_trip(const struct tmpl *t)
{
	struct buf text = { 0 };
	struct fail why;
	struct tmpl again;

	write_again(t, &text);
	must(tmpl_parse(&again, text.data, scopes_allowed, &why));
	must(again.n_parts == t->n_parts && again.n_refs == t->n_refs);
	for (size_t i = 0; i < t->n_parts; i++) {
		must(strcmp(again.parts[i].text, t->parts[i].text) == 0);
		must(again.parts[i].is_ref == t->parts[i].is_ref && again.parts[i].scope == t->parts[i].scope);
		must(again.parts[i].as_text == t->parts[i].as_text);
	}
	tmpl_fini(&again);
	buf_fini(&text);
}

static bool add_value(void *ctx, const struct tmpl_part *part, struct buf *out)
{
	(void)part;
	buf_add_slice(out, *(const struct slice *)ctx);
	return true;
}

/* Every placeholder has this value, so {schema} has. */
static void check_schema(const struct tmpl *t, struct slice group, struct slice value)
{
	char *schema = mem_text_of(value);

	if (!memchr(value.at, '\0', value.len))
		must(tmpl_could_spell(t, group, schema));
	free(schema);
}

static void check_groups(const struct tmpl *t, struct slice a, struct slice b)
{
	struct buf group_a = { 0 }, group_b = { 0 }, display = { 0 };

	for (size_t i = 0; i < t->n_parts; i++)
		if (!t->parts[i].is_ref && strpbrk(t->parts[i].text, "{}"))
			return; /* rules_new refuses it */
	must(tmpl_group(t, add_value, &a, &group_a) && tmpl_group(t, add_value, &b, &group_b));
	must(tmpl_could_spell(t, buf_slice(&group_a), NULL));
	check_schema(t, buf_slice(&group_a), a);
	must(slice_equal(buf_slice(&group_a), buf_slice(&group_b)) == (slice_equal(a, b) || t->n_refs == 0));
	must(!memchr(buf_slice(&group_a).at, '\0', group_a.len));
	tmpl_group_display(buf_slice(&group_a), &display);
	must(display.len <= group_a.len);
	buf_fini(&group_a);
	buf_fini(&group_b);
	buf_fini(&display);
}

static void add_json_value(void *ctx, const struct tmpl_part *part, struct buf *out)
{
	static const char *const values[] = { "null", "\"a\\\"b\\u0001\"", "[1,{\"a\":\"\\\\\"}]", "-1.50e400", "true",
					      "\"\"" };

	(void)ctx;
	buf_add_text(out, values[strlen(part->text) % 6]);
}

/* A template of JSON that is accepted is filled in to JSON, with any values and within any bound. */
static void check_json(const char *source)
{
	struct jsontmpl t;
	struct fail why;

	if (!jsontmpl_parse(&t, source, scopes_allowed, &why)) {
		must(t.n == 0);
		return;
	}
	for (size_t most = 0; most < 40; most += 13) {
		struct buf out = { 0 };

		buf_add_text(&out, "x");
		jsontmpl_fill(&t, add_json_value, NULL, most, &out);
		must(out.data[0] == 'x' && pgvalue_is_json((struct slice){ out.data + 1, out.len - 1 }));
		buf_fini(&out);
	}
	jsontmpl_fini(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
	size_t len = zero ? (size_t)(zero - data) : size;
	char *source = mem_text_of((struct slice){ (const char *)data, len });
	struct slice values = { (const char *)data + len, size - len };
	struct fail why;
	struct tmpl t;

	check_json(source);
	if (tmpl_parse(&t, source, scopes_allowed, &why)) {
		check_round_trip(&t);
		check_groups(&t, (struct slice){ values.at, values.len / 2 },
			     (struct slice){ values.at + values.len / 2, values.len - values.len / 2 });
		tmpl_fini(&t);
	} else {
		must(why.offset <= len);
	}
	free(source);
	return 0;
}
