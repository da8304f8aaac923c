/* Patterns of tables, "tenant_*.orders": the `*` in the schema stands for any run of characters, also for none. */
#include <string.h>

#include "parts.h"
#include "walpush/text/jsontext.h"

bool rules_is_pattern(const char *from)
{
	const char *dot = strchr(from, '.');

	return dot && memchr(from, '*', (size_t)(dot - from));
}

/* As CATALOG_MATCHES. */
static bool matches_schema(const char *pattern, struct slice schema)
{
	const char *star = strchr(pattern, '*');
	size_t head = (size_t)(star - pattern), tail = strlen(star + 1);

	return schema.len >= head + tail && memcmp(schema.at, pattern, head) == 0 &&
	       memcmp(schema.at + schema.len - tail, star + 1, tail) == 0;
}

static bool is_servers(struct slice schema)
{
	return (schema.len >= 3 && memcmp(schema.at, "pg_", 3) == 0) ||
	       slice_equal(schema, slice_of("information_schema"));
}

static bool matches(const struct rules_table *pattern, struct slice schema, struct slice table)
{
	return slice_equal(slice_of(pattern->name), table) && !is_servers(schema) &&
	       matches_schema(pattern->schema, schema);
}

const struct rules_table *rules_pattern_at(const struct rules *r, struct slice schema, struct slice table, size_t at)
{
	for (size_t i = 0; i < r->n_patterns; i++)
		if (matches(&r->patterns[i], schema, table) && at-- == 0)
			return &r->patterns[i];
	return NULL;
}

bool rules_matches(const struct rules *r, const char *schema, const char *table)
{
	return rules_pattern_at(r, slice_of(schema), slice_of(table), 0) != NULL;
}

const struct rules_table *rules_pattern_of(const struct rules *r, struct slice schema, struct slice table, size_t at)
{
	struct buf names[2] = { { 0 } };
	const struct rules_table *found = NULL;

	if (r->n_patterns && jsontext_unescape(schema, &names[0]) && jsontext_unescape(table, &names[1]))
		found = rules_pattern_at(r, buf_slice(&names[0]), buf_slice(&names[1]), at);
	buf_fini(&names[0]);
	buf_fini(&names[1]);
	return found;
}

size_t rules_n_patterns(const struct rules *r)
{
	return r->n_patterns;
}

const struct rules_table *rules_pattern(const struct rules *r, size_t i)
{
	return &r->patterns[i];
}

/* --- labels -------------------------------------------------------------------------------------------------------- */

/* No section's name has a colon. */
void rules_add_label(const struct rules_section *s, const char *schema, struct buf *out)
{
	buf_addf(out, "%s:%s", s->conf->name, schema);
}

const struct rules_section *rules_labelled(const struct rules *r, const char *label, const char **schema)
{
	size_t len = strcspn(label, ":");

	*schema = label[len] ? label + len + 1 : NULL;
	for (size_t i = 0; i < r->conf->n_tables; i++)
		if (slice_equal(slice_of(r->conf->tables[i].name), (struct slice){ label, len }))
			return &r->sections[i];
	return NULL;
}
