/*
 * What becomes of the slot if another server takes over, as far as it can be seen from the server that check is connected to. Parameters as in
 * check_sql.c. A primary does not know how far its standbys are with the slot: each of them says it of itself.
 */
#include "parts.h"

#define SLOT "FROM pg_replication_slots AS s WHERE s.slot_name = $1"
/* A column that only newer versions have; null before. */
#define NEWER(column) "(to_jsonb(s) ->> '" column "')::boolean"
#define ACTIVE                                                                                                         \
	"(SELECT slot_name::text FROM pg_replication_slots WHERE slot_type = 'physical' AND active ORDER BY 1 LIMIT "  \
	"1)"

/* The names in synchronized_standby_slots, which exists since PostgreSQL 17. */
#define WAITED_FOR                                                                                                     \
	"waited (name) AS (SELECT btrim(w, ' \"') FROM pg_settings"                                                    \
	" CROSS JOIN regexp_split_to_table(setting, ',') AS w"                                                         \
	" WHERE name = 'synchronized_standby_slots' AND btrim(w, ' \"') <> '')"

const char check_sql_failover[] =
	"WITH " WAITED_FOR ", away (name) AS (SELECT name FROM waited WHERE NOT EXISTS"
	" (SELECT FROM pg_replication_slots AS p WHERE p.slot_name = name AND p.slot_type = 'physical' AND p.active)),"
	" slot AS (SELECT pg_is_in_recovery() AS here_standby, coalesce(" NEWER(
		"failover") ", false) AS follows,"
			    "  coalesce(" NEWER(
				    "synced") ", false) AS synced, s.temporary, (SELECT count(*) FROM waited) AS "
					      "n " SLOT ") "
					      /* --- on the primary --- */
					      "SELECT 'failure', format('no standby reads the slot %s of "
					      "synchronized_standby_slots, and walpush hears of no commit"
					      " before it has it', quote_ident(name)), 'words',"
					      " 'start the standby whose primary_slot_name this is, or take the slot "
					      "off synchronized_standby_slots'"
					      " FROM away CROSS JOIN slot WHERE follows AND NOT here_standby "
					      "UNION ALL "
					      "SELECT 'warning', 'the slot follows a failover, and "
					      "synchronized_standby_slots names no standby: walpush may push"
					      " what is lost with this server', CASE WHEN " ACTIVE
					      " IS NULL THEN 'words' ELSE 'sql' END,"
					      " CASE WHEN " ACTIVE " IS NULL THEN 'name the physical slots of the "
					      "standbys in synchronized_standby_slots'"
					      " ELSE format('ALTER SYSTEM SET synchronized_standby_slots = %L; SELECT "
					      "pg_reload_conf();', " ACTIVE ") END"
					      " FROM slot WHERE follows AND NOT here_standby AND n = 0 "
					      "UNION ALL "
					      "SELECT 'ok', format('the slot follows a failover, to a standby of %s on "
					      "which check says that it is ready',"
					      " (SELECT string_agg(quote_ident(name), ', ' ORDER BY name) FROM "
					      "waited)), '', NULL"
					      " FROM slot WHERE follows AND NOT here_standby AND n > 0 AND NOT EXISTS "
					      "(SELECT FROM away) "
					      "UNION ALL "
					      "SELECT 'ok', 'the slot stays here: after a failover it is made anew on "
					      "the new primary', '', NULL"
					      " FROM slot WHERE NOT follows AND NOT here_standby "
					      /* --- on a standby --- */
					      "UNION ALL "
					      "SELECT 'warning', 'not ready for a failover: the slot of the primary "
					      "still needs what was before this standby began to"
					      " copy it', 'words', 'wait until walpush has confirmed what was written "
					      "since, replay.seconds and a twelfth of it later;"
					      " see \"Failover\" in docs/operations.md'"
					      " FROM slot WHERE here_standby AND synced AND temporary "
					      "UNION ALL "
					      "SELECT 'ok', 'ready for a failover: walpush reads the slot here once "
					      "this server is the primary', '', NULL"
					      " FROM slot WHERE here_standby AND synced AND NOT temporary "
					      "UNION ALL "
					      "SELECT 'ok', 'a slot of this standby: it stays if this server becomes "
					      "the primary', '', NULL"
					      " FROM slot WHERE here_standby AND NOT synced";

/* Of a standby: what keeps the slot there alive. */
const char check_sql_feedback[] =
	"SELECT 'failure', 'hot_standby_feedback is off: the primary removes rows of the catalog that the slot needs, "
	"and"
	" the slot is lost', 'sql', 'ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf();'"
	" WHERE pg_is_in_recovery() AND current_setting('hot_standby_feedback') = 'off' "
	"UNION ALL "
	"SELECT 'warning', 'primary_slot_name is empty: while this standby is away, the primary may remove what the "
	"slot"
	" needs', 'words', 'make a physical slot on the primary, and name it in primary_slot_name'"
	" WHERE pg_is_in_recovery() AND current_setting('primary_slot_name') = '' "
	"UNION ALL "
	"SELECT 'warning', 'this standby does not stream from its primary: what is committed arrives late or not at "
	"all,"
	" and answers may wait for more', 'words', 'look at primary_conninfo, and at the log of this server'"
	" WHERE pg_is_in_recovery() AND NOT EXISTS (SELECT FROM pg_stat_get_wal_receiver() AS w WHERE w.pid IS NOT "
	"NULL) "
	"UNION ALL "
	"SELECT 'warning', 'sync_replication_slots is off: the slot here stays behind that of the primary', 'sql',"
	" 'ALTER SYSTEM SET sync_replication_slots = on; SELECT pg_reload_conf();'"
	" " SLOT " AND pg_is_in_recovery() AND coalesce(" NEWER(
		"synced") ", false)"
			  " AND current_setting('sync_replication_slots', true) = 'off'";
