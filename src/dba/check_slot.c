/*
 * The checks of the slot that are one query, beyond what check_sql.c asks: how much WAL the slot holds, how long it may be idle, and whether
 * it is left from a time when this server was the primary. Also the room that the database leaves for connections.
 * Parameters as in check_sql.c; $7 is database.warn-bytes. PostgreSQL 13 to 18.
 */
#include "parts.h"

/*
 * `unread` is what walpush has not confirmed; `kept` is all that the server keeps for the slot. Only a transaction that still runs, or is prepared,
 * makes the second much larger than the first: the server may have to decode it from its beginning. walpush itself confirms behind by replay.bytes.
 * safe_wal_size is what can be written until the slot is lost; null: max_slot_wal_keep_size is -1.
 * Everybody may see the transaction ids of other sessions, but not since when they run. One unit for all sizes: the same finding with another figure
 * is not logged again (found.h).
 */
const char check_sql_slot_wal[] =
	"WITH slot AS (SELECT active, wal_status, coalesce(safe_wal_size, 0) / 1048576 AS safe,"
	"  pg_size_bytes(current_setting('max_slot_wal_keep_size')) / 1048576 AS bound,"
	"  greatest(pg_wal_lsn_diff(here, confirmed_flush_lsn), 0)::bigint / 1048576 AS unread,"
	"  greatest(pg_wal_lsn_diff(here, restart_lsn), 0)::bigint / 1048576 AS kept,"
	"  ($3::bigint + nullif($7::bigint, 0)) / 1048576 AS most"
	" FROM (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)"
	"  AS w (here), pg_replication_slots WHERE slot_name = $1"
	"), holder AS (SELECT what FROM ("
	"  SELECT format('the prepared transaction %s of database %s (COMMIT PREPARED or ROLLBACK PREPARED there)',"
	"   quote_literal(gid), database) AS what, age(transaction) AS age FROM pg_prepared_xacts"
	"  UNION ALL SELECT format('process %s of role %s', pid, usename), age(backend_xid) FROM pg_stat_activity"
	"  WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()"
	" ) AS open ORDER BY age DESC LIMIT 1"
	"), judged AS (SELECT slot.*,"
	"  CASE WHEN wal_status IN ('unreserved', 'lost') THEN 'ok'"
	"       WHEN bound > 0 AND safe < bound / 10 THEN 'near'"
	"       WHEN unread > most AND NOT active THEN 'unread'"
	"       WHEN unread > most THEN 'behind'"
	"       WHEN kept > most THEN 'held' ELSE 'ok' END AS found"
	" FROM slot) "
	"SELECT CASE found WHEN 'near' THEN 'failure' WHEN 'ok' THEN 'ok' ELSE 'warning' END,"
	" CASE found WHEN 'near' THEN format('the slot holds %s MB of WAL, and is lost after %s MB more"
	" (max_slot_wal_keep_size)', kept, safe)"
	"  WHEN 'unread' THEN format('the slot holds %s MB of WAL that nobody reads, more than replay.bytes and"
	" database.warn-bytes', unread)"
	"  WHEN 'behind' THEN format('%s MB of WAL wait for the walpush that reads the slot, more than replay.bytes and"
	" database.warn-bytes: it does not keep up', unread)"
	"  WHEN 'held' THEN format('the slot holds %s MB of WAL although only %s MB are unread:"
	" a transaction has been open since', kept, unread)"
	"  ELSE format('%s MB of WAL are kept for the slot, of which %s MB are not confirmed', kept, unread) END,"
	" CASE found WHEN 'near' THEN 'sql' WHEN 'ok' THEN '' ELSE 'words' END,"
	" CASE found WHEN 'near' THEN format('ALTER SYSTEM SET max_slot_wal_keep_size = ''%sMB'';"
	" SELECT pg_reload_conf();', greatest(10240, 4 * ($3::bigint / 1048576 + 1), 4 * kept, 2 * bound))"
	"  WHEN 'unread' THEN format('start walpush; if it is gone for good: SELECT pg_drop_replication_slot(%L);', $1)"
	"  WHEN 'behind' THEN 'see what it waits for: /status on its admin port, and \"The slot holds WAL\" in"
	" docs/operations.md'"
	"  WHEN 'held' THEN 'end ' || coalesce((SELECT what FROM holder), 'it, then wait for the next CHECKPOINT') END"
	" FROM judged";

/* A stop of walpush over a weekend must not cost the slot. What bounds the WAL is max_slot_wal_keep_size. */
const char check_sql_slot_idle[] =
	"SELECT 'warning', format('idle_replication_slot_timeout is %s: a walpush that is stopped for longer finds its "
	"slot "
	"lost,"
	" and every client must refetch', current_setting(name)), 'sql',"
	" 'ALTER SYSTEM SET idle_replication_slot_timeout = ''7d''; SELECT pg_reload_conf();'"
	" FROM pg_settings WHERE name = 'idle_replication_slot_timeout'"
	"  AND setting::bigint * CASE unit WHEN 'min' THEN 60 ELSE 1 END BETWEEN 1 AND 3 * 86400 - 1";

/*
 * A slot with `failover` cannot be made on a standby: it is from the time before, and its server's slot sync does not replace it. Before PostgreSQL 16
 * no slot on a standby can be decoded from. Any other slot on a standby may be the one that walpush is meant to read there. On a primary, `synced`
 * says only that the slot came by failover.
 */
const char check_sql_slot_left[] =
	"SELECT 'warning', format('this server is a standby, and its slot %s is left from when it was the primary: it "
	"holds "
	"WAL"
	" and old rows here%s', $1, CASE WHEN is_failover THEN ', and keeps the primary''s slot from being "
	"synchronized'"
	" ELSE '' END),"
	" 'sql', format('SELECT pg_drop_replication_slot(%L);', $1)"
	" FROM (SELECT coalesce((to_jsonb(s) ->> 'failover')::boolean, false) AS is_failover,"
	"   coalesce((to_jsonb(s) ->> 'synced')::boolean, false) AS is_synced"
	"  FROM pg_replication_slots AS s WHERE slot_name = $1 AND slot_type = 'logical') AS s"
	" WHERE pg_is_in_recovery() AND NOT is_synced"
	"  AND (is_failover OR current_setting('server_version_num')::int < 160000)";

/* A walsender counts as a session of its database. */
const char check_sql_database_limit[] =
	"SELECT CASE WHEN room < 7 THEN 'failure' ELSE 'warning' END,"
	" format('database %s may have %s connections, and others use %s: walpush takes up to %s, and twice as many "
	"during a "
	"rolling update', current_database(), datconnlimit, datconnlimit - room, $5),"
	" 'sql', format('ALTER DATABASE %I CONNECTION LIMIT -1;', current_database())"
	" FROM (SELECT datconnlimit, datconnlimit - (SELECT count(*)::int FROM pg_stat_activity AS a"
	"   WHERE a.datname = current_database() AND a.usename <> current_user) AS room"
	"  FROM pg_database WHERE datname = current_database() AND datconnlimit >= 0) AS d"
	" WHERE room < 2 * $5::int";
