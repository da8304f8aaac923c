-- walpush: the view walpush_monitoring, one row that tells how walpush's slot is doing. PostgreSQL 13 to 18.
--
--     psql -d app -v slot=walpush -v schema=public -f sql/monitoring.sql
--     SELECT * FROM walpush_monitoring \gx
--
-- What else reads it: members of pg_monitor, so an exporter's role. A slot that does not exist has a row too: an alert
-- on `state <> 'ok'` must not fall silent with it. Where the publication of a slot of pgoutput is not called as the slot
-- (database.publication): -v publication=…

\set ON_ERROR_STOP on
\set QUIET on

\if :{?slot} \else \set slot walpush \endif
\if :{?publication} \else \set publication :slot \endif
\if :{?schema} \else \set schema public \endif
-- When unread WAL is worth a warning, in bytes. walpush confirms behind the newest change on purpose (replay.bytes in
-- sidecar.conf, 64 MiB), so stay well above that.
\if :{?warn_bytes} \else \set warn_bytes 1073741824 \endif

-- How fast WAL is written: the mean since the server's statistics were reset, which is all that one look can tell. walpush
-- itself knows the rate of the moment: its log, /status and walpush_slot_safe_wal_bytes. Not told before PostgreSQL 14.
SELECT current_setting('server_version_num')::int >= 140000 AS tells_wal \gset
\if :tells_wal
\set wal_rate '(SELECT wal_bytes / nullif(extract(epoch FROM now() - stats_reset), 0) FROM pg_stat_wal)'
\else
\set wal_rate 'NULL::numeric'
\endif

-- A view's columns cannot change in place; nothing but queries depends on it.
DROP VIEW IF EXISTS :"schema".walpush_monitoring;

-- pg_replication_slots grows with PostgreSQL's versions: through to_jsonb a column that this version lacks is null.
CREATE VIEW :"schema".walpush_monitoring AS
WITH here AS (
    SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn
),
slot AS (
    SELECT wanted.name AS slot_name,
           s.slot_name IS NOT NULL AS present,
           s.database,
           s.plugin,
           -- Publications are the database's, slots the server's: of another database nothing is known here.
           CASE WHEN s.plugin = 'pgoutput' AND s.database = current_database() THEN :'publication' END AS publication,
           EXISTS (SELECT FROM pg_publication WHERE pubname = :'publication') AS has_publication,
           coalesce(s.active, false) AS active,
           s.active_pid,
           s.restart_lsn,
           s.confirmed_flush_lsn,
           pg_wal_lsn_diff(here.lsn, s.confirmed_flush_lsn)::bigint AS lag_bytes,
           pg_wal_lsn_diff(here.lsn, s.restart_lsn)::bigint AS retained_bytes,
           s.safe_wal_size,
           :wal_rate AS wal_rate,
           s.wal_status,
           (to_jsonb(s) ->> 'inactive_since')::timestamptz AS inactive_since,
           coalesce(to_jsonb(s) ->> 'invalidation_reason',
                    -- PostgreSQL 16 says "conflicting" of removed WAL too, and takes restart_lsn away with it.
                    CASE WHEN (to_jsonb(s) ->> 'conflicting')::boolean AND s.restart_lsn IS NOT NULL
                         THEN 'conflict with recovery' END,
                    CASE WHEN s.wal_status = 'lost' THEN 'wal_removed' END) AS invalidation_reason
    FROM here
    CROSS JOIN (SELECT :'slot'::name AS name) AS wanted
    LEFT JOIN pg_replication_slots AS s ON s.slot_name = wanted.name
),
-- The first that applies, worst first.
judged AS (
    SELECT slot.*,
           CASE WHEN NOT present THEN 'missing'
                WHEN invalidation_reason IS NOT NULL THEN 'lost'
                WHEN wal_status = 'unreserved' THEN 'unreserved'
                WHEN publication IS NOT NULL AND NOT has_publication THEN 'unpublished'
                WHEN NOT active THEN 'unread'
                WHEN lag_bytes > :warn_bytes THEN 'behind'
                WHEN retained_bytes > :warn_bytes THEN 'held'
                ELSE 'streaming' END AS finding
    FROM slot
)
SELECT slot_name,
       database,
       plugin,
       publication,       -- of a slot of pgoutput: its name, and whether it exists; otherwise null
       CASE WHEN publication IS NOT NULL THEN has_publication END AS publication_exists,
       active,
       active_pid,
       CASE WHEN finding IN ('missing', 'lost', 'unreserved', 'unpublished') THEN 'critical'
            WHEN finding = 'streaming' THEN 'ok'
            ELSE 'warning' END AS state,
       finding,
       lag_bytes,         -- written to the WAL, and not yet confirmed by walpush
       retained_bytes,    -- WAL that the server keeps because of the slot
       safe_wal_size,     -- bytes that can still be written before the slot is lost; null: max_slot_wal_keep_size is -1
       round(wal_rate)::bigint AS wal_bytes_per_second,
       -- until max_slot_wal_keep_size is reached at that rate, if nobody reads the slot
       CASE WHEN safe_wal_size > 0 AND wal_rate > 0
            THEN least(safe_wal_size / wal_rate, 3e8) * interval '1 second' END AS lost_in,
       wal_status,
       confirmed_flush_lsn,
       restart_lsn,
       inactive_since,    -- PostgreSQL 17 and later
       invalidation_reason,
       CASE finding
           WHEN 'missing' THEN 'There is no such slot: nothing is pushed.'
           WHEN 'lost' THEN 'The slot is invalid (' || invalidation_reason || '): nothing is pushed any more.'
           WHEN 'unreserved' THEN 'WAL that the slot needs goes at the next checkpoint: it is about to be lost.'
           WHEN 'unpublished' THEN 'There is no publication ' || publication || ': no row is sent.'
           WHEN 'unread' THEN 'Nobody reads the slot: browsers get nothing, and WAL piles up.'
           WHEN 'behind' THEN 'walpush reads, but does not keep up.'
           WHEN 'held' THEN 'walpush keeps up, but a long transaction, perhaps a prepared one, keeps old WAL alive.'
           ELSE 'walpush reads the slot and keeps up.' END AS meaning,
       CASE finding
           WHEN 'missing' THEN 'Run what walpush sql prints; check database.slot in sidecar.conf.'
           WHEN 'lost' THEN 'Run what walpush sql --recreate-slot prints.'
               ' Browsers are told to refetch.'
           WHEN 'unreserved' THEN 'Get walpush running at once, or raise max_slot_wal_keep_size.'
           WHEN 'unpublished' THEN 'Run what walpush sql --plugin pgoutput prints. If walpush then says that the publication does'
               ' not exist: SELECT pg_drop_replication_slot(''' || slot_name || '''); and run it again.'
           WHEN 'unread' THEN 'Start walpush, or see its log. If it is gone for good, run sql/teardown.sql.'
           WHEN 'behind' THEN 'See /status on its admin port, and the load of its host and of the network.'
           WHEN 'held' THEN 'SELECT pid::text, xact_start, query FROM pg_stat_activity'
               ' WHERE xact_start < now() - interval ''5 min'''
               ' UNION ALL SELECT gid, prepared, ''prepared, in database '' || database FROM pg_prepared_xacts ORDER BY 2'
           END AS hint
FROM judged;

COMMENT ON VIEW :"schema".walpush_monitoring IS 'How walpush reads its replication slot; made by sql/monitoring.sql';
GRANT SELECT ON :"schema".walpush_monitoring TO pg_monitor;
