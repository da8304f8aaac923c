#include "setup_slot.h"

#include <string.h>

/* @PLUGIN@ is the plugin of this script, @OTHER@ the other one. */
static const char kind_text[] =
	"    UNION ALL\n"
	"    SELECT 4, format('slot %s exists, but %s', slot_name,\n"
	"                     CASE WHEN slot_type <> 'logical' THEN 'it is a physical one'\n"
	"                          WHEN plugin <> '@PLUGIN@' THEN 'for plugin ' || plugin\n"
	"                          ELSE 'in database ' || database END),\n"
	"           CASE WHEN (slot_type, plugin, database) = ('logical', '@OTHER@', current_database())\n"
	"                THEN 'Move it: walpush sql --plugin @PLUGIN@ --switch. Or choose'\n"
	"                ELSE 'Choose' END || ' another name: -v slot=…, and slot in sidecar.conf.'\n"
	"    FROM pg_replication_slots\n"
	"    WHERE slot_name = :'slot'\n"
	"      AND (slot_type, plugin, database) IS DISTINCT FROM ('logical', '@PLUGIN@', current_database())\n";

static const char reader_text[] =
	"      AND (slot_type, plugin, database) IS DISTINCT FROM ('logical', '@OTHER@', current_database())\n"
	"    UNION ALL\n"
	"    SELECT 4, format('slot %s has plugin %s and is being read, by process %s', slot_name, plugin, "
	"active_pid),\n"
	"           'Stop walpush first, all replicas of it. Then run this again.'\n"
	"    FROM pg_replication_slots\n"
	"    WHERE slot_name = :'slot' AND plugin = '@OTHER@' AND database = current_database() AND active\n"
	"    UNION ALL\n"
	"    SELECT 5, format('all %s replication slots are in use, and the move needs one more for a moment',\n"
	"                     current_setting('max_replication_slots')),\n"
	"           format('Drop one that nobody reads, or raise max_replication_slots and restart PostgreSQL. Or, "
	"with '\n"
	"                  'walpush stopped: SELECT pg_drop_replication_slot(%L); then run this again.', slot_name)\n"
	"    FROM pg_replication_slots\n"
	"    WHERE slot_name = :'slot' AND plugin = '@OTHER@' AND database = current_database()\n"
	"      AND (SELECT count(*) FROM pg_replication_slots) >= current_setting('max_replication_slots')::int\n";

static const char room_text[] =
	"    UNION ALL\n"
	"    SELECT 5, 'all ' || current_setting('max_replication_slots') || ' replication slots are in use',\n"
	"           'Drop one that nobody reads, or raise max_replication_slots and restart PostgreSQL.'\n"
	"    WHERE (SELECT count(*) FROM pg_replication_slots) >= current_setting('max_replication_slots')::int\n"
	"      AND :'slot' <> '' AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'slot')\n";

/*
 * Why not pg_copy_logical_replication_slot of the old slot, which takes another plugin and keeps the position: pgoutput looks for the
 * publication as it was when a row was written. Rows from before it stop such a copy for good on PostgreSQL 13 to 17, and 18 leaves them out
 * without an error. A copy that is advanced past CREATE PUBLICATION has the same rows: those of transactions that were open at that time and
 * commit later. A new slot has none of them, because it begins when these transactions have ended. It is the same in the other direction, so
 * that the replica identities of the script are older than every row of the slot.
 *
 * The order: until the temporary slot is there, all is as before; a plugin that is not installed or not allowed fails here. The drop and
 * the copy are one message, which the server runs to its end if psql is killed. Whatever fails between them is an error of the script,
 * and another run makes the slot. A copy never has `failover` (PostgreSQL 17 and later), so such a slot is made by itself.
 */
static const char move_text[] =
	"-- ---- The move of a slot of @OTHER@ "
	"-------------------------------------------------------------------------------\n"
	"\n"
	"-- A slot's plugin cannot be changed: the slot is dropped, and made again with @PLUGIN@. The new one begins "
	"here, behind "
	"the\n"
	"-- transactions that are open now, so each client that comes back is told `resync` once. Until a temporary "
	"slot "
	"shows that\n"
	"-- @PLUGIN@ can be had, nothing is dropped.\n"
	"SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'slot' AND plugin = '@OTHER@') AS "
	"slot_moves,\n"
	"       EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'slot' AND plugin = '@PLUGIN@') AS "
	"slot_stays,\n"
	"       'walpush_move_' || pg_backend_pid() AS moving,\n"
	"       :'knows_failover'::boolean AND (:'failover'::boolean OR EXISTS (\n"
	"           SELECT FROM pg_replication_slots AS s\n"
	"           WHERE slot_name = :'slot' AND (to_jsonb(s) ->> 'failover')::boolean)) AS failover\n"
	"\\gset\n"
	"\\if :slot_stays\n"
	"    \\echo slot :slot has plugin @PLUGIN@ already: nothing is moved\n"
	"\\elif :slot_moves\n"
	"    SELECT format('slot %s of @OTHER@ is given up with %s bytes of WAL (%s) that walpush did not confirm: "
	"what was '\n"
	"                  'committed there and not sent yet, clients fetch after one `resync` each', slot_name,\n"
	"                  coalesce(bytes::text, '?'), coalesce(pg_size_pretty(bytes), '?'))\n"
	"    FROM pg_replication_slots, pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) AS bytes\n"
	"    WHERE slot_name = :'slot';\n"
	"    \\echo waiting for the transactions that are open now\n"
	"    SELECT FROM pg_create_logical_replication_slot(:'moving', '@PLUGIN@', true);\n"
	"    \\if :failover\n"
	"        \\echo waiting once more, for a slot with failover. If this does not finish: run it again with -v "
	"failover=on\n"
	"        SELECT FROM pg_drop_replication_slot(:'slot')\\;\n"
	"        SELECT FROM pg_create_logical_replication_slot(:'slot', '@PLUGIN@', failover => true);\n"
	"    \\else\n"
	"        SELECT FROM pg_drop_replication_slot(:'slot')\\;\n"
	"        SELECT FROM pg_copy_logical_replication_slot(:'moving', :'slot', false);\n"
	"    \\endif\n"
	"    SELECT FROM pg_drop_replication_slot(:'moving');\n"
	"    \\echo slot :slot has plugin @PLUGIN@ now\n"
	"\\endif\n"
	"\n";

static const char left_text[] =
	"-- The publication stays: it is needed on the way back.\n"
	"SELECT format('note: publication %I is not read any more. Where walpush does not go back to pgoutput: DROP "
	"PUBLICATION %I;',\n"
	"              pubname, pubname)\n"
	"FROM pg_publication WHERE pubname = :'publication';\n"
	"\n";

static const char slot_text[] =
	"-- ---- The slot "
	"----------------------------------------------------------------------------------------------------\n"
	"\n"
	"-- A slot that the server has given up can be read by nobody again. It is dropped only where that was asked "
	"for: "
	"whoever\n"
	"-- reads the error at the end learns first that changes were missed.\n"
	"SELECT NOT (" SETUP_SLOT_IS_VALID ") AND :'recreate_slot'::boolean AS slot_recreated,\n"
	"       :'failover'::boolean OR coalesce(to_jsonb(s) ->> 'failover' = 'true', false) AS failover\n"
	"FROM (SELECT) AS always LEFT JOIN pg_replication_slots AS s ON s.slot_name = :'slot'\n"
	"\\gset\n"
	"\\if :slot_recreated\n"
	"    SELECT FROM pg_drop_replication_slot(:'slot');\n"
	"    \\echo slot :slot was given up by the server, and is made again: clients are told `resync`\n"
	"    \\set slot_missing on\n"
	"\\endif\n"
	"\n"
	"-- From here on the server keeps WAL until walpush has read it. Creating waits for the transactions that are "
	"open now.\n"
	"\\if :slot_missing\n"
	"    \\if :knows_failover\n"
	"        SELECT format('SELECT FROM pg_create_logical_replication_slot(%L, ''@PLUGIN@'', failover => %L)',\n"
	"                      :'slot', :'failover')\n"
	"        \\gexec\n"
	"    \\else\n"
	"        SELECT format('SELECT FROM pg_create_logical_replication_slot(%L, ''@PLUGIN@'')', :'slot')\n"
	"        \\gexec\n"
	"    \\endif\n"
	"    \\echo slot :slot created\n"
	"\\endif\n"
	"\n"
	"-- A slot that nobody reads keeps WAL until the disk is full. Better is to lose the slot: browsers then get "
	"one\n"
	"-- `resync`. The limit is the server's, for all slots, so it is named here and not set.\n"
	"SELECT 'note: max_slot_wal_keep_size is -1. Bound what a slot can keep:'\n"
	"       ' ALTER SYSTEM SET max_slot_wal_keep_size = ''10GB''; SELECT pg_reload_conf();'\n"
	"WHERE current_setting('max_slot_wal_keep_size') = '-1' AND :'slot' <> '';\n"
	"\n";

static const char told_text[] =
	"SELECT format('DO %L', format('BEGIN RAISE EXCEPTION USING MESSAGE = %L, HINT = %L; END', problem, fix))\n"
	"FROM (\n"
	"    SELECT format('slot %s is lost (%s): nothing is pushed through it. All else is done', slot_name,\n"
	"                  coalesce(to_jsonb(s) ->> 'invalidation_reason',\n"
	"                           CASE WHEN s.wal_status = 'lost' THEN 'WAL removed' ELSE 'conflict with recovery' "
	"END)),\n"
	"           format(E'To drop it and make it again: walpush sql -c sidecar.conf --plugin @PLUGIN@ "
	"--recreate-slot | "
	"psql -d %I'\n"
	"                  '\\nor this script again with -v recreate_slot=on. Clients are told `resync` once.', "
	"current_database())\n"
	"    FROM pg_replication_slots AS s WHERE slot_name = :'slot' AND NOT (" SETUP_SLOT_IS_VALID ")\n"
	") AS found (problem, fix)\n"
	"\\gexec\n"
	"\n";

/* A text with the names of the plugins. */
static void add_text(struct buf *out, const char *text, const char *plugin)
{
	const char *other = strcmp(plugin, SETUP_PGOUTPUT) == 0 ? SETUP_WAL2JSON : SETUP_PGOUTPUT;

	for (const char *at; (at = strchr(text, '@')); text = strchr(at + 1, '@') + 1) {
		buf_add(out, text, (size_t)(at - text));
		buf_add_text(out, at[1] == 'P' ? plugin : other);
	}
	buf_add_text(out, text);
}

void setup_slot_refused(struct buf *out, const struct setup_options *options)
{
	add_text(out, kind_text, options->plugin);
	if (options->moves)
		add_text(out, reader_text, options->plugin);
	buf_add_text(out, room_text);
}

void setup_slot(struct buf *out, const struct setup_options *options)
{
	if (options->moves)
		add_text(out, move_text, options->plugin);
	add_text(out, slot_text, options->plugin);
	if (options->moves && strcmp(options->plugin, SETUP_WAL2JSON) == 0)
		buf_add_text(out, left_text);
}

void setup_slot_told(struct buf *out, const struct setup_options *options)
{
	add_text(out, told_text, options->plugin);
}
