#include "source_impl.h"

#include <stdlib.h>
#include <string.h>

#include "walpush/base/buf.h"
#include "walpush/base/mem.h"

static void ask(struct source *s, const char *command, enum source_state next)
{
	source_to(s, next);
	if (!PQsendQuery(s->conn, command) || !source_flush(s))
		source_broken(s);
}

/* An administrator may have set them for the database or the role; decoding one long transaction may take longer than any. A name that a
 * server does not know is not among its settings. */
void source_begin(struct source *s)
{
	ask(s,
	    "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN "
	    "('transaction_timeout', "
	    "'idle_session_timeout', 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')",
	    SOURCE_SETTING);
}

static void take_identity(struct source *s, PGresult *result)
{
	struct buf sql = { 0 };
	struct fail why = { 0 };
	char *slot;

	if (PQntuples(result) != 1 || PQnfields(result) < 3 ||
	    !lsn_parse(slice_of(PQgetvalue(result, 0, 2)), &s->server_end)) {
		fail_set(&why, "IDENTIFY_SYSTEM was answered strangely: is this PostgreSQL?");
		source_lost(s, &why, true);
		return;
	}
	free(s->system_id);
	free(s->timeline);
	s->system_id = mem_text(PQgetvalue(result, 0, 0));
	s->timeline = mem_text(PQgetvalue(result, 0, 1));
	slot = PQescapeLiteral(s->conn, s->conf->slot, strlen(s->conf->slot));
	if (!slot) {
		source_broken(s);
		return;
	}
	buf_addf(&sql,
		 "SELECT plugin, slot_type, database = current_database(), confirmed_flush_lsn, wal_status, "
		 "current_setting('server_encoding') FROM pg_catalog.pg_replication_slots WHERE slot_name = %s",
		 slot);
	PQfreemem(slot);
	ask(s, sql.data, SOURCE_SLOT);
	buf_fini(&sql);
}

/* What START_REPLICATION would say of this slot, said before and better. */
static bool slot_is_good(struct source *s, const PGresult *result, struct fail *why)
{
	const char *name = s->conf->slot;

	if (PQntuples(result) == 0) {
		fail_set(why, "slot \"%s\" does not exist", name);
		strcpy(why->sqlstate, "42704");
		return false;
	}
	if (strcmp(PQgetvalue(result, 0, 1), "logical") != 0 || strcmp(PQgetvalue(result, 0, 0), s->conf->plugin) != 0)
		fail_set(why,
			 "slot \"%s\" is %s with plugin \"%s\", not logical with %s: drop it and run what walpush sql "
			 "prints",
			 name, PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 0), s->conf->plugin);
	else if (strcmp(PQgetvalue(result, 0, 2), "t") != 0)
		fail_set(why, "slot \"%s\" belongs to another database: connect to that one, or create a slot here",
			 name);
	else if (strcmp(PQgetvalue(result, 0, 4), "lost") == 0)
		fail_set(why,
			 "slot \"%s\" is lost: PostgreSQL removed WAL it needed. Drop it, run what walpush sql prints, "
			 "and raise "
			 "max_slot_wal_keep_size",
			 name);
	else if (strcmp(PQgetvalue(result, 0, 5), "UTF8") != 0)
		fail_set(why, "the database's encoding is %s; walpush needs UTF8", PQgetvalue(result, 0, 5));
	return why->text[0] == '\0';
}

static void add_option(struct buf *sql, const char *name, const char *value)
{
	if (!*value)
		return;
	buf_addf(sql, ", \"%s\" '", name);
	for (const char *c = value; *c; c++) {
		if (*c == '\'')
			buf_add_char(sql, '\'');
		buf_add_char(sql, *c);
	}
	buf_add_char(sql, '\'');
}

static void start_replication(struct source *s, lsn_t from)
{
	const char *prefix = s->calls->message_prefix(s->ctx);
	char lsn[LSN_TEXT_MAX];
	struct buf sql = { 0 };

	lsn_format(lsn, from);
	buf_addf(&sql,
		 "START_REPLICATION SLOT \"%s\" LOGICAL %s (\"format-version\" '2', \"include-types\" 'false', "
		 "\"include-type-oids\" 'true', \"include-lsn\" 'true', \"include-timestamp\" 'true', "
		 "\"include-xids\" 'true', \"add-msg-prefixes\" '%s'",
		 s->conf->slot, lsn, prefix ? prefix : s->no_prefix);
	add_option(&sql, "add-tables", s->calls->add_tables(s->ctx));
	add_option(&sql, "filter-tables", s->calls->filter_tables(s->ctx));
	buf_add_char(&sql, ')');
	ask(s, sql.data, SOURCE_STARTING);
	buf_fini(&sql);
}

static void take_slot(struct source *s, PGresult *result)
{
	struct source_start start = { s->system_id, s->timeline, s->server_end, 0 };
	struct fail why = { 0 };

	if (!slot_is_good(s, result, &why)) {
		source_lost(s, &why, true);
		return;
	}
	if (!lsn_parse(slice_of(PQgetvalue(result, 0, 3)), &start.confirmed)) {
		fail_set(&why, "slot \"%s\" has no confirmed_flush_lsn", s->conf->slot);
		source_lost(s, &why, true);
		return;
	}
	s->sent = start.confirmed;
	s->received = start.confirmed;
	start_replication(s, s->calls->start(s->ctx, &start));
}

/* One answer of a simple query. */
static void take_answer(struct source *s, PGresult *result)
{
	struct fail why = { 0 };

	switch (PQresultStatus(result)) {
	case PGRES_TUPLES_OK:
		if (s->state == SOURCE_SETTING)
			ask(s, "IDENTIFY_SYSTEM", SOURCE_IDENTIFY);
		else if (s->state == SOURCE_IDENTIFY)
			take_identity(s, result);
		else
			take_slot(s, result);
		return;
	case PGRES_COPY_BOTH:
		source_streaming(s);
		return;
	default:
		pgdial_result_fail(result, &why);
		source_lost(s, &why, false);
	}
}

void source_read_answer(struct source *s)
{
	PGresult *result, *extra;

	if (PQisBusy(s->conn))
		return;
	result = PQgetResult(s->conn);
	if (!result) {
		source_broken(s);
		return;
	}
	/* A simple query's results end with NULL, but a stream does not. */
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		while ((extra = PQgetResult(s->conn)))
			PQclear(extra);
	take_answer(s, result);
	PQclear(result);
}
