/*
 * What the queries of rows read: lookup, data-query and the actor's query.
 *
 * A message is made when its own row changes. If another row changes what the query answers, nothing is sent, unless a section tells the same
 * groups of that table. Whether that matters only the author knows: `reads-ignore` says that it does not.
 */
#include "parts.h"

#include <string.h>

#include "walpush/base/buf.h"
#include "walpush/rules/reads.h"
#include "walpush/text/secretname.h"

/* False: it cannot be found out, which is a finding of "query" or "membership". */
static bool find_reads(struct check *c, const struct rules_query *q, struct reads *out)
{
	PGresult *result = q->sql ? check_view(c, q, reads_query) : NULL;
	struct fail why = { 0 };
	bool ok = !q->sql || PQresultStatus(result) == PGRES_TUPLES_OK;

	for (int i = 0; ok && i < PQntuples(result); i++) {
		const char *row[READS_COLUMNS];

		for (int k = 0; k < READS_COLUMNS; k++)
			row[k] = PQgetisnull(result, i, k) ? NULL : PQgetvalue(result, i, k);
		ok = reads_add(out, row, &why);
	}
	PQclear(result);
	return ok;
}

/* --- the tables that are read, and those behind functions ---------------------------------------------------------- */

struct place {
	const char *schema, *name;
};

static size_t n_places(const struct reads *r)
{
	return r->n_tables + r->n_behind;
}

static struct place place_at(const struct reads *r, size_t i)
{
	if (i < r->n_tables)
		return (struct place){ r->tables[i].schema, r->tables[i].name };
	return (struct place){ r->behind[i - r->n_tables].schema, r->behind[i - r->n_tables].name };
}

static bool same_place(struct place a, struct place b)
{
	return strcmp(a.schema, b.schema) == 0 && strcmp(a.name, b.name) == 0;
}

/* Among the first `n`. */
static bool has_place(const struct reads *r, size_t n, struct place p)
{
	for (size_t i = 0; i < n; i++)
		if (same_place(place_at(r, i), p))
			return true;
	return false;
}

/* As the configuration spells it. */
static void add_place(struct buf *out, struct place p)
{
	if (strcmp(p.schema, "public") != 0)
		buf_addf(out, "%s.", p.schema);
	buf_add_text(out, p.name);
}

static bool is_named(const char *text, struct place p)
{
	size_t n = strlen(p.schema);

	if (strncmp(text, p.schema, n) == 0 && text[n] == '.')
		return strcmp(text + n + 1, p.name) == 0;
	return strcmp(p.schema, "public") == 0 && strcmp(text, p.name) == 0;
}

/* --- is a change told? --------------------------------------------------------------------------------------------- */

/* Queries of one place of the configuration. The actor's query has no section. */
struct queries {
	struct check *c;
	const struct rules_section *section;
	const struct texts *ignored;
	char option[128];
	const struct rules_query *lookup, *data;
	struct reads of_lookup, of_data;
};

static bool tells(const struct check *c, struct place p, const struct tmpl *group)
{
	for (size_t i = 0; i < rules_n_tables(c->rules); i++) {
		const struct rules_table *t = rules_table(c->rules, i);

		if (!same_place((struct place){ t->schema, t->name }, p))
			continue;
		for (size_t k = 0; k < t->n_sections; k++)
			for (size_t g = 0; g < t->sections[k]->n_groups; g++)
				if (tmpl_may_equal(group, &t->sections[k]->groups[g]))
					return true;
	}
	return false;
}

static bool has_actor(const struct rules_section *s)
{
	bool has = s->conf->actor.text != NULL;

	for (size_t i = 0; i < s->n_actions; i++)
		has |= s->actions[i].conf->actor != NULL;
	return s->asks_actor && has;
}

/* A group of the section that hears of no change there, although what it was sent depends on it; NULL: none. */
static const char *untold_of(const struct queries *q, const struct rules_section *s, struct place p)
{
	bool all = !q->section || s->message_uses_lookup || has_place(&q->of_data, n_places(&q->of_data), p);

	for (size_t i = 0; i < s->n_groups; i++)
		if ((all || s->group_uses_lookup[i]) && !tells(q->c, p, &s->groups[i]))
			return s->conf->groups.at[i].text;
	return NULL;
}

static const char *untold(const struct queries *q, struct place p)
{
	const char *group = NULL;

	if (q->section)
		return untold_of(q, q->section, p);
	for (size_t i = 0; i < q->c->conf->n_tables && !group; i++) {
		const struct rules_section *s = rules_section(q->c->rules, q->c->conf->tables[i].name);

		if (has_actor(s))
			group = untold_of(q, s, p);
	}
	return group;
}

static bool is_ignored(const struct queries *q, struct place p)
{
	for (size_t i = 0; i < q->ignored->n; i++)
		if (is_named(q->ignored->at[i].text, p))
			return true;
	return false;
}

static void warn_untold(const struct queries *q, const struct rules_query *reader, struct place p, const char *group)
{
	struct buf fix = { 0 }, name = { 0 };

	add_place(&name, p);
	buf_addf(&fix,
		 "add a section with from = \"%s\" that tells \"%s\"; or, where pages need not hear of it, add it to "
		 "the "
		 "list: %s = [ ",
		 name.data, group, q->option);
	for (size_t i = 0; i < q->ignored->n; i++)
		buf_addf(&fix, "\"%s\", ", q->ignored->at[i].text);
	buf_addf(&fix, "\"%s\" ]", name.data);
	check_add(q->c, CHECK_WARNING, CHECK_WORDS, fix.data,
		  "%s (line %u) reads %s, and a change there is not told to \"%s\": pages keep what they have",
		  reader->name, reader->line, name.data, group);
	buf_fini(&fix);
	buf_fini(&name);
}

/* Each table once, also if both queries read it. */
static void check_places(const struct queries *q, const struct rules_query *reader, const struct reads *r,
			 const struct reads *before)
{
	for (size_t i = 0; i < n_places(r); i++) {
		struct place p = place_at(r, i);
		const char *group;

		if (strcmp(p.schema, "pg_catalog") == 0 || has_place(r, i, p) ||
		    (before && has_place(before, n_places(before), p)) || is_ignored(q, p))
			continue;
		group = untold(q, p);
		if (group)
			warn_untold(q, reader, p, group);
	}
}

static bool reads_it(const struct reads *r, const char *text)
{
	for (size_t i = 0; i < n_places(r); i++)
		if (is_named(text, place_at(r, i)))
			return true;
	return false;
}

static void check_ignored(const struct queries *q)
{
	for (size_t i = 0; i < q->ignored->n; i++) {
		const struct text *t = &q->ignored->at[i];
		struct buf fix = { 0 };

		if (reads_it(&q->of_lookup, t->text) || reads_it(&q->of_data, t->text))
			continue;
		buf_addf(&fix, "take \"%s\" out of %s", t->text, q->option);
		check_add(q->c, CHECK_WARNING, CHECK_WORDS, fix.data,
			  "%s (line %u) names %s, which no query there reads", q->option, t->line, t->text);
		buf_fini(&fix);
	}
}

/* --- secrets ------------------------------------------------------------------------------------------------------- */

/* A boolean says only whether there is a secret, and a date only when. */
static const char columns_query[] =
	"SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class t ON t.oid = a.attrelid"
	" JOIN pg_catalog.pg_namespace s ON s.oid = t.relnamespace"
	" WHERE s.nspname = $1 AND t.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid NOT IN"
	" ('pg_catalog.bool'::regtype, 'pg_catalog.date'::regtype, 'pg_catalog.timestamp'::regtype,"
	" 'pg_catalog.timestamptz'::regtype) ORDER BY a.attnum";

static bool is_listed(const struct texts *texts, const char *name)
{
	for (size_t i = 0; i < texts->n; i++)
		if (strcmp(texts->at[i].text, name) == 0)
			return true;
	return false;
}

static bool reads_column(const struct reads_table *t, const char *name)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (strcmp(t->columns[i], name) == 0)
			return true;
	return t->whole;
}

static void warn_secrets(const struct queries *q, const struct reads_table *t, const char *names)
{
	struct place p = { t->schema, t->name };
	struct buf table = { 0 };

	add_place(&table, p);
	check_add(q->c, CHECK_WARNING, CHECK_WORDS,
		  "select by name what may be seen: row_to_json and to_jsonb of a row, and *, take every column, also "
		  "those "
		  "of tomorrow",
		  "%s (line %u) reads %s of %s, which looks like a secret, and its answer is sent", q->data->name,
		  q->data->line, names, table.data);
	buf_fini(&table);
}

/* The server tells which columns the query depends on, also where it takes a row as a whole. */
static void check_columns(const struct queries *q, const struct reads_table *t)
{
	PGresult *result = check_ask(q->c, columns_query, 2, (const char *[]){ t->schema, t->name });
	struct buf names = { 0 };

	for (int i = 0; i < PQntuples(result); i++) {
		const char *name = PQgetvalue(result, i, 0);

		if (secretname_is(name) && reads_column(t, name) && !is_listed(&q->section->conf->columns, name))
			buf_addf(&names, "%s%s", names.len ? ", " : "", name);
	}
	if (names.len)
		warn_secrets(q, t, names.data);
	PQclear(result);
	buf_fini(&names);
}

/* --- each place ---------------------------------------------------------------------------------------------------- */

static void check_all(struct queries *q)
{
	if (find_reads(q->c, q->lookup, &q->of_lookup) && find_reads(q->c, q->data, &q->of_data)) {
		check_places(q, q->lookup, &q->of_lookup, NULL);
		check_places(q, q->data, &q->of_data, &q->of_lookup);
		check_ignored(q);
		for (size_t i = 0; q->section && i < q->of_data.n_tables; i++)
			check_columns(q, &q->of_data.tables[i]);
	}
	reads_fini(&q->of_lookup);
	reads_fini(&q->of_data);
}

static void check_section(struct check *c, const struct rules_section *s)
{
	struct queries q = { .c = c, .section = s, .ignored = &s->conf->reads_ignore };

	q.lookup = &s->lookup;
	q.data = &s->data;
	snprintf(q.option, sizeof(q.option), "tables.%.80s.reads-ignore", s->conf->name);
	if (s->lookup.sql || s->data.sql || q.ignored->n)
		check_all(&q);
}

static void check_actor(struct check *c)
{
	static const struct rules_query none;
	struct queries q = { .c = c, .ignored = &c->conf->actor_reads_ignore, .option = "actor.reads-ignore" };

	q.lookup = rules_actor(c->rules) ? rules_actor(c->rules) : &none;
	q.data = &none;
	if (q.lookup->sql || q.ignored->n)
		check_all(&q);
}

void check_reads(struct check *c)
{
	size_t before = c->n_findings;

	for (size_t i = 0; i < c->conf->n_tables; i++)
		check_section(c, rules_section(c->rules, c->conf->tables[i].name));
	check_actor(c);
	if (c->n_findings == before)
		check_ok(c, "what queries of rows read is told, or need not be");
}
