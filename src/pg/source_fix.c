#include "source_fix.h"

#include <string.h>

/* Source: PostgreSQL's slot.c, walsender.c, and measurements. The first entry that fits counts. */
static const struct source_fix fixes[] = {
	{ "55006", "another process holds the slot; waiting for it, as a standby", false },
	{ "42704", "the slot does not exist: walpush sql prints what creates it", true },
	{ "55P03", "a lock_timeout of the server or the role ended the session: see \"Timeouts\" in docs/operations.md",
	  false },
	{ "57014",
	  "a statement_timeout of the role, or somebody's cancel, ended the session: see \"Timeouts\" in "
	  "docs/operations.md",
	  false },
	{ "57P05", "an idle_session_timeout ended the session: see \"Timeouts\" in docs/operations.md", false },
	{ "57P01", "the server is stopping, or somebody ended the session with pg_terminate_backend", false },
	{ "55000", "the slot cannot be used: see pg_replication_slots; drop it, and walpush sql makes a new one",
	  true },
	{ "42501",
	  "the role lacks a privilege, or output_plugin_libraries does not list wal2json: run what walpush sql prints",
	  true },
	{ "28",
	  "the server does not let this role in: check user, password and pg_hba.conf (database name, not "
	  "'replication')",
	  true },
	{ "3D000", "the database in the connection string does not exist", true },
	{ "58P01", "the server has no wal2json: install the package postgresql-NN-wal2json there", true },
	{ "0A000", "the server is too old or wal_level is not logical", true },
	{ "22023", "the slot's plugin refused the options: is it wal2json 2.x?", true },
	{ "54000",
	  "a row is too large for wal2json to print: it is passed over unless database.skip is false, see \"A row is "
	  "too "
	  "large\" in docs/operations.md",
	  false },
	{ "XX000",
	  "a row may be too large for wal2json to print: see \"A row is too large\" in docs/operations.md, and the "
	  "server's log",
	  false },
	{ "25P", "a timeout of the server ended the session: see \"Timeouts\" in docs/operations.md", false },
	{ "53300", "no connection or walsender slot is free: raise max_wal_senders or max_connections", false },
	{ "57P", "the server is starting, stopping or recovering", false },
};

const struct source_fix *source_fix_for(const struct fail *why)
{
	for (size_t i = 0; i < sizeof(fixes) / sizeof(*fixes); i++)
		if (why->sqlstate[0] && strncmp(why->sqlstate, fixes[i].sqlstate, strlen(fixes[i].sqlstate)) == 0)
			return &fixes[i];
	return NULL;
}

/* libpq has only these messages if it gets no memory for a record. The next connection brings the record again. */
static bool is_too_large_for_libpq(const char *text)
{
	return strstr(text, "out of memory") || strstr(text, "cannot allocate memory for input buffer") ||
	       strstr(text, "lost synchronization with server");
}

bool source_fix_is_poison(const struct fail *why)
{
	if (strcmp(why->sqlstate, "XX000") == 0)
		return strstr(why->text, "invalid memory alloc request size") != NULL;
	return strcmp(why->sqlstate, "54000") == 0 || (!why->sqlstate[0] && is_too_large_for_libpq(why->text));
}
