#include "walpush/rules/rules.h"

#include <stdlib.h>

#include "parts.h"
#include "walpush/base/mem.h"

static struct rules_table *find_or_add_table(struct rules *r, const char *name)
{
	struct rules_table *t;
	char *schema, *table;

	rules_split_name(name, &schema, &table);
	t = rules_is_pattern(name) ? rules_pattern_named(r, schema, table) : rules_table_named(r, schema, table);
	free(schema);
	free(table);
	return t;
}

/* Every table that a section or a membership names, once, in the file's order: sections first. */
static void collect_tables(struct rules *r)
{
	for (size_t i = 0; i < r->conf->n_tables; i++)
		rules_add_section(find_or_add_table(r, r->conf->tables[i].from.text), &r->sections[i]);
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

/* If two paths match the same requests, the second would never be reached. Equal paths are an error of conf. */
static bool is_shadowed(const struct conf_stream *s, const struct conf_stream *by)
{
	struct buf a = { 0 }, b = { 0 };
	bool same;

	if (!s->path.text || !by->path.text || strcmp(s->path.text, by->path.text) == 0)
		return false;
	path_shape(s->path.text, &a);
	path_shape(by->path.text, &b);
	same = slice_equal(buf_slice(&a), buf_slice(&b));
	buf_fini(&a);
	buf_fini(&b);
	return same;
}

static void check_path(const struct rules *r, const struct conf_stream *s, struct fails *all)
{
	for (const struct conf_stream *by = r->conf->streams; by < s; by++)
		if (is_shadowed(s, by)) {
			fails_add(all, r->conf->file, s->path.line,
				  "the path of stream %s matches what that of stream %s (line %u) matches", s->name,
				  by->name, by->path.line);
			return;
		}
}

static void compile_membership(const struct rules *r, const struct conf_membership *conf, struct rules_membership *m,
			       struct fails *all)
{
	*m = (struct rules_membership){ .conf = conf, .user = -1, .any = true };
	if (conf->ignore && (conf->user || conf->columns.n))
		fails_add(all, r->conf->file, conf->line,
			  "membership of %s: with ignore, user and columns mean nothing", conf->table);
}

static void compile(struct rules *r, struct fails *all)
{
	const struct conf *conf = r->conf;

	for (size_t i = 0; i < conf->n_streams; i++)
		rules_compile_stream(r, &conf->streams[i], &r->streams[i], all);
	for (size_t i = 0; i < conf->n_streams; i++)
		check_path(r, &conf->streams[i], all);
	for (size_t i = 0; i < conf->n_tables; i++)
		rules_compile_section(r, &conf->tables[i], &r->sections[i], all);
	for (size_t i = 0; i < conf->n_memberships; i++)
		compile_membership(r, &conf->memberships[i], &r->memberships[i], all);
	rules_compile_actor(r, &r->actor, all);
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

struct rules *rules_new_all(const struct conf *conf, struct fails *all)
{
	struct rules *r = mem_new(sizeof(*r));

	r->conf = conf;
	r->streams = mem_new_array(conf->n_streams, sizeof(*r->streams));
	r->sections = mem_new_array(conf->n_tables, sizeof(*r->sections));
	r->memberships = mem_new_array(conf->n_memberships, sizeof(*r->memberships));
	compile(r, all);
	if (all->n) {
		rules_free(r);
		return NULL;
	}
	collect_tables(r);
	collect_queries(r);
	return r;
}

struct rules *rules_new(const struct conf *conf, struct fail *why)
{
	struct fails all = { 0 };
	struct rules *r = rules_new_all(conf, &all);

	fails_end(&all, why);
	return r;
}

struct conf *rules_load(const char *file, struct rules **out, struct fails *all)
{
	struct conf *conf = conf_load_all(file, all);
	struct rules *rules = conf ? rules_new_all(conf, all) : NULL;

	if (!rules) {
		conf_free(conf);
		conf = NULL;
	}
	if (out)
		*out = rules;
	else
		rules_free(rules);
	return conf;
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
	rules_drop_expanded(r);
	for (size_t i = 0; i < r->n_tables; i++)
		rules_free_table(&r->tables[i]);
	for (size_t i = 0; i < r->n_patterns; i++)
		rules_free_table(&r->patterns[i]);
	rules_free_found(r);
	rules_free_query(&r->actor);
	free((void *)r->queries);
	free(r->streams);
	free(r->sections);
	free(r->memberships);
	free(r->tables);
	free(r->patterns);
	free((void *)r->expanded);
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
