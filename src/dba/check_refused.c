/*
 * What a query that fails when it is run means, and the fix. The server's text may quote a value of a row, so none of it is printed: a
 * finding has the SQLSTATE, words of its own, and names that the catalog has.
 */
#include <stdlib.h>
#include <string.h>

#include "check_exec.h"
#include "walpush/base/buf.h"
#include "walpush/text/sqltext.h"

/* --- what the catalog knows of it ------------------------------------------------------------------------------- */

#define USERS(s) s ".nspname NOT IN ('pg_catalog', 'information_schema') AND " s ".nspname !~ '^pg_(toast|temp)'"
#define ON_PATH(s) s ".nspname = ANY (string_to_array('" SQLTEXT_PATH "', ','))"
/* What the function runs; in small letters too, as names without quotes are meant. */
#define SOURCE                                                                                                         \
	"(SELECT src || ' ' || lower(src) FROM (SELECT CASE WHEN l.lanname IN ('c', 'internal') THEN ''"               \
	" WHEN p.prosrc <> '' THEN p.prosrc ELSE pg_get_functiondef(p.oid) END) AS of (src))"
/* Is the schema in the function's own search_path? */
#define IN_CONFIG(s, config)                                                                                           \
	"EXISTS (SELECT FROM unnest(" config ") AS k WHERE starts_with(k, 'search_path=') AND " s                      \
	".nspname::text = ANY (regexp_split_to_array(replace(substr(k, 13), '\"', ''), '\\s*,\\s*')))"

/*
 * $1: the server's text, $2 its context, $3: 'lost' for names that were not found.
 *
 * stack: the functions in which it failed, the innermost first. who: whose privileges count there, the owner's of the innermost function
 * with SECURITY DEFINER, else the session's. reach: the functions that run as this role, with those that they call in turn, so that one
 * fix has all that they need. away: the one schema that has what was not found. table: relations that the text names, or that stand
 * behind FROM or JOIN in such a function; of those with one name the nearest. The words are a guess where schemas share a name, so a
 * fix names what the text names only if there is one.
 *
 * A row: what is named; the grants; the ALTER FUNCTION; the role if it is another.
 */
/* clang-format off */
static const char known_query[] =
	"WITH RECURSIVE stack AS (\n"
	"  SELECT p.oid, p.prosecdef, p.proowner, p.proconfig, " SOURCE " AS source, f.at\n"
	"  FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang\n"
	"  CROSS JOIN LATERAL (SELECT min(nullif(strpos($2, w.word), 0))\n"
	"   FROM (VALUES ('\"' || p.proname || '\"'), (p.proname || '(')) AS w (word)) AS f (at)\n"
	"  WHERE " USERS("s") " AND p.prokind = 'f' AND f.at IS NOT NULL\n"
	"), edge AS (\n"
	"  SELECT min(at) AS at FROM stack WHERE prosecdef\n"
	"), who AS (\n"
	"  SELECT coalesce((SELECT s.proowner FROM stack s JOIN edge USING (at) LIMIT 1), r.oid) AS oid, r.oid AS session\n"
	"  FROM pg_roles r WHERE r.rolname = current_user\n"
	"), innermost AS (\n"
	"  SELECT oid, proconfig FROM stack ORDER BY at LIMIT 1\n"
	"), away AS (\n"
	"  SELECT min(nspname) AS nspname FROM (\n"
	"    SELECT s.nspname FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace\n"
	"    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND strpos($1, '\"' || c.relname || '\"') > 0 AND " USERS("s") "\n"
	"    UNION SELECT s.nspname FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace\n"
	"    WHERE strpos($1, ' ' || p.proname || '(') > 0 AND " USERS("s") "\n"
	"  ) AS s WHERE $3 = 'lost' AND NOT " ON_PATH("s") " AND EXISTS (SELECT FROM stack) HAVING count(*) = 1\n"
	"), reach AS (\n"
	"  SELECT s.oid, s.source, s.proconfig, false AS is_definer FROM stack s, edge\n"
	"  WHERE s.at <= coalesce(edge.at, s.at)\n"
	"  UNION\n"
	"  SELECT p.oid, " SOURCE ", p.proconfig, p.prosecdef\n"
	"  FROM reach r JOIN pg_proc p ON strpos(r.source, p.proname::text) > 0 AND p.proname ~ '^\\w+$' AND p.prokind = 'f'\n"
	"  JOIN pg_namespace s ON s.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang\n"
	"  WHERE NOT r.is_definer AND " USERS("s") " AND r.source ~ ('\\m' || p.proname || '\"?\\s*\\(')\n"
	"), seen AS (\n"
	"  SELECT c.oid, c.relname, s.oid AS namespace, s.nspname, m.is_named,\n"
	"   CASE WHEN EXISTS (SELECT FROM reach r WHERE strpos(replace(r.source, '\"', ''), s.nspname || '.' || c.relname) > 0\n"
	"     OR " IN_CONFIG("s", "r.proconfig") ") OR s.nspname IN (SELECT nspname FROM away) THEN 0\n"
	"    WHEN " ON_PATH("s") " THEN 1 ELSE 2 END AS far\n"
	"  FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace\n"
	"  CROSS JOIN LATERAL (SELECT right($1, length(c.relname) + 1) = ' ' || c.relname\n"
	"    OR strpos($1, '\"' || c.relname || '\"') > 0\n"
	"    OR strpos($1, '\"' || s.nspname || '.' || c.relname || '\"') > 0) AS m (is_named)\n"
	"  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND " USERS("s") "\n"
	"   AND (m.is_named OR c.relname ~ '^\\w+$' AND EXISTS (SELECT FROM reach r WHERE NOT r.is_definer AND r.source\n"
	"    ~ ('\\m(from|join)\\s+(only\\s+)?(\"[^\"]+\"\\.|\\w+\\.)?\"?' || c.relname || '\"?\\M')))\n"
	"), nearest AS (\n"
	"  SELECT * FROM (SELECT *, min(far) OVER named AS least, count(*) OVER (PARTITION BY relname, far) AS n FROM seen\n"
	"   WINDOW named AS (PARTITION BY relname)) AS all_seen WHERE far = least AND n = 1 AND (far < 2 OR is_named)\n"
	"), grants (text) AS (\n"
	"  SELECT format('GRANT SELECT ON TABLE %s TO %I;', t.oid::regclass, pg_get_userbyid(who.oid)) FROM nearest t, who\n"
	"  WHERE NOT has_table_privilege(who.oid, t.oid, 'SELECT')\n"
	"   AND (t.is_named OR NOT has_any_column_privilege(who.oid, t.oid, 'SELECT'))\n"
	"  UNION SELECT format('GRANT USAGE ON SCHEMA %I TO %I;', s.nspname, pg_get_userbyid(who.oid))\n"
	"  FROM pg_namespace s, who WHERE NOT has_schema_privilege(who.oid, s.oid, 'USAGE') AND " USERS("s") "\n"
	"   AND (right($1, length(s.nspname) + 1) = ' ' || s.nspname OR s.oid IN (SELECT namespace FROM nearest)\n"
	"    OR s.nspname IN (SELECT nspname FROM away))\n"
	"  UNION SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I;', p.oid::regprocedure, pg_get_userbyid(who.oid))\n"
	"  FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace, who\n"
	"  WHERE NOT has_function_privilege(who.oid, p.oid, 'EXECUTE') AND p.prokind = 'f' AND " USERS("s") "\n"
	"   AND (right($1, length(p.proname) + 1) = ' ' || p.proname OR p.oid IN (SELECT oid FROM reach))\n"
	")\n"
	"SELECT (SELECT string_agg(oid::regclass::text, ', ' ORDER BY 1) FROM nearest WHERE is_named),\n"
	" (SELECT string_agg(text, ' ' ORDER BY text DESC) FROM grants),\n"
	" (SELECT format('ALTER FUNCTION %s SET search_path = %s;', i.oid::regprocedure, quote_ident(away.nspname) || ', '\n"
	"   || coalesce((SELECT substr(k, 13) FROM unnest(i.proconfig) AS k WHERE starts_with(k, 'search_path=')),\n"
	"    'public, pg_temp'))\n"
	"  FROM innermost i, away WHERE away.nspname IS NOT NULL AND NOT coalesce(" IN_CONFIG("away", "i.proconfig") ", false)),\n"
	" (SELECT pg_get_userbyid(oid) FROM who WHERE oid <> session),\n"
	" (SELECT oid::regprocedure::text FROM innermost)";
/* clang-format on */

struct known { /* borrowed from `result`; NULL: not known */
	PGresult *result;
	const char *named, *grants, *alter, *role, *function;
};

static const char *value(const PGresult *result, int column)
{
	return result && PQntuples(result) == 1 && !PQgetisnull(result, 0, column) ? PQgetvalue(result, 0, column)
										   : NULL;
}

static const char *field(const PGresult *error, int code)
{
	const char *text = PQresultErrorField(error, code);

	return text ? text : "";
}

static struct known look_up(struct check *c, const PGresult *error, bool is_lost)
{
	PGresult *r = exec_ask(c, known_query, 3,
			       (const char *[]){ field(error, PG_DIAG_MESSAGE_PRIMARY), field(error, PG_DIAG_CONTEXT),
						 is_lost ? "lost" : "" });

	return (struct known){ r, value(r, 0), value(r, 1), value(r, 2), value(r, 3), value(r, 4) };
}

/* --- findings ----------------------------------------------------------------------------------------------------- */

/* Many streams may call one function: what one statement fixes is said once, with the first query. */
static bool is_said(const struct check *c, enum check_fix kind, const char *fix)
{
	for (size_t i = 0; i < c->n_findings; i++) {
		const struct check_finding *f = &c->findings[i];

		if (kind == CHECK_SQL && f->check == c->running && f->kind == kind && strcmp(f->fix, fix) == 0)
			return true;
	}
	return false;
}

static void say(struct check *c, const struct exec *e, const PGresult *error, enum check_state state,
		enum check_fix kind, const char *fix, const char *what)
{
	const char *sqlstate = field(error, PG_DIAG_SQLSTATE);

	if (!is_said(c, kind, fix))
		check_add(c, state, kind, fix, "%s (line %u) fails when it is run: %s%s%s%s", e->q->name, e->q->line,
			  what, *sqlstate ? " (SQLSTATE " : "", sqlstate, *sqlstate ? ")" : "");
}

static void add_place(struct buf *out, const struct known *k)
{
	if (k->function)
		buf_addf(out, " in function %s", k->function);
	if (k->role)
		buf_addf(out, ", which runs as role %s", k->role);
}

bool exec_denied(struct check *c, const struct rules_query *q, const PGresult *error)
{
	struct known k = look_up(c, error, false);
	bool is_known = k.grants != NULL;

	if (is_known)
		check_add(c, CHECK_FAILURE, CHECK_SQL, k.grants, "%s (line %u): permission denied (SQLSTATE 42501)",
			  q->name, q->line);
	PQclear(k.result);
	return is_known;
}

static void say_denied(struct check *c, const struct exec *e, const PGresult *error)
{
	struct known k = look_up(c, error, false);
	struct buf what = { 0 };

	buf_addf(&what, "permission denied%s%s", k.named ? " for " : "", k.named ? k.named : "");
	add_place(&what, &k);
	if (k.grants)
		say(c, e, error, CHECK_FAILURE, CHECK_SQL, k.grants, what.data);
	else
		say(c, e, error, CHECK_FAILURE, CHECK_WORDS,
		    "run it as walpush's role, and grant what the server names; or make the function SECURITY DEFINER, "
		    "with a "
		    "search_path of its own",
		    what.data);
	buf_fini(&what);
	PQclear(k.result);
}

static void add_fixes(struct buf *out, const struct known *k)
{
	buf_add_text(out, k->grants ? k->grants : "");
	buf_addf(out, "%s%s", out->len && k->alter ? " " : "", k->alter ? k->alter : "");
}

static void say_lost(struct check *c, const struct exec *e, const PGresult *error)
{
	struct known k = look_up(c, error, true);
	struct buf what = { 0 }, fix = { 0 };

	buf_addf(&what, "%s is not found under the search_path %s", k.named ? k.named : "a name", SQLTEXT_PATH);
	add_place(&what, &k);
	add_fixes(&fix, &k);
	if (fix.len)
		say(c, e, error, CHECK_FAILURE, CHECK_SQL, fix.data, what.data);
	else
		say(c, e, error, CHECK_FAILURE, CHECK_WORDS,
		    "name it with its schema there, or give the function a search_path: ALTER FUNCTION … SET "
		    "search_path = …",
		    what.data);
	buf_fini(&what);
	buf_fini(&fix);
	PQclear(k.result);
}

/* Policies of which the role's queries pass some, and that read a setting. */
static const char settings_query[] =
	"SELECT count(*) FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid"
	" WHERE pg_catalog.row_security_active(c.oid) AND p.polcmd IN ('r', '*')"
	" AND pg_catalog.strpos(pg_catalog.pg_get_expr(p.polqual, p.polrelid), 'current_setting') > 0";

/* True: such a policy is there, and it is most likely what fails. */
static bool say_setting(struct check *c, const struct exec *e, const PGresult *error)
{
	PGresult *result = exec_ask(c, settings_query, 0, NULL);
	bool found = result && strcmp(PQgetvalue(result, 0, 0), "0") != 0;
	struct buf fix = { 0 };

	PQclear(result);
	buf_addf(&fix, "ALTER ROLE %s BYPASSRLS;", c->role);
	if (found)
		say(c, e, error, CHECK_FAILURE, CHECK_SQL, fix.data,
		    "a policy reads a setting that walpush's sessions do not have");
	buf_fini(&fix);
	return found;
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

/* The first row whose `sqlstate` begins the SQLSTATE. `of_values`: the cause may be in the values, so it only counts for values of rows. */
static const struct meaning {
	const char *sqlstate;
	enum check_state state;
	bool of_values;
	const char *what, *fix;
} meanings[] = {
	{ "25006", CHECK_FAILURE, false, "something that it calls writes, and walpush's sessions are read-only",
	  "let what it calls only read" },
	{ "0A000", CHECK_FAILURE, false,
	  "something that it calls does what it may not, such as writing in a function that is STABLE",
	  "let what it calls only read" },
	{ "57014", CHECK_WARNING, false, "it takes longer than 1 s, and the server has ended it",
	  "make it faster: index the columns by which it finds rows; EXPLAIN shows where the time goes" },
	{ "55P03", CHECK_WARNING, false, "it waits longer than 0.5 s for a lock that another session holds",
	  "end the session that holds it (pg_locks, pg_blocking_pids), then run walpush check again" },
	{ "42704", CHECK_FAILURE, false, "it reads a setting, or names a type, that walpush's sessions do not have",
	  "write current_setting('…', true), which is NULL where nobody set it; name a type with its schema" },
	{ "54", CHECK_FAILURE, false, "it passes a limit of the server, such as the depth of calls",
	  "correct the query or the function" },
	{ "22", CHECK_FAILURE, true, "a value of a row that exists is not what it expects",
	  "correct the query, or clean up the rows: the server's log has its words" },
	{ "21", CHECK_FAILURE, true, "a subquery has more than one row for a row that exists",
	  "correct the query: add LIMIT 1, or a condition" },
	{ "P0", CHECK_FAILURE, true, "a function raises an error for a row that exists",
	  "let the function answer false or NULL instead" },
	{ "42", CHECK_FAILURE, false, "something that it calls is not correct",
	  "run it as walpush's role: the server says where" },
	{ "53", CHECK_WARNING, false, "the server lacks room", "run walpush check again" },
	{ "57", CHECK_WARNING, false, "the server ended it", "run walpush check again" },
	{ "40", CHECK_WARNING, false, "another session is in its way", "run walpush check again" },
	{ "", CHECK_FAILURE, true, "the server refuses it",
	  "run it as walpush's role: the server's log has its words" },
};

static bool is_lost(const char *sqlstate)
{
	return strcmp(sqlstate, "42P01") == 0 || strcmp(sqlstate, "42883") == 0 || strcmp(sqlstate, "3F000") == 0;
}

static void say_meaning(struct check *c, const struct exec *e, const PGresult *error, const struct meaning *m)
{
	const char *sqlstate = field(error, PG_DIAG_SQLSTATE);

	if (strcmp(sqlstate, "42501") == 0)
		say_denied(c, e, error);
	else if (is_lost(sqlstate))
		say_lost(c, e, error);
	else if ((strcmp(sqlstate, "42704") != 0 && strcmp(sqlstate, "22P02") != 0) || !say_setting(c, e, error))
		say(c, e, error, m->state, CHECK_WORDS, m->fix, m->what);
}

bool exec_refused(struct check *c, const struct exec *e, enum exec_values how, const PGresult *error)
{
	const struct meaning *m = meanings;
	const char *sqlstate = field(error, PG_DIAG_SQLSTATE);

	while (strncmp(sqlstate, m->sqlstate, strlen(m->sqlstate)) != 0)
		m++;
	if (m->of_values && (how == EXEC_VALUES_MADE_UP || !exec_has_all_values(e)) && *sqlstate)
		return false;
	say_meaning(c, e, error, m);
	return true;
}
