/* The query of `reads`: what the admit queries read, by the server's catalog. */
#include "reads_words.h"
#include "walpush/rules/reads.h"
#include "walpush/text/sqltext.h"

#define TYPE "'pg_catalog.pg_type'::regclass"

/*
 * The server's own functions whose answer depends on more than their arguments, the session's settings and the clock:
 * they read tables by name, catalogs, privileges, sequences, files, or the state of the server. p: a function that is
 * not IMMUTABLE. New functions of later versions begin with pg_ too, so every pg_ function counts, except those that
 * only compute.
 */
#define LOOKS_UP                                                                                                       \
	"(p.proname::text ~ '_to_xml|^(pg_|has_|to_reg|reg|lo_|txid_|obj_|col_|shobj_|currtid)'\n"                     \
	"   OR p.proname IN ('loread', 'lowrite', 'ts_stat', 'ts_rewrite', 'format_type', 'row_security_active',\n"    \
	"    'nextval', 'currval', 'lastval', 'setval'))\n"                                                            \
	"  AND p.proname::text !~ '^pg_(typeof|column_size|column_compression|collation_for|client_encoding|'\n"       \
	"   'backend_pid|trigger_depth|my_temp_schema|char_to_encoding|encoding_to_char|sleep.*)$'"

/* The text that function p of language l runs. Empty for a C function, whose source the server does not have. An
 * SQL-standard body has no prosrc, but the server can print it. */
#define SOURCE                                                                                                         \
	"CASE WHEN l.lanname IN ('c', 'internal') THEN '' WHEN p.prosrc <> '' THEN p.prosrc\n"                         \
	"   ELSE coalesce(pg_catalog.substring(pg_catalog.pg_get_functiondef(p.oid),\n"                                \
	"    '\n(?:BEGIN ATOMIC|RETURN )(.*)$'), '') END"

/*
 * node: the stored rules, policies and constraints whose dependencies count: the rules of our views, of the views that
 * these read, and so on; the policies for SELECT of tables with row level security; the checks of domains that the
 * query casts to. A type is a node too, without a text: it leads to the types that it is made of.
 * seen: the objects that the nodes depend on.
 *
 * The server records no dependency on objects that initdb made. So a system catalog that is read, and a server function
 * that is called, are found by their OIDs in the text of the stored query. In this text a reference to a whole row is
 * attribute 0. It is not worth knowing which table of the query it means, so it counts for all of them.
 *
 * A function that is IMMUTABLE promises to read nothing. The function of an operator or of an aggregate is treated like
 * any other.
 *
 * reach: what is behind a function that is not IMMUTABLE, and behind a materialized view. The server knows what a view
 * reads. For a function the query searches its source: each word counts that is a relation's name, or a function's name
 * before a parenthesis. This may report too much, but it does not stay silent. A user who knows better writes `ignore`
 * for the function.
 *
 * Rows: what, schema, name, column, text.
 *   column      a column of table schema.name
 *   row         the table is read
 *   whole       the table is read as a whole row
 *   unknown     an object that cannot be followed
 *   behind      an object behind an unknown, with the unknown's text
 *   source      the text that function schema.name runs, itself or through another function
 *   stranger    a function or operator that the query resolves to; its owner is neither a superuser nor the owner
 *               of the database, of that schema, or of all tables that are read
 *   object      the OID of any relation on the way
 *   definition  the query as the server has read it
 */
/* Each line of the query is one line here. */
/* clang-format off */
const char reads_query[] =
	"WITH RECURSIVE node (classid, objid, stored) AS (\n"
	"  SELECT 'pg_catalog.pg_rewrite'::regclass::oid, r.oid, r.ev_action::text\n"
	"  FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class v ON v.oid = r.ev_class\n"
	"  WHERE v.relnamespace = pg_catalog.pg_my_temp_schema()\n"
	"   AND pg_catalog.starts_with(v.relname::text, '" READS_VIEW "')\n"
	"  UNION\n"
	"  SELECT next.* FROM node n CROSS JOIN LATERAL (\n"
	"    SELECT leads.* FROM pg_catalog.pg_depend d CROSS JOIN LATERAL (\n"
	"      SELECT " RULE "::oid, r.oid, r.ev_action::text\n"
	"      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid\n"
	"      WHERE d.refclassid = " CLASS " AND c.oid = d.refobjid AND c.relkind = 'v' AND r.ev_type = '1'\n"
	"      UNION ALL\n"
	"      SELECT 'pg_catalog.pg_policy'::regclass::oid, p.oid, p.polqual::text\n"
	"      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid\n"
	"      WHERE d.refclassid = " CLASS " AND c.oid = d.refobjid AND c.relrowsecurity AND p.polcmd IN ('r', '*')\n"
	"      UNION ALL\n"
	"      SELECT " TYPE "::oid, d.refobjid, NULL WHERE d.refclassid = " TYPE "\n"
	"    ) AS leads WHERE d.classid = n.classid AND d.objid = n.objid AND n.classid <> " TYPE "\n"
	"    UNION ALL\n"
	"    SELECT " TYPE "::oid, part.oid, NULL FROM pg_catalog.pg_type t CROSS JOIN LATERAL (\n"
	"      SELECT t.typbasetype UNION ALL SELECT t.typelem\n"
	"      UNION ALL SELECT g.rngsubtype FROM pg_catalog.pg_range g WHERE g.rngtypid = t.oid\n"
	"      UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0\n"
	"    ) AS part (oid) WHERE n.classid = " TYPE " AND t.oid = n.objid AND part.oid >= 16384::oid\n"
	"    UNION ALL\n"
	"    SELECT 'pg_catalog.pg_constraint'::regclass::oid, k.oid, k.conbin::text FROM pg_catalog.pg_constraint k\n"
	"    WHERE n.classid = " TYPE " AND k.contypid = n.objid\n"
	"  ) AS next (classid, objid, stored)\n"
	"), seen AS (\n"
	"  SELECT d.refclassid, d.refobjid, d.refobjsubid,\n"
	"         pg_catalog.bool_or(coalesce(n.stored LIKE '%:varattno 0 %', false)) AS whole\n"
	"  FROM node n JOIN pg_catalog.pg_depend d ON d.classid = n.classid AND d.objid = n.objid\n"
	"  WHERE n.classid <> " TYPE " GROUP BY 1, 2, 3\n"
	"), relation AS (\n"
	"  SELECT c.oid, c.relkind, c.relpersistence, s.nspname, c.relname, seen.refobjsubid, seen.whole\n"
	"  FROM seen JOIN pg_catalog.pg_class c ON c.oid = seen.refobjid\n"
	"  JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace\n"
	"  WHERE seen.refclassid = 'pg_catalog.pg_class'::regclass AND c.relkind NOT IN ('v', 'c', 'i', 'I', 't')\n"
	"), catalog AS (\n"
	"  SELECT DISTINCT c.oid FROM node n\n"
	"  CROSS JOIN LATERAL pg_catalog.regexp_matches(n.stored, ':relid ([1-9][0-9]*)', 'g') AS found\n"
	"  JOIN pg_catalog.pg_class c ON c.oid = found[1]::oid AND c.relnamespace = 'pg_catalog'::regnamespace\n"
	"   AND c.relkind <> 'v'\n"
	"), named AS (\n"
	"  SELECT refobjid AS oid FROM seen WHERE refclassid = 'pg_catalog.pg_proc'::regclass\n"
	"  UNION\n"
	"  SELECT o.oprcode FROM seen JOIN pg_catalog.pg_operator o ON o.oid = seen.refobjid\n"
	"  WHERE seen.refclassid = 'pg_catalog.pg_operator'::regclass\n"
	"  UNION\n"
	"  SELECT found[1]::oid FROM node n CROSS JOIN LATERAL pg_catalog.regexp_matches(n.stored,\n"
	"   ':(?:funcid|aggfnoid|winfnoid|opfuncid) ([1-9][0-9]*)', 'g') AS found\n"
	"  UNION\n"
	"  SELECT t.typinput::oid FROM node n\n"
	"  CROSS JOIN LATERAL pg_catalog.regexp_matches(n.stored, ':resulttype ([1-9][0-9]*)', 'g') AS found\n"
	"  JOIN pg_catalog.pg_type t ON t.oid = found[1]::oid AND pg_catalog.starts_with(t.typname::text, 'reg')\n"
	"), called AS (\n"
	"  SELECT oid FROM named\n"
	"  UNION SELECT f FROM named JOIN pg_catalog.pg_aggregate a ON a.aggfnoid::oid = named.oid,\n"
	"   " AGGREGATE_FUNCTIONS " AS f\n"
	"), object AS (\n"
	"  SELECT " CLASS "::oid AS classid, c.oid, " LOWER("s.nspname") " AS schema, " LOWER( "c.relname") " AS name, false AS is_called\n"
	"  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace\n"
	"  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND s.nspname !~ '^pg_(toast|temp)'\n"
	"  UNION ALL\n"
	"  SELECT " PROC "::oid, p.oid, " LOWER("s.nspname") ", " LOWER( "p.proname") ", true\n"
	"  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace\n"
	"  WHERE p.provolatile <> 'i' AND (s.nspname <> 'pg_catalog' OR " LOOKS_UP ")\n"
	"), lost AS (\n"
	"  SELECT p.oid, s.nspname, p.proname, 'function '\n"
	"   || CASE s.nspname WHEN 'pg_catalog' THEN 'pg_catalog.' ELSE '' END || p.oid::regprocedure::text AS text\n"
	"  FROM called JOIN pg_catalog.pg_proc p ON p.oid = called.oid\n"
	"  JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace\n"
	"  WHERE p.provolatile <> 'i' AND p.prokind <> 'a' AND (s.nspname <> 'pg_catalog' OR " LOOKS_UP ")\n"
	"), reach (root, text, classid, objid) AS (\n"
	"  SELECT oid, text, " PROC "::oid, oid FROM lost WHERE nspname <> 'pg_catalog'\n"
	"  UNION SELECT oid, 'materialized view ' || oid::regclass::text, " CLASS "::oid, oid FROM relation WHERE relkind = 'm'\n"
	"  UNION\n"
	"  SELECT r.root, r.text, next.* FROM reach r CROSS JOIN LATERAL (\n"
	"    SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_class c\n"
	"    JOIN pg_catalog.pg_rewrite w ON w.ev_class = c.oid\n"
	"    JOIN pg_catalog.pg_depend d ON d.classid = " RULE " AND d.objid = w.oid\n"
	"    WHERE r.classid = " CLASS " AND c.oid = r.objid AND c.relkind IN ('v', 'm')\n"
	"     AND d.refclassid IN (" CLASS ", " PROC ")\n"
	"    UNION ALL\n"
	"    SELECT " PROC "::oid, f FROM pg_catalog.pg_aggregate a, " AGGREGATE_FUNCTIONS " AS f\n"
	"    WHERE r.classid = " PROC " AND a.aggfnoid::oid = r.objid AND f <> 0::oid\n"
	"    UNION ALL\n"
	"    SELECT o.classid, o.oid\n"
	"    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang CROSS JOIN LATERAL (\n"
	"      SELECT o.classid, o.oid FROM pg_catalog.regexp_matches(\n"
	"       pg_catalog.replace(" TEXT( SOURCE) ", '\"', ' '), " WORDS ", 'g') AS word\n"
	"      JOIN object o ON o.name = word[2] AND o.is_called = (word[3] IS NOT NULL)\n"
	"       AND (word[1] IS NULL AND o.schema <> 'information_schema' OR o.schema = word[1])\n"
	"      UNION ALL SELECT o.classid, o.oid FROM object o WHERE " STANDS_QUOTED( SOURCE) "\n"
	"    ) AS o\n"
	"    WHERE r.classid = " PROC " AND p.oid = r.objid AND p.provolatile <> 'i' AND p.pronamespace <> 'pg_catalog'::regnamespace\n"
	"  ) AS next (classid, objid)\n"
	"), behind AS (\n"
	"  SELECT r.root, r.text, s.nspname, c.relname AS name, r.classid, r.objid\n"
	"  FROM reach r JOIN pg_catalog.pg_class c ON c.oid = r.objid\n"
	"  JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace\n"
	"  WHERE r.classid = " CLASS " AND (c.relkind IN ('r', 'p', 'f') OR s.nspname IN ('pg_catalog', 'information_schema'))\n"
	"  UNION ALL\n"
	"  SELECT r.root, r.text, s.nspname, p.proname, r.classid, r.objid\n"
	"  FROM reach r JOIN pg_catalog.pg_proc p ON p.oid = r.objid\n"
	"  JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace\n"
	"  WHERE r.classid = " PROC " AND s.nspname = 'pg_catalog' AND p.provolatile <> 'i' AND " LOOKS_UP "\n"
	"), trusted AS (\n"
	"  SELECT oid FROM pg_catalog.pg_roles WHERE rolsuper\n"
	"  UNION SELECT datdba FROM pg_catalog.pg_database WHERE datname = current_database()\n"
	"  UNION SELECT pg_catalog.min(c.relowner) FROM relation t JOIN pg_catalog.pg_class c ON c.oid = t.oid\n"
	"  WHERE t.relkind IN ('r', 'p') AND t.nspname <> 'pg_catalog' HAVING pg_catalog.count(DISTINCT c.relowner) = 1\n"
	"), resolved AS (\n"
	"  SELECT p.pronamespace AS namespace, p.proname AS name, p.proowner AS owner,\n"
	"   'function ' || p.oid::regprocedure::text AS text FROM called JOIN pg_catalog.pg_proc p ON p.oid = called.oid\n"
	"  UNION\n"
	"  SELECT o.oprnamespace, o.oprname, o.oprowner, 'operator ' || o.oid::regoperator::text\n"
	"  FROM seen JOIN pg_catalog.pg_operator o ON o.oid = seen.refobjid\n"
	"  WHERE seen.refclassid = 'pg_catalog.pg_operator'::regclass\n"
	")\n"
	"SELECT 'row' AS what, nspname AS schema, relname AS name, NULL AS attname, NULL AS text\n"
	"  FROM relation WHERE relkind IN ('r', 'p') AND relpersistence = 'p'\n"
	"  AND nspname <> 'pg_catalog' GROUP BY 2, 3\n"
	"UNION ALL\n"
	"SELECT CASE WHEN a.attgenerated = '' THEN 'column' ELSE 'whole' END, t.nspname, t.relname, a.attname, NULL\n"
	"  FROM relation t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = t.refobjsubid\n"
	"  WHERE t.relkind IN ('r', 'p') AND t.relpersistence = 'p' AND t.nspname <> 'pg_catalog' AND t.refobjsubid > 0\n"
	"UNION ALL\n"
	"SELECT DISTINCT 'whole', nspname, relname, NULL, NULL FROM relation WHERE relkind IN ('r', 'p')\n"
	"  AND relpersistence = 'p' AND nspname <> 'pg_catalog' AND (whole OR refobjsubid < 0)\n"
	"UNION ALL\n"
	"SELECT DISTINCT 'unknown', nspname, relname, NULL,\n"
	"  CASE relkind WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table ' WHEN 'S' THEN 'sequence '\n"
	"   ELSE CASE relpersistence WHEN 'u' THEN 'unlogged table ' WHEN 't' THEN 'temporary table ' ELSE 'system catalog '\n"
	"   END END || oid::regclass::text\n"
	"  FROM relation WHERE relkind NOT IN ('r', 'p') OR relpersistence <> 'p' OR nspname = 'pg_catalog'\n"
	"UNION ALL\n"
	"SELECT 'unknown', 'pg_catalog', c.relname, NULL, 'system catalog ' || c.oid::regclass::text\n"
	"  FROM catalog JOIN pg_catalog.pg_class c ON c.oid = catalog.oid WHERE c.oid NOT IN (SELECT oid FROM relation)\n"
	"UNION ALL\n"
	"SELECT 'unknown', nspname, proname, NULL, text FROM lost\n"
	"UNION ALL\n"
	"SELECT DISTINCT 'behind', nspname, name, NULL, text FROM behind\n"
	"UNION ALL\n"
	"SELECT DISTINCT 'source', lost.nspname, lost.proname, NULL, " SOURCE "\n"
	"  FROM lost JOIN reach r ON r.root = lost.oid AND r.classid = " PROC "\n"
	"  JOIN pg_catalog.pg_proc p ON p.oid = r.objid JOIN pg_catalog.pg_language l ON l.oid = p.prolang\n"
	"  WHERE p.provolatile <> 'i' AND p.pronamespace <> 'pg_catalog'::regnamespace\n"
	"UNION ALL\n"
	"SELECT 'stranger', s.nspname, r.name, NULL, r.text || ' of role ' || pg_catalog.pg_get_userbyid(r.owner)\n"
	"  FROM resolved r JOIN pg_catalog.pg_namespace s ON s.oid = r.namespace\n"
	"  WHERE s.nspname <> 'pg_catalog' AND r.owner <> s.nspowner AND r.owner NOT IN (SELECT oid FROM trusted)\n"
	"UNION ALL\n"
	"SELECT DISTINCT 'object', s.nspname, c.relname, NULL, c.oid::text\n"
	"  FROM seen JOIN pg_catalog.pg_class c ON c.oid = seen.refobjid\n"
	"  JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace\n"
	"  WHERE seen.refclassid = 'pg_catalog.pg_class'::regclass AND s.oid <> pg_catalog.pg_my_temp_schema()\n"
	"   AND s.nspname <> 'pg_catalog'\n"
	"UNION\n"
	"SELECT 'object', nspname, name, NULL, objid::text FROM behind WHERE classid = " CLASS "\n"
	"   AND nspname NOT IN ('pg_catalog', 'information_schema')\n"
	"UNION ALL\n"
	"SELECT 'definition', 'pg_temp', v.relname, NULL, pg_catalog.pg_get_viewdef(v.oid) FROM pg_catalog.pg_class v\n"
	"  WHERE v.relnamespace = pg_catalog.pg_my_temp_schema()\n"
	"   AND pg_catalog.starts_with(v.relname::text, '" READS_VIEW "')\n"
	"ORDER BY 2, 3, 1, 4, 5";
/* clang-format on */
