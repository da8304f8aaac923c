#include "source_fix.h"

#include <string.h>

/*
 * Source: PostgreSQL's slot.c, walsender.c, pgoutput.c, and measurements. The first entry that fits counts. 42704 is a missing slot if the text
 * says so, which is walpush's own (source_start.c). Otherwise it comes while the server decodes: pgoutput looks for the publication as it was when
 * the row was written. The server may say it in another language.
 */
static const struct source_fix fixes[] = {
	{ "55006", NULL, "another process holds the slot; waiting for it, as a standby", false },
	{ "42704", "slot \"", "the slot does not exist: walpush sql prints what creates it", true },
	{ "42704", NULL,
	  "the slot has changes from a time without the publication, and can never send them: make the publication, "
	  "then "
	  "drop the slot and make a new one, see \"The publication\" in docs/operations.md",
	  true },
	{ "55P03", NULL,
	  "a lock_timeout of the server or the role ended the session: see \"Timeouts\" in docs/operations.md", false },
	{ "57014", NULL,
	  "a statement_timeout of the role, or somebody's cancel, ended the session: see \"Timeouts\" in "
	  "docs/operations.md",
	  false },
	{ "57P05", NULL, "an idle_session_timeout ended the session: see \"Timeouts\" in docs/operations.md", false },
	{ "57P01", NULL, "the server is stopping, or somebody ended the session with pg_terminate_backend", false },
	{ "55000", NULL,
	  "the slot cannot be used: see pg_replication_slots; walpush sql --recreate-slot makes it again", true },
	{ "42501", NULL,
	  "the role lacks a privilege, or output_plugin_libraries does not list the slot's plugin: run what walpush "
	  "sql "
	  "prints; pgoutput must be listed by hand",
	  true },
	{ "28", NULL,
	  "the server does not let this role in: check user, password and pg_hba.conf (database name, not "
	  "'replication')",
	  true },
	{ "3D000", NULL, "the database in the connection string does not exist", true },
	{ "58P01", NULL,
	  "the server has no wal2json: install the package postgresql-NN-wal2json there, or make the slot with "
	  "pgoutput: "
	  "walpush sql --plugin pgoutput",
	  true },
	{ "0A000", NULL, "the server is too old or wal_level is not logical", true },
	{ "22023", NULL, "the slot's plugin refused the options: if it is wal2json, is it 2.5 or later?", true },
	{ "54000", NULL,
	  "a row is too large for the slot's plugin to print: it is passed over unless database.skip is false, see \"A "
	  "row "
	  "is too large\" in docs/operations.md",
	  false },
	{ "XX000", NULL,
	  "a row may be too large for the slot's plugin to print: see \"A row is too large\" in docs/operations.md, "
	  "and "
	  "the server's log",
	  false },
	{ "25P", NULL, "a timeout of the server ended the session: see \"Timeouts\" in docs/operations.md", false },
	{ "53300", NULL, "no connection or walsender slot is free: raise max_wal_senders or max_connections", false },
	{ "57P", NULL, "the server is starting, stopping or recovering", false },
};

static bool fits(const struct source_fix *fix, const struct fail *why)
{
	return why->sqlstate[0] && strncmp(why->sqlstate, fix->sqlstate, strlen(fix->sqlstate)) == 0 &&
	       (!fix->text || strstr(why->text, fix->text));
}

const struct source_fix *source_fix_for(const struct fail *why)
{
	for (size_t i = 0; i < sizeof(fixes) / sizeof(*fixes); i++)
		if (fits(&fixes[i], why))
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
