#include "walpush/rules/rules.h"

#include <stdlib.h>

#include "parts.h"
#include "walpush/base/mem.h"

static struct rules_table *find_or_add_table(struct rules *r, const char *name)
{
	struct rules_table *t;
	char *schema, *table;

	rules_split_name(name, &schema, &table);
	t = rules_table_named(r, schema, table);
	free(schema);
	free(table);
	return t;
}

/* Every table that a section or a membership names, once, in the file's order: sections first. */
static void collect_tables(struct rules *r)
{
	for (size_t i = 0; i < r->conf->n_tables; i++) {
		struct rules_table *t = find_or_add_table(r, r->conf->tables[i].from.text);
		struct rules_section **at;

		at = mem_resize((void *)t->sections, t->n_sections + 1, sizeof(struct rules_section *));
		at[t->n_sections++] = &r->sections[i];
		t->sections = at;
	}
	for (size_t i = 0; i < r->conf->n_memberships; i++)
		if (!r->conf->memberships[i].ignore)
			rules_add_membership(find_or_add_table(r, r->conf->memberships[i].table), &r->memberships[i]);
}

/* A path without the names of its values: "/ws/<int:>/". */
static void path_shape(const char *path, struct buf *out)
{
	buf_clear(out);
	for (; *path; path++) {
		const char *end = *path == '<' ? strchr(path, '>') : NULL;
		const char *colon = end ? memchr(path, ':', (size_t)(end - path)) : NULL;

		if (!end) {
			buf_add_char(out, *path);
			continue;
		}
		if (colon)
			buf_add(out, path, (size_t)(colon - path));
		else
			buf_add_text(out, "<str");
		buf_add_text(out, ":>");
		path = end;
	}
}

/* If two paths match the same requests, the second would never be reached. */
static bool check_paths(const struct rules *r, struct fail *why)
{
	const struct conf *conf = r->conf;
	struct buf a = { 0 }, b = { 0 };
	bool ok = true;

	for (size_t i = 1; i < conf->n_streams && ok; i++) {
		path_shape(conf->streams[i].path.text, &a);
		for (size_t k = 0; k < i && ok; k++) {
			path_shape(conf->streams[k].path.text, &b);
			if (slice_equal(buf_slice(&a), buf_slice(&b)))
				ok = fail_in_file(
					why, r->conf->file, conf->streams[i].path.line,
					"the path of stream %s matches what that of stream %s (line %u) matches",
					conf->streams[i].name, conf->streams[k].name, conf->streams[k].path.line);
		}
	}
	buf_fini(&a);
	buf_fini(&b);
	return ok;
}

static bool compile(struct rules *r, struct fail *why)
{
	const struct conf *conf = r->conf;

	for (size_t i = 0; i < conf->n_streams; i++)
		if (!rules_compile_stream(r, &conf->streams[i], &r->streams[i], why))
			return false;
	for (size_t i = 0; i < conf->n_tables; i++)
		if (!rules_compile_section(r, &conf->tables[i], &r->sections[i], why))
			return false;
	for (size_t i = 0; i < conf->n_memberships; i++) {
		const struct conf_membership *m = &conf->memberships[i];

		r->memberships[i] = (struct rules_membership){ .conf = m, .user = -1, .any = true };
		if (m->ignore && (m->user || m->columns.n))
			return fail_in_file(why, r->conf->file, m->line,
					    "membership of %s: with ignore, user and columns mean nothing", m->table);
	}
	return check_paths(r, why) && rules_compile_actor(r, &r->actor, why);
}

static void add_query(struct rules *r, struct rules_query *q)
{
	if (!q->sql)
		return;
	q->at = (unsigned)r->n_queries;
	r->queries = mem_resize((void *)r->queries, r->n_queries + 1, sizeof(struct rules_query *));
	r->queries[r->n_queries++] = q;
}

static void collect_queries(struct rules *r)
{
	for (size_t i = 0; i < r->conf->n_tables; i++) {
		add_query(r, &r->sections[i].lookup);
		add_query(r, &r->sections[i].data);
	}
	add_query(r, &r->actor);
	r->n_row_queries = r->n_queries;
	for (size_t i = 0; i < r->conf->n_streams; i++)
		add_query(r, &r->streams[i].admit);
}

struct rules *rules_new(const struct conf *conf, struct fail *why)
{
	struct rules *r = mem_new(sizeof(*r));

	r->conf = conf;
	r->streams = mem_new_array(conf->n_streams, sizeof(*r->streams));
	r->sections = mem_new_array(conf->n_tables, sizeof(*r->sections));
	r->memberships = mem_new_array(conf->n_memberships, sizeof(*r->memberships));
	if (!compile(r, why)) {
		rules_free(r);
		return NULL;
	}
	collect_tables(r);
	collect_queries(r);
	return r;
}

void rules_free(struct rules *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->conf->n_streams; i++)
		rules_free_stream(&r->streams[i]);
	for (size_t i = 0; i < r->conf->n_tables; i++)
		rules_free_section(&r->sections[i]);
	for (size_t i = 0; i < r->conf->n_memberships; i++)
		free(r->memberships[i].columns);
	for (size_t i = 0; i < r->n_tables; i++) {
		free(r->tables[i].schema);
		free(r->tables[i].name);
		free((void *)r->tables[i].sections);
		free((void *)r->tables[i].memberships);
		rules_free_read(&r->tables[i].read);
	}
	rules_free_found(r);
	rules_free_query(&r->actor);
	free((void *)r->queries);
	free(r->streams);
	free(r->sections);
	free(r->memberships);
	free(r->tables);
	free(r);
}

const struct rules_section *rules_section(const struct rules *r, const char *name)
{
	for (size_t i = 0; i < r->conf->n_tables; i++)
		if (strcmp(r->conf->tables[i].name, name) == 0)
			return &r->sections[i];
	return NULL;
}

size_t rules_n_streams(const struct rules *r)
{
	return r->conf->n_streams;
}

const struct rules_stream *rules_stream(const struct rules *r, size_t i)
{
	return &r->streams[i];
}

int rules_stream_index(const struct rules *r, uint64_t identity)
{
	for (size_t i = 0; i < r->conf->n_streams; i++)
		if (r->streams[i].identity == identity)
			return (int)i;
	return -1;
}

int rules_match_path(const struct rules *r, struct slice path, struct path_values *out)
{
	for (size_t i = 0; i < r->conf->n_streams; i++)
		if (path_match_decoded(r->streams[i].path, path, out))
			return (int)i;
	return -1;
}

const struct rules_query *rules_actor(const struct rules *r)
{
	return r->actor.sql ? &r->actor : NULL;
}

size_t rules_n_queries(const struct rules *r)
{
	return r->n_queries;
}

size_t rules_n_row_queries(const struct rules *r)
{
	return r->n_row_queries;
}

const struct rules_query *rules_query_at(const struct rules *r, size_t i)
{
	return r->queries[i];
}
