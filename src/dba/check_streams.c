/*
 * What the file alone shows of streams and groups: who may hear too much, and which pages stay dark.
 *
 * All are guesses at what the author means, and do no harm to what else works: warnings.
 */
#include "parts.h"

#include <string.h>

#include "walpush/base/buf.h"

/* Groups that begin with fewer equal characters are not alike. */
#define ALIKE_LEAST 2

typedef void one_stream_fn(struct check *c, const struct rules_stream *s);

static void each_stream(struct check *c, one_stream_fn *check_one, const char *fine)
{
	size_t before = c->n_findings;

	for (size_t i = 0; i < rules_n_streams(c->rules); i++)
		check_one(c, rules_stream(c->rules, i));
	if (c->n_findings == before)
		check_ok(c, "%s", fine);
}

/* --- values of the path -------------------------------------------------------------------------------------------- */

static bool notice_names(const struct jsontmpl *t, const char *name)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->pieces[i].kind != JSONTMPL_LITERAL && t->pieces[i].part.scope == TMPL_PATH &&
		    strcmp(t->pieces[i].part.text, name) == 0)
			return true;
	return false;
}

/* A group of the user's own is no other user's, whatever the path says. */
static bool is_open(const struct check *c, const struct tmpl *group, const char *name)
{
	return tmpl_names(group, TMPL_PATH, name) && !tmpl_names(group, TMPL_TOKEN, c->conf->jwt.user_claim);
}

static void warn_open(struct check *c, const struct rules_stream *s, unsigned line, const char *name)
{
	struct buf fix = { 0 };

	buf_addf(&fix,
		 "name {path.%s} in the admit of %s, so that it decides who may hear of it; or say streams.%s.public = "
		 "true, if everybody may hear of all",
		 name, s->conf->name, s->conf->name);
	check_add(c, CHECK_WARNING, CHECK_WORDS, fix.data,
		  "groups of %s (line %u) name {path.%s}, and admit (line %u) does not: whoever is admitted to one "
		  "path may "
		  "listen on all",
		  s->conf->name, line, name, s->conf->admit.line);
	buf_fini(&fix);
}

static void warn_unused(struct check *c, const struct rules_stream *s, const char *name)
{
	struct buf fix = { 0 };

	buf_addf(&fix, "name {path.%s} in admit and groups of %s, or take it out of the path", name, s->conf->name);
	check_add(c, CHECK_WARNING, CHECK_WORDS, fix.data,
		  "path of %s (line %u): nothing uses {path.%s}, so every path hears the same", s->conf->name,
		  s->conf->path.line, name);
	buf_fini(&fix);
}

static void check_path_value(struct check *c, const struct rules_stream *s, const char *name)
{
	bool used = notice_names(&s->hello, name) || notice_names(&s->resync, name);

	if (tmpl_names(&s->admit.source, TMPL_PATH, name))
		return;
	for (size_t i = 0; i < s->n_groups; i++) {
		used |= tmpl_names(&s->groups[i], TMPL_PATH, name);
		if (!s->conf->public && is_open(c, &s->groups[i], name)) {
			warn_open(c, s, s->conf->groups.at[i].line, name);
			return;
		}
	}
	if (!used)
		warn_unused(c, s, name);
}

static void check_path(struct check *c, const struct rules_stream *s)
{
	const char *name;

	for (size_t i = 0; (name = path_name(s->path, i)); i++)
		check_path_value(c, s, name);
}

void check_path_values(struct check *c)
{
	each_stream(c, check_path, "admit decides about every value of a path that groups name");
}

/* --- who asks ------------------------------------------------------------------------------------------------------ */

/* Every group is the user's own, so everybody hears of himself alone. */
static bool is_of_the_user(const struct check *c, const struct rules_stream *s)
{
	for (size_t i = 0; i < s->n_groups; i++)
		if (!tmpl_names(&s->groups[i], TMPL_TOKEN, c->conf->jwt.user_claim))
			return false;
	return true;
}

static void check_asker(struct check *c, const struct rules_stream *s)
{
	const struct conf_stream *conf = s->conf;
	bool asks = tmpl_uses(&s->admit.source, TMPL_TOKEN);
	struct buf fix = { 0 };

	if (asks && conf->public) {
		buf_addf(&fix, "streams.%s.public = false", conf->name);
		check_add(c, CHECK_WARNING, CHECK_CONF, fix.data,
			  "%s (line %u) is public, but its admit (line %u) asks who the user is", conf->name,
			  conf->line, conf->admit.line);
	} else if (!asks && !conf->public && !is_of_the_user(c, s)) {
		buf_addf(&fix,
			 "ask about the user in the admit of %s by {token.%s}; or say streams.%s.public = true, if "
			 "that is "
			 "meant",
			 conf->name, c->conf->jwt.user_claim, conf->name);
		check_add(c, CHECK_WARNING, CHECK_WORDS, fix.data,
			  "admit of %s (line %u) names no {token.…}: whoever has a valid token may listen", conf->name,
			  conf->admit.line);
	}
	buf_fini(&fix);
}

void check_public(struct check *c)
{
	each_stream(c, check_asker, "every admit asks who the user is, or is public by its author's word");
}

/* --- groups that meet nothing -------------------------------------------------------------------------------------- */

/* The groups of a stream or a section, and where they are written. */
struct side {
	const char *name;
	unsigned line;
	const struct tmpl *groups;
	const struct texts *texts;
	size_t n;
};

static struct side side_of_stream(const struct rules_stream *s)
{
	return (struct side){ s->conf->name, s->conf->line, s->groups, &s->conf->groups, s->n_groups };
}

static struct side side_of_section(const struct rules_section *s)
{
	return (struct side){ s->conf->name, s->conf->line, s->groups, &s->conf->groups, s->n_groups };
}

struct others { /* the groups on the other side: those of all streams, or of all sections */
	const struct check *c;
	bool are_streams;
};

static size_t n_others(const struct others *o)
{
	return o->are_streams ? rules_n_streams(o->c->rules) : o->c->conf->n_tables;
}

static struct side other(const struct others *o, size_t i)
{
	if (o->are_streams)
		return side_of_stream(rules_stream(o->c->rules, i));
	return side_of_section(rules_section(o->c->rules, o->c->conf->tables[i].name));
}

static bool is_met(const struct others *o, const struct tmpl *group)
{
	for (size_t i = 0; i < n_others(o); i++) {
		struct side side = other(o, i);

		for (size_t k = 0; k < side.n; k++)
			if (tmpl_may_equal(group, &side.groups[k]))
				return true;
	}
	return false;
}

static size_t common(const char *a, const char *b)
{
	size_t n = 0;

	while (a[n] && a[n] == b[n])
		n++;
	return n;
}

/* "as the stream s does (line 5): tenant_{path.t}": the group that begins alike. */
static void add_nearest(const struct others *o, const char *text, struct buf *out)
{
	size_t most = ALIKE_LEAST;

	for (size_t i = 0; i < n_others(o); i++) {
		struct side side = other(o, i);

		for (size_t k = 0; k < side.n; k++) {
			const struct text *near = &side.texts->at[k];

			if (common(text, near->text) <= most)
				continue;
			most = common(text, near->text);
			buf_clear(out);
			buf_addf(out,
				 "spell it as %s does (line %u), \"%s\"; a value has braces, so a fixed text is never "
				 "equal to one",
				 side.name, near->line, near->text);
		}
	}
	if (!out->len)
		buf_addf(out, o->are_streams ? "add a stream that joins it, or take it out"
					     : "add a section of tables that tells it, or take it out");
}

static void say_unmet(struct check *c, const struct others *o, const struct side *side, size_t i, bool all)
{
	const struct text *group = &side->texts->at[i];
	struct buf fix = { 0 };

	add_nearest(o, group->text, &fix);
	check_add(c, CHECK_WARNING, CHECK_WORDS, fix.data,
		  o->are_streams ? "groups of %s (line %u): no stream can join \"%s\"%s"
				 : "groups of stream %s (line %u): no table can tell \"%s\"%s",
		  side->name, group->line, group->text,
		  !all             ? ""
		  : o->are_streams ? ", so nobody hears of this table"
				   : ", so this page stays dark");
	buf_fini(&fix);
}

static void check_side(struct check *c, const struct others *o, struct side side)
{
	size_t unmet = 0;

	for (size_t i = 0; i < side.n; i++)
		unmet += !is_met(o, &side.groups[i]);
	for (size_t i = 0; i < side.n; i++)
		if (!is_met(o, &side.groups[i]))
			say_unmet(c, o, &side, i, unmet == side.n);
}

void check_groups(struct check *c)
{
	const struct others streams = { c, true }, sections = { c, false };
	size_t before = c->n_findings;

	for (size_t i = 0; i < n_others(&sections); i++)
		check_side(c, &streams, other(&sections, i));
	for (size_t i = 0; i < n_others(&streams); i++)
		check_side(c, &sections, other(&streams, i));
	if (c->n_findings == before)
		check_ok(c, "each can be told by a table and joined by a stream");
}
