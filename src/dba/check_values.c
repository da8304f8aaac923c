/* Values for the parameters of a query, from rows that exist. */
#include <stdlib.h>
#include <string.h>

#include "check_bound.h"
#include "check_exec.h"
#include "walpush/base/buf.h"
#include "walpush/base/mem.h"
#include "walpush/text/sqltext.h"

/* Columns of one table whose values go to parameters. */
struct pick {
	char *table; /* quoted */
	size_t n;
	size_t *parameters;
	char **columns; /* quoted */
};

static void pick_fini(struct pick *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->columns[i]);
	free(p->columns);
	free(p->parameters);
	free(p->table);
}

static void pick_add(struct pick *p, size_t parameter, char *column)
{
	p->columns = mem_resize(p->columns, p->n + 1, sizeof(*p->columns));
	p->parameters = mem_resize(p->parameters, p->n + 1, sizeof(*p->parameters));
	p->columns[p->n] = column;
	p->parameters[p->n++] = parameter;
}

static bool is_same(const struct tmpl_part *a, const struct tmpl_part *b)
{
	return a->scope == b->scope && strcmp(a->text, b->text) == 0;
}

/* A placeholder that stands twice in the query is two parameters, with one value. */
static void give(struct exec *e, size_t parameter, const char *value)
{
	for (size_t i = 0; i < e->n; i++)
		if (!e->values[i] && is_same(e->refs[i], e->refs[parameter]))
			e->values[i] = mem_text(value);
}

/* Only names, no operator: nothing that another role could have made is called, whatever the search_path. */
static void add_select(struct buf *sql, const struct pick *p, size_t from, size_t n)
{
	buf_add_text(sql, "SELECT ");
	for (size_t i = from; i < from + n; i++)
		buf_addf(sql, "%s%s", i > from ? ", " : "", p->columns[i]);
	buf_addf(sql, " FROM %s WHERE ", p->table);
	for (size_t i = from; i < from + n; i++)
		buf_addf(sql, "%s%s IS NOT NULL", i > from ? " AND " : "", p->columns[i]);
	buf_add_text(sql, " LIMIT 1");
}

/* True: there is a row with all these columns. */
static bool pick_some(struct check *c, struct exec *e, const struct pick *p, size_t from, size_t n)
{
	struct buf sql = { 0 };
	PGresult *result = NULL;
	bool found;

	add_select(&sql, p, from, n);
	if (exec_begin(c, EXEC_PICK_MS))
		result = PQexec(c->sql, sql.data);
	found = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
	for (size_t i = 0; found && i < n; i++)
		give(e, p->parameters[from + i], PQgetvalue(result, 0, (int)i));
	PQclear(result);
	check_do(c, "ROLLBACK");
	buf_fini(&sql);
	return found;
}

/* One row for all of them; else a row for each. */
static void pick_run(struct check *c, struct exec *e, const struct pick *p)
{
	if (!p->n || pick_some(c, e, p, 0, p->n) || p->n == 1)
		return;
	for (size_t i = 0; i < p->n; i++)
		pick_some(c, e, p, i, 1);
}

static char *quoted(const char *name)
{
	struct buf out = { 0 };

	sqltext_ident(&out, name);
	return buf_steal(&out);
}

static char *quoted_table(const char *schema, const char *name)
{
	struct buf out = { 0 };

	sqltext_ident(&out, schema);
	buf_add_char(&out, '.');
	sqltext_ident(&out, name);
	return buf_steal(&out);
}

/* --- where the values come from ------------------------------------------------------------------------------- */

/* {column}: of the rows that are pushed; {schema}: of their table. */
static void take_row(struct check *c, struct exec *e)
{
	struct pick p = { .table = quoted_table(e->table->schema, e->table->name) };

	for (size_t i = 0; i < e->n; i++)
		if (e->refs[i]->scope == TMPL_ROW)
			pick_add(&p, i, quoted(e->refs[i]->text));
		else if (e->refs[i]->scope == TMPL_TABLE)
			e->values[i] = mem_text(e->table->schema);
	pick_run(c, e, &p);
	pick_fini(&p);
}

static void take_column(struct check *c, struct exec *e, size_t parameter, const struct rules_table *t,
			const char *column)
{
	struct pick p = { .table = quoted_table(t->schema, t->name) };

	if (column && !e->values[parameter]) {
		pick_add(&p, parameter, quoted(column));
		pick_run(c, e, &p);
	}
	pick_fini(&p);
}

/* {id} of the actor query: of the columns that name an actor. */
static void take_actor(struct check *c, struct exec *e)
{
	for (size_t i = 0; i < rules_n_tables(c->rules); i++) {
		const struct rules_table *t = rules_table(c->rules, i);

		for (size_t k = 0; k < t->n_sections && !t->is_matched; k++) {
			const struct conf_table *conf = t->sections[k]->conf;

			take_column(c, e, 0, t, conf->actor.text);
			for (size_t a = 0; a < conf->n_actions; a++)
				take_column(c, e, 0, t, conf->actions[a].actor);
		}
	}
}

/* How many parameters without a value does the plan compare with columns of this table? */
static size_t count(const struct exec *e, const struct bounds *b, const char *table)
{
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		n += strcmp(b->at[i].table, table) == 0 && b->at[i].parameter <= e->n &&
		     !e->values[b->at[i].parameter - 1];
	return n;
}

static bool has(const struct pick *p, size_t parameter)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->parameters[i] == parameter)
			return true;
	return false;
}

static void take_table(struct check *c, struct exec *e, const struct bounds *b, const char *table)
{
	struct pick p = { .table = mem_text(table) };

	for (size_t i = 0; i < b->n; i++) {
		size_t parameter = b->at[i].parameter - 1;

		if (strcmp(b->at[i].table, table) == 0 && parameter < e->n && !e->values[parameter] &&
		    !has(&p, parameter))
			pick_add(&p, parameter, mem_text(b->at[i].column));
	}
	pick_run(c, e, &p);
	pick_fini(&p);
}

/* Of the columns that the plan compares with parameters. The table with the most of them is the first, so that a user and a path of one row
 * stay together. */
static void take_compared(struct check *c, struct exec *e)
{
	struct bounds b = { 0 };

	bounds_parse(e->plan, &b);
	for (size_t most = e->n; most > 0; most--)
		for (size_t i = 0; i < b.n; i++)
			if (count(e, &b, b.at[i].table) == most)
				take_table(c, e, &b, b.at[i].table);
	bounds_fini(&b);
}

/* The user may only be the argument of a function: `user` of a membership names a column with users. */
static void take_user(struct check *c, struct exec *e)
{
	for (size_t i = 0; i < e->n; i++) {
		if (e->refs[i]->scope != TMPL_TOKEN || strcmp(e->refs[i]->text, c->conf->jwt.user_claim) != 0)
			continue;
		for (size_t k = 0; k < rules_n_tables(c->rules); k++) {
			const struct rules_table *t = rules_table(c->rules, k);

			if (t->n_memberships && t->memberships[0]->conf)
				take_column(c, e, i, t, t->memberships[0]->conf->user);
		}
	}
}

void exec_take_values(struct check *c, struct exec *e)
{
	if (!e->n)
		return;
	if (e->table)
		take_row(c, e);
	if (e->q == rules_actor(c->rules))
		take_actor(c, e);
	if (e->plan)
		take_compared(c, e);
	take_user(c, e);
}

/* OIDs of pg_type.dat, which no version changes. */
const char *exec_made_up(Oid type)
{
	static const struct {
		Oid type;
		const char *value;
	} all[] = {
		{ 16, "false" },                                  /* bool */
		{ 20, "1" },                                      /* int8 */
		{ 21, "1" },                                      /* int2 */
		{ 23, "1" },                                      /* int4 */
		{ 25, "x" },                                      /* text */
		{ 26, "1" },                                      /* oid */
		{ 701, "1" },                                     /* float8 */
		{ 1042, "x" },                                    /* char(n) */
		{ 1043, "x" },                                    /* varchar */
		{ 1082, "2000-01-01" },                           /* date */
		{ 1114, "2000-01-01" },                           /* timestamp */
		{ 1184, "2000-01-01" },                           /* timestamptz */
		{ 1700, "1" },                                    /* numeric */
		{ 2950, "00000000-0000-0000-0000-000000000000" }, /* uuid */
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (all[i].type == type)
			return all[i].value;
	return NULL;
}
