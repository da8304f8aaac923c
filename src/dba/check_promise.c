/*
 * The promise of `membership.x.user`: a change of a row concerns only the user in this column. An admit query breaks the promise if it finds
 * rows by something else, or by a comparison under which other values are equal too.
 */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

#include "check_tie.h"
#include "walpush/base/buf.h"
#include "walpush/base/mem.h"
#include "walpush/rules/reads.h"
#include "walpush/text/sqltext.h"

struct promise {
	const struct rules_table *table;
	const char *user;
	bool is_text; /* the column is text: users are equal if their texts are, byte by byte */
};

static bool is_promise(const struct rules_table *t, struct promise *p)
{
	const struct rules_membership *m = t->n_memberships ? t->memberships[0] : NULL;
	uint32_t type;

	if (!m || !m->conf || !m->conf->user || !m->by_text)
		return false;
	type = m->table->columns[m->user].type;
	*p = (struct promise){ t, m->conf->user, type == 25 || type == 1043 }; /* text, varchar */
	return true;
}

/* With these types a claim stays the same user. With other types it may not: "7.0" is 7 as numeric, and "a " is "a" as char(n), but the
 * column has another text. */
static bool keeps_user(Oid type, bool is_text)
{
	static const Oid types[] = { 25, 1043, 20, 21, 23, 26, 2950 }; /* text, varchar, int8, int2, int4, oid, uuid */
	size_t n = is_text ? 2 : sizeof(types) / sizeof(*types);

	for (size_t i = 0; i < n; i++)
		if (types[i] == type)
			return true;
	return false;
}

/* For each parameter: is it the claim that names the user? The caller frees the array. */
static bool *user_parameters(const struct check *c, const struct rules_query *q, const PGresult *description,
			     bool is_text)
{
	bool *is_user = mem_new_array(q->source.n_refs, sizeof(*is_user));
	size_t n = 0;

	for (size_t i = 0; i < q->source.n_parts; i++) {
		const struct tmpl_part *part = &q->source.parts[i];

		if (!part->is_ref)
			continue;
		is_user[n] = part->scope == TMPL_TOKEN && strcmp(part->text, c->conf->jwt.user_claim) == 0 &&
			     keeps_user(PQparamtype(description, (int)n), is_text);
		n++;
	}
	return is_user;
}

/* --- what the plan compares ----------------------------------------------------------------------------------- */

static void say_loose(struct check *c, const struct rules_query *q, const struct promise *p)
{
	const struct rules_table *t = p->table;
	struct buf fix = { 0 };

	buf_addf(&fix, "compare it: %s = {token.%s}; or leave membership.%s.user out, and a change asks everybody",
		 p->user, c->conf->jwt.user_claim, t->name);
	check_add(c, CHECK_WARNING, CHECK_WORDS, fix.data,
		  "%s (line %u) finds rows of %s.%s by something else than %s = {token.%s}, and a change there asks "
		  "nobody but the user in %s: a permission that ends for somebody else is not noticed",
		  q->name, q->line, t->schema, t->name, p->user, c->conf->jwt.user_claim, p->user);
	buf_fini(&fix);
}

static enum tie tie(struct check *c, const struct rules_query *q, const struct promise *p, const char *json,
		    const PGresult *description)
{
	struct tie_column column = { p->table->schema, p->table->name, p->user, c->catalog,
				     p->is_text ? COND_TEXT : COND_ALL };
	bool *is_user = user_parameters(c, q, description, p->is_text);
	enum tie found = tie_of(json, &column, is_user, q->source.n_refs);

	free(is_user);
	return found;
}

/* --- collations, which no plan shows ---------------------------------------------------------------------------- */

/*
 * Which collations in the query, in the views that it reads and in the policies that it passes treat different texts as equal? A row: the
 * name; true if COLLATE names it, false if it is only a column's own.
 */
static const char collations[] =
	"WITH RECURSIVE node (classid, objid) AS ("
	"  SELECT 'pg_catalog.pg_rewrite'::regclass::oid, r.oid"
	"  FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class v ON v.oid = r.ev_class"
	"  WHERE v.relnamespace = pg_catalog.pg_my_temp_schema()"
	"   AND pg_catalog.starts_with(v.relname::text, '" READS_VIEW "')"
	"  UNION"
	"  SELECT next.* FROM node n"
	"  JOIN pg_catalog.pg_depend d ON d.classid = n.classid AND d.objid = n.objid"
	"   AND d.refclassid = 'pg_catalog.pg_class'::regclass"
	"  JOIN pg_catalog.pg_class c ON c.oid = d.refobjid CROSS JOIN LATERAL ("
	"    SELECT 'pg_catalog.pg_rewrite'::regclass::oid, r.oid FROM pg_catalog.pg_rewrite r"
	"    WHERE r.ev_class = c.oid AND c.relkind = 'v' AND r.ev_type = '1'"
	"    UNION ALL"
	"    SELECT 'pg_catalog.pg_policy'::regclass::oid, p.oid FROM pg_catalog.pg_policy p"
	"    WHERE p.polrelid = c.oid AND c.relrowsecurity AND p.polcmd IN ('r', '*')"
	"  ) AS next (classid, objid)"
	"), used (oid, is_said) AS ("
	"  SELECT CASE WHEN d.refclassid = 'pg_catalog.pg_collation'::regclass THEN d.refobjid ELSE a.attcollation END,"
	"   a.attcollation IS NULL"
	"  FROM node n JOIN pg_catalog.pg_depend d ON d.classid = n.classid AND d.objid = n.objid"
	"  LEFT JOIN pg_catalog.pg_attribute a ON d.refclassid = 'pg_catalog.pg_class'::regclass"
	"   AND a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
	"  WHERE d.refclassid IN ('pg_catalog.pg_collation'::regclass, 'pg_catalog.pg_class'::regclass)"
	") "
	"SELECT k.collname, pg_catalog.bool_or(u.is_said) FROM used u JOIN pg_catalog.pg_collation k ON k.oid = u.oid"
	" WHERE NOT k.collisdeterministic GROUP BY 1 ORDER BY 1";

static void say_collation(struct check *c, const struct rules_query *q, const struct promise *p, const char *collation)
{
	struct buf fix = { 0 };

	buf_addf(&fix, "compare %s without it; or leave membership.%s.user out, and a change asks everybody", p->user,
		 p->table->name);
	check_add(c, CHECK_WARNING, CHECK_WORDS, fix.data,
		  "%s (line %u) reads %s.%s and uses collation %s, under which different texts are equal, and a change "
		  "there asks nobody but the user spelled as in %s: a permission that ends for another spelling is not "
		  "noticed",
		  q->name, q->line, p->table->schema, p->table->name, collation, p->user);
	buf_fini(&fix);
}

/* If users are numbers, they are compared under a collation only if the query has COLLATE. */
static void check_collations(struct check *c, const struct rules_query *q, const struct promise *p)
{
	PGresult *result = check_view(c, q, collations);

	for (int i = 0; i < PQntuples(result); i++)
		if (p->is_text || PQgetvalue(result, i, 1)[0] == 't')
			say_collation(c, q, p, PQgetvalue(result, i, 0));
	PQclear(result);
}

/* --- all promises ----------------------------------------------------------------------------------------------- */

static void check_plan(struct check *c, const struct rules_query *q, const char *json, const PGresult *description)
{
	struct promise p;

	for (size_t i = 0; i < rules_n_tables(c->rules); i++) {
		enum tie found;

		if (!is_promise(rules_table(c->rules, i), &p))
			continue;
		found = tie(c, q, &p, json, description);
		if (found == TIE_LOOSE)
			say_loose(c, q, &p);
		else if (found == TIE_TIED)
			check_collations(c, q, &p);
	}
}

/* The parameters are null here, so a plan with pruning would show no partition at all. The session keeps the earlier plan, so it is discarded
 * first. */
void check_promises(struct check *c, const struct rules_query *q)
{
	PGresult *description = PQdescribePrepared(c->sql, CHECK_STATEMENT), *result;

	check_do(c, "SET enable_partition_pruning = off");
	check_do(c, "DISCARD PLANS");
	result = check_explain(c, PQnparams(description));
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		check_plan(c, q, PQgetvalue(result, 0, 0), description);
	PQclear(result);
	PQclear(description);
	check_do(c, "RESET enable_partition_pruning");
}
