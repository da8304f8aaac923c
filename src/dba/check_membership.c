/* The tables that decide permission: what the admit queries read, whether a change there is noticed, and what it costs. */
#include "parts.h"

#include <stdlib.h>

#include "walpush/base/buf.h"
#include "walpush/base/mem.h"
#include "walpush/pg/pgdial.h"
#include "walpush/rules/reads.h"
#include "walpush/text/sqltext.h"

static void take_rows(struct reads *r, const PGresult *result)
{
	struct fail why = { 0 };

	for (int i = 0; i < PQntuples(result); i++) {
		const char *row[READS_COLUMNS];

		for (int c = 0; c < READS_COLUMNS; c++)
			row[c] = PQgetisnull(result, i, c) ? NULL : PQgetvalue(result, i, c);
		if (!reads_add(r, row, &why)) {
			reads_fail(r, &why);
			return;
		}
	}
}

static void run(struct check *c, struct reads *r, const char *sql)
{
	PGresult *result = r->failed ? NULL : PQexec(c->sql, sql);
	struct fail why = { 0 };

	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		take_rows(r, result);
	} else if (!r->failed && PQresultStatus(result) != PGRES_COMMAND_OK) {
		pgdial_result_fail(result, &why);
		reads_fail(r, &why);
	}
	PQclear(result);
}

static void read_query(struct check *c, const struct rules_query *q, struct reads *out)
{
	struct buf view = { 0 };

	reads_view(&view, 1, q);
	run(c, out, READS_BEGIN);
	run(c, out, READS_QUERY_NAMES);
	run(c, out, view.data);
	run(c, out, READS_OWN_NAMES);
	run(c, out, reads_query);
	PQclear(PQexec(c->sql, READS_END));
	buf_fini(&view);
}

static const char session_query[] =
	"SELECT 'it is a standby, where only what membership lists counts', 'words',"
	" 'list all tables that admit reads: check says which, with the url of the primary'"
	" WHERE pg_catalog.pg_is_in_recovery() "
	"UNION ALL "
	"SELECT 'the role may make no temporary view', 'sql',"
	" pg_catalog.format('GRANT TEMPORARY ON DATABASE %I TO %I;', current_database(), current_user)"
	" WHERE NOT pg_catalog.has_database_privilege(current_database(), 'TEMPORARY')";

/* True: what the queries read cannot be found out on this server. On a standby that can only be said: what is listed there counts. */
static bool cannot_look(struct check *c)
{
	PGresult *result = check_ask(c, session_query, 0, NULL);
	bool cannot = !result || PQntuples(result);

	for (int i = 0; i < PQntuples(result); i++) {
		enum check_fix kind = strcmp(PQgetvalue(result, i, 1), "sql") == 0 ? CHECK_SQL : CHECK_WORDS;

		check_add(c, kind == CHECK_WORDS && c->conf->n_memberships ? CHECK_WARNING : CHECK_FAILURE, kind,
			  PQgetvalue(result, i, 2), "what the admit queries read cannot be found out: %s",
			  PQgetvalue(result, i, 0));
	}
	PQclear(result);
	return cannot;
}

static void add_names(struct buf *out, char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		buf_add_text(out, i ? ", " : "");
		sqltext_ident(out, names[i]);
	}
}

/* --- one table ------------------------------------------------------------------------------------------------ */

static bool names(const struct conf_membership *m, const char *column)
{
	bool found = m->user && strcmp(m->user, column) == 0;

	for (size_t i = 0; i < m->columns.n && !found; i++)
		found = strcmp(m->columns.at[i].text, column) == 0;
	return found;
}

/* True: `columns` of the section leaves out a column that a query reads. */
static bool say_left_out(struct check *c, const struct rules_table *t, const struct conf_membership *m)
{
	struct buf lacks = { 0 }, fix = { 0 };
	bool found;

	buf_addf(&fix, "membership.%s.columns = [ ", m->table);
	for (size_t i = 0; i < m->columns.n; i++)
		buf_addf(&fix, "%s\"%s\"", i ? ", " : "", m->columns.at[i].text);
	for (size_t i = 0; i < t->read.n_columns; i++) {
		if (names(m, t->read.columns[i]))
			continue;
		buf_addf(&fix, ", \"%s\"", t->read.columns[i]);
		buf_addf(&lacks, "%s%s", lacks.len ? ", " : "", t->read.columns[i]);
	}
	buf_add_text(&fix, " ]");
	found = lacks.len > 0;
	if (found)
		check_add(c, CHECK_FAILURE, CHECK_CONF, fix.data,
			  "line %u: membership of %s names columns, and admit reads another: %s", m->line, m->table,
			  lacks.data);
	buf_fini(&lacks);
	buf_fini(&fix);
	return found;
}

static void say_table(struct check *c, const struct rules_table *t)
{
	const struct conf_membership *m = t->memberships[0]->conf;
	struct buf text = { 0 };

	if (m && m->columns.n && say_left_out(c, t, m))
		return;
	buf_addf(&text, "%s.%s: ", t->schema, t->name);
	if (t->read.whole || !t->read.is_read)
		buf_add_text(&text, "every change counts");
	else if (t->read.n_columns)
		add_names(&text, t->read.columns, t->read.n_columns);
	else
		buf_add_text(&text, "rows that come or go");
	if (m && m->user && t->catalog && !t->memberships[0]->by_text)
		buf_addf(&text, "; a change asks everybody: equal values of %s may be spelled in many ways", m->user);
	else if (m && m->user)
		buf_addf(&text, "; asks the user in %s", m->user);
	else
		buf_addf(&text,
			 "; a change asks everybody, one admit query for each stream, user and path that is connected; "
			 "has it a "
			 "column with the user's id, name that: membership.%s.user",
			 m ? m->table : t->name);
	check_ok(c, "%s", text.data);
	buf_fini(&text);
}

static void say_strangers(struct check *c, const struct rules_stream *s)
{
	check_add(c, CHECK_FAILURE, CHECK_WORDS,
		  "drop it, give it to the owner of the database, or name in the query what is meant: "
		  "OPERATOR(pg_catalog.=)",
		  "%s (line %u) calls what belongs to neither the owner of its tables nor an administrator, so that "
		  "role decides "
		  "who may listen: %s",
		  s->admit.name, s->admit.line, s->strangers);
	check_stops(c);
}

static void say_not_followed(struct check *c, const struct rules_stream *s)
{
	check_add(
		c, CHECK_FAILURE, CHECK_WORDS,
		"list the tables behind it in membership; where they are, or it never changes, say so: "
		"membership.name = { ignore = true }",
		"%s (line %u) reads what has no changes in the log, so a permission that ends there is not noticed: %s",
		s->admit.name, s->admit.line, s->not_followed);
}

void check_membership(struct check *c)
{
	size_t n = rules_n_streams(c->rules), before = c->n_findings;
	struct reads *reads;

	if (cannot_look(c))
		return;
	reads = mem_new_array(n, sizeof(*reads));
	for (size_t i = 0; i < n; i++)
		read_query(c, &rules_stream(c->rules, i)->admit, &reads[i]);
	rules_reads(c->rules, reads);
	/* A query that the server refuses is a finding of "query". */
	for (size_t i = 0; i < n; i++)
		if (rules_stream(c->rules, i)->not_followed && !reads[i].failed)
			say_not_followed(c, rules_stream(c->rules, i));
	for (size_t i = 0; i < n; i++)
		if (rules_stream(c->rules, i)->strangers)
			say_strangers(c, rules_stream(c->rules, i));
	for (size_t i = 0; i < rules_n_tables(c->rules); i++)
		if (rules_table(c->rules, i)->n_memberships)
			say_table(c, rules_table(c->rules, i));
	if (c->n_findings == before)
		check_ok(c, "no table decides who may listen");
	c->reads = reads;
}
