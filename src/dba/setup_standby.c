#include "setup_standby.h"

#include <string.h>

#include "setup_slot.h"

/* `%1$s`: what else the script makes; `%2$s`: the plugin. Only superusers and pg_read_all_stats see who the primary is. */
static const char refused_text[] =
	"    UNION ALL\n"
	"    SELECT -1, 'this server is a standby: nothing was changed',\n"
	"           format('Run this on the primary%%s: role, grants, replica identities%1$s come here from there.',\n"
	"                  (SELECT format(' (%%s, port %%s)', sender_host, sender_port) FROM pg_stat_wal_receiver\n"
	"                   WHERE sender_host <> ''))\n"
	"           || CASE WHEN :'slot' = '' THEN ''\n"
	"                   WHEN current_setting('server_version_num')::int < 160000\n"
	"                   THEN ' The slot too: before PostgreSQL 16 a standby has none that walpush could read.'\n"
	"                   WHEN EXISTS (SELECT FROM pg_replication_slots AS s WHERE slot_name = :'slot' "
	"AND " SETUP_SLOT_IS_VALID ")\n"
	"                   THEN format(' Slot %%s is here already: run it there with -v slot=', :'slot')\n"
	"                   ELSE format(E' The slot: where database.url of walpush leads.\\n'\n"
	"                               'The primary: the same run makes it there.\\n'\n"
	"                               'This standby (wal_level = logical there, hot_standby_feedback = on here): run "
	"it "
	"there with -v slot=, then here: '\n"
	"                               '%%sSELECT pg_create_logical_replication_slot(%%L, ''%2$s''); and while that "
	"waits, "
	"there: '\n"
	"                               'SELECT pg_log_standby_snapshot();',\n"
	"                               (SELECT format('SELECT pg_drop_replication_slot(%%L); ', slot_name) FROM "
	"pg_replication_slots\n"
	"                                WHERE slot_name = :'slot'), :'slot') END\n"
	"    WHERE pg_is_in_recovery()\n";

void setup_standby_refused(struct buf *out, const struct setup_options *options)
{
	bool publishes = strcmp(options->plugin, SETUP_PGOUTPUT) == 0;

	buf_addf(out, refused_text, publishes ? " and publication" : "", options->plugin);
}
