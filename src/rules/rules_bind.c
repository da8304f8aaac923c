/* The second step of the rules: column names become indexes into the catalog's table. */
#include "parts.h"

#include <stdlib.h>

#include "walpush/base/mem.h"

#define LIST_MAX 160 /* bytes of a table's columns in an error */

struct binder { /* what an error needs to say where it is */
	const struct rules *rules;
	const struct catalog_table *table;
	const char *section; /* "requests", or "membership of users" */
	struct fail *why;
};

static void list_columns(const struct catalog_table *t, struct buf *out)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		if (out->len > LIST_MAX) {
			buf_addf(out, ", and %zu more", t->n_columns - i);
			return;
		}
		buf_addf(out, "%s%.63s", i ? ", " : "", t->columns[i].name);
	}
}

/* Index of the column, or -1 with `why` set. `what` is the text before its name: "groups", "actor". */
static int resolve(const struct binder *b, const char *name, unsigned line, const char *what)
{
	int at = catalog_column_index(b->table, name);
	struct buf columns = { 0 };

	if (at >= 0 && !b->table->columns[at].is_virtual)
		return at;
	if (at >= 0) {
		fail_in_file(b->why, b->rules->conf->file, line,
			     "%s of %s: column %.63s is computed when it is read, the log has no value of it", what,
			     b->section, name);
		return -1;
	}
	list_columns(b->table, &columns);
	fail_in_file(b->why, b->rules->conf->file, line, "%s of %s: %.63s.%.63s has no column %.80s; it has %s", what,
		     b->section, b->table->schema, b->table->name, name, columns.len ? columns.data : "none");
	buf_fini(&columns);
	return -1;
}

/* The error contains the placeholder as written, because a template may hold several. */
static bool bind_part(const struct binder *b, struct tmpl_part *part, unsigned line, const char *what)
{
	struct buf where = { 0 };

	if (part->scope != TMPL_ROW && part->scope != TMPL_OLD)
		return true;
	tmpl_name(part, &where);
	buf_addf(&where, " in %s", what);
	part->slot = resolve(b, part->text, line, where.data);
	buf_fini(&where);
	return part->slot >= 0;
}

static bool bind_template(const struct binder *b, struct tmpl *t, unsigned line, const char *what)
{
	for (size_t i = 0; i < t->n_parts; i++)
		if (t->parts[i].is_ref && !bind_part(b, &t->parts[i], line, what))
			return false;
	return true;
}

static bool bind_templates(const struct binder *b, struct rules_section *s)
{
	for (size_t i = 0; i < s->n_groups; i++)
		if (!bind_template(b, &s->groups[i], s->conf->groups.at[i].line, "groups"))
			return false;
	for (size_t i = 0; i < s->message.n; i++)
		if (s->message.pieces[i].kind != JSONTMPL_LITERAL &&
		    !bind_part(b, &s->message.pieces[i].part, s->conf->message.line, "message"))
			return false;
	return (!s->lookup.sql || bind_template(b, &s->lookup.source, s->lookup.line, "lookup")) &&
	       (!s->data.sql || bind_template(b, &s->data.source, s->data.line, "data-query"));
}

static bool bind_condition(const struct binder *b, const struct conf_condition *conf, struct rules_condition *c,
			   const char *what)
{
	c->column = -1;
	if (!conf->column)
		return true;
	c->column = resolve(b, conf->column, conf->line, what);
	return c->column >= 0;
}

static bool bind_actions(const struct binder *b, struct rules_section *s)
{
	for (size_t i = 0; i < s->n_when; i++)
		if (!bind_condition(b, &s->conf->when[i], &s->when[i], "when"))
			return false;
	for (size_t i = 0; i < s->n_actions; i++) {
		struct rules_action *a = &s->actions[i];

		if (!bind_condition(b, &a->conf->condition, &a->condition, a->conf->name))
			return false;
		a->actor_column = -1;
		if (a->conf->actor) {
			a->actor_column = resolve(b, a->conf->actor, a->conf->line, "actor");
			if (a->actor_column < 0)
				return false;
		}
	}
	return true;
}

static int *bind_columns(const struct binder *b, const struct texts *names, const char *what)
{
	int *columns = mem_new_array(names->n, sizeof(*columns));

	for (size_t i = 0; i < names->n; i++) {
		columns[i] = resolve(b, names->at[i].text, names->at[i].line, what);
		if (columns[i] < 0) {
			free(columns);
			return NULL;
		}
	}
	return columns;
}

/* Messages show the columns in `columns`, or all if there is no `columns`, without those in `exclude`. A virtual column
 * has no value to show. */
static bool mark_shown(const struct binder *b, struct rules_section *s, const struct texts *names, bool shown,
		       const char *what)
{
	int *columns = bind_columns(b, names, what);

	if (!columns)
		return false;
	for (size_t i = 0; i < names->n; i++)
		s->shown[columns[i]] = shown;
	free(columns);
	return true;
}

static bool bind_shown(const struct binder *b, struct rules_section *s)
{
	free(s->shown);
	s->shown = mem_new_array(b->table->n_columns, sizeof(bool));
	for (size_t i = 0; i < b->table->n_columns; i++)
		s->shown[i] = s->conf->columns.n == 0 && !b->table->columns[i].is_virtual;
	return mark_shown(b, s, &s->conf->columns, true, "columns") &&
	       mark_shown(b, s, &s->conf->exclude, false, "exclude") && rules_check_key(b->rules, s, b->why);
}

/* If the column is withheld, messages use the time of the commit instead. */
static void bind_updated_at(const struct binder *b, struct rules_section *s)
{
	s->updated_at = catalog_column_index(b->table, "updated_at");
	if (s->updated_at >= 0 && !s->shown[s->updated_at])
		s->updated_at = -1;
}

static bool bind_quiet(const struct binder *b, struct rules_section *s)
{
	int *columns = bind_columns(b, &s->conf->quiet, "quiet");

	free(columns);
	if (!columns)
		return false;
	rules_mark_quiet(s);
	return true;
}

static bool bind_section(const struct binder *b, struct rules_section *s)
{
	const struct conf_table *conf = s->conf;

	s->table = b->table;
	s->actor_column = -1;
	if (conf->actor.text) {
		s->actor_column = resolve(b, conf->actor.text, conf->actor.line, "actor");
		if (s->actor_column < 0)
			return false;
	}
	free(s->fields);
	s->n_fields = 0;
	s->fields = bind_columns(b, &conf->fields, "fields");
	if (!s->fields)
		return false;
	s->n_fields = conf->fields.n;
	if (!bind_shown(b, s) || !bind_templates(b, s) || !bind_actions(b, s))
		return false;
	bind_updated_at(b, s);
	return bind_quiet(b, s);
}

/* If a column is gone, or the WAL has no value of it, nobody can say that it is unchanged: then every update counts. */
static void bind_read(const struct binder *b, const struct rules_read *read, struct rules_membership *m)
{
	m->any = read->whole;
	m->columns = mem_resize(m->columns, m->n_columns + read->n_columns, sizeof(*m->columns));
	for (size_t i = 0; i < read->n_columns; i++) {
		int at = catalog_column_index(b->table, read->columns[i]);

		if (at < 0 || b->table->columns[at].is_virtual)
			m->any = true;
		else
			m->columns[m->n_columns++] = at;
	}
}

/* Types that print equal values as equal texts: only then can a claim be compared as text. citext, char(n), numeric
 * (1.0) and float do not. */
static bool is_by_text(const struct catalog_column *c)
{
	static const uint32_t types[] = { 20, 21, 23, 25, 1043, 2950 }; /* int8, int2, int4, text, varchar, uuid */

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (c->type == types[i])
			return c->is_exact;
	return false;
}

/* Only the columns that its entry in the file names and those that an admit query reads count; without any, all
 * count. */
static bool bind_membership(const struct binder *b, const struct rules_table *t, struct rules_membership *m)
{
	const struct conf_membership *conf = m->conf;

	m->table = b->table;
	m->user = -1;
	if (conf && conf->user) {
		m->user = resolve(b, conf->user, conf->line, "user");
		if (m->user < 0)
			return false;
		m->by_text = is_by_text(&b->table->columns[m->user]);
	}
	free(m->columns);
	m->columns = NULL;
	m->n_columns = 0;
	if (conf && conf->columns.n) {
		m->columns = bind_columns(b, &conf->columns, "columns");
		if (!m->columns)
			return false;
		m->n_columns = conf->columns.n;
	}
	m->any = !m->n_columns;
	if (t->read.is_read)
		bind_read(b, &t->read, m);
	return true;
}

/* The file names the table. */
static bool is_named(const struct rules_table *t)
{
	return t->n_sections || t->memberships[0]->conf;
}

static unsigned line_of(const struct rules_table *t)
{
	if (t->n_sections)
		return t->sections[0]->conf->line;
	return t->memberships[0]->conf ? t->memberships[0]->conf->line : 0;
}

bool rules_bind_table(struct rules *r, size_t at, const struct catalog *catalog, struct fail *why)
{
	struct rules_table *t = &r->tables[at];
	struct binder b = { .rules = r, .why = why };
	struct buf name = { 0 };
	bool ok = true;

	b.table = t->catalog = catalog_find(catalog, t->schema, t->name);
	if (!b.table && !is_named(t))
		return true; /* the table is gone since it was found */
	if (!b.table)
		return fail_in_file(why, r->conf->file, line_of(t),
				    "there is no table %.63s.%.63s in this database; names are case-sensitive",
				    t->schema, t->name);
	for (size_t i = 0; i < t->n_sections && ok; i++) {
		b.section = t->sections[i]->conf->name;
		ok = bind_section(&b, t->sections[i]);
	}
	for (size_t i = 0; i < t->n_memberships && ok; i++) {
		buf_clear(&name);
		if (t->memberships[i]->conf)
			buf_addf(&name, "membership %s", t->memberships[i]->conf->table);
		b.section = name.data;
		ok = bind_membership(&b, t, t->memberships[i]);
	}
	buf_fini(&name);
	return ok;
}

static bool inherit_of(struct rules *r, struct rules_table *t, const struct rules_table *p, struct fail *why);

/* A child that the file lists has sections of its own, but its rows still decide permission as rows of its parents. So
 * `t` inherits the memberships of the parents of `of`, and of their parents. */
static bool inherit_above(struct rules *r, struct rules_table *t, const struct rules_table *of, struct fail *why)
{
	struct slice schema = slice_of(of->catalog->json_schema), name = slice_of(of->catalog->json_name);
	const struct rules_table *p;

	for (size_t i = 0; (p = rules_find_parent(r, schema, name, i)); i++)
		if (!inherit_of(r, t, p, why))
			return false;
	return true;
}

static bool inherit_of(struct rules *r, struct rules_table *t, const struct rules_table *p, struct fail *why)
{
	struct binder b = { .rules = r, .table = t->catalog, .section = t->name, .why = why };

	for (size_t i = 0; i < p->n_memberships; i++) {
		struct rules_membership *m;

		if (p->memberships[i]->is_inherited)
			continue;
		m = rules_found_new(r, t);
		m->conf = p->memberships[i]->conf;
		m->is_inherited = true;
		if (!bind_membership(&b, p, m))
			return false;
	}
	return inherit_above(r, t, p, why);
}

/* One tenant that is not migrated yet must not stop the others. But if none fits, the mistake is in the file. */
static bool bind_matched(struct rules *r, const struct catalog *catalog, struct fail *why)
{
	size_t n = r->n_tables - r->n_named;

	for (size_t i = r->n_named; i < r->n_tables; i++) {
		if (rules_bind_table(r, i, catalog, why))
			continue;
		if (!r->n_unfit++)
			r->unfit = *why;
		rules_leave_out(r, &r->tables[i]);
	}
	return !n || r->n_unfit < n;
}

bool rules_bind(struct rules *r, const struct catalog *catalog, struct fail *why)
{
	rules_drop_inherited(r);
	if (!rules_expand(r, catalog, why))
		return false;
	for (size_t i = 0; i < r->n_named; i++)
		if (!rules_bind_table(r, i, catalog, why))
			return false;
	if (!bind_matched(r, catalog, why))
		return false;
	for (size_t i = 0; i < r->n_tables; i++)
		if (r->tables[i].catalog && !inherit_above(r, &r->tables[i], &r->tables[i], why))
			return false;
	return true;
}
