/*
 * Which plugin does the slot have, or will it have? And is wal2json there, and may it be used? pgoutput always is. No catalog has the answer: an output plugin is a file that the server looks for when
 * it decodes, and only superusers see output_plugin_libraries. So the check begins to decode, and gives up:
 *
 *   - the slot has a reader: the plugin is at work.
 *   - the slot has no reader: a peek that ends at once. The peek moves nothing, and holds the slot for a moment.
 *   - there is no slot: a temporary slot is made and dropped. The server loads the plugin, and then waits for open transactions:
 *     a statement_timeout means that the plugin was found.
 */
#include "parts.h"

#include "walpush/base/buf.h"
#include "walpush/pg/pgdial.h"
#include "walpush/text/sqltext.h"

static const char *known_plugin(const char *name)
{
	static const char *const names[] = { "wal2json", "pgoutput" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(names[i], name) == 0)
			return names[i];
	return NULL;
}

void check_find_plugin(struct check *c)
{
	PGresult *result;

	c->plugin = known_plugin(c->conf->database.plugin);
	if (c->plugin)
		return;
	result = check_ask(c, "SELECT coalesce(plugin, '') FROM pg_replication_slots WHERE slot_name = $1", 1,
			   (const char *[]){ c->conf->database.slot });
	if (result && PQntuples(result) == 1)
		c->plugin = known_plugin(PQgetvalue(result, 0, 0));
	if (!c->plugin)
		c->plugin = "wal2json";
	PQclear(result);
}

bool check_is_pgoutput(const struct check *c)
{
	return strcmp(c->plugin, "pgoutput") == 0;
}

/* A slot that walpush could read. One that is kept in step with the primary's cannot be tried, and is as good as one that is read. */
static bool slot_exists(struct check *c, bool *active)
{
	PGresult *result = check_ask(
		c,
		"SELECT active OR pg_is_in_recovery() AND coalesce((to_jsonb(s) ->> 'synced')::boolean, false)"
		" FROM pg_replication_slots AS s WHERE slot_name = $1 AND plugin = $2"
		" AND database = current_database() AND wal_status <> 'lost'",
		2, (const char *[]){ c->conf->database.slot, c->plugin });
	bool exists = result && PQntuples(result) == 1;

	*active = exists && PQgetvalue(result, 0, 0)[0] == 't';
	PQclear(result);
	return exists;
}

/* A slot that is made there waits for the primary. */
static bool is_standby(struct check *c)
{
	PGresult *result = check_ask(c, "SELECT FROM pg_is_in_recovery() AS r WHERE r", 0, NULL);
	bool is = PQntuples(result) == 1;

	PQclear(result);
	return is;
}

static void judge(struct check *c, const PGresult *result)
{
	struct fail why = { 0 };
	struct buf fix = { 0 };
	int major = PQserverVersion(c->sql) / 10000;

	if (PQresultStatus(result) == PGRES_TUPLES_OK) {
		check_ok(c, "%s is there", c->plugin);
		return;
	}
	pgdial_result_fail(result, &why);
	if (strcmp(why.sqlstate, "57014") == 0 || strcmp(why.sqlstate, "55006") == 0) {
		check_ok(c, "%s is there", c->plugin);
	} else if (strcmp(why.sqlstate, "53400") == 0) {
		check_add(c, CHECK_SKIPPED, CHECK_NONE, NULL, "not looked at: no slot is free to try it with");
	} else if (strcmp(why.sqlstate, "42501") == 0) {
		/* The script keeps the other entries of the list, which this role cannot see. */
		check_add_script(c, &fix);
		check_add(c, CHECK_FAILURE, CHECK_SHELL, fix.data,
			  "output_plugin_libraries does not list %s by itself: %s", c->plugin, why.text);
	} else if (strcmp(why.sqlstate, "58P01") == 0) {
		if (c->provider)
			buf_add_text(&fix, "make the slot with pgoutput, which each PostgreSQL has: walpush sql "
					   "--plugin pgoutput");
		else
			buf_addf(&fix, "apt-get install postgresql-%d-wal2json", major);
		check_add(c, CHECK_FAILURE, c->provider ? CHECK_WORDS : CHECK_SHELL, fix.data,
			  "the server has no %s: %s", c->plugin, why.text);
	} else {
		check_add(c, CHECK_FAILURE, CHECK_WORDS, "see the server's log", "decoding does not begin: %s (%s)",
			  why.text, why.sqlstate);
	}
	buf_fini(&fix);
}

/* Runs `before`, `name` as a literal, `after`, and judges the result. `name` is the plugin or the slot. */
static void attempt(struct check *c, const char *before, const char *name, const char *after)
{
	struct buf sql = { 0 };
	PGresult *result;

	buf_add_text(&sql, before);
	sqltext_literal(&sql, name);
	buf_add_text(&sql, after);
	result = PQexec(c->sql, sql.data);
	judge(c, result);
	PQclear(result);
	buf_fini(&sql);
}

void check_plugin(struct check *c)
{
	const struct conf_database *conf = &c->conf->database;
	bool active, exists = slot_exists(c, &active);

	if (exists && active)
		check_ok(c, "at work");
	else if (check_is_pgoutput(c))
		check_ok(c, "pgoutput comes with PostgreSQL");
	else if (!exists && is_standby(c))
		check_add(c, CHECK_SKIPPED, CHECK_NONE, NULL, "not tried: on a standby a slot waits for its primary");
	else if (exists)
		attempt(c, "SELECT count(*) FROM pg_logical_slot_peek_changes(", conf->slot, ", '0/1', 1)");
	else
		attempt(c,
			"SELECT pg_drop_replication_slot(slot_name) FROM pg_create_logical_replication_slot("
			"'walpush_check_' || pg_backend_pid(), ",
			c->plugin, ", true)");
}
