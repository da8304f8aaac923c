-- walpush: what the DBA does once for each database, for the shipped sidecar.conf. PostgreSQL 13 to 18.
--
--     psql -d app -f sql/setup.sql
--     psql -d app -v slot=walpush -v role=walpush -v schema=public -f sql/setup.sql
--
-- Run it as a superuser, or as the owner of the tables with CREATEROLE and REPLICATION. It may be run again: it adds
-- what is missing and says what it did. Another configuration needs other tables: set the variables below, or let
-- `walpush sql -c sidecar.conf` print the statements. sql/teardown.sql takes everything back.
--
-- The role's password comes from the environment's WALPUSH_PASSWORD or from -v password=… (which others on the machine
-- can read in the list of processes). Without either the role keeps the one it has; psql's \password sets one as well.

\set ON_ERROR_STOP on
\set QUIET on
\pset tuples_only on
\pset format unaligned
\pset pager off

\if :{?slot} \else \set slot walpush \endif
\if :{?role} \else \set role walpush \endif
\if :{?schema} \else \set schema public \endif
-- Tables whose changes are pushed; tables whose changes alter permission; tables that queries only read.
\if :{?tables} \else \set tables 'requests crates storages sendbacks' \endif
\if :{?members} \else \set members 'user_units users roles' \endif
\if :{?reads} \else \set reads 'units' \endif
-- The table with the passwords, and the columns of it that sidecar.conf's queries name.
\if :{?users} \else \set users users \endif
\if :{?user_columns} \else \set user_columns 'id username role_id status is_active is_superuser' \endif
-- PostgreSQL 17 and later, on: the slot is copied to standbys whose sync_replication_slots is on, and outlives
-- failover. Off, because with it walpush hears of a commit only after the standbys in synchronized_standby_slots have it.
\if :{?failover} \else \set failover off \endif
-- Compared here and not on the server, whose log may keep what it is asked.
\if :{?password} \set has_password on \else
    \set has_password `[ -n "$WALPUSH_PASSWORD" ] && echo on || echo off`
    \set password `printf %s "$WALPUSH_PASSWORD"`
\endif

-- ---- What must be there already. Each row found here is an error with its mend. ------------------------------------

SELECT format('DO %L', format('BEGIN RAISE EXCEPTION USING MESSAGE = %L, HINT = %L; END', problem, mend))
FROM (
    SELECT 1, 'wal_level is ' || current_setting('wal_level') || ', but only "logical" writes what walpush reads',
           'ALTER SYSTEM SET wal_level = logical; then restart PostgreSQL.'
    WHERE current_setting('wal_level') <> 'logical'
    UNION ALL
    SELECT 2, 'the encoding of database ' || current_database() || ' is ' || current_setting('server_encoding'),
           'walpush sends UTF-8 to browsers and reads databases in UTF8 only.'
    WHERE current_setting('server_encoding') <> 'UTF8'
    UNION ALL
    SELECT 3, format('there is no table %I.%I', :'schema', name),
           'Run the application''s migrations first, or name the tables:'
           ' -v schema=… -v tables=''…'' -v members=''…'' -v reads=''…'''
    FROM regexp_split_to_table(:'tables' || ' ' || :'members' || ' ' || :'reads', '[\s,]+') AS name
    WHERE name <> '' AND to_regclass(format('%I.%I', :'schema', name)) IS NULL
    UNION ALL
    SELECT 4, format('slot %s exists, but %s', slot_name,
                     CASE WHEN slot_type <> 'logical' THEN 'it is a physical one'
                          WHEN plugin <> 'wal2json' THEN 'for plugin ' || plugin
                          ELSE 'in database ' || database END),
           'Choose another name (-v slot=…, and slot in sidecar.conf), or drop it: SELECT pg_drop_replication_slot(…)'
    FROM pg_replication_slots
    WHERE slot_name = :'slot'
      AND (slot_type, plugin, database) IS DISTINCT FROM ('logical', 'wal2json', current_database())
    UNION ALL
    SELECT 5, 'all ' || current_setting('max_replication_slots') || ' replication slots are in use',
           'Drop one that nobody reads, or raise max_replication_slots and restart PostgreSQL.'
    WHERE (SELECT count(*) FROM pg_replication_slots) >= current_setting('max_replication_slots')::int
      AND :'slot' NOT IN ('', (SELECT coalesce(max(slot_name), '') FROM pg_replication_slots WHERE slot_name = :'slot'))
) AS found (rank, problem, mend)
ORDER BY rank
LIMIT 1
\gexec

SELECT current_setting('is_superuser') AS superuser,
       to_regrole('rds_superuser') IS NOT NULL AS on_rds,
       current_setting('server_version_num')::int >= 170000 AS knows_failover,
       NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') AS role_missing,
       :'slot' <> '' AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'slot') AS slot_missing
\gset

-- ---- The role ----------------------------------------------------------------------------------------------------

\if :role_missing
    CREATE ROLE :"role" LOGIN;
    \echo role :role created
\endif

-- REPLICATION opens the slot. Through it everything in this server's WAL can be read, whatever is granted below: guard
-- this role's password like a superuser's. Amazon RDS reserves the attribute and has a role to be granted instead.
\if :on_rds
    GRANT rds_replication TO :"role";
\else
    ALTER ROLE :"role" REPLICATION;
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
    \warn the role has no password yet: set one with  \\password :role
\endif

-- Belt and braces: walpush only ever reads, and a mistake in a query of sidecar.conf must not write.
ALTER ROLE :"role" SET default_transaction_read_only = on;
-- No query of walpush may hold up the database: it answers soon or is given up. sidecar.conf can ask for less.
ALTER ROLE :"role" SET statement_timeout = '10s';
-- Nor may it queue for a lock (behind a migration, say) with others queueing behind it.
ALTER ROLE :"role" SET lock_timeout = '2s';
-- An open transaction would keep vacuum from cleaning up.
ALTER ROLE :"role" SET idle_in_transaction_session_timeout = '30s';

-- The queries of sidecar.conf name tables without a schema.
SELECT format('ALTER ROLE %I IN DATABASE %I SET search_path = %I', :'role', current_database(), :'schema')
WHERE :'schema' <> 'public'
\gexec

-- ---- What it may read --------------------------------------------------------------------------------------------

-- PUBLIC has CONNECT unless a careful DBA took it away.
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'role')
\gexec
GRANT USAGE ON SCHEMA :"schema" TO :"role";

-- The rows of listed tables come through the slot. SELECT on them is for the queries: admit, lookups, names of actors.
SELECT format('GRANT SELECT ON TABLE %I.%I TO %I', :'schema', name, :'role')
FROM regexp_split_to_table(:'tables' || ' ' || :'members' || ' ' || :'reads', '[\s,]+') AS name
WHERE name NOT IN ('', :'users')
\gexec

-- Of the users only what the queries read; the password is not among it. Columns granted earlier go first, and
-- in one transaction, so that a walpush that runs meanwhile misses nothing.
BEGIN;
SELECT format('REVOKE ALL ON TABLE %I.%I FROM %I', :'schema', :'users', :'role')
\gexec
SELECT format('GRANT SELECT (%s) ON TABLE %I.%I TO %I',
              (SELECT string_agg(quote_ident(name), ', ') FROM regexp_split_to_table(:'user_columns', '[\s,]+') AS name
               WHERE name <> ''),
              :'schema', :'users', :'role')
\gexec
COMMIT;

-- ---- Old rows ----------------------------------------------------------------------------------------------------

-- With REPLICA IDENTITY FULL the log holds the whole old row of an UPDATE or DELETE. Needed to know which unit a row
-- left, whose membership ended, whether a column changed, and the value of a large text that did not. It costs WAL:
-- about the size of the old row for each of these. Set before the slot exists, so that the slot never sees a change
-- without it; on partitions as well, because their changes carry the partition's name. The lock is exclusive and
-- brief: with lock_timeout a busy table makes this fail instead of stopping the application. Then run it again.
SET lock_timeout = '5s';
SELECT format('ALTER TABLE %s REPLICA IDENTITY FULL', c.oid::regclass)
FROM regexp_split_to_table(:'tables' || ' ' || :'members', '[\s,]+') AS name
CROSS JOIN LATERAL (SELECT to_regclass(format('%I.%I', :'schema', name))::oid AS root) AS t
CROSS JOIN LATERAL (SELECT t.root AS oid UNION SELECT relid::oid FROM pg_partition_tree(t.root)) AS part
JOIN pg_class c ON c.oid = part.oid
WHERE name <> '' AND c.relreplident <> 'f'
\gexec
RESET lock_timeout;

-- ---- The plugin --------------------------------------------------------------------------------------------------

-- Newer minor versions load only the output plugins of this list. What stands there stays; wal2json is added. The list
-- is written name by name: as one string it would become the name of a single library.
SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'output_plugin_libraries'
               AND 'wal2json' <> ALL (regexp_split_to_array(setting, '[\s,"]+'))) AS plugin_refused
\gset
\if :plugin_refused
    \echo output_plugin_libraries: adding wal2json (only a superuser may)
    SELECT format('ALTER SYSTEM SET output_plugin_libraries = %s', string_agg(quote_literal(library), ', '))
    FROM pg_settings
    CROSS JOIN LATERAL regexp_split_to_table(setting || ',wal2json', '[\s,"]+') AS library
    WHERE name = 'output_plugin_libraries' AND library <> ''
    \gexec
    SELECT pg_reload_conf() AS reloaded \gset
    -- The server takes it over when it gets round to it, and a session between two statements: look up to 100 times.
    SELECT $$SELECT FROM pg_sleep(0.1) WHERE current_setting('output_plugin_libraries') !~ '\mwal2json\M'$$
    FROM generate_series(1, 100)
    \gexec
\endif

-- ---- The slot ----------------------------------------------------------------------------------------------------

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
       ' ALTER SYSTEM SET max_slot_wal_keep_size = ''8GB''; SELECT pg_reload_conf();'
WHERE current_setting('max_slot_wal_keep_size') = '-1' AND :'slot' <> '';

\echo done: DATABASE_URL for walpush is the URL of this database, directly and not through a pooler, with role :role
