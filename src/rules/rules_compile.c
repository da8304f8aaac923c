/* The first step of the rules: what the file alone decides. Each template is parsed with the scopes that are allowed at
 * its place. */
#include "parts.h"

#include <stdlib.h>

#include "walpush/base/mem.h"
#include "walpush/base/hash.h"

#define SCOPE(name) (1u << TMPL_##name)
/* What a row says by itself. */
#define OF_ROW (SCOPE(ROW) | SCOPE(OLD) | SCOPE(TABLE))

/* PostgreSQL cuts a prepared statement's name at 63 bytes. A longer name keeps its beginning and gets a digest. */
#define QUERY_NAME_MAX 63

static char *json_text(const char *text)
{
	struct buf out = { 0 };

	buf_add_json(&out, slice_of(text));
	return buf_steal(&out);
}

static char *query_name(const char *what, const char *of)
{
	struct buf name = { 0 };

	buf_addf(&name, "%s of %s", what, of);
	if (name.len > QUERY_NAME_MAX) {
		uint32_t digest = hash_mix_32(HASH_START_32, name.data, name.len);

		name.len = QUERY_NAME_MAX - 9;
		buf_addf(&name, "#%08x", digest);
	}
	return buf_steal(&name);
}

/* `what` names the template in an error. */
static bool parse_template(const struct rules *r, struct tmpl *t, const struct text *text, unsigned scopes,
			   const char *what, const char *of, struct fails *all)
{
	struct fail inner;

	if (tmpl_parse(t, text->text, scopes, &inner))
		return true;
	return fails_add(all, r->conf->file, text->line, "%s of %s, character %zu: %s", what, of, inner.offset + 1,
			 inner.text);
}

/* Nothing, if there is no such query. */
static void compile_query(const struct rules *r, struct rules_query *q, const struct text *text, unsigned scopes,
			  const char *what, const char *of, struct fails *all)
{
	struct buf sql = { 0 };

	if (!text->text || !parse_template(r, &q->source, text, scopes, what, of, all))
		return;
	tmpl_sql(&q->source, &sql);
	q->sql = buf_steal(&sql);
	q->name = query_name(what, of);
	q->line = text->line;
}

/* A brace in a literal could spell the braces around a value, and so the group of another template. */
static void check_literals(const struct rules *r, const struct tmpl *t, const struct text *text, const char *of,
			   struct fails *all)
{
	bool has_brace = false;

	for (size_t i = 0; i < t->n_parts; i++)
		has_brace |= !t->parts[i].is_ref && strpbrk(t->parts[i].text, "{}");
	if (has_brace)
		fails_add(all, r->conf->file, text->line, "groups of %s: a group's name cannot hold braces", of);
	if (t->n_parts == 0)
		fails_add(all, r->conf->file, text->line, "groups of %s: a group's name cannot be empty", of);
}

static void compile_groups(const struct rules *r, const struct texts *texts, unsigned scopes, const char *of,
			   struct tmpl **groups, size_t *n, struct fails *all)
{
	*groups = mem_new_array(texts->n, sizeof(**groups));
	*n = texts->n;
	for (size_t i = 0; i < texts->n; i++)
		if (parse_template(r, &(*groups)[i], &texts->at[i], scopes, "groups", of, all))
			check_literals(r, &(*groups)[i], &texts->at[i], of, all);
}

/* A {path.x} must be in the stream's path, if that is known. */
static void check_path_value(const struct rules *r, const struct rules_stream *s, const struct tmpl_part *part,
			     unsigned line, const char *what, struct fails *all)
{
	if (part->scope == TMPL_PATH && s->path && !path_has(s->path, part->text))
		fails_add(all, r->conf->file, line, "%s of %s: {path.%s} is not in its path %s", what, s->conf->name,
			  part->text, s->conf->path.text);
}

static void check_path_values(const struct rules *r, const struct rules_stream *s, const struct tmpl *t, unsigned line,
			      const char *what, struct fails *all)
{
	for (size_t i = 0; i < t->n_parts; i++)
		if (t->parts[i].is_ref)
			check_path_value(r, s, &t->parts[i], line, what, all);
}

/* A message of the server's own (hello, resync) in the words of the stream. */
static void compile_notice(const struct rules *r, const struct rules_stream *s, struct jsontmpl *t,
			   const struct text *text, const char *what, struct fails *all)
{
	struct fail inner;

	if (!text->text)
		return;
	if (!jsontmpl_parse(t, text->text, SCOPE(PATH) | SCOPE(TOKEN) | SCOPE(STREAM), &inner))
		fails_add(all, r->conf->file, text->line, "%s of %s: %s", what, s->conf->name, inner.text);
	for (size_t i = 0; i < t->n; i++)
		if (t->pieces[i].kind != JSONTMPL_LITERAL)
			check_path_value(r, s, &t->pieces[i].part, text->line, what, all);
}

static void compile_path(const struct rules *r, struct rules_stream *s, struct fails *all)
{
	const struct text *path = &s->conf->path;
	struct fail inner;

	s->path = path->text ? path_compile(path->text, &inner) : NULL;
	if (path->text && !s->path)
		fails_add(all, r->conf->file, path->line, "path of %s: %s", s->conf->name, inner.text);
}

void rules_compile_stream(const struct rules *r, const struct conf_stream *conf, struct rules_stream *s,
			  struct fails *all)
{
	s->conf = conf;
	s->identity = rules_digest_stream(conf);
	compile_path(r, s, all);
	compile_query(r, &s->admit, &conf->admit, SCOPE(PATH) | SCOPE(TOKEN), "admit", conf->name, all);
	check_path_values(r, s, &s->admit.source, conf->admit.line, "admit", all);
	compile_groups(r, &conf->groups, SCOPE(PATH) | SCOPE(TOKEN) | SCOPE(ADMIT), conf->name, &s->groups,
		       &s->n_groups, all);
	for (size_t i = 0; i < s->n_groups; i++)
		check_path_values(r, s, &s->groups[i], conf->groups.at[i].line, "groups", all);
	s->resync_closes = conf->resync.text && strcmp(conf->resync.text, "close") == 0;
	compile_notice(r, s, &s->hello, &conf->hello, "hello", all);
	if (!s->resync_closes)
		compile_notice(r, s, &s->resync, &conf->resync, "resync", all);
}

static void check_lookups(const struct rules *r, struct rules_section *s, struct fails *all)
{
	s->group_uses_lookup = mem_new_array(s->n_groups, sizeof(bool));
	for (size_t i = 0; i < s->n_groups; i++) {
		s->group_uses_lookup[i] = tmpl_uses(&s->groups[i], TMPL_LOOKUP);
		if (s->group_uses_lookup[i] && !s->conf->lookup.line)
			fails_add(all, r->conf->file, s->conf->groups.at[i].line,
				  "groups of %s use {lookup.…}, but it has no lookup", s->conf->name);
	}
}

/* Members of the standard message: a key or a field with such a name would be there twice. */
static bool check_member(const struct rules *r, const struct rules_section *s, const char *name, unsigned line,
			 const char *what, struct fails *all)
{
	static const char *const taken[] = { "type", "action",    "updated_at", "updated_by", "data",
					     "id",   "unchanged", "truncated",  "count" };

	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (strcmp(taken[i], name) == 0)
			return fails_add(all, r->conf->file, line,
					 "%s of %s: the message has a member \"%s\" of its own", what, s->conf->name,
					 name);
	return true;
}

static void check_field(const struct rules *r, const struct rules_section *s, size_t at, struct fails *all)
{
	const struct conf_table *conf = s->conf;
	const struct text *field = &conf->fields.at[at];
	bool twice = false;

	for (size_t k = 0; k < at; k++)
		twice |= strcmp(field->text, conf->fields.at[k].text) == 0;
	if (twice)
		fails_add(all, r->conf->file, field->line, "fields of %s: \"%s\" stands there twice", conf->name,
			  field->text);
	else if (check_member(r, s, field->text, field->line, "fields", all) && conf->key.text &&
		 strcmp(field->text, conf->key.text) == 0)
		fails_add(all, r->conf->file, field->line, "fields of %s: \"%s\" is its key already", conf->name,
			  field->text);
}

static void check_members(const struct rules *r, const struct rules_section *s, struct fails *all)
{
	const struct conf_table *conf = s->conf;

	if (conf->key.text)
		check_member(r, s, conf->key.text, conf->key.line, "key", all);
	for (size_t i = 0; i < conf->fields.n; i++)
		check_field(r, s, i, all);
}

/* A section with its own message must not have data-query or fields, because they shape only the standard message. */
static void check_idle(const struct rules *r, const struct conf_table *conf, struct fails *all)
{
	unsigned line = conf->data_query.text ? conf->data_query.line : conf->fields.n ? conf->fields.at[0].line : 0;

	if (line)
		fails_add(all, r->conf->file, line,
			  "%s has a message of its own, in which data-query and fields mean nothing: remove them",
			  conf->name);
}

static void compile_message(const struct rules *r, struct rules_section *s, struct fails *all)
{
	const struct conf_table *conf = s->conf;
	struct fail inner;

	if (!jsontmpl_parse(&s->message, conf->message.text, OF_ROW | SCOPE(LOOKUP) | SCOPE(ACTOR) | SCOPE(EVENT),
			    &inner))
		fails_add(all, r->conf->file, conf->message.line, "message of %s: %s", conf->name, inner.text);
	s->message_uses_lookup = jsontmpl_uses(&s->message, TMPL_LOOKUP);
	if (s->message_uses_lookup && !conf->lookup.line)
		fails_add(all, r->conf->file, conf->message.line, "message of %s uses {lookup.…}, but it has no lookup",
			  conf->name);
	s->message_uses_actor = jsontmpl_uses(&s->message, TMPL_ACTOR);
	if (s->message_uses_actor && !r->conf->actor_query.line)
		fails_add(all, r->conf->file, conf->message.line,
			  "message of %s uses {actor.…}, but there is no actor query", conf->name);
	check_idle(r, conf, all);
}

static void compile_condition(const struct conf_condition *conf, struct rules_condition *c)
{
	c->column = -1;
	c->becomes = conf->becomes ? json_text(conf->becomes) : NULL;
	c->was = conf->was ? json_text(conf->was) : NULL;
	c->equals = conf->equals ? json_text(conf->equals) : NULL;
	c->changes = conf->changes;
}

static void compile_conditions(struct rules_section *s)
{
	const struct conf_table *conf = s->conf;

	s->n_when = conf->n_when;
	s->when = mem_new_array(conf->n_when, sizeof(*s->when));
	for (size_t i = 0; i < conf->n_when; i++)
		compile_condition(&conf->when[i], &s->when[i]);
	s->n_actions = conf->n_actions;
	s->actions = mem_new_array(conf->n_actions, sizeof(*s->actions));
	for (size_t i = 0; i < conf->n_actions; i++) {
		const struct conf_action *a = &conf->actions[i];

		s->actions[i].conf = a;
		s->actions[i].name_json = json_text(a->name);
		s->actions[i].actor_column = -1;
		compile_condition(&a->condition, &s->actions[i].condition);
	}
}

void rules_compile_section(const struct rules *r, const struct conf_table *conf, struct rules_section *s,
			   struct fails *all)
{
	s->conf = conf;
	s->label = conf->name;
	s->actor_column = s->updated_at = -1;
	s->asks_actor = r->conf->actor_query.text != NULL;
	compile_groups(r, &conf->groups, OF_ROW | SCOPE(LOOKUP), conf->name, &s->groups, &s->n_groups, all);
	check_lookups(r, s, all);
	if (conf->message.text)
		compile_message(r, s, all);
	else
		check_members(r, s, all);
	rules_check_shown(r, s, all);
	compile_query(r, &s->lookup, &conf->lookup, OF_ROW, "lookup", conf->name, all);
	compile_query(r, &s->data, &conf->data_query, OF_ROW, "data-query", conf->name, all);
	s->data_is_query = conf->data_query.text && conf->columns.n == 0;
	s->type_json = json_text(conf->type.text ? conf->type.text : conf->name);
	s->key_json = conf->key.text ? json_text(conf->key.text) : NULL;
	compile_conditions(s);
}

void rules_compile_actor(const struct rules *r, struct rules_query *q, struct fails *all)
{
	const struct text *text = &r->conf->actor_query;

	compile_query(r, q, text, SCOPE(ROW), "query", "actor", all);
	if (!q->sql)
		return;
	for (size_t i = 0; i < q->source.n_parts; i++)
		if (q->source.parts[i].is_ref && strcmp(q->source.parts[i].text, "id") != 0)
			fails_add(all, r->conf->file, text->line, "actor: only {id} can stand in its query, not {%s}",
				  q->source.parts[i].text);
	if (q->source.n_refs == 0)
		fails_add(all, r->conf->file, text->line, "actor: its query must ask for one user by {id}");
}

void rules_free_query(struct rules_query *q)
{
	free(q->name);
	free(q->sql);
	tmpl_fini(&q->source);
}

static void free_groups(struct tmpl *groups, size_t n)
{
	for (size_t i = 0; i < n; i++)
		tmpl_fini(&groups[i]);
	free(groups);
}

void rules_free_stream(struct rules_stream *s)
{
	path_free(s->path);
	rules_free_query(&s->admit);
	free_groups(s->groups, s->n_groups);
	free(s->asks_time);
	free(s->not_followed);
	free(s->strangers);
	jsontmpl_fini(&s->hello);
	jsontmpl_fini(&s->resync);
}

static void free_condition(struct rules_condition *c)
{
	free(c->becomes);
	free(c->was);
	free(c->equals);
}

void rules_free_table(struct rules_table *t)
{
	free(t->schema);
	free(t->name);
	free((void *)t->sections);
	free((void *)t->memberships);
	rules_free_read(&t->read);
}

void rules_free_section(struct rules_section *s)
{
	free_groups(s->groups, s->n_groups);
	free(s->group_uses_lookup);
	rules_free_query(&s->lookup);
	rules_free_query(&s->data);
	for (size_t i = 0; i < s->n_when; i++)
		free_condition(&s->when[i]);
	free(s->when);
	for (size_t i = 0; i < s->n_actions; i++) {
		free(s->actions[i].name_json);
		free_condition(&s->actions[i].condition);
	}
	free(s->actions);
	free(s->fields);
	free(s->shown);
	free(s->quiet);
	free(s->type_json);
	free(s->key_json);
	jsontmpl_fini(&s->message);
}
