/* What the messages of the sections show and keep quiet: has the author decided this? */
#include "parts.h"

#include "walpush/base/buf.h"
#include "walpush/text/secretname.h"

static void add_name(struct buf *out, const char *name)
{
	buf_add_text(out, out->len ? ", \"" : "\"");
	buf_add_json(out, slice_of(name));
	buf_add_char(out, '"');
}

/* True: it is enough to exclude the secrets. */
static bool may_exclude_secrets(const struct rules_section *s)
{
	for (size_t i = 0; i < s->table->n_columns; i++)
		if (rules_sends_secret(s, i) && !rules_may_exclude(s, i))
			return false;
	return true;
}

/* tables.users.exclude = [ "note", "otp" ]: columns that are already excluded stay in the list. */
static void add_exclude(const struct rules_section *s, struct buf *out)
{
	struct buf names = { 0 };

	for (size_t i = 0; i < s->conf->exclude.n; i++)
		add_name(&names, s->conf->exclude.at[i].text);
	for (size_t i = 0; i < s->table->n_columns; i++)
		if (rules_sends_secret(s, i))
			add_name(&names, s->table->columns[i].name);
	buf_addf(out, "tables.%s.exclude = [ %s ]", s->conf->name, names.data);
	buf_fini(&names);
}

static void check_section_secrets(struct check *c, const struct rules_section *s)
{
	struct buf names = { 0 }, fix = { 0 };
	size_t n = rules_add_secrets(s, &names);
	bool excludes = may_exclude_secrets(s);

	if (n) {
		if (excludes)
			add_exclude(s, &fix);
		else
			buf_addf(&fix,
				 "name all columns that may be seen in tables.%s.columns; or take these out of key, "
				 "fields and message",
				 s->conf->name);
		check_add(c, CHECK_WARNING, excludes ? CHECK_CONF : CHECK_WORDS, fix.data,
			  "tables.%s (line %u) sends %s, which look%s like a secret", s->conf->name, s->conf->line,
			  names.data, n == 1 ? "s" : "");
	}
	buf_fini(&names);
	buf_fini(&fix);
}

static void check_section_quiet(struct check *c, const struct rules_section *s)
{
	struct buf fix = { 0 };

	for (size_t i = 0; i < s->table->n_columns; i++) {
		const char *reader = rules_loud(s, i);

		if (!reader)
			continue;
		buf_clear(&fix);
		buf_addf(&fix, "take %s out of tables.%s.quiet", s->table->columns[i].name, s->conf->name);
		check_add(c, CHECK_WARNING, CHECK_WORDS, fix.data,
			  "quiet of %s (line %u): %s is never quiet, because it is read: %s", s->conf->name,
			  s->conf->quiet.at[0].line, s->table->columns[i].name, reader);
	}
	buf_fini(&fix);
}

/* Messages show the primary key as `key` says; the author of a list of columns may not expect this. */
static void check_section_key(struct check *c, const struct rules_section *s)
{
	struct buf names = { 0 }, fix = { 0 }, list = { 0 };

	for (size_t i = 0; i < s->table->n_columns; i++) {
		if (!rules_key_unlisted(s, i))
			continue;
		buf_addf(&names, "%s%s", names.len ? ", " : "", s->table->columns[i].name);
		add_name(&list, s->table->columns[i].name);
	}
	if (names.len) {
		for (size_t i = 0; i < s->conf->columns.n; i++)
			add_name(&list, s->conf->columns.at[i].text);
		buf_addf(&fix, "tables.%s.columns = [ %s ]", s->conf->name, list.data);
		check_add(
			c, CHECK_WARNING, CHECK_CONF, fix.data,
			"columns of %s (line %u) does not list %s, the primary key: every message shows it, as \"%s\"",
			s->conf->name, s->conf->columns.at[0].line, names.data, s->conf->key.text);
	}
	buf_fini(&names);
	buf_fini(&fix);
	buf_fini(&list);
}

static void each_section(struct check *c, void (*check_one)(struct check *c, const struct rules_section *s))
{
	for (size_t i = 0; i < rules_n_tables(c->rules); i++) {
		const struct rules_table *t = rules_table(c->rules, i);

		check_about(c, t);
		for (size_t k = 0; k < t->n_sections; k++)
			check_one(c, t->sections[k]);
	}
	check_about(c, NULL);
}

void check_keys(struct check *c)
{
	size_t before = c->n_findings;

	each_section(c, check_section_key);
	if (c->n_findings == before)
		check_ok(c, "no list of columns lacks the key");
}

void check_secrets(struct check *c)
{
	size_t before = c->n_findings;

	each_section(c, check_section_secrets);
	if (c->n_findings == before)
		check_ok(c, "no column that looks like one is sent undecided");
}

/* What a template shows of a query's answer is named in the file; no column of a table tells its type. */
static void check_section_template(struct check *c, const struct rules_section *s)
{
	for (size_t i = 0; i < s->message.n; i++) {
		const struct jsontmpl_piece *piece = &s->message.pieces[i];
		struct buf name = { 0 };

		if (piece->kind == JSONTMPL_LITERAL || !secretname_is(piece->part.text) ||
		    (piece->part.scope != TMPL_LOOKUP && piece->part.scope != TMPL_ACTOR))
			continue;
		tmpl_name(&piece->part, &name);
		check_add(c, CHECK_WARNING, CHECK_WORDS,
			  "take it out of the message; if it is no secret, give it another name in the query: AS …",
			  "message of %s (line %u) shows %s, which looks like a secret", s->conf->name,
			  s->conf->message.line, name.data);
		buf_fini(&name);
	}
}

void check_secret_names(struct check *c)
{
	size_t before = c->n_findings;

	each_section(c, check_section_template);
	if (c->n_findings == before)
		check_ok(c, "no message shows what a query calls a secret");
}

void check_quiet(struct check *c)
{
	size_t before = c->n_findings;

	each_section(c, check_section_quiet);
	if (c->n_findings == before)
		check_ok(c, "no column that the rules read");
}
