#include "walpush/rules/groups.h"

#include <stdlib.h>

#include "walpush/base/mem.h"
#include "walpush/base/hash.h"

/* Up to this many names are compared one by one; nearly every message has fewer. A lookup can answer thousands of rows;
 * then the names are found by their hashes. */
#define PLAIN_MAX 16

void groups_fini(struct groups *g)
{
	buf_fini(&g->names);
	buf_fini(&g->rows);
	free(g->index);
	*g = (struct groups){ 0 };
}

void groups_clear(struct groups *g)
{
	if (g->n > PLAIN_MAX)
		memset(g->index, 0, g->index_size * sizeof(*g->index));
	buf_clear(&g->names);
	buf_clear(&g->rows);
	g->tracks_rows = false;
	g->n = 0;
	g->missing = NULL;
}

static size_t hash_of(struct slice name)
{
	uint64_t hash = hash_mix_64(HASH_START_64, name.at, name.len);

	return (size_t)(hash ^ hash >> 32);
}

/* The cell of that name, or the empty cell where it belongs. */
static uint32_t *cell_of(const struct groups *g, struct slice name)
{
	size_t at = hash_of(name) & (g->index_size - 1);

	while (g->index[at] && !slice_equal(slice_of(g->names.data + g->index[at] - 1), name))
		at = (at + 1) & (g->index_size - 1);
	return &g->index[at];
}

static void rebuild_index(struct groups *g, size_t size)
{
	const char *name = g->names.data;

	free(g->index);
	g->index = mem_new_array(size, sizeof(*g->index));
	g->index_size = size;
	for (size_t i = 0; i < g->n; i++, name += strlen(name) + 1)
		*cell_of(g, slice_of(name)) = (uint32_t)(name - g->names.data) + 1;
}

bool groups_has(const struct groups *g, struct slice name)
{
	const char *at = g->names.data;

	if (g->n > PLAIN_MAX)
		return *cell_of(g, name) != 0;
	for (size_t i = 0; i < g->n; i++) {
		size_t len = strlen(at);

		if (len == name.len && memcmp(at, name.at, len) == 0)
			return true;
		at += len + 1;
	}
	return false;
}

/* Above PLAIN_MAX names, every name is in the index, and the index is at most half full. */
static void note_added(struct groups *g, size_t from)
{
	g->n++;
	if (g->n <= PLAIN_MAX)
		return;
	if (2 * g->n > g->index_size)
		rebuild_index(g, g->index_size ? 4 * g->index_size : 8 * PLAIN_MAX);
	else if (g->n == PLAIN_MAX + 1)
		rebuild_index(g, g->index_size);
	else
		*cell_of(g, slice_of(g->names.data + from)) = (uint32_t)from + 1;
}

void groups_expand(struct groups *g, const struct tmpl *t, tmpl_value_fn *value, void *ctx, const struct groups *unless,
		   uint32_t row)
{
	size_t from = g->names.len;
	struct slice name;

	if (!tmpl_group(t, value, ctx, &g->names))
		return;
	name = (struct slice){ g->names.data + from, g->names.len - from };
	if (groups_has(g, name) || (unless && groups_has(unless, name))) {
		g->names.len = from;
		g->names.data[from] = '\0';
		return;
	}
	buf_add_char(&g->names, '\0');
	if (g->tracks_rows)
		buf_add(&g->rows, &row, sizeof(row));
	note_added(g, from);
}

bool groups_sql_value(struct groups *g, const struct sqlrows *rows, size_t row, const char *name, struct buf *out)
{
	int column = sqlrows_column(rows, name);
	const char *value = column < 0 ? NULL : sqlrows_get(rows, row, (size_t)column);

	if (column < 0)
		g->missing = name;
	if (value)
		buf_add_text(out, value);
	return value != NULL;
}

struct group_values { /* answers the placeholders of a stream's groups */
	const struct path_values *path;
	tmpl_value_fn *claims;
	void *claims_ctx;
	const struct sqlrows *rows;
	size_t row;
	struct groups *groups;
};

static bool group_value(void *ctx, const struct tmpl_part *part, struct buf *out)
{
	const struct group_values *a = ctx;
	const char *text;

	if (part->scope == TMPL_TOKEN)
		return a->claims(a->claims_ctx, part, out);
	if (part->scope == TMPL_ADMIT)
		return groups_sql_value(a->groups, a->rows, a->row, part->text, out);
	text = path_value(a->path, part->text);
	if (text)
		buf_add_text(out, text);
	return text != NULL;
}

void groups_of_stream(const struct rules_stream *s, const struct path_values *path, tmpl_value_fn *claims, void *ctx,
		      const struct sqlrows *admit, struct groups *out)
{
	struct group_values a = { .path = path, .claims = claims, .claims_ctx = ctx, .rows = admit, .groups = out };

	groups_clear(out);
	for (size_t i = 0; i < s->n_groups; i++) {
		size_t times = tmpl_uses(&s->groups[i], TMPL_ADMIT) ? admit->n_rows : 1;

		for (a.row = 0; a.row < times; a.row++)
			groups_expand(out, &s->groups[i], group_value, &a, NULL, 0);
	}
}

void groups_drop(struct groups *g, bool (*drop)(const void *ctx, struct slice name), const void *ctx)
{
	struct groups kept = { 0 };
	const char *name = g->names.data;

	for (size_t i = 0; i < g->n; i++, name += strlen(name) + 1) {
		size_t from = kept.names.len;

		if (drop(ctx, slice_of(name)))
			continue;
		buf_add(&kept.names, name, strlen(name) + 1);
		note_added(&kept, from);
	}
	groups_fini(g);
	*g = kept;
}
