/* The checks in their order, and what they found. */
#include "walpush/dba/check.h"

#include <stdarg.h>
#include <stdlib.h>

#include "parts.h"
#include "walpush/base/fail.h"
#include "walpush/base/mem.h"

/* Cause before effect: what cannot be judged because something else is wrong is not said to be wrong too. */
const struct check_row check_rows[] = {
	{ .name = "configuration", .offline = true, .run = check_configuration },
	{ .name = "origins", .offline = true, .run = check_origins },
	{ .name = "key", .offline = true, .run = check_key },
	{ .name = "certificate", .offline = true, .run = check_certificate },
	{ .name = "file-limit", .offline = true, .run = check_file_limit },
	{ .name = "memory", .offline = true, .run = check_memory },
	{ .name = "connection", .run = check_connection },
	{ .name = "version", .needs = { "connection" }, .run = check_version },
	{ .name = "primary",
	  .needs = { "version" },
	  .sql = check_sql_primary,
	  .fine = "the server can decode its WAL" },
	{ .name = "encoding", .needs = { "connection" }, .sql = check_sql_encoding, .fine = "UTF8" },
	{ .name = "wal-level", .needs = { "connection" }, .sql = check_sql_wal_level, .fine = "logical" },
	{ .name = "standby",
	  .needs = { "connection" },
	  .sql = check_sql_standby,
	  .fine = "no commit waits for a standby that is away" },
	{ .name = "role", .needs = { "connection" }, .sql = check_sql_replication_role, .fine = "may replicate" },
	{ .name = "role-rights",
	  .needs = { "connection" },
	  .sql = check_sql_superuser,
	  .fine = "no superuser, and owner of no table" },
	{ .name = "role-connections",
	  .needs = { "connection" },
	  .sql = check_sql_connection_limit,
	  .fine = "no limit in the way" },
	{ .name = "role-password",
	  .needs = { "connection" },
	  .sql = check_sql_password_expiry,
	  .fine = "does not expire within 30 days" },
	{ .name = "slots", .needs = { "version" }, .sql = check_sql_slots, .fine = "room for the slot" },
	{ .name = "walsenders", .needs = { "version" }, .sql = check_sql_walsenders, .fine = "one is free, or ours" },
	{ .name = "replication", .needs = { "role", "walsenders" }, .run = check_replication },
	{ .name = "slot", .needs = { "version" }, .sql = check_sql_slot, .fine = "there" },
	{ .name = "slot-kind", .needs = { "slot" }, .sql = check_sql_slot_kind, .fine = "logical, with wal2json" },
	{ .name = "slot-database",
	  .needs = { "slot-kind" },
	  .sql = check_sql_slot_database,
	  .fine = "of this database" },
	{ .name = "slot-state", .needs = { "slot-database" }, .sql = check_sql_slot_state, .fine = "has all its WAL" },
	{ .name = "slot-reader",
	  .needs = { "slot-state" },
	  .sql = check_sql_slot_reader,
	  .fine = "nobody reads it yet" },
	{ .name = "plugin", .needs = { "role", "wal-level", "primary" }, .run = check_plugin },
	{ .name = "wal-bound",
	  .needs = { "version" },
	  .sql = check_sql_keep_size,
	  .fine = "the slot cannot fill the disk" },
	{ .name = "schema", .needs = { "connection" }, .sql = check_sql_schemas, .fine = "the role may look into it" },
	{ .name = "creators", .needs = { "schema" }, .run = check_creators },
	{ .name = "membership", .needs = { "schema" }, .run = check_membership },
	{ .name = "table", .needs = { "connection" }, .run = check_tables },
	{ .name = "table-logged",
	  .needs = { "connection" },
	  .sql = check_sql_persistence,
	  .fine = "all tables' changes are in the WAL" },
	{ .name = "table-partitions", .needs = { "connection" }, .run = check_partitions },
	{ .name = "replica-identity", .needs = { "connection" }, .run = check_identity },
	{ .name = "row-security", .needs = { "schema" }, .run = check_row_security },
	{ .name = "columns", .needs = { "table" }, .run = check_keys },
	{ .name = "secrets", .needs = { "table" }, .run = check_secrets },
	{ .name = "quiet", .needs = { "table" }, .run = check_quiet },
	{ .name = "query", .needs = { "schema" }, .run = check_queries },
	{ .name = "relay", .offline = true, .run = check_relay },
};

const size_t check_n_rows = sizeof(check_rows) / sizeof(*check_rows);

static const char *const state_names[] = { "ok", "warning", "failure", "skipped" };
static const char *const kind_names[] = { "", "sql", "restart", "hba", "conf", "shell", "words" };
static const char *const kind_titles[] = {
	"",
	"SQL: ",
	"SQL, then restart PostgreSQL: ",
	"first line of pg_hba.conf, then reload: ",
	"sidecar.conf: ",
	"shell: ",
	"do: ",
};

struct check *check_new(const struct conf *conf, struct rules *rules, bool offline)
{
	struct check *c = mem_new(sizeof(*c));

	c->conf = conf;
	c->rules = rules;
	c->offline = offline;
	return c;
}

void check_free(struct check *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_findings; i++) {
		free(c->findings[i].text);
		free(c->findings[i].mend);
	}
	free(c->findings);
	free(c->role);
	free(c->database);
	PQfinish(c->sql);
	catalog_free(c->catalog);
	free(c);
}

static char *one_line(char *text)
{
	for (char *at = text; *at; at++)
		if (*at == '\n' || *at == '\r' || *at == '\t')
			*at = ' ';
	return text;
}

void check_add(struct check *c, enum check_state state, enum check_mend kind, const char *mend, const char *format, ...)
{
	struct check_finding *f;
	char *text;
	va_list args;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		fail_never("out of memory: no text for a finding");
	va_end(args);
	c->findings = mem_resize(c->findings, c->n_findings + 1, sizeof(*c->findings));
	f = &c->findings[c->n_findings++];
	*f = (struct check_finding){ c->running, state, one_line(text), kind, mend ? one_line(mem_text(mend)) : NULL };
}

static bool is_bad(const struct check *c, const char *name)
{
	for (size_t i = 0; i < c->n_findings; i++)
		if (c->findings[i].state >= CHECK_FAILURE && strcmp(c->findings[i].check, name) == 0)
			return true;
	return false;
}

void check_run(struct check *c)
{
	for (size_t i = 0; i < check_n_rows; i++) {
		const struct check_row *row = &check_rows[i];
		const char *because = NULL;

		if (c->offline && !row->offline)
			continue;
		for (size_t k = 0; k < 4 && !because; k++)
			if (row->needs[k] && is_bad(c, row->needs[k]))
				because = row->needs[k];
		c->running = row->name;
		if (because)
			check_add(c, CHECK_SKIPPED, CHECK_NONE, NULL, "not looked at, because of \"%s\"", because);
		else if (row->run)
			row->run(c);
		else
			check_sql(c, row);
	}
}

static size_t count(const struct check *c, enum check_state state)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n_findings; i++)
		n += c->findings[i].state == state;
	return n;
}

size_t check_failures(const struct check *c)
{
	return count(c, CHECK_FAILURE);
}

size_t check_warnings(const struct check *c)
{
	return count(c, CHECK_WARNING);
}

void check_print(const struct check *c, struct buf *out)
{
	for (size_t i = 0; i < c->n_findings; i++) {
		const struct check_finding *f = &c->findings[i];

		buf_addf(out, "%-8s %-16s %s", state_names[f->state], f->check, f->text);
		if (f->mend)
			buf_addf(out, " | %s%s", kind_titles[f->kind], f->mend);
		buf_add_char(out, '\n');
	}
	buf_addf(out, "%zu failure%s, %zu warning%s%s\n", check_failures(c), check_failures(c) == 1 ? "" : "s",
		 check_warnings(c), check_warnings(c) == 1 ? "" : "s",
		 c->offline ? "; offline: no server was looked at" : "");
}

json_t *check_json(const struct check *c)
{
	json_t *findings = json_array();

	for (size_t i = 0; i < c->n_findings; i++) {
		const struct check_finding *f = &c->findings[i];
		json_t *mend =
			f->mend ? json_pack("{s:s, s:s}", "kind", kind_names[f->kind], "text", f->mend) : json_null();

		json_array_append_new(findings, json_pack("{s:s, s:s, s:s, s:o}", "check", f->check, "state",
							  state_names[f->state], "text", f->text, "mend", mend));
	}
	return json_pack("{s:s, s:b, s:i, s:i, s:o}", "file", c->conf->file, "offline", c->offline, "failures",
			 (int)check_failures(c), "warnings", (int)check_warnings(c), "findings", findings);
}

/* --- checks that are a query ---------------------------------------------------------------------------------- */

#define TEXT_OID 25
#define VALUES_MOST 8

PGresult *check_ask(struct check *c, const char *sql, size_t n_values, const char *const *values)
{
	Oid types[VALUES_MOST] = { 0 };
	PGresult *result;

	for (size_t i = 0; i < n_values && i < VALUES_MOST; i++)
		types[i] = TEXT_OID;
	result = PQexecParams(c->sql, sql, (int)n_values, types, values, NULL, NULL, 0);
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		return result;
	check_add(c, CHECK_FAILURE, CHECK_WORDS, "see the server's log; run walpush check again",
		  "the server did not answer this question: %s",
		  PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)
			  ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)
			  : "the connection is lost");
	PQclear(result);
	return NULL;
}

/* A word of a row that our own SQL answered. */
static unsigned index_of(const char *const *names, size_t n, const char *word)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(names[i], word) == 0)
			return i;
	fail_never("the checks' own query answered a word that they do not know");
}

#define INDEX_OF(names, word) index_of((names), sizeof(names) / sizeof(*(names)), (word))

void check_sql(struct check *c, const struct check_row *row)
{
	char bytes[24];
	struct buf tables = { 0 };
	PGresult *result;

	rules_catalog_param(c->rules, &tables);
	snprintf(bytes, sizeof(bytes), "%lld", (long long)c->conf->replay.bytes);
	result = check_ask(c, row->sql, 4,
			   (const char *[]){ c->conf->database.slot, c->conf->database.plugin, bytes, tables.data });
	buf_fini(&tables);
	if (!result)
		return;
	for (int i = 0; i < PQntuples(result); i++) {
		const char *mend = PQgetisnull(result, i, 3) ? NULL : PQgetvalue(result, i, 3);

		check_add(c, INDEX_OF(state_names, PQgetvalue(result, i, 0)),
			  INDEX_OF(kind_names, PQgetvalue(result, i, 2)), mend, "%s", PQgetvalue(result, i, 1));
	}
	if (PQntuples(result) == 0)
		check_ok(c, "%s", row->fine);
	PQclear(result);
}
