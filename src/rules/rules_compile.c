/* The first step of the rules: what the file alone decides. Each template is parsed with the scopes that are allowed at
 * its place. */
#include "parts.h"

#include <stdlib.h>

#include "walpush/base/mem.h"
#include "walpush/base/hash.h"

#define SCOPE(name) (1u << TMPL_##name)

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
			   const char *what, const char *of, struct fail *why)
{
	struct fail inner;

	if (tmpl_parse(t, text->text, scopes, &inner))
		return true;
	return fail_in_file(why, r->conf->file, text->line, "%s of %s, character %zu: %s", what, of, inner.offset + 1,
			    inner.text);
}

static bool compile_query(const struct rules *r, struct rules_query *q, const struct text *text, unsigned scopes,
			  const char *what, const char *of, struct fail *why)
{
	struct buf sql = { 0 };

	if (!parse_template(r, &q->source, text, scopes, what, of, why))
		return false;
	tmpl_sql(&q->source, &sql);
	q->sql = buf_steal(&sql);
	q->name = query_name(what, of);
	q->line = text->line;
	return true;
}

/* A brace in a literal could spell the braces around a value, and so the group of another template. */
static bool check_literals(const struct rules *r, const struct tmpl *t, const struct text *text, const char *of,
			   struct fail *why)
{
	for (size_t i = 0; i < t->n_parts; i++)
		if (!t->parts[i].is_ref && strpbrk(t->parts[i].text, "{}"))
			return fail_in_file(why, r->conf->file, text->line,
					    "groups of %s: a group's name cannot hold braces", of);
	if (t->n_parts == 0)
		return fail_in_file(why, r->conf->file, text->line, "groups of %s: a group's name cannot be empty", of);
	return true;
}

static bool compile_groups(const struct rules *r, const struct texts *texts, unsigned line, unsigned scopes,
			   const char *of, struct tmpl **groups, size_t *n, struct fail *why)
{
	if (texts->n == 0)
		return fail_in_file(why, r->conf->file, line, "%s has no groups: nobody would hear of it", of);
	*groups = mem_new_array(texts->n, sizeof(**groups));
	for (size_t i = 0; i < texts->n; i++) {
		if (!parse_template(r, &(*groups)[i], &texts->at[i], scopes, "groups", of, why))
			return false;
		*n = i + 1;
		if (!check_literals(r, &(*groups)[i], &texts->at[i], of, why))
			return false;
	}
	return true;
}

/* A {path.x} must be in the stream's path. */
static bool check_path_value(const struct rules *r, const struct rules_stream *s, const struct tmpl_part *part,
			     unsigned line, const char *what, struct fail *why)
{
	if (part->scope != TMPL_PATH || path_has(s->path, part->text))
		return true;
	return fail_in_file(why, r->conf->file, line, "%s of %s: {path.%s} is not in its path %s", what, s->conf->name,
			    part->text, s->conf->path.text);
}

static bool check_path_values(const struct rules *r, const struct rules_stream *s, const struct tmpl *t, unsigned line,
			      const char *what, struct fail *why)
{
	for (size_t i = 0; i < t->n_parts; i++)
		if (t->parts[i].is_ref && !check_path_value(r, s, &t->parts[i], line, what, why))
			return false;
	return true;
}

/* A message of the server's own (hello, resync) in the words of the stream. */
static bool compile_notice(const struct rules *r, const struct rules_stream *s, struct jsontmpl *t,
			   const struct text *text, const char *what, struct fail *why)
{
	struct fail inner;

	if (!text->text)
		return true;
	if (!jsontmpl_parse(t, text->text, SCOPE(PATH) | SCOPE(TOKEN) | SCOPE(STREAM), &inner))
		return fail_in_file(why, r->conf->file, text->line, "%s of %s: %s", what, s->conf->name, inner.text);
	for (size_t i = 0; i < t->n; i++)
		if (t->pieces[i].kind != JSONTMPL_LITERAL &&
		    !check_path_value(r, s, &t->pieces[i].part, text->line, what, why))
			return false;
	return true;
}

bool rules_compile_stream(const struct rules *r, const struct conf_stream *conf, struct rules_stream *s,
			  struct fail *why)
{
	struct fail inner;

	s->conf = conf;
	if (!conf->path.text || !conf->admit.text)
		return fail_in_file(why, r->conf->file, conf->line, "stream %s needs a path and an admit query",
				    conf->name);
	s->identity = rules_digest_stream(conf);
	s->path = path_compile(conf->path.text, &inner);
	if (!s->path)
		return fail_in_file(why, r->conf->file, conf->path.line, "path of %s: %s", conf->name, inner.text);
	if (!compile_query(r, &s->admit, &conf->admit, SCOPE(PATH) | SCOPE(TOKEN), "admit", conf->name, why) ||
	    !check_path_values(r, s, &s->admit.source, conf->admit.line, "admit", why) ||
	    !compile_groups(r, &conf->groups, conf->line, SCOPE(PATH) | SCOPE(TOKEN) | SCOPE(ADMIT), conf->name,
			    &s->groups, &s->n_groups, why))
		return false;
	for (size_t i = 0; i < s->n_groups; i++)
		if (!check_path_values(r, s, &s->groups[i], conf->groups.at[i].line, "groups", why))
			return false;
	s->resync_closes = conf->resync.text && strcmp(conf->resync.text, "close") == 0;
	return compile_notice(r, s, &s->hello, &conf->hello, "hello", why) &&
	       (s->resync_closes || compile_notice(r, s, &s->resync, &conf->resync, "resync", why));
}

static bool check_lookups(const struct rules *r, struct rules_section *s, struct fail *why)
{
	s->group_uses_lookup = mem_new_array(s->n_groups, sizeof(bool));
	for (size_t i = 0; i < s->n_groups; i++) {
		s->group_uses_lookup[i] = tmpl_uses(&s->groups[i], TMPL_LOOKUP);
		if (s->group_uses_lookup[i] && !s->conf->lookup.text)
			return fail_in_file(why, r->conf->file, s->conf->groups.at[i].line,
					    "groups of %s use {lookup.…}, but it has no lookup", s->conf->name);
	}
	return true;
}

/* Members of the standard message: a key or a field with such a name would be there twice. */
static bool check_member(const struct rules *r, const struct rules_section *s, const char *name, unsigned line,
			 const char *what, struct fail *why)
{
	static const char *const taken[] = { "type", "action",    "updated_at", "updated_by", "data",
					     "id",   "unchanged", "truncated",  "count" };

	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (strcmp(taken[i], name) == 0)
			return fail_in_file(why, r->conf->file, line,
					    "%s of %s: the message has a member \"%s\" of its own", what, s->conf->name,
					    name);
	return true;
}

static bool check_members(const struct rules *r, const struct rules_section *s, struct fail *why)
{
	const struct conf_table *conf = s->conf;

	if (!conf->type.text || !conf->key.text)
		return fail_in_file(why, r->conf->file, conf->line, "%s needs a type and a key", conf->name);
	if (!check_member(r, s, conf->key.text, conf->key.line, "key", why))
		return false;
	for (size_t i = 0; i < conf->fields.n; i++) {
		const struct text *field = &conf->fields.at[i];

		if (!check_member(r, s, field->text, field->line, "fields", why))
			return false;
		if (strcmp(field->text, conf->key.text) == 0)
			return fail_in_file(why, r->conf->file, field->line, "fields of %s: \"%s\" is its key already",
					    conf->name, field->text);
		for (size_t k = 0; k < i; k++)
			if (strcmp(field->text, conf->fields.at[k].text) == 0)
				return fail_in_file(why, r->conf->file, field->line,
						    "fields of %s: \"%s\" stands there twice", conf->name, field->text);
	}
	return true;
}

/* A section with its own message must not have data-query or fields, because they shape only the standard message. */
static bool check_idle(const struct rules *r, const struct conf_table *conf, struct fail *why)
{
	unsigned line = conf->data_query.text ? conf->data_query.line : conf->fields.n ? conf->fields.at[0].line : 0;

	if (line == 0)
		return true;
	return fail_in_file(why, r->conf->file, line,
			    "%s has a message of its own, in which data-query and fields mean nothing: remove them",
			    conf->name);
}

static bool compile_message(const struct rules *r, struct rules_section *s, struct fail *why)
{
	const struct conf_table *conf = s->conf;
	struct fail inner;

	if (!jsontmpl_parse(&s->message, conf->message.text,
			    SCOPE(ROW) | SCOPE(OLD) | SCOPE(LOOKUP) | SCOPE(ACTOR) | SCOPE(EVENT), &inner))
		return fail_in_file(why, r->conf->file, conf->message.line, "message of %s: %s", conf->name,
				    inner.text);
	s->message_uses_lookup = jsontmpl_uses(&s->message, TMPL_LOOKUP);
	if (s->message_uses_lookup && !conf->lookup.text)
		return fail_in_file(why, r->conf->file, conf->message.line,
				    "message of %s uses {lookup.…}, but it has no lookup", conf->name);
	s->message_uses_actor = jsontmpl_uses(&s->message, TMPL_ACTOR);
	if (s->message_uses_actor && !s->asks_actor)
		return fail_in_file(why, r->conf->file, conf->message.line,
				    "message of %s uses {actor.…}, but there is no actor query", conf->name);
	return check_idle(r, conf, why);
}

static void compile_condition(const struct conf_condition *conf, struct rules_condition *c)
{
	c->column = -1;
	c->becomes = conf->becomes ? json_text(conf->becomes) : NULL;
	c->was = conf->was ? json_text(conf->was) : NULL;
	c->equals = conf->equals ? json_text(conf->equals) : NULL;
	c->changes = conf->changes;
}

static bool compile_conditions(const struct rules *r, struct rules_section *s, struct fail *why)
{
	const struct conf_table *conf = s->conf;

	s->n_when = conf->n_when;
	s->when = mem_new_array(conf->n_when, sizeof(*s->when));
	for (size_t i = 0; i < conf->n_when; i++) {
		const struct conf_condition *w = &conf->when[i];

		compile_condition(w, &s->when[i]);
		if (!w->column || !w->equals || w->becomes || w->was || w->changes)
			return fail_in_file(why, r->conf->file, w->line,
					    "when of %s: a condition is a column and the text that it equals",
					    conf->name);
	}
	s->n_actions = conf->n_actions;
	s->actions = mem_new_array(conf->n_actions, sizeof(*s->actions));
	for (size_t i = 0; i < conf->n_actions; i++) {
		const struct conf_action *a = &conf->actions[i];

		s->actions[i].conf = a;
		s->actions[i].name_json = json_text(a->name);
		s->actions[i].actor_column = -1;
		compile_condition(&a->condition, &s->actions[i].condition);
	}
	return true;
}

bool rules_compile_section(const struct rules *r, const struct conf_table *conf, struct rules_section *s,
			   struct fail *why)
{
	s->conf = conf;
	s->actor_column = s->updated_at = -1;
	s->asks_actor = r->conf->actor_query.text != NULL;
	if (!compile_groups(r, &conf->groups, conf->line, SCOPE(ROW) | SCOPE(OLD) | SCOPE(LOOKUP), conf->name,
			    &s->groups, &s->n_groups, why) ||
	    !check_lookups(r, s, why) ||
	    !(conf->message.text ? compile_message(r, s, why) : check_members(r, s, why)) ||
	    !rules_check_shown(r, s, why))
		return false;
	if (conf->lookup.text &&
	    !compile_query(r, &s->lookup, &conf->lookup, SCOPE(ROW) | SCOPE(OLD), "lookup", conf->name, why))
		return false;
	if (conf->data_query.text &&
	    !compile_query(r, &s->data, &conf->data_query, SCOPE(ROW) | SCOPE(OLD), "data-query", conf->name, why))
		return false;
	s->data_is_query = conf->data_query.text && conf->columns.n == 0;
	s->type_json = json_text(conf->type.text ? conf->type.text : conf->name);
	s->key_json = conf->key.text ? json_text(conf->key.text) : NULL;
	return compile_conditions(r, s, why);
}

bool rules_compile_actor(const struct rules *r, struct rules_query *q, struct fail *why)
{
	const struct text *text = &r->conf->actor_query;

	if (!text->text)
		return true;
	if (!compile_query(r, q, text, SCOPE(ROW), "query", "actor", why))
		return false;
	for (size_t i = 0; i < q->source.n_parts; i++)
		if (q->source.parts[i].is_ref && strcmp(q->source.parts[i].text, "id") != 0)
			return fail_in_file(why, r->conf->file, text->line,
					    "actor: only {id} can stand in its query, not {%s}",
					    q->source.parts[i].text);
	if (q->source.n_refs == 0)
		return fail_in_file(why, r->conf->file, text->line, "actor: its query must ask for one user by {id}");
	return true;
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
