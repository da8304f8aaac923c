-- walpush: what the DBA does once for this configuration. PostgreSQL 13 to 18. Printed by `walpush sql`.
--
--     walpush sql -c sidecar.conf | psql -d app
--     psql -d app -v slot=walpush -v role=walpush -f setup.sql
--
-- Run it as a superuser, or as the owner of the tables with CREATEROLE and REPLICATION. It may be run again: it adds
-- what is missing and takes nothing away, because another configuration may have the same role or publication: what this
-- one does not need is named, and goes with -v revoke=on (walpush sql --revoke). sql/teardown.sql takes everything back.
--
-- The role's password comes from the environment's WALPUSH_PASSWORD or from -v password=… (which others on the machine
-- can read in the list of processes). Without either the role keeps the one it has; psql's \password sets one as well.

\set ON_ERROR_STOP on
\set QUIET on
\pset tuples_only on
\pset format unaligned
\pset pager off

\if :{?slot} \else \set slot 'walpush' \endif
\if :{?role} \else \set role 'walpush' \endif
-- PostgreSQL 17 and later, on: the slot is copied to standbys whose sync_replication_slots is on, and outlives
-- failover. Off, because with it walpush hears of a commit only after the standbys in synchronized_standby_slots have it.
\if :{?failover} \else \set failover 'off' \endif
-- On: what this configuration does not need is taken away: grants of the role, tables and row filters of the publication.
-- Off, because another configuration may have the same role or publication. Then it is only named.
\if :{?revoke} \else \set revoke 'off' \endif
-- On: a slot that the server has given up (lost) is dropped, and made again. A slot that can be read stays in any case.
\if :{?recreate_slot} \else \set recreate_slot 'off' \endif
\if :{?replicas} \else \set replicas '' \endif
-- Looked at here and not on the server, whose log may keep what it is asked, nor in the arguments of a shell, which
-- others on the machine can read. An empty password would take away the one that the role has.
\if :{?password} \setenv WALPUSH_GIVEN :password \endif
\set has_password `[ -n "${WALPUSH_GIVEN:-$WALPUSH_PASSWORD}" ] && echo on || echo off`
\set password `printf %s "${WALPUSH_GIVEN:-$WALPUSH_PASSWORD}"`
\setenv WALPUSH_GIVEN

-- Names and operators of this script are the server's own, whoever may create others.
SET search_path = pg_catalog, pg_temp;
SET standard_conforming_strings = on;
-- What is asked of the catalog is cheap, and dear to compile.
SET jit = off;

-- An empty variable is one that was not given; but an empty slot: none is made.
SELECT coalesce(nullif(:'role', ''), 'walpush')::name AS role,
       coalesce(nullif(btrim(:'failover'), ''), 'off') AS failover,
       btrim(:'replicas') AS replicas,
       coalesce(nullif(btrim(:'revoke'), ''), 'off') AS revoke,
       coalesce(nullif(btrim(:'recreate_slot'), ''), 'off') AS recreate_slot
\gset
SELECT quote_ident(:'role') AS role_quoted
\gset

-- ---- What must be there already. Each row found here is an error with its fix. ------------------------------------

SELECT format('DO %L', format('BEGIN RAISE EXCEPTION USING MESSAGE = %L, HINT = %L; END', problem, fix))
FROM (
    SELECT 0, format('role %I %s', rolname, CASE WHEN rolsuper THEN 'is a superuser' ELSE 'owns tables here' END),
           'What follows makes a role read-only: give walpush one of its own, -v role=walpush and in its URL.'
    FROM pg_roles AS r
    WHERE rolname = :'role' AND (rolsuper OR EXISTS (SELECT FROM pg_class WHERE relowner = r.oid AND relkind IN ('r', 'p')))
    UNION ALL
    SELECT 1, 'wal_level is ' || current_setting('wal_level') || ', but only "logical" writes what walpush reads',
           'ALTER SYSTEM SET wal_level = logical; then restart PostgreSQL.'
    WHERE current_setting('wal_level') <> 'logical'
    UNION ALL
    SELECT 2, 'the encoding of database ' || current_database() || ' is ' || current_setting('server_encoding'),
           'walpush sends UTF-8 to browsers and reads databases in UTF8 only.'
    WHERE current_setting('server_encoding') <> 'UTF8'
    UNION ALL
    SELECT 3, format('there is no table %I.%I', schema, name),
           'Run the application''s migrations first, or correct sidecar.conf.'
    FROM (VALUES
        ('public', 'requests', ARRAY['unit_id', 'crate_id', 'status', 'allocation_date']::text[], true, true),
        ('public', 'crates', ARRAY['unit_id', 'storage_id']::text[], true, true),
        ('public', 'storages', ARRAY['unit_id']::text[], true, true),
        ('public', 'sendbacks', ARRAY['request_id']::text[], true, true),
        ('public', 'user_units', ARRAY['user_id']::text[], false, false),
        ('public', 'users', ARRAY['id', 'is_active', 'is_superuser', 'status', 'role_id']::text[], false, false),
        ('public', 'roles', ARRAY[]::text[], false, false)
    ) AS w (schema, name, columns, sent, keyed)
    WHERE to_regclass(format('%I.%I', schema, name)) IS NULL
    UNION ALL
    SELECT 4, format('slot %s exists, but %s', slot_name,
                     CASE WHEN slot_type <> 'logical' THEN 'it is a physical one'
                          WHEN plugin <> 'wal2json' THEN 'for plugin ' || plugin
                          ELSE 'in database ' || database END),
           CASE WHEN (slot_type, plugin, database) = ('logical', 'pgoutput', current_database())
                THEN 'Move it: walpush sql --plugin wal2json --switch. Or choose'
                ELSE 'Choose' END || ' another name: -v slot=…, and slot in sidecar.conf.'
    FROM pg_replication_slots
    WHERE slot_name = :'slot'
      AND (slot_type, plugin, database) IS DISTINCT FROM ('logical', 'wal2json', current_database())
    UNION ALL
    SELECT 5, 'all ' || current_setting('max_replication_slots') || ' replication slots are in use',
           'Drop one that nobody reads, or raise max_replication_slots and restart PostgreSQL.'
    WHERE (SELECT count(*) FROM pg_replication_slots) >= current_setting('max_replication_slots')::int
      AND :'slot' <> '' AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'slot')
    UNION ALL
    SELECT 0, format('-v %s=%s: that is neither on nor off', name, value), format('Give -v %s=on, or leave it away.', name)
    FROM (VALUES ('failover', :'failover'), ('revoke', :'revoke'), ('recreate_slot', :'recreate_slot')) AS given (name, value)
    WHERE value !~* '^(on|off|true|false|yes|no|1|0)$'
    UNION ALL
    SELECT 0, format('-v replicas=%s: that is no number of processes', :'replicas'), 'Give -v replicas=2, or leave it away.'
    WHERE :'replicas' !~ '^([1-9][0-9]{0,4})?$'
    UNION ALL
    SELECT 0, format('%L is no name of a slot: PostgreSQL takes lower-case letters, digits and _, at most 63', :'slot'),
           'Give another one: -v slot=…, and slot in sidecar.conf.'
    WHERE :'slot' !~ '^[a-z0-9_]{0,63}$'
    UNION ALL
    SELECT -1, 'this server is a standby: nothing was changed',
           format('Run this on the primary%s: role, grants, replica identities come here from there.',
                  (SELECT format(' (%s, port %s)', sender_host, sender_port) FROM pg_stat_wal_receiver
                   WHERE sender_host <> ''))
           || CASE WHEN :'slot' = '' THEN ''
                   WHEN current_setting('server_version_num')::int < 160000
                   THEN ' The slot too: before PostgreSQL 16 a standby has none that walpush could read.'
                   WHEN EXISTS (SELECT FROM pg_replication_slots AS s WHERE slot_name = :'slot' AND (s.wal_status = 'lost' OR to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL OR to_jsonb(s) ->> 'conflicting' = 'true') IS NOT TRUE)
                   THEN format(' Slot %s is here already: run it there with -v slot=', :'slot')
                   ELSE format(E' The slot: where database.url of walpush leads.\n'
                               'The primary: the same run makes it there.\n'
                               'This standby (wal_level = logical there, hot_standby_feedback = on here): run it there with -v slot=, then here: '
                               '%sSELECT pg_create_logical_replication_slot(%L, ''wal2json''); and while that waits, there: '
                               'SELECT pg_log_standby_snapshot();',
                               (SELECT format('SELECT pg_drop_replication_slot(%L); ', slot_name) FROM pg_replication_slots
                                WHERE slot_name = :'slot'), :'slot') END
    WHERE pg_is_in_recovery()
) AS found (rank, problem, fix)
ORDER BY rank
LIMIT 1
\gexec

SELECT current_setting('is_superuser') AS superuser,
       :'revoke'::boolean AS revoke, :'recreate_slot'::boolean AS recreate_slot, :'replicas' <> '' AS has_replicas,
       to_regrole('rds_replication') IS NOT NULL AS on_rds,
       current_setting('server_version_num')::int >= 170000 AS knows_failover,
       NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') AS role_missing,
       :'slot' <> '' AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'slot') AS slot_missing
\gset

-- ---- The role ----------------------------------------------------------------------------------------------------

\if :role_missing
    CREATE ROLE :"role";
    \echo role :role_quoted created
\endif

-- REPLICATION opens the slot. Through it everything in this server's WAL can be read, whatever is granted below: guard
-- this role's password like a superuser's. Amazon RDS reserves the attribute and has a role to be granted instead.
\if :on_rds
    ALTER ROLE :"role" LOGIN;
    GRANT rds_replication TO :"role";
\else
    ALTER ROLE :"role" LOGIN REPLICATION;
\endif

\if :has_password
    \if :superuser
        -- The server's log must not keep the statement with the password.
        SET log_statement = 'none';
        SET log_min_duration_statement = -1;
        SET log_min_error_statement = 'panic';
    \endif
    ALTER ROLE :"role" PASSWORD :'password';
    \if :superuser
        RESET log_statement;
        RESET log_min_duration_statement;
        RESET log_min_error_statement;
    \endif
\elif :role_missing
    \warn the role has no password yet: set one with '\\password' :role_quoted
\endif

-- Belt and braces: walpush only ever reads, and a mistake in a query of sidecar.conf must not write.
ALTER ROLE :"role" SET default_transaction_read_only = on;
-- No query of walpush may hold up the database: it answers soon or is given up. sidecar.conf can ask for less.
ALTER ROLE :"role" SET statement_timeout = '10s';
-- Nor may it queue for a lock (behind a migration, say) with others queueing behind it.
ALTER ROLE :"role" SET lock_timeout = '2s';
-- An open transaction would keep vacuum from cleaning up.
ALTER ROLE :"role" SET idle_in_transaction_session_timeout = '30s';
-- With -v replicas=N the role may have as many connections as N processes take, 11 each, and as many again for a rolling
-- update.
\if :has_replicas
    SELECT format('ALTER ROLE %I CONNECTION LIMIT %s', :'role', :'replicas'::int * 2 * 11)
    \gexec
\endif

-- ---- What it may read --------------------------------------------------------------------------------------------

-- PUBLIC has CONNECT unless a careful DBA took it away.
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'role')
\gexec

-- The rows of listed tables come through the slot; SELECT is for the queries, and only for the columns that they read.
-- The server says which: a view is made of each query, and what it depends on is granted. All in one transaction, so that a
-- walpush that runs misses nothing.
BEGIN;
-- Where walpush's sessions look for names without a schema.
SET search_path = pg_catalog,public,pg_temp;
-- admit of requests
CREATE TEMP VIEW walpush_reads_1 AS SELECT 1 AS one FROM (
    SELECT 1 FROM users u LEFT JOIN roles r ON r.id = u.role_id WHERE u.id = NULL AND u.is_active AND u.status = 'Active'   AND (u.is_superuser OR r.role_name = 'System Admin'        OR EXISTS (SELECT 1 FROM user_units m                    WHERE m.user_id = u.id AND m.unit_id = NULL))
) AS q;
-- admit of crates
CREATE TEMP VIEW walpush_reads_2 AS SELECT 1 AS one FROM (
    SELECT 1 FROM users u LEFT JOIN roles r ON r.id = u.role_id WHERE u.id = NULL AND u.is_active AND u.status = 'Active'   AND (u.is_superuser OR r.role_name = 'System Admin'        OR EXISTS (SELECT 1 FROM user_units m                    WHERE m.user_id = u.id AND m.unit_id = NULL))
) AS q;
-- admit of storage
CREATE TEMP VIEW walpush_reads_3 AS SELECT 1 AS one FROM (
    SELECT 1 FROM users u LEFT JOIN roles r ON r.id = u.role_id WHERE u.id = NULL AND u.is_active AND u.status = 'Active'   AND (u.is_superuser OR r.role_name = 'System Admin'        OR r.role_name = 'Store Head'           AND EXISTS (SELECT 1 FROM user_units m                        WHERE m.user_id = u.id AND m.unit_id = NULL))
) AS q;
-- admit of notifications
CREATE TEMP VIEW walpush_reads_4 AS SELECT 1 AS one FROM (
    SELECT 1 FROM users u WHERE u.id = NULL AND u.id = NULL AND u.is_active AND u.status = 'Active'
) AS q;
SET search_path = pg_catalog, pg_temp;
-- What these read decides who may listen, so the log must hold its old rows: see below.
CREATE TEMP TABLE walpush_found AS
SELECT schema, name,
       CASE WHEN bool_or(what = 'whole')
            THEN ARRAY(SELECT a.attname::text FROM pg_attribute a
                       WHERE a.attrelid = format('%I.%I', schema, name)::regclass AND attnum > 0 AND NOT attisdropped)
            ELSE coalesce(array_agg(DISTINCT attname::text) FILTER (WHERE what = 'column'), '{}') END AS columns
FROM (
WITH RECURSIVE node (classid, objid, stored) AS (
  SELECT 'pg_catalog.pg_rewrite'::regclass::oid, r.oid, r.ev_action::text
  FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
  WHERE v.relnamespace = pg_catalog.pg_my_temp_schema()
   AND pg_catalog.starts_with(v.relname::text, 'walpush_reads_')
  UNION
  SELECT next.* FROM node n CROSS JOIN LATERAL (
    SELECT leads.* FROM pg_catalog.pg_depend d CROSS JOIN LATERAL (
      SELECT 'pg_catalog.pg_rewrite'::regclass::oid, r.oid, r.ev_action::text
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid
      WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND c.oid = d.refobjid AND c.relkind = 'v' AND r.ev_type = '1'
      UNION ALL
      SELECT 'pg_catalog.pg_policy'::regclass::oid, p.oid, p.polqual::text
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid
      WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND c.oid = d.refobjid AND c.relrowsecurity AND p.polcmd IN ('r', '*')
      UNION ALL
      SELECT 'pg_catalog.pg_type'::regclass::oid, d.refobjid, NULL WHERE d.refclassid = 'pg_catalog.pg_type'::regclass
    ) AS leads WHERE d.classid = n.classid AND d.objid = n.objid AND n.classid <> 'pg_catalog.pg_type'::regclass
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass::oid, part.oid, NULL FROM pg_catalog.pg_type t CROSS JOIN LATERAL (
      SELECT t.typbasetype UNION ALL SELECT t.typelem
      UNION ALL SELECT g.rngsubtype FROM pg_catalog.pg_range g WHERE g.rngtypid = t.oid
      UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0
    ) AS part (oid) WHERE n.classid = 'pg_catalog.pg_type'::regclass AND t.oid = n.objid AND part.oid >= 16384::oid
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::regclass::oid, k.oid, k.conbin::text FROM pg_catalog.pg_constraint k
    WHERE n.classid = 'pg_catalog.pg_type'::regclass AND k.contypid = n.objid
  ) AS next (classid, objid, stored)
), seen AS (
  SELECT d.refclassid, d.refobjid, d.refobjsubid,
         pg_catalog.bool_or(coalesce(n.stored LIKE '%:varattno 0 %', false)) AS whole
  FROM node n JOIN pg_catalog.pg_depend d ON d.classid = n.classid AND d.objid = n.objid
  WHERE n.classid <> 'pg_catalog.pg_type'::regclass GROUP BY 1, 2, 3
), relation AS (
  SELECT c.oid, c.relkind, c.relpersistence, s.nspname, c.relname, seen.refobjsubid, seen.whole
  FROM seen JOIN pg_catalog.pg_class c ON c.oid = seen.refobjid
  JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
  WHERE seen.refclassid = 'pg_catalog.pg_class'::regclass AND c.relkind NOT IN ('v', 'c', 'i', 'I', 't')
), catalog AS (
  SELECT DISTINCT c.oid FROM node n
  CROSS JOIN LATERAL pg_catalog.regexp_matches(n.stored, ':relid ([1-9][0-9]*)', 'g') AS found
  JOIN pg_catalog.pg_class c ON c.oid = found[1]::oid AND c.relnamespace = 'pg_catalog'::regnamespace
   AND c.relkind <> 'v'
), named AS (
  SELECT refobjid AS oid FROM seen WHERE refclassid = 'pg_catalog.pg_proc'::regclass
  UNION
  SELECT o.oprcode FROM seen JOIN pg_catalog.pg_operator o ON o.oid = seen.refobjid
  WHERE seen.refclassid = 'pg_catalog.pg_operator'::regclass
  UNION
  SELECT found[1]::oid FROM node n CROSS JOIN LATERAL pg_catalog.regexp_matches(n.stored,
   ':(?:funcid|aggfnoid|winfnoid|opfuncid) ([1-9][0-9]*)', 'g') AS found
  UNION
  SELECT t.typinput::oid FROM node n
  CROSS JOIN LATERAL pg_catalog.regexp_matches(n.stored, ':resulttype ([1-9][0-9]*)', 'g') AS found
  JOIN pg_catalog.pg_type t ON t.oid = found[1]::oid AND pg_catalog.starts_with(t.typname::text, 'reg')
), called AS (
  SELECT oid FROM named
  UNION SELECT f FROM named JOIN pg_catalog.pg_aggregate a ON a.aggfnoid::oid = named.oid,
   pg_catalog.unnest(ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
    a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[]) AS f
), object AS (
  SELECT 'pg_catalog.pg_class'::regclass::oid AS classid, c.oid, pg_catalog.lower(s.nspname::text COLLATE pg_catalog."C") AS schema, pg_catalog.lower(c.relname::text COLLATE pg_catalog."C") AS name, false AS is_called
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND s.nspname !~ '^pg_(toast|temp)'
  UNION ALL
  SELECT 'pg_catalog.pg_proc'::regclass::oid, p.oid, pg_catalog.lower(s.nspname::text COLLATE pg_catalog."C"), pg_catalog.lower(p.proname::text COLLATE pg_catalog."C"), true
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace
  WHERE p.provolatile <> 'i' AND (s.nspname <> 'pg_catalog' OR (p.proname::text ~ '_to_xml|^(pg_|has_|to_reg|reg|lo_|txid_|obj_|col_|shobj_|currtid)'
   OR p.proname IN ('loread', 'lowrite', 'ts_stat', 'ts_rewrite', 'format_type', 'row_security_active',
    'nextval', 'currval', 'lastval', 'setval'))
  AND p.proname::text !~ '^pg_(typeof|column_size|column_compression|collation_for|client_encoding|'
   'backend_pid|trigger_depth|my_temp_schema|char_to_encoding|encoding_to_char|sleep.*)$')
), lost AS (
  SELECT p.oid, s.nspname, p.proname, 'function '
   || CASE s.nspname WHEN 'pg_catalog' THEN 'pg_catalog.' ELSE '' END || p.oid::regprocedure::text AS text
  FROM called JOIN pg_catalog.pg_proc p ON p.oid = called.oid
  JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace
  WHERE p.provolatile <> 'i' AND p.prokind <> 'a' AND (s.nspname <> 'pg_catalog' OR (p.proname::text ~ '_to_xml|^(pg_|has_|to_reg|reg|lo_|txid_|obj_|col_|shobj_|currtid)'
   OR p.proname IN ('loread', 'lowrite', 'ts_stat', 'ts_rewrite', 'format_type', 'row_security_active',
    'nextval', 'currval', 'lastval', 'setval'))
  AND p.proname::text !~ '^pg_(typeof|column_size|column_compression|collation_for|client_encoding|'
   'backend_pid|trigger_depth|my_temp_schema|char_to_encoding|encoding_to_char|sleep.*)$')
), reach (root, text, classid, objid) AS (
  SELECT oid, text, 'pg_catalog.pg_proc'::regclass::oid, oid FROM lost WHERE nspname <> 'pg_catalog'
  UNION SELECT oid, 'materialized view ' || oid::regclass::text, 'pg_catalog.pg_class'::regclass::oid, oid FROM relation WHERE relkind = 'm'
  UNION
  SELECT r.root, r.text, next.* FROM reach r CROSS JOIN LATERAL (
    SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_rewrite w ON w.ev_class = c.oid
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
    WHERE r.classid = 'pg_catalog.pg_class'::regclass AND c.oid = r.objid AND c.relkind IN ('v', 'm')
     AND d.refclassid IN ('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_proc'::regclass)
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::regclass::oid, f FROM pg_catalog.pg_aggregate a, pg_catalog.unnest(ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
    a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[]) AS f
    WHERE r.classid = 'pg_catalog.pg_proc'::regclass AND a.aggfnoid::oid = r.objid AND f <> 0::oid
    UNION ALL
    SELECT o.classid, o.oid
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang CROSS JOIN LATERAL (
      SELECT o.classid, o.oid FROM pg_catalog.regexp_matches(
       pg_catalog.replace(pg_catalog.lower((CASE WHEN l.lanname IN ('c', 'internal') THEN '' WHEN p.prosrc <> '' THEN p.prosrc
   ELSE coalesce(pg_catalog.substring(pg_catalog.pg_get_functiondef(p.oid),
    '
(?:BEGIN ATOMIC|RETURN )(.*)$'), '') END) COLLATE pg_catalog."C"), '"', ' '), '(?:((?:[^[:space:][:punct:]]|[_$])+)\s*\.\s*)?((?:[^[:space:][:punct:]]|[_$])+)(?![^[:space:][:punct:]]|[_$]|\s*[=<>+|~!@#^&?:])(\s*\()?', 'g') AS word
      JOIN object o ON o.name = word[2] AND o.is_called = (word[3] IS NOT NULL)
       AND (word[1] IS NULL AND o.schema <> 'information_schema' OR o.schema = word[1])
      UNION ALL SELECT o.classid, o.oid FROM object o WHERE o.name ~ '[^[:alnum:]_$]' AND pg_catalog.strpos(pg_catalog.lower((CASE WHEN l.lanname IN ('c', 'internal') THEN '' WHEN p.prosrc <> '' THEN p.prosrc
   ELSE coalesce(pg_catalog.substring(pg_catalog.pg_get_functiondef(p.oid),
    '
(?:BEGIN ATOMIC|RETURN )(.*)$'), '') END) COLLATE pg_catalog."C"), '"' || pg_catalog.replace(o.name, '"', '""') || '"') > 0
    ) AS o
    WHERE r.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = r.objid AND p.provolatile <> 'i' AND p.pronamespace <> 'pg_catalog'::regnamespace
  ) AS next (classid, objid)
), behind AS (
  SELECT r.root, r.text, s.nspname, c.relname AS name, r.classid, r.objid
  FROM reach r JOIN pg_catalog.pg_class c ON c.oid = r.objid
  JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
  WHERE r.classid = 'pg_catalog.pg_class'::regclass AND (c.relkind IN ('r', 'p', 'f') OR s.nspname IN ('pg_catalog', 'information_schema'))
  UNION ALL
  SELECT r.root, r.text, s.nspname, p.proname, r.classid, r.objid
  FROM reach r JOIN pg_catalog.pg_proc p ON p.oid = r.objid
  JOIN pg_catalog.pg_namespace s ON s.oid = p.pronamespace
  WHERE r.classid = 'pg_catalog.pg_proc'::regclass AND s.nspname = 'pg_catalog' AND p.provolatile <> 'i' AND (p.proname::text ~ '_to_xml|^(pg_|has_|to_reg|reg|lo_|txid_|obj_|col_|shobj_|currtid)'
   OR p.proname IN ('loread', 'lowrite', 'ts_stat', 'ts_rewrite', 'format_type', 'row_security_active',
    'nextval', 'currval', 'lastval', 'setval'))
  AND p.proname::text !~ '^pg_(typeof|column_size|column_compression|collation_for|client_encoding|'
   'backend_pid|trigger_depth|my_temp_schema|char_to_encoding|encoding_to_char|sleep.*)$'
), trusted AS (
  SELECT oid FROM pg_catalog.pg_roles WHERE rolsuper
  UNION SELECT datdba FROM pg_catalog.pg_database WHERE datname = current_database()
  UNION SELECT pg_catalog.min(c.relowner) FROM relation t JOIN pg_catalog.pg_class c ON c.oid = t.oid
  WHERE t.relkind IN ('r', 'p') AND t.nspname <> 'pg_catalog' HAVING pg_catalog.count(DISTINCT c.relowner) = 1
), resolved AS (
  SELECT p.pronamespace AS namespace, p.proname AS name, p.proowner AS owner,
   'function ' || p.oid::regprocedure::text AS text FROM called JOIN pg_catalog.pg_proc p ON p.oid = called.oid
  UNION
  SELECT o.oprnamespace, o.oprname, o.oprowner, 'operator ' || o.oid::regoperator::text
  FROM seen JOIN pg_catalog.pg_operator o ON o.oid = seen.refobjid
  WHERE seen.refclassid = 'pg_catalog.pg_operator'::regclass
)
SELECT 'row' AS what, nspname AS schema, relname AS name, NULL AS attname, NULL AS text
  FROM relation WHERE relkind IN ('r', 'p') AND relpersistence = 'p'
  AND nspname <> 'pg_catalog' GROUP BY 2, 3
UNION ALL
SELECT CASE WHEN a.attgenerated = '' THEN 'column' ELSE 'whole' END, t.nspname, t.relname, a.attname, NULL
  FROM relation t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = t.refobjsubid
  WHERE t.relkind IN ('r', 'p') AND t.relpersistence = 'p' AND t.nspname <> 'pg_catalog' AND t.refobjsubid > 0
UNION ALL
SELECT DISTINCT 'whole', nspname, relname, NULL, NULL FROM relation WHERE relkind IN ('r', 'p')
  AND relpersistence = 'p' AND nspname <> 'pg_catalog' AND (whole OR refobjsubid < 0)
UNION ALL
SELECT DISTINCT 'unknown', nspname, relname, NULL,
  CASE relkind WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table ' WHEN 'S' THEN 'sequence '
   ELSE CASE relpersistence WHEN 'u' THEN 'unlogged table ' WHEN 't' THEN 'temporary table ' ELSE 'system catalog '
   END END || oid::regclass::text
  FROM relation WHERE relkind NOT IN ('r', 'p') OR relpersistence <> 'p' OR nspname = 'pg_catalog'
UNION ALL
SELECT 'unknown', 'pg_catalog', c.relname, NULL, 'system catalog ' || c.oid::regclass::text
  FROM catalog JOIN pg_catalog.pg_class c ON c.oid = catalog.oid WHERE c.oid NOT IN (SELECT oid FROM relation)
UNION ALL
SELECT 'unknown', nspname, proname, NULL, text FROM lost
UNION ALL
SELECT DISTINCT 'behind', nspname, name, NULL, text FROM behind
UNION ALL
SELECT DISTINCT 'source', lost.nspname, lost.proname, NULL, CASE WHEN l.lanname IN ('c', 'internal') THEN '' WHEN p.prosrc <> '' THEN p.prosrc
   ELSE coalesce(pg_catalog.substring(pg_catalog.pg_get_functiondef(p.oid),
    '
(?:BEGIN ATOMIC|RETURN )(.*)$'), '') END
  FROM lost JOIN reach r ON r.root = lost.oid AND r.classid = 'pg_catalog.pg_proc'::regclass
  JOIN pg_catalog.pg_proc p ON p.oid = r.objid JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  WHERE p.provolatile <> 'i' AND p.pronamespace <> 'pg_catalog'::regnamespace
UNION ALL
SELECT 'stranger', s.nspname, r.name, NULL, r.text || ' of role ' || pg_catalog.pg_get_userbyid(r.owner)
  FROM resolved r JOIN pg_catalog.pg_namespace s ON s.oid = r.namespace
  WHERE s.nspname <> 'pg_catalog' AND r.owner <> s.nspowner AND r.owner NOT IN (SELECT oid FROM trusted)
UNION ALL
SELECT DISTINCT 'object', s.nspname, c.relname, NULL, c.oid::text
  FROM seen JOIN pg_catalog.pg_class c ON c.oid = seen.refobjid
  JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
  WHERE seen.refclassid = 'pg_catalog.pg_class'::regclass AND s.oid <> pg_catalog.pg_my_temp_schema()
   AND s.nspname <> 'pg_catalog'
UNION
SELECT 'object', nspname, name, NULL, objid::text FROM behind WHERE classid = 'pg_catalog.pg_class'::regclass
   AND nspname NOT IN ('pg_catalog', 'information_schema')
UNION ALL
SELECT 'definition', 'pg_temp', v.relname, NULL, pg_catalog.pg_get_viewdef(v.oid) FROM pg_catalog.pg_class v
  WHERE v.relnamespace = pg_catalog.pg_my_temp_schema()
   AND pg_catalog.starts_with(v.relname::text, 'walpush_reads_')
ORDER BY 2, 3, 1, 4, 5
) AS found (what, schema, name, attname, text)
WHERE what IN ('row', 'column', 'whole')
GROUP BY schema, name;
SET search_path = pg_catalog,public,pg_temp;
-- lookup of requests
CREATE TEMP VIEW walpush_reads_5 AS SELECT 1 AS one FROM (
    SELECT n.id AS unit_id FROM crates c JOIN units n ON n.unit_code = 'Central' WHERE c.id = NULL AND c.to_central
) AS q;
-- lookup of sendbacks
CREATE TEMP VIEW walpush_reads_6 AS SELECT 1 AS one FROM (
    SELECT q.withdrawn_by_id AS user_id FROM requests q WHERE q.id = NULL UNION SELECT u.id FROM requests q  JOIN user_units m ON m.unit_id = q.unit_id  JOIN users u ON u.id = m.user_id AND u.is_active AND u.status = 'Active'  JOIN roles r ON r.id = u.role_id AND r.role_name = 'Section Head' WHERE q.id = NULL
) AS q;
-- query of actor
CREATE TEMP VIEW walpush_reads_7 AS SELECT 1 AS one FROM (
    SELECT username FROM users WHERE id = NULL
) AS q;
SET search_path = pg_catalog, pg_temp;
SELECT coalesce(string_agg(statement, E'\n' ORDER BY statement), '') AS grants FROM (SELECT * FROM (
WITH read AS (
    SELECT d.refobjid AS oid, array_agg(DISTINCT d.refobjsubid) FILTER (WHERE d.refobjsubid > 0) AS columns,
           bool_or(r.ev_action::text ~ ':varattno 0 ') AS whole
    FROM pg_depend d
    JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    JOIN pg_class v ON v.oid = r.ev_class AND v.relnamespace = pg_my_temp_schema()
                   AND starts_with(v.relname::text, 'walpush_reads_')
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> v.oid
    GROUP BY d.refobjid
), wanted AS (
    SELECT c.oid, c.relnamespace, read.whole, a.attname, a.attnum
    FROM read
    JOIN pg_class c ON c.oid = read.oid AND c.relnamespace <> 'pg_catalog'::regnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
     AND a.attnum = ANY (coalesce(read.columns, ARRAY[1]))
), named AS (
    SELECT DISTINCT d.refclassid, d.refobjid
    FROM pg_depend d
    JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    JOIN pg_class v ON v.oid = r.ev_class AND v.relnamespace = pg_my_temp_schema()
                   AND starts_with(v.relname::text, 'walpush_reads_')
), called AS (
    SELECT f.oid, f.pronamespace FROM named n JOIN pg_operator o ON n.refclassid = 'pg_operator'::regclass AND o.oid = n.refobjid
    JOIN pg_proc f ON f.oid = o.oprcode
    UNION SELECT f.oid, f.pronamespace FROM named n JOIN pg_proc f ON n.refclassid = 'pg_proc'::regclass AND f.oid = n.refobjid
), within AS (
    SELECT relnamespace AS schema FROM wanted
    UNION SELECT pronamespace FROM called
    UNION SELECT o.oprnamespace FROM named n JOIN pg_operator o ON n.refclassid = 'pg_operator'::regclass AND o.oid = n.refobjid
    UNION SELECT t.typnamespace FROM named n JOIN pg_type t ON n.refclassid = 'pg_type'::regclass AND t.oid = n.refobjid
)
SELECT CASE WHEN bool_or(whole) THEN format('GRANT SELECT ON TABLE %s TO %I;', oid::regclass, granted)
            ELSE format('GRANT SELECT (%s) ON TABLE %s TO %I;',
                        string_agg(quote_ident(attname), ', ' ORDER BY attnum), oid::regclass, granted) END
FROM wanted CROSS JOIN (SELECT :'role'::text AS granted) AS role
GROUP BY oid, granted
HAVING CASE WHEN bool_or(whole) THEN NOT has_table_privilege(granted, oid, 'SELECT')
            ELSE bool_or(NOT has_column_privilege(granted, oid, attnum, 'SELECT')) END
UNION ALL
SELECT DISTINCT format('GRANT USAGE ON SCHEMA %s TO %I;', schema::regnamespace, granted)
FROM within CROSS JOIN (SELECT :'role'::text AS granted) AS role
WHERE schema <> pg_my_temp_schema() AND NOT has_schema_privilege(granted, schema, 'USAGE')
UNION ALL
SELECT DISTINCT format('GRANT EXECUTE ON FUNCTION %s TO %I;', oid::regprocedure, granted)
FROM called CROSS JOIN (SELECT :'role'::text AS granted) AS role
WHERE pronamespace <> 'pg_catalog'::regnamespace AND NOT has_function_privilege(granted, oid, 'EXECUTE')
ORDER BY 1
) AS needed
UNION SELECT format('GRANT USAGE ON SCHEMA %I TO %I;', nspname, :'role') FROM pg_namespace
WHERE NOT has_schema_privilege(:'role', oid, 'USAGE') AND nspname IN ('public', 'public', 'public', 'public', 'public', 'public', 'public', 'public')
) AS lacking (statement)
\gset
:grants
\echo :grants
-- What the role may read besides: another configuration's, or what an earlier one needed.
CREATE TEMP TABLE walpush_excess AS
SELECT * FROM (
WITH read AS (
    SELECT d.refobjid AS oid, array_agg(DISTINCT d.refobjsubid) FILTER (WHERE d.refobjsubid > 0) AS columns,
           bool_or(r.ev_action::text ~ ':varattno 0 ') AS whole
    FROM pg_depend d
    JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    JOIN pg_class v ON v.oid = r.ev_class AND v.relnamespace = pg_my_temp_schema()
                   AND starts_with(v.relname::text, 'walpush_reads_')
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> v.oid
    GROUP BY d.refobjid
), wanted AS (
    SELECT c.oid, c.relnamespace, read.whole, a.attname, a.attnum
    FROM read
    JOIN pg_class c ON c.oid = read.oid AND c.relnamespace <> 'pg_catalog'::regnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
     AND a.attnum = ANY (coalesce(read.columns, ARRAY[1]))
), needed AS (
    SELECT oid, bool_or(whole) AS whole, array_agg(attnum) AS attnums,
           string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS names
    FROM wanted GROUP BY oid
), held AS (
    SELECT r.rolname, c.oid, x.attnum, x.attname, x.privilege_type AS privilege
    FROM pg_roles r
    JOIN pg_class c ON c.relowner <> r.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
     AND c.relnamespace::regnamespace::text !~ '^(pg_|information_schema$)'
    CROSS JOIN LATERAL (
        SELECT 0::int2, NULL::name, acl.* FROM aclexplode(c.relacl) AS acl
        UNION ALL
        SELECT a.attnum, a.attname, acl.* FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) AS acl
        WHERE a.attrelid = c.oid AND NOT a.attisdropped
    ) AS x (attnum, attname, grantor, grantee, privilege_type, is_grantable)
    WHERE r.rolname = :'role' AND x.grantee = r.oid
), spare AS (
    SELECT rolname, oid, privilege, names, whole,
           privilege || coalesce(' (' || string_agg(quote_ident(attname), ', ' ORDER BY held.attnum) || ')', '') AS what
    FROM held LEFT JOIN needed USING (oid)
    WHERE (privilege = 'SELECT' AND (whole OR held.attnum = ANY (attnums))) IS NOT TRUE
    GROUP BY rolname, oid, privilege, names, whole, held.attnum = 0
)
SELECT oid::regclass::text, string_agg(what, ', ' ORDER BY what),
       format('REVOKE ALL ON TABLE %s FROM %I;', oid::regclass, rolname),
       CASE WHEN whole THEN format('GRANT SELECT ON TABLE %s TO %I;', oid::regclass, rolname)
            WHEN names <> '' THEN format('GRANT SELECT (%s) ON TABLE %s TO %I;', names, oid::regclass, rolname) END
FROM spare GROUP BY oid, rolname, names, whole
ORDER BY 1
) AS found (quoted, what, revoke, regrant);
\if :revoke
    SELECT coalesce(string_agg(revoke || coalesce(' ' || regrant, ''), E'\n' ORDER BY quoted), '') AS revoked FROM walpush_excess
    \gset
    :revoked
    \echo :revoked
\else
    SELECT format('note: role %I has %s on %s, which no query of this configuration needs. If no other configuration does: ',
                  :'role', what, quoted)
           || CASE WHEN regrant IS NULL THEN revoke ELSE format('BEGIN; %s %s COMMIT;', revoke, regrant) END
    FROM walpush_excess ORDER BY quoted;
\endif
DROP TABLE walpush_excess;
DROP VIEW walpush_reads_1, walpush_reads_2, walpush_reads_3, walpush_reads_4, walpush_reads_5, walpush_reads_6, walpush_reads_7;
COMMIT;

-- ---- Old rows ----------------------------------------------------------------------------------------------------

-- With REPLICA IDENTITY FULL the log holds the whole old row of an UPDATE or DELETE. Needed where the rules ask for a
-- former value that the primary key does not hold: which unit a row left, whose membership ended, whether a column
-- changed; and for large values, which an update that leaves them alone does not send. It costs WAL: about the size of
-- the old row for each of these. Set before the slot exists, so that the slot never sees a change without it. The lock
-- is exclusive and brief: with lock_timeout a busy table makes this fail instead of stopping the application. Then run
-- it again.
SET lock_timeout = '5s';
SELECT format('ALTER TABLE %s REPLICA IDENTITY FULL', quoted) FROM (
SELECT quoted, lacks, large, schema, name FROM (
    SELECT c.oid::regclass::text AS quoted,
           CASE WHEN i.indrelid IS NULL THEN ''
                ELSE string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
                     FILTER (WHERE a.attname = ANY (w.columns || key.columns)) END AS lacks,
           string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
           FILTER (WHERE w.sent AND a.attlen = -1 AND a.attstorage <> 'p') AS large,
           min(w.schema) AS schema, min(w.name) AS name
    FROM (VALUES
        ('public', 'requests', ARRAY['unit_id', 'crate_id', 'status', 'allocation_date']::text[], true, true),
        ('public', 'crates', ARRAY['unit_id', 'storage_id']::text[], true, true),
        ('public', 'storages', ARRAY['unit_id']::text[], true, true),
        ('public', 'sendbacks', ARRAY['request_id']::text[], true, true),
        ('public', 'user_units', ARRAY['user_id']::text[], false, false),
        ('public', 'users', ARRAY['id', 'is_active', 'is_superuser', 'status', 'role_id']::text[], false, false),
        ('public', 'roles', ARRAY[]::text[], false, false)
        UNION ALL SELECT schema, name, columns, false, false FROM walpush_found
    ) AS w (schema, name, columns, sent, keyed)
    JOIN pg_namespace n ON n.nspname = w.schema
    JOIN pg_class root ON root.relnamespace = n.oid AND root.relname = w.name AND root.relkind IN ('r', 'p')
    CROSS JOIN LATERAL (
        SELECT ARRAY(SELECT p.attname::text
            FROM pg_index x JOIN pg_attribute p ON p.attrelid = x.indrelid
            WHERE w.keyed AND x.indrelid = root.oid AND x.indisprimary
              AND p.attnum = ANY (x.indkey::int2[])) AS columns
    ) AS key
    CROSS JOIN LATERAL (
        WITH RECURSIVE kin (oid) AS (
            SELECT root.oid UNION SELECT i.inhrelid FROM kin JOIN pg_inherits i ON i.inhparent = kin.oid
        ) SELECT oid FROM kin
    ) AS kin
    JOIN pg_class c ON c.oid = kin.oid AND c.relkind = 'r'
    LEFT JOIN pg_index i ON i.indrelid = c.oid
     AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident)
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     AND a.attnum <> ALL (coalesce(i.indkey::int2[], '{}'))
    WHERE c.relreplident <> 'f'
    GROUP BY c.oid, i.indrelid
) AS found
WHERE lacks IS NOT NULL OR large IS NOT NULL
) AS lacking
\gexec
RESET lock_timeout;
DROP TABLE walpush_found;

-- ---- The plugin --------------------------------------------------------------------------------------------------

-- Newer minor versions load only the output plugins of this list. What stands there stays; wal2json is added. The list
-- is written name by name: as one string it would become the name of a single library.
SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'output_plugin_libraries'
               AND NOT EXISTS (SELECT FROM regexp_matches(setting, '"[^"]*"|[^\s,"]+', 'g') AS element
                               WHERE btrim(element[1], '"') = 'wal2json')) AS plugin_refused
\gset
\if :plugin_refused
    \echo output_plugin_libraries: adding wal2json (only a superuser may)
    SELECT format('ALTER SYSTEM SET output_plugin_libraries = %s', string_agg(quote_literal(library), ', ' ORDER BY at))
    FROM pg_settings
    CROSS JOIN LATERAL (SELECT library, min(at) AS at
                        FROM regexp_split_to_table(setting || ',wal2json', '[\s,"]+') WITH ORDINALITY AS l (library, at)
                        WHERE library <> '' GROUP BY library) AS listed
    WHERE name = 'output_plugin_libraries'
    \gexec
    SELECT pg_reload_conf() AS reloaded \gset
    -- The server takes it over when it gets round to it, and a session between two statements: look up to 100 times.
    SELECT $$SELECT FROM pg_sleep(0.1) WHERE current_setting('output_plugin_libraries') !~ '\mwal2json\M'$$
    FROM generate_series(1, 100)
    \gexec
\endif

-- ---- The slot ----------------------------------------------------------------------------------------------------

-- A slot that the server has given up can be read by nobody again. It is dropped only where that was asked for: whoever
-- reads the error at the end learns first that changes were missed.
SELECT NOT ((s.wal_status = 'lost' OR to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL OR to_jsonb(s) ->> 'conflicting' = 'true') IS NOT TRUE) AND :'recreate_slot'::boolean AS slot_recreated,
       :'failover'::boolean OR coalesce(to_jsonb(s) ->> 'failover' = 'true', false) AS failover
FROM (SELECT) AS always LEFT JOIN pg_replication_slots AS s ON s.slot_name = :'slot'
\gset
\if :slot_recreated
    SELECT FROM pg_drop_replication_slot(:'slot');
    \echo slot :slot was given up by the server, and is made again: clients are told `resync`
    \set slot_missing on
\endif

-- From here on the server keeps WAL until walpush has read it. Creating waits for the transactions that are open now.
\if :slot_missing
    \if :knows_failover
        SELECT format('SELECT FROM pg_create_logical_replication_slot(%L, ''wal2json'', failover => %L)',
                      :'slot', :'failover')
        \gexec
    \else
        SELECT format('SELECT FROM pg_create_logical_replication_slot(%L, ''wal2json'')', :'slot')
        \gexec
    \endif
    \echo slot :slot created
\endif

-- A slot that nobody reads keeps WAL until the disk is full. Better is to lose the slot: browsers then get one
-- `resync`. The limit is the server's, for all slots, so it is named here and not set.
SELECT 'note: max_slot_wal_keep_size is -1. Bound what a slot can keep:'
       ' ALTER SYSTEM SET max_slot_wal_keep_size = ''10GB''; SELECT pg_reload_conf();'
WHERE current_setting('max_slot_wal_keep_size') = '-1' AND :'slot' <> '';

-- Whoever may create a function or an operator where walpush looks for names could lead a query to it; walpush then
-- admits nobody by that query. Said and not done: the application's migrations may live on it.
SELECT 'note: ' || who || ' may create in schema ' || schema || ', where walpush looks for names. When nothing needs it: '
       || fix FROM (
SELECT who, schema, coalesce((SELECT string_agg(format('GRANT CREATE ON SCHEMA %s TO %I;', schema, rolname), ' ' ORDER BY rolname)
   FROM pg_roles WHERE oid <> owner AND who = 'PUBLIC' AND NOT rolsuper
   AND oid IN (SELECT relowner FROM pg_class WHERE relnamespace = namespace AND relkind IN ('r', 'p'))) || ' ', '')
  || format('REVOKE CREATE ON SCHEMA %s FROM %s;', schema, who) AS fix
FROM (SELECT DISTINCT n.oid AS namespace, n.nspowner AS owner, quote_ident(n.nspname) AS schema,
   CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS who
  FROM pg_namespace n, aclexplode(n.nspacl) a
  WHERE n.nspname = ANY (string_to_array('pg_catalog,public,pg_temp', ',')) AND n.nspname !~ '^pg_' AND a.privilege_type = 'CREATE'
  AND a.grantee <> n.nspowner
  AND a.grantee NOT IN (SELECT oid FROM pg_roles WHERE rolsuper
   UNION SELECT datdba FROM pg_database WHERE datname = current_database()
   UNION SELECT min(relowner) FROM pg_class WHERE relnamespace = n.oid AND relkind IN ('r', 'p')
   HAVING count(DISTINCT relowner) = 1)) AS creator
) AS found
ORDER BY who, schema;

SELECT format('DO %L', format('BEGIN RAISE EXCEPTION USING MESSAGE = %L, HINT = %L; END', problem, fix))
FROM (
    SELECT format('slot %s is lost (%s): nothing is pushed through it. All else is done', slot_name,
                  coalesce(to_jsonb(s) ->> 'invalidation_reason',
                           CASE WHEN s.wal_status = 'lost' THEN 'WAL removed' ELSE 'conflict with recovery' END)),
           format(E'To drop it and make it again: walpush sql -c sidecar.conf --plugin wal2json --recreate-slot | psql -d %I'
                  '\nor this script again with -v recreate_slot=on. Clients are told `resync` once.', current_database())
    FROM pg_replication_slots AS s WHERE slot_name = :'slot' AND NOT ((s.wal_status = 'lost' OR to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL OR to_jsonb(s) ->> 'conflicting' = 'true') IS NOT TRUE)
) AS found (problem, fix)
\gexec

\echo done: DATABASE_URL for walpush is the URL of this database, directly and not through a pooler, with role :role_quoted
