-- walpush: takes back what sql/setup.sql did in this database. May be run again. Stop walpush first.
--
--     psql -d app -v slot=walpush -v role=walpush -v schema=public -f sql/teardown.sql
--
-- The variables are those of setup.sql: give the same values. tables and members name the tables of another
-- configuration, whose replica identity becomes the default again. publication is the slot's name if not given.

\set ON_ERROR_STOP on
\set QUIET on
\pset tuples_only on
\pset format unaligned
\pset pager off

-- Names and operators are the server's own, whoever may create others.
SET search_path = pg_catalog, pg_temp;

\if :{?slot} \else \set slot walpush \endif
\if :{?publication} \else \set publication :slot \endif
\if :{?role} \else \set role walpush \endif
\if :{?schema} \else \set schema public \endif
\if :{?tables} \else \set tables 'requests crates storages sendbacks' \endif
\if :{?members} \else \set members 'user_units users roles' \endif
-- on: leave REPLICA IDENTITY FULL, where something else (a publication, another slot) needs the old rows too.
\if :{?keep_identity} \else \set keep_identity off \endif

-- ---- The slot: nobody may be reading it ----------------------------------------------------------------------------

SELECT format('DO %L', format('BEGIN RAISE EXCEPTION USING MESSAGE = %L, HINT = %L; END',
              format('slot %s is being read by process %s', slot_name, active_pid), 'Stop walpush, then run this again.'))
FROM pg_replication_slots
WHERE slot_name = :'slot' AND active
\gexec

-- From here on the server removes the WAL that it kept for walpush.
SELECT format('SELECT FROM pg_drop_replication_slot(%L)', slot_name)
FROM pg_replication_slots
WHERE slot_name = :'slot' AND database = current_database()
\gexec

-- ---- The publication, while its tables still have their replica identity --------------------------------------------

SELECT format('DROP PUBLICATION %I', pubname) FROM pg_publication WHERE pubname = :'publication'
\gexec

-- ---- Old rows ----------------------------------------------------------------------------------------------------

SET lock_timeout = '5s';
SELECT format('ALTER TABLE %s REPLICA IDENTITY DEFAULT', c.oid::regclass)
FROM regexp_split_to_table(:'tables' || ' ' || :'members', '[\s,]+') AS name
CROSS JOIN LATERAL (SELECT to_regclass(format('%I.%I', :'schema', name))::oid AS root) AS t
CROSS JOIN LATERAL (SELECT t.root AS oid UNION SELECT relid::oid FROM pg_partition_tree(t.root)) AS part
JOIN pg_class c ON c.oid = part.oid
WHERE name <> '' AND c.relreplident = 'f' AND NOT :'keep_identity'::boolean
\gexec
RESET lock_timeout;

-- ---- The view of monitoring.sql ----------------------------------------------------------------------------------

SELECT format('DROP VIEW %I.walpush_monitoring', :'schema')
WHERE to_regclass(format('%I.walpush_monitoring', :'schema')) IS NOT NULL
\gexec

-- ---- The event trigger of `walpush sql --ddl` ----------------------------------------------------------------------

SELECT 'DROP FUNCTION public.walpush_ddl() CASCADE'
WHERE to_regprocedure('public.walpush_ddl()') IS NOT NULL
\gexec

-- ---- The role ----------------------------------------------------------------------------------------------------

-- Its grants in this database, and on the database.
SELECT format('DROP OWNED BY %I', rolname) FROM pg_roles WHERE rolname = :'role'
\gexec
-- It may have grants in other databases of this server: then it stays for them.
SELECT format(CASE WHEN EXISTS (SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = r.oid)
                   THEN 'DO %2$L' ELSE 'DROP ROLE %1$I' END, rolname,
              format('BEGIN RAISE NOTICE USING MESSAGE = %L; END', format('role %I is used in other databases too and stays', rolname)))
FROM pg_roles AS r
WHERE rolname = :'role'
\gexec

-- ---- The plugin --------------------------------------------------------------------------------------------------

-- wal2json leaves the list of allowed plugins when no slot of this server uses it any more.
SELECT format('ALTER SYSTEM SET output_plugin_libraries = %s', string_agg(quote_literal(library), ', '))
FROM pg_settings
CROSS JOIN LATERAL regexp_split_to_table(setting, '[\s,"]+') AS library
WHERE name = 'output_plugin_libraries' AND library NOT IN ('', 'wal2json')
  AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE plugin = 'wal2json')
  AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role')
GROUP BY setting
HAVING 'wal2json' = ANY (regexp_split_to_array(setting, '[\s,"]+'))
\gexec
SELECT pg_reload_conf() AS reloaded
\gset

\echo done: what walpush needed is gone
