#include "source_start.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/mem.h"
#include "walpush/pg/pgdial.h"

#define WAL2JSON "wal2json"
#define PGOUTPUT "pgoutput"

enum {
	SLOT_PLUGIN,
	SLOT_TYPE,
	SLOT_IS_HERE,
	SLOT_CONFIRMED,
	SLOT_WAL,
	SLOT_ENCODING,
	SLOT_SERVER,
	SLOT_ZONE,
	SLOT_COLUMNS
};

/* When the session's time zone changes its distance from UTC: from 40 days ago to 400 days ahead, by quarters of an hour. */
#define ZONE_SQL                                                                                                       \
	"(SELECT pg_catalog.string_agg(pg_catalog.concat(at, ' ', z), ',' ORDER BY n) FROM (SELECT n, at, z, "         \
	"pg_catalog.lag(z) OVER (ORDER BY n) AS before FROM (SELECT n, at, pg_catalog.date_part('timezone', "          \
	"pg_catalog.to_timestamp(at::double precision))::integer AS z FROM (SELECT n, "                                \
	"pg_catalog.int8mul(pg_catalog.int8pl(pg_catalog.floor(pg_catalog.float8div(pg_catalog.date_part('epoch', "    \
	"pg_catalog.now()), '900'::double precision))::bigint, n::bigint), '900'::bigint) AS at "                      \
	"FROM pg_catalog.generate_series(-3840, 38400) AS n) AS grid) AS known) AS marked "                            \
	"WHERE before IS NULL OR pg_catalog.int4ne(z, before))"

/* An administrator may have set these timeouts for the database or the role, and decoding one long transaction may take longer. pg_settings has
 * only the names that the server knows, so an older server ignores the others. The settings of a session follow. */
#define SETTINGS_SQL                                                                                                   \
	"SELECT (SELECT pg_catalog.count(pg_catalog.set_config(name, '0', false)) FROM pg_catalog.pg_settings WHERE "  \
	"name IN ('transaction_timeout', 'idle_session_timeout', 'statement_timeout', 'lock_timeout', "                \
	"'idle_in_transaction_session_timeout'))"

static void add_literal(struct buf *sql, const char *text)
{
	buf_add_char(sql, '\'');
	for (const char *c = text; *c; c++) {
		if (*c == '\'')
			buf_add_char(sql, '\'');
		buf_add_char(sql, *c);
	}
	buf_add_char(sql, '\'');
}

static void ask(struct source_starting *s, enum source_question question, const char *command)
{
	s->asked = question;
	buf_clear(&s->command);
	buf_add_text(&s->command, command);
}

void source_start_first(struct source_starting *s)
{
	ask(s, SOURCE_ASKS_SETTINGS, SETTINGS_SQL);
	pgdial_settings(s->conf, PGDIAL_REPLICATION, &s->command);
}

static bool take_identity(struct source_starting *s, const PGresult *result, struct fail *why)
{
	if (PQntuples(result) != 1 || PQnfields(result) < 3 ||
	    !lsn_parse(slice_of(PQgetvalue(result, 0, 2)), &s->server_end))
		return fail_set(why, "IDENTIFY_SYSTEM was answered strangely: is this PostgreSQL?");
	free(s->system_id);
	free(s->timeline);
	s->system_id = mem_text(PQgetvalue(result, 0, 0));
	s->timeline = mem_text(PQgetvalue(result, 0, 1));
	return true;
}

/* The configuration allows no backslash in a slot's name (conf_accept_slot). */
static void ask_slot(struct source_starting *s)
{
	ask(s, SOURCE_ASKS_SLOT,
	    "SELECT plugin, slot_type, database = current_database(), confirmed_flush_lsn, wal_status, "
	    "current_setting('server_encoding'), " ANCHOR_SQL ", CASE WHEN pg_catalog.nameeq(plugin, '" PGOUTPUT
	    "') AND pg_catalog.textne(pg_catalog.current_setting('TimeZone'), 'UTC') THEN " ZONE_SQL " END"
	    " FROM pg_catalog.pg_replication_slots WHERE slot_name = ");
	add_literal(&s->command, s->conf->slot);
}

/* With `auto` each of the two may be read. */
static bool plugin_is_good(const char *wanted, const char *plugin)
{
	if (strcmp(wanted, "auto") != 0)
		return strcmp(plugin, wanted) == 0;
	return strcmp(plugin, WAL2JSON) == 0 || strcmp(plugin, PGOUTPUT) == 0;
}

static bool kind_is_good(const struct source_starting *s, const PGresult *result, struct fail *why)
{
	const char *name = s->conf->slot, *wanted = s->conf->plugin;
	const char *type = PQgetvalue(result, 0, SLOT_TYPE), *plugin = PQgetvalue(result, 0, SLOT_PLUGIN);
	bool is_logical = strcmp(type, "logical") == 0;

	if (is_logical && plugin_is_good(wanted, plugin))
		return true;
	if (is_logical && plugin_is_good("auto", plugin))
		return fail_set(why,
				"slot \"%s\" has plugin %s, and database.plugin says %s: move the slot with what "
				"walpush sql --switch prints, or set database.plugin = \"%s\"",
				name, plugin, wanted, plugin);
	return fail_set(
		why,
		"slot \"%s\" is %s with plugin \"%s\", not logical with %s: drop it and run what walpush sql prints",
		name, type, plugin, strcmp(wanted, "auto") == 0 ? WAL2JSON " or " PGOUTPUT : wanted);
}

/* Checks the slot before START_REPLICATION, with better errors. */
static bool slot_is_good(const struct source_starting *s, const PGresult *result, struct fail *why)
{
	const char *name = s->conf->slot;

	if (PQntuples(result) == 0) {
		fail_set(why, "slot \"%s\" does not exist", name);
		strcpy(why->sqlstate, "42704");
		return false;
	}
	if (PQnfields(result) < SLOT_COLUMNS)
		return fail_set(why, "the question about slot \"%s\" was answered strangely: is this PostgreSQL?",
				name);
	if (!kind_is_good(s, result, why))
		return false;
	if (strcmp(PQgetvalue(result, 0, SLOT_IS_HERE), "t") != 0)
		return fail_set(why,
				"slot \"%s\" belongs to another database: connect to that one, or create a slot here",
				name);
	if (strcmp(PQgetvalue(result, 0, SLOT_WAL), "lost") == 0)
		return fail_set(
			why,
			"slot \"%s\" is lost: PostgreSQL removed WAL it needed, or gave it up (invalidation_reason in "
			"pg_replication_slots). Run what walpush sql --recreate-slot prints, and raise "
			"max_slot_wal_keep_size "
			"or "
			"idle_replication_slot_timeout",
			name);
	if (strcmp(PQgetvalue(result, 0, SLOT_ENCODING), "UTF8") != 0)
		return fail_set(why, "the database's encoding is %s; walpush needs UTF8",
				PQgetvalue(result, 0, SLOT_ENCODING));
	return true;
}

static bool take_slot(struct source_starting *s, const PGresult *result, struct fail *why)
{
	s->plugin = NULL;
	if (!slot_is_good(s, result, why))
		return false;
	s->is_pgoutput = strcmp(PQgetvalue(result, 0, SLOT_PLUGIN), PGOUTPUT) == 0;
	s->plugin = s->is_pgoutput ? PGOUTPUT : WAL2JSON;
	mem_copy_text(s->server, sizeof(s->server), PQgetvalue(result, 0, SLOT_SERVER));
	free(s->zone);
	s->zone = mem_text(PQgetvalue(result, 0, SLOT_ZONE));
	return lsn_parse(slice_of(PQgetvalue(result, 0, SLOT_CONFIRMED)), &s->confirmed) ||
	       fail_set(why, "slot \"%s\" has no confirmed_flush_lsn", s->conf->slot);
}

static enum source_step take_rows(struct source_starting *s, const PGresult *result, struct fail *why)
{
	switch (s->asked) {
	case SOURCE_ASKS_SETTINGS:
		ask(s, SOURCE_ASKS_IDENTITY, "IDENTIFY_SYSTEM");
		return SOURCE_STEP_ASK;
	case SOURCE_ASKS_IDENTITY:
		if (!take_identity(s, result, why))
			return SOURCE_STEP_FIX;
		ask_slot(s);
		return SOURCE_STEP_ASK;
	case SOURCE_ASKS_SLOT:
		return take_slot(s, result, why) ? SOURCE_STEP_PLACE : SOURCE_STEP_FIX;
	case SOURCE_ASKS_STREAM:
		break;
	}
	fail_set(why, "START_REPLICATION was answered with rows: is this PostgreSQL?");
	return SOURCE_STEP_FIX;
}

enum source_step source_start_take(struct source_starting *s, const PGresult *result, struct fail *why)
{
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_TUPLES_OK)
		return take_rows(s, result, why);
	if (status == PGRES_COPY_BOTH && s->asked == SOURCE_ASKS_STREAM)
		return SOURCE_STEP_STREAM;
	pgdial_result_fail(result, why);
	return SOURCE_STEP_FAIL;
}

static void add_option(struct buf *sql, const char *name, const char *value)
{
	if (!*value)
		return;
	buf_addf(sql, ", \"%s\" ", name);
	add_literal(sql, value);
}

static void add_wal2json(struct buf *sql, const struct source_options *options)
{
	buf_addf(sql,
		 "\"format-version\" '2', \"include-types\" 'false', "
		 "\"include-type-oids\" 'true', \"include-lsn\" 'true', \"include-timestamp\" 'true', "
		 "\"include-xids\" 'true', \"add-msg-prefixes\" '%s'",
		 options->prefix ? options->prefix : options->no_prefix);
	add_option(sql, "add-tables", options->add);
	add_option(sql, "filter-tables", options->filter);
}

/* It cannot choose messages by their prefix, and knows none before PostgreSQL 14. The configuration allows no quote in a publication's name. */
static void add_pgoutput(struct buf *sql, const struct source_options *options, const char *publication)
{
	buf_addf(sql, "proto_version '1', publication_names '\"%s\"'", publication);
	if (options->prefix && options->server >= 140000)
		buf_add_text(sql, ", messages 'true'");
}

void source_start_place(struct source_starting *s, lsn_t from, const struct source_options *options)
{
	char lsn[LSN_TEXT_MAX];

	lsn_format(lsn, from);
	ask(s, SOURCE_ASKS_STREAM, "START_REPLICATION SLOT ");
	buf_addf(&s->command, "\"%s\" LOGICAL %s (", s->conf->slot, lsn);
	if (s->is_pgoutput)
		add_pgoutput(&s->command, options, s->conf->publication);
	else
		add_wal2json(&s->command, options);
	buf_add_char(&s->command, ')');
}

void source_start_fini(struct source_starting *s)
{
	buf_fini(&s->command);
	free(s->system_id);
	free(s->timeline);
	free(s->zone);
	*s = (struct source_starting){ 0 };
}
