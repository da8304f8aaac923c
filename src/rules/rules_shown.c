/*
 * Which columns a section's messages may show, and which changes cause a message.
 *
 * `columns` and `exclude` hold for everything that a section sends, not only for `data`. So it is an error if `fields`
 * or `message` names a withheld column, or if `exclude` names a primary key column of a standard message. To leave the
 * value out in silence would break the message; to send it would break the promise of `exclude`.
 */
#include "parts.h"

#include <stdlib.h>

#include "walpush/base/mem.h"
#include "walpush/text/pgtypes.h"
#include "walpush/text/secretname.h"

static const struct text *find_name(const struct texts *texts, const char *column)
{
	for (size_t i = 0; i < texts->n; i++)
		if (strcmp(texts->at[i].text, column) == 0)
			return &texts->at[i];
	return NULL;
}

/* The line that withholds the column; 0: it may be shown. *how: what the error says about it. */
static unsigned withheld_at(const struct conf_table *conf, const char *column, const char **how)
{
	const struct text *excluded = find_name(&conf->exclude, column);

	if (excluded) {
		*how = "exclude withholds it: take it out of one of the two";
		return excluded->line;
	}
	if (conf->columns.n == 0 || find_name(&conf->columns, column))
		return 0;
	*how = "columns does not list it: add it there, or take it out here";
	return conf->columns.at[0].line;
}

/* --- what the file alone decides --------------------------------------------------------------------------------- */

static void check_fields(const struct rules *r, const struct rules_section *s, struct fails *all)
{
	const struct texts *fields = &s->conf->fields;
	const char *how;

	for (size_t i = 0; i < fields->n; i++)
		if (withheld_at(s->conf, fields->at[i].text, &how))
			fails_add(all, r->conf->file, fields->at[i].line, "fields of %s: %.63s: %s", s->conf->name,
				  fields->at[i].text, how);
}

static bool names_column(const struct jsontmpl_piece *piece)
{
	return piece->kind != JSONTMPL_LITERAL && (piece->part.scope == TMPL_ROW || piece->part.scope == TMPL_OLD);
}

void rules_check_shown(const struct rules *r, const struct rules_section *s, struct fails *all)
{
	struct buf name = { 0 };
	const char *how;

	for (size_t i = 0; i < s->message.n; i++) {
		const struct jsontmpl_piece *piece = &s->message.pieces[i];

		if (!names_column(piece) || !withheld_at(s->conf, piece->part.text, &how))
			continue;
		buf_clear(&name);
		tmpl_name(&piece->part, &name);
		fails_add(all, r->conf->file, s->conf->message.line, "message of %s: %s: %s", s->conf->name, name.data,
			  how);
	}
	buf_fini(&name);
	check_fields(r, s, all);
}

/* --- bound to the table ------------------------------------------------------------------------------------------ */

/* A standard message needs the primary key, and `key` names it: `columns` need not list it, and `exclude` must not name
 * it. A section's own message can do without. */
bool rules_check_key(const struct rules *r, struct rules_section *s, struct fail *why)
{
	s->key_shown = true;
	for (size_t i = 0; i < s->table->n_columns; i++) {
		const struct catalog_column *c = &s->table->columns[i];
		const struct text *excluded = find_name(&s->conf->exclude, c->name);

		if (!c->in_key || s->shown[i])
			continue;
		if (s->message.n == 0 && excluded)
			return fail_in_file(
				why, r->conf->file, excluded->line,
				"exclude of %s: %.63s is in the primary key of %.63s.%.63s, by which every "
				"message names its row: take it out, or give the section a message of its own",
				s->conf->name, c->name, s->table->schema, s->table->name);
		s->key_shown = s->message.n == 0;
	}
	return true;
}

static bool template_reads(const struct tmpl *t, size_t column)
{
	for (size_t i = 0; i < t->n_parts; i++)
		if (t->parts[i].is_ref && (t->parts[i].scope == TMPL_ROW || t->parts[i].scope == TMPL_OLD) &&
		    (size_t)t->parts[i].slot == column)
			return true;
	return false;
}

static const char *reader_of(const struct rules_section *s, size_t column)
{
	if (s->table->columns[column].in_key)
		return "the primary key";
	for (size_t i = 0; i < s->n_groups; i++)
		if (template_reads(&s->groups[i], column))
			return "groups";
	if (s->lookup.sql && template_reads(&s->lookup.source, column))
		return "lookup";
	for (size_t i = 0; i < s->n_when; i++)
		if (s->when[i].column == (int)column)
			return "when";
	for (size_t i = 0; i < s->n_actions; i++)
		if (s->actions[i].condition.column == (int)column || s->actions[i].actor_column == (int)column)
			return s->actions[i].conf->name;
	return NULL;
}

const char *rules_loud(const struct rules_section *s, size_t column)
{
	return find_name(&s->conf->quiet, s->table->columns[column].name) ? reader_of(s, column) : NULL;
}

void rules_mark_quiet(struct rules_section *s)
{
	free(s->quiet);
	s->quiet = NULL;
	if (s->conf->quiet.n == 0)
		return;
	s->quiet = mem_new_array(s->table->n_columns, sizeof(bool));
	for (size_t i = 0; i < s->table->n_columns; i++)
		s->quiet[i] = find_name(&s->conf->quiet, s->table->columns[i].name) && !reader_of(s, i);
}

static bool is_field(const struct rules_section *s, size_t column)
{
	for (size_t i = 0; i < s->n_fields; i++)
		if (s->fields[i] == (int)column)
			return true;
	return false;
}

static bool message_names(const struct jsontmpl *t, size_t column)
{
	for (size_t i = 0; i < t->n; i++)
		if (names_column(&t->pieces[i]) && (size_t)t->pieces[i].part.slot == column)
			return true;
	return false;
}

bool rules_sends(const struct rules_section *s, size_t column)
{
	if (s->message.n)
		return message_names(&s->message, column);
	if (s->table->columns[column].in_key)
		return true;
	return s->shown[column] && (!s->data_is_query || s->updated_at == (int)column || is_field(s, column));
}

bool rules_names(const struct rules_section *s, size_t column)
{
	return reader_of(s, column) || s->actor_column == (int)column || is_field(s, column) ||
	       message_names(&s->message, column) || (s->data.sql && template_reads(&s->data.source, column));
}

/* A boolean only says whether there is a secret, and a date only says when: neither is secret. */
static bool can_be_secret(uint32_t type)
{
	return type != PG_BOOL && type != PG_DATE && type != PG_TIMESTAMP && type != PG_TIMESTAMPTZ;
}

bool rules_sends_secret(const struct rules_section *s, size_t column)
{
	const struct catalog_column *c = &s->table->columns[column];

	return !find_name(&s->conf->columns, c->name) && can_be_secret(c->type) && secretname_is(c->name) &&
	       rules_sends(s, column);
}

bool rules_key_unlisted(const struct rules_section *s, size_t column)
{
	return s->message.n == 0 && s->conf->columns.n && s->table->columns[column].in_key && !s->shown[column];
}

size_t rules_add_secrets(const struct rules_section *s, struct buf *out)
{
	size_t n = 0;

	for (size_t i = 0; i < s->table->n_columns; i++)
		if (rules_sends_secret(s, i))
			buf_addf(out, "%s%s", n++ ? ", " : "", s->table->columns[i].name);
	return n;
}

bool rules_may_exclude(const struct rules_section *s, size_t column)
{
	return s->message.n == 0 && !s->table->columns[column].in_key && !is_field(s, column);
}
