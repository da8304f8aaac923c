/* The checks in their order. */
#include <string.h>

#include "parts.h"
#include "walpush/dba/check.h"

/* Causes come before effects: a check that cannot be judged because another check failed is skipped, not failed. */
static const struct check_row rows[] = {
	{ .name = "configuration", .offline = true, .run = check_configuration },
	{ .name = "origins", .offline = true, .run = check_origins },
	{ .name = "key", .offline = true, .run = check_key },
	{ .name = "certificate", .offline = true, .run = check_certificate },
	{ .name = "file-limit", .offline = true, .run = check_file_limit },
	{ .name = "memory", .offline = true, .run = check_memory },
	{ .name = "path-values", .offline = true, .run = check_path_values },
	{ .name = "public", .offline = true, .run = check_public },
	{ .name = "groups", .offline = true, .run = check_groups },
	{ .name = "secret-names", .offline = true, .run = check_secret_names },
	{ .name = "connection", .run = check_connection },
	{ .name = "version", .needs = { "connection" }, .run = check_version },
	{ .name = "ddl-decoding", .needs = { "version" }, .run = check_ddl_decoding },
	{ .name = "clock", .needs = { "connection" }, .run = check_server_clock },
	{ .name = "server-certificate", .needs = { "connection" }, .run = check_server_certificate },
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
	{ .name = "role-rights",
	  .needs = { "connection" },
	  .sql = check_sql_superuser,
	  .fine = "no superuser, and owner of no table" },
	{ .name = "role-connections",
	  .needs = { "connection" },
	  .sql = check_sql_connection_limit,
	  .fine = "no limit in the way" },
	{ .name = "database-connections",
	  .needs = { "connection" },
	  .sql = check_sql_database_limit,
	  .fine = "the database has room for two processes" },
	{ .name = "server-connections",
	  .needs = { "connection" },
	  .sql = check_sql_server_connections,
	  .fine = "room for two processes" },
	{ .name = "role-password",
	  .needs = { "connection" },
	  .sql = check_sql_password_expiry,
	  .fine = "does not expire within 30 days" },
	{ .name = "slots", .alone = true, .needs = { "version" }, .sql = check_sql_slots, .fine = "room for the slot" },
	{ .name = "walsenders",
	  .alone = true,
	  .needs = { "version" },
	  .sql = check_sql_walsenders,
	  .fine = "one is free, or ours" },
	/* After the walsenders are counted: this opens one. */
	{ .name = "role", .alone = true, .needs = { "connection" }, .run = check_role },
	{ .name = "replication", .alone = true, .needs = { "role", "walsenders" }, .run = check_replication },
	{ .name = "schema", .needs = { "connection" }, .sql = check_sql_schemas, .fine = "the role may look into it" },
	{ .name = "creators", .needs = { "schema" }, .run = check_creators },
	{ .name = "membership", .stops = true, .needs = { "schema" }, .run = check_membership },
	{ .name = "table", .needs = { "connection" }, .run = check_tables },
	/* A slot of pgoutput cannot send what was written before its publication: the publication is made first. */
	{ .name = "publication", .stops = true, .needs = { "version", "table" }, .run = check_publication },
	{ .name = "published-identity",
	  .needs = { "version" },
	  .sql = check_sql_published_identity,
	  .fine = "no publication of walpush's makes an UPDATE fail" },
	{ .name = "slot-left",
	  .needs = { "version" },
	  .sql = check_sql_slot_left,
	  .fine = "not left from another time of this server" },
	{ .name = "slot", .needs = { "version", "primary" }, .sql = check_sql_slot, .fine = "there" },
	{ .name = "slot-kind", .needs = { "slot" }, .sql = check_sql_slot_kind, .fine = "" },
	{ .name = "slot-database",
	  .needs = { "slot-kind" },
	  .sql = check_sql_slot_database,
	  .fine = "of this database" },
	{ .name = "slot-state", .needs = { "slot-database" }, .sql = check_sql_slot_state, .fine = "has all its WAL" },
	{ .name = "slot-reader",
	  .needs = { "slot-state" },
	  .sql = check_sql_slot_reader,
	  .fine = "nobody reads it yet" },
	{ .name = "slot-wal", .needs = { "slot-state" }, .sql = check_sql_slot_wal, .fine = "none" },
	{ .name = "slot-idle", .needs = { "version" }, .sql = check_sql_slot_idle, .fine = "it may be idle" },
	{ .name = "failover", .needs = { "slot-state" }, .sql = check_sql_failover, .fine = "" },
	{ .name = "feedback",
	  .needs = { "connection" },
	  .sql = check_sql_feedback,
	  .fine = "nobody removes what the slot needs" },
	{ .name = "plugin", .alone = true, .needs = { "role", "wal-level", "primary" }, .run = check_plugin },
	{ .name = "plugin-version", .alone = true, .needs = { "plugin", "slot-state" }, .run = check_wal2json },
	{ .name = "waiting",
	  .alone = true,
	  .needs = { "slot-reader", "plugin", "publication", "replication" },
	  .run = check_waiting },
	{ .name = "prepared",
	  .needs = { "connection" },
	  .sql = check_sql_prepared,
	  .fine = "no transaction is prepared and left" },
	{ .name = "wal-bound",
	  .needs = { "version" },
	  .sql = check_sql_keep_size,
	  .fine = "the slot cannot fill the disk" },
	{ .name = "table-logged",
	  .needs = { "connection" },
	  .sql = check_sql_persistence,
	  .fine = "all tables' changes are in the WAL" },
	{ .name = "table-partitions", .needs = { "connection" }, .run = check_partitions },
	{ .name = "table-siblings", .needs = { "connection" }, .run = check_siblings },
	{ .name = "table-foreign", .needs = { "connection" }, .run = check_foreign },
	{ .name = "replica-identity", .needs = { "connection" }, .run = check_identity },
	{ .name = "row-security", .needs = { "schema" }, .run = check_row_security },
	{ .name = "patterns", .needs = { "table" }, .run = check_patterns },
	{ .name = "columns", .needs = { "table" }, .run = check_keys },
	{ .name = "secrets", .needs = { "table" }, .run = check_secrets },
	{ .name = "quiet", .needs = { "table" }, .run = check_quiet },
	{ .name = "query", .needs = { "schema" }, .run = check_queries },
	{ .name = "query-run", .needs = { "schema" }, .run = check_runs },
	{ .name = "rows-seen", .needs = { "schema" }, .run = check_sees },
	{ .name = "reads", .needs = { "query" }, .run = check_reads },
	{ .name = "relay", .offline = true, .run = check_relay },
};

static bool is_bad(const struct check *c, const char *name)
{
	for (size_t i = 0; i < c->n_findings; i++)
		if (c->findings[i].state >= CHECK_FAILURE && strcmp(c->findings[i].check, name) == 0)
			return true;
	return false;
}

void check_run(struct check *c)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct check_row *row = &rows[i];
		const char *because = NULL;

		if ((c->where == CHECK_OFFLINE && !row->offline) || (c->where == CHECK_SERVING && row->alone))
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
		check_unfold(c);
	}
}
