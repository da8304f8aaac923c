/* The query of `overlap`: which tables the views of the session read, by the server's catalog. */
#include "reads_words.h"
#include "walpush/rules/overlap.h"
#include "walpush/rules/reads.h"

#define OPERATOR "'pg_catalog.pg_operator'::regclass"
#define POLICY "'pg_catalog.pg_policy'::regclass"
/* The kinds of objects that lead to tables. */
#define LEADS "d.refclassid IN (" CLASS ", " PROC ", " OPERATOR ")"

/*
 * step: a relation, function or operator that a query reads or calls, directly or through another one. What follows
 * from each:
 *   a view       what its stored query depends on
 *   a table      its children, and what its policies for SELECT depend on
 *   an operator  its function
 *   an aggregate its functions
 *   a function   what its body depends on, if the body is parsed (BEGIN ATOMIC); otherwise each word of its source that
 *                is a relation's name, or a function's name before a parenthesis. As in reads_query, a function that is
 *                IMMUTABLE promises to read nothing
 *
 * A materialized view is read itself; the tables behind it are not.
 */
/* Each line of the query is one line here. */
/* clang-format off */
const char overlap_query[] =
	"WITH RECURSIVE object (classid, oid, schema, name, is_called) AS (\n"
	"  SELECT " CLASS "::oid, c.oid, " LOWER("s.nspname") ", " LOWER("c.relname") ", false\n"
	"  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace\n"
	"  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND s.nspname !~ '^(information_schema$|pg_(catalog$|toast|temp))'\n"
	"  UNION ALL\n"
	"  SELECT " PROC "::oid, p.oid, " LOWER("s.nspname") ", " LOWER("p.proname") ", true\n"
	"  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace\n"
	"  WHERE p.provolatile <> 'i' AND s.nspname <> 'pg_catalog'\n"
	"), step (query, classid, objid) AS (\n"
	"  SELECT pg_catalog.substring(v.relname::text, '[0-9]+$')::int, " CLASS "::oid, v.oid FROM pg_catalog.pg_class v\n"
	"  WHERE v.relnamespace = pg_catalog.pg_my_temp_schema()\n"
	"   AND pg_catalog.starts_with(v.relname::text, '" READS_VIEW "')\n"
	"  UNION\n"
	"  SELECT step.query, next.* FROM step CROSS JOIN LATERAL (\n"
	"    SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_class c\n"
	"    JOIN pg_catalog.pg_rewrite w ON w.ev_class = c.oid\n"
	"    JOIN pg_catalog.pg_depend d ON d.classid = " RULE " AND d.objid = w.oid\n"
	"    WHERE step.classid = " CLASS " AND c.oid = step.objid AND c.relkind = 'v' AND w.ev_type = '1' AND " LEADS "\n"
	"    UNION ALL\n"
	"    SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_class c\n"
	"    JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid\n"
	"    JOIN pg_catalog.pg_depend d ON d.classid = " POLICY " AND d.objid = p.oid\n"
	"    WHERE step.classid = " CLASS " AND c.oid = step.objid AND c.relrowsecurity AND p.polcmd IN ('r', '*') AND " LEADS "\n"
	"    UNION ALL\n"
	"    SELECT " CLASS "::oid, i.inhrelid FROM pg_catalog.pg_inherits i\n"
	"    WHERE step.classid = " CLASS " AND i.inhparent = step.objid\n"
	"    UNION ALL\n"
	"    SELECT " PROC "::oid, o.oprcode::oid FROM pg_catalog.pg_operator o\n"
	"    WHERE step.classid = " OPERATOR " AND o.oid = step.objid\n"
	"    UNION ALL\n"
	"    SELECT " PROC "::oid, f FROM pg_catalog.pg_aggregate a, " AGGREGATE_FUNCTIONS " AS f\n"
	"    WHERE step.classid = " PROC " AND a.aggfnoid::oid = step.objid AND f <> 0::oid\n"
	"    UNION ALL\n"
	"    SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_depend d\n"
	"    WHERE step.classid = " PROC " AND d.classid = " PROC " AND d.objid = step.objid AND " LEADS "\n"
	"    UNION ALL\n"
	"    SELECT o.classid, o.oid\n"
	"    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang CROSS JOIN LATERAL (\n"
	"      SELECT o.classid, o.oid FROM pg_catalog.regexp_matches(\n"
	"       pg_catalog.replace(" TEXT("p.prosrc") ", '\"', ' '), " WORDS ", 'g') AS word\n"
	"      JOIN object o ON o.name = word[2] AND o.is_called = (word[3] IS NOT NULL)\n"
	"       AND (word[1] IS NULL OR o.schema = word[1])\n"
	"      UNION ALL SELECT o.classid, o.oid FROM object o WHERE " STANDS_QUOTED("p.prosrc") "\n"
	"    ) AS o\n"
	"    WHERE step.classid = " PROC " AND p.oid = step.objid AND p.provolatile <> 'i'\n"
	"     AND p.pronamespace <> 'pg_catalog'::regnamespace AND l.lanname NOT IN ('c', 'internal')\n"
	"  ) AS next (classid, objid)\n"
	")\n"
	"SELECT s.nspname || '.' || c.relname,\n"
	" pg_catalog.string_agg(step.query::text, ' ' ORDER BY step.query)\n"
	"FROM step JOIN pg_catalog.pg_class c ON c.oid = step.objid\n"
	"JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace\n"
	"WHERE step.classid = " CLASS " AND c.relkind IN ('r', 'p', 'm', 'f')\n"
	" AND s.nspname NOT IN ('pg_catalog', 'information_schema')\n"
	"GROUP BY c.oid, c.relispartition, s.nspname, c.relname ORDER BY c.relispartition, 1";
/* clang-format on */
