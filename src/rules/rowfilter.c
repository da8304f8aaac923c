#include "walpush/rules/rowfilter.h"

#include <ctype.h>
#include <string.h>

#include "walpush/text/sqltext.h"

#define DEPTH 32 /* of parentheses; PostgreSQL prints three for each condition of `when` */

/* --- which tables may have one ------------------------------------------------------------------------------------ */

static bool uses_old(const struct rules_section *s)
{
	for (size_t i = 0; i < s->n_groups; i++)
		if (tmpl_uses(&s->groups[i], TMPL_OLD))
			return true;
	for (size_t i = 0; i < s->message.n; i++)
		if (s->message.pieces[i].kind != JSONTMPL_LITERAL && s->message.pieces[i].part.scope == TMPL_OLD)
			return true;
	return false;
}

static const char *section_unfit(const struct rules_section *s)
{
	if (!s->n_when)
		return "a section counts all its rows";
	if (s->n_actions)
		return "a section has actions, which name the change";
	if (uses_old(s))
		return "a section names {old.…}";
	if (s->lookup.sql || s->data.sql || (s->asks_actor && s->conf->actor.text))
		return "a section asks a query, and what it is told depends on all changes";
	return NULL;
}

static bool table_has_pair(const struct rules_table *t)
{
	for (size_t i = 0; i < t->n_sections; i++)
		if (t->sections[i]->lookup.sql && t->sections[i]->data.sql)
			return true;
	return false;
}

/* Receivers and content that are asked one after the other belong together while no table of the lookup changes. */
static bool has_pair(const struct rules *r)
{
	for (size_t i = 0; i < rules_n_tables(r); i++)
		if (table_has_pair(rules_table(r, i)))
			return true;
	for (size_t i = 0; i < rules_n_patterns(r); i++)
		if (table_has_pair(rules_pattern(r, i)))
			return true;
	return false;
}

const char *rowfilter_unfit(const struct rules *r, const struct rules_table *t)
{
	if (t->n_memberships)
		return "it decides permission";
	if (!t->n_sections)
		return "no section pushes it";
	if (rules_matches(r, t->schema, t->name))
		return "a pattern lists it, whose filter would differ by schema";
	if (has_pair(r))
		return "a section has a lookup and a data-query, which may read it";
	for (size_t i = 0; i < t->n_sections; i++)
		if (section_unfit(t->sections[i]))
			return section_unfit(t->sections[i]);
	return NULL;
}

static void add_section(struct buf *out, const struct rules_section *s)
{
	buf_add_char(out, '(');
	for (size_t i = 0; i < s->n_when; i++) {
		buf_add_text(out, i ? " AND " : "");
		sqltext_ident(out, s->conf->when[i].column);
		buf_add_text(out, " = ");
		sqltext_literal(out, s->conf->when[i].equals);
	}
	buf_add_char(out, ')');
}

void rowfilter_add(struct buf *out, const struct rules_table *t)
{
	for (size_t i = 0; i < t->n_sections; i++) {
		buf_add_text(out, i ? " OR " : "");
		add_section(out, t->sections[i]);
	}
}

/* --- what a condition says ---------------------------------------------------------------------------------------- */

enum kind { UNKNOWN, TRUE, COLUMN, VALUE };

struct term {
	enum kind kind;
	struct buf text; /* the column's name, or the value */
};

struct reader {
	const char *at;
	const struct rules_section *section;
	unsigned depth;
	bool failed; /* the condition is not understood */
};

static const char *text_of(const struct buf *b)
{
	return b->data ? b->data : "";
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static void skip_spaces(struct reader *r)
{
	while (*r->at == ' ' || *r->at == '\n')
		r->at++;
}

static bool take(struct reader *r, const char *token)
{
	size_t len = strlen(token);

	skip_spaces(r);
	if (strncmp(r->at, token, len) != 0 || (isalpha((unsigned char)token[len - 1]) && is_word(r->at[len])))
		return false;
	r->at += len;
	return true;
}

/* Behind the opening quote. A quote stands twice, and a backslash where the text begins with E. */
static bool take_quoted(struct reader *r, char quote, bool backslashes, struct buf *out)
{
	for (; *r->at; r->at++) {
		if (*r->at == quote && r->at[1] != quote) {
			r->at++;
			return true;
		}
		if (*r->at == quote || (backslashes && *r->at == '\\' && r->at[1]))
			r->at++;
		buf_add_char(out, *r->at);
	}
	return false;
}

static bool take_word(struct reader *r, struct buf *out)
{
	const char *from = r->at;

	while (is_word(*r->at))
		r->at++;
	buf_add(out, from, (size_t)(r->at - from));
	return r->at != from;
}

static bool take_number(struct reader *r, struct buf *out)
{
	const char *from = r->at;

	r->at += *r->at == '-';
	while (isdigit((unsigned char)*r->at) || *r->at == '.')
		r->at++;
	buf_add(out, from, (size_t)(r->at - from));
	return isdigit((unsigned char)r->at[-1]);
}

/* A type whose cast leaves the value what it is: a modifier may cut it, as in varchar(3). */
static bool take_type(struct reader *r, bool of_column)
{
	struct buf name = { 0 };
	bool ok;

	if (take(r, "\""))
		ok = take_quoted(r, '"', false, &name);
	else
		ok = take_word(r, &name);
	if (take(r, "varying") || take(r, "precision"))
		buf_add_text(&name, " …");
	if (of_column)
		ok = ok && (strcmp(text_of(&name), "text") == 0 || strcmp(text_of(&name), "character …") == 0);
	buf_fini(&name);
	skip_spaces(r);
	return ok && *r->at != '(' && *r->at != '[';
}

/* What `when` says of the column; NULL: nothing. */
static const char *counted(const struct rules_section *s, const char *column)
{
	for (size_t i = 0; i < s->n_when; i++)
		if (strcmp(s->conf->when[i].column, column) == 0)
			return s->conf->when[i].equals;
	return NULL;
}

static bool is_counted(const struct rules_section *s, const char *column, const char *value)
{
	const char *wanted = counted(s, column);

	return wanted && strcmp(wanted, value) == 0;
}

static bool is_true(const struct reader *r, const struct term *t)
{
	return t->kind == TRUE || (t->kind == COLUMN && is_counted(r->section, text_of(&t->text), "true"));
}

static void disjunction(struct reader *r, struct term *out);

static void take_constant(struct reader *r, struct term *out)
{
	bool is_escaped = take(r, "E'");

	out->kind = VALUE;
	if (is_escaped || take(r, "'"))
		r->failed |= !take_quoted(r, '\'', is_escaped, &out->text);
	else
		r->failed |= !take_number(r, &out->text);
}

/* The names that the grammar has for itself are in capitals, and those of columns are quoted then. */
static void take_name(struct reader *r, struct term *out)
{
	out->kind = COLUMN;
	if (take(r, "\"")) {
		r->failed |= !take_quoted(r, '"', false, &out->text);
		return;
	}
	r->failed |= isupper((unsigned char)*r->at) || !take_word(r, &out->text);
	if (strcmp(text_of(&out->text), "true") == 0 || strcmp(text_of(&out->text), "false") == 0)
		out->kind = VALUE;
}

static void primary(struct reader *r, struct term *out)
{
	skip_spaces(r);
	if (take(r, "(")) {
		r->failed |= ++r->depth > DEPTH;
		disjunction(r, out);
		r->depth--;
		r->failed |= !take(r, ")");
	} else if (*r->at == '\'' || *r->at == '-' || isdigit((unsigned char)*r->at) || strncmp(r->at, "E'", 2) == 0) {
		take_constant(r, out);
	} else {
		take_name(r, out);
	}
	while (!r->failed && take(r, "::"))
		r->failed |= out->kind < COLUMN || !take_type(r, out->kind == COLUMN);
}

static void comparison(struct reader *r, struct term *out)
{
	struct term other = { 0 };

	primary(r, out);
	if (r->failed || !take(r, "="))
		return;
	primary(r, &other);
	r->failed |= out->kind != COLUMN || other.kind != VALUE;
	if (!r->failed)
		out->kind = is_counted(r->section, text_of(&out->text), text_of(&other.text)) ? TRUE : UNKNOWN;
	buf_fini(&other.text);
}

static void conjunction(struct reader *r, struct term *out)
{
	comparison(r, out);
	while (!r->failed && take(r, "AND")) {
		struct term other = { 0 };

		comparison(r, &other);
		out->kind = is_true(r, out) && is_true(r, &other) ? TRUE : UNKNOWN;
		buf_fini(&other.text);
	}
}

static void disjunction(struct reader *r, struct term *out)
{
	if (r->failed)
		return;
	conjunction(r, out);
	while (!r->failed && take(r, "OR")) {
		struct term other = { 0 };

		conjunction(r, &other);
		out->kind = is_true(r, out) || is_true(r, &other) ? TRUE : UNKNOWN;
		buf_fini(&other.text);
	}
}

static bool keeps_section(const char *condition, const struct rules_section *s)
{
	struct reader r = { .at = condition, .section = s };
	struct term whole = { 0 };
	bool keeps;

	disjunction(&r, &whole);
	skip_spaces(&r);
	keeps = !r.failed && !*r.at && is_true(&r, &whole);
	buf_fini(&whole.text);
	return keeps;
}

bool rowfilter_keeps(const char *condition, const struct rules_table *t)
{
	for (size_t i = 0; i < t->n_sections; i++)
		if (!keeps_section(condition, t->sections[i]))
			return false;
	return t->n_sections > 0;
}
