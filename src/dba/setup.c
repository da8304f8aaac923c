#include "walpush/dba/setup.h"

#include <string.h>

#include "walpush/pg/pgdial.h"
#include "walpush/rules/reads.h"
#include "needs.h"
#include "setup_filters.h"
#include "setup_publication.h"
#include "setup_slot.h"
#include "setup_standby.h"
#include "setup_variables.h"
#include "walpush/text/sqltext.h"

#define OWN_NAMES "SET search_path = " SQLTEXT_OWN_PATH ";\n"
/* The search path of walpush's sessions for the queries of the configuration. */
#define QUERY_NAMES "SET search_path = " SQLTEXT_PATH ";\n"

/* Followed by head_text. */
static const char wal2json_head[] =
	"-- walpush: what the DBA does once for this configuration. PostgreSQL 13 to 18. Printed by `walpush sql`.\n"
	"--\n"
	"--     walpush sql -c sidecar.conf | psql -d app\n"
	"--     psql -d app -v slot=walpush -v role=walpush -f setup.sql\n"
	"--\n"
	"-- Run it as a superuser, or as the owner of the tables with CREATEROLE and REPLICATION. It may be run again: "
	"it adds\n";

static const char pgoutput_head[] =
	"-- walpush: what the DBA does once for this configuration, with the plugin that comes with PostgreSQL. "
	"PostgreSQL 13 to\n"
	"-- 18. Printed by `walpush sql --plugin pgoutput`.\n"
	"--\n"
	"--     walpush sql --plugin pgoutput -c sidecar.conf | psql -d app\n"
	"--     psql -d app -v slot=walpush -v publication=walpush -v role=walpush -f setup.sql\n"
	"--\n"
	"-- Run it as a superuser, or as the owner of the tables and of the publication, with CREATEROLE, REPLICATION "
	"and CREATE\n"
	"-- on the database: a publication is made by who owns its tables and may create in the database. It may be "
	"run again: it adds\n";

static const char head_text[] =
	"-- what is missing and takes nothing away, because another configuration may have the same role or "
	"publication: "
	"what this\n"
	"-- one does not need is named, and goes with -v revoke=on (walpush sql --revoke). sql/teardown.sql takes "
	"everything "
	"back.\n"
	"--\n"
	"-- The role's password comes from the environment's WALPUSH_PASSWORD or from -v password=… (which others on "
	"the machine\n"
	"-- can read in the list of processes). Without either the role keeps the one it has; psql's \\password sets "
	"one as well.\n"
	"\n"
	"\\set ON_ERROR_STOP on\n"
	"\\set QUIET on\n"
	"\\pset tuples_only on\n"
	"\\pset format unaligned\n"
	"\\pset pager off\n"
	"\n";

static const char missing_text[] =
	"-- ---- What must be there already. Each row found here is an error with its fix. "
	"------------------------------------\n"
	"\n"
	"SELECT format('DO %L', format('BEGIN RAISE EXCEPTION USING MESSAGE = %L, HINT = %L; END', problem, fix))\n"
	"FROM (\n"
	"    SELECT 0, format('role %I %s', rolname, CASE WHEN rolsuper THEN 'is a superuser' ELSE 'owns tables here' "
	"END),\n"
	"           'What follows makes a role read-only: give walpush one of its own, -v role=walpush and in its "
	"URL.'\n"
	"    FROM pg_roles AS r\n"
	"    WHERE rolname = :'role' AND (rolsuper OR EXISTS (SELECT FROM pg_class WHERE relowner = r.oid AND relkind "
	"IN ('r', 'p')))\n"
	"    UNION ALL\n"
	"    SELECT 1, 'wal_level is ' || current_setting('wal_level') || ', but only \"logical\" writes what walpush "
	"reads',\n"
	"           'ALTER SYSTEM SET wal_level = logical; then restart PostgreSQL.'\n"
	"    WHERE current_setting('wal_level') <> 'logical'\n"
	"    UNION ALL\n"
	"    SELECT 2, 'the encoding of database ' || current_database() || ' is ' || "
	"current_setting('server_encoding'),\n"
	"           'walpush sends UTF-8 to browsers and reads databases in UTF8 only.'\n"
	"    WHERE current_setting('server_encoding') <> 'UTF8'\n"
	"    UNION ALL\n"
	"    SELECT 3, format('there is no table %I.%I', schema, name),\n"
	"           'Run the application''s migrations first, or correct sidecar.conf.'\n"
	"    FROM (";

static const char preconditions[] = "\n"
				    "    ) AS w (schema, name, columns, sent, keyed)\n"
				    "    WHERE to_regclass(format('%I.%I', schema, name)) IS NULL\n";

static const char raised_text[] =
	") AS found (rank, problem, fix)\n"
	"ORDER BY rank\n"
	"LIMIT 1\n"
	"\\gexec\n"
	"\n"
	"SELECT current_setting('is_superuser') AS superuser,\n"
	"       :'revoke'::boolean AS revoke, :'recreate_slot'::boolean AS recreate_slot, :'replicas' <> '' AS "
	"has_replicas,\n"
	"       to_regrole('rds_replication') IS NOT NULL AS on_rds,\n"
	"       current_setting('server_version_num')::int >= 170000 AS knows_failover,\n"
	"       NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') AS role_missing,\n"
	"       :'slot' <> '' AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'slot') AS "
	"slot_missing\n"
	"\\gset\n"
	"\n";

static const char role_text[] =
	"-- ---- The role "
	"----------------------------------------------------------------------------------------------------\n"
	"\n"
	"\\if :role_missing\n"
	"    CREATE ROLE :\"role\";\n"
	"    \\echo role :role_quoted created\n"
	"\\endif\n"
	"\n"
	"-- REPLICATION opens the slot. Through it everything in this server's WAL can be read, whatever is granted "
	"below: guard\n"
	"-- this role's password like a superuser's. Amazon RDS reserves the attribute and has a role to be granted "
	"instead.\n"
	"\\if :on_rds\n"
	"    ALTER ROLE :\"role\" LOGIN;\n"
	"    GRANT rds_replication TO :\"role\";\n"
	"\\else\n"
	"    ALTER ROLE :\"role\" LOGIN REPLICATION;\n"
	"\\endif\n"
	"\n"
	"\\if :has_password\n"
	"    \\if :superuser\n"
	"        -- The server's log must not keep the statement with the password.\n"
	"        SET log_statement = 'none';\n"
	"        SET log_min_duration_statement = -1;\n"
	"        SET log_min_error_statement = 'panic';\n"
	"    \\endif\n"
	"    ALTER ROLE :\"role\" PASSWORD :'password';\n"
	"    \\if :superuser\n"
	"        RESET log_statement;\n"
	"        RESET log_min_duration_statement;\n"
	"        RESET log_min_error_statement;\n"
	"    \\endif\n"
	"\\elif :role_missing\n"
	"    \\warn the role has no password yet: set one with '\\\\password' :role_quoted\n"
	"\\endif\n"
	"\n"
	"-- Belt and braces: walpush only ever reads, and a mistake in a query of sidecar.conf must not write.\n"
	"ALTER ROLE :\"role\" SET default_transaction_read_only = on;\n"
	"-- No query of walpush may hold up the database: it answers soon or is given up. sidecar.conf can ask for "
	"less.\n"
	"ALTER ROLE :\"role\" SET statement_timeout = '10s';\n"
	"-- Nor may it queue for a lock (behind a migration, say) with others queueing behind it.\n"
	"ALTER ROLE :\"role\" SET lock_timeout = '2s';\n"
	"-- An open transaction would keep vacuum from cleaning up.\n"
	"ALTER ROLE :\"role\" SET idle_in_transaction_session_timeout = '30s';\n";

/* `%d`: the connections of one process. */
static const char limit_text[] =
	"-- With -v replicas=N the role may have as many connections as N processes take, %d each, and as many again "
	"for "
	"a rolling\n"
	"-- update.\n"
	"\\if :has_replicas\n"
	"    SELECT format('ALTER ROLE %%I CONNECTION LIMIT %%s', :'role', :'replicas'::int * 2 * %d)\n"
	"    \\gexec\n"
	"\\endif\n"
	"\n";

static const char granted_text[] =
	"-- ---- What it may read "
	"--------------------------------------------------------------------------------------------\n"
	"\n"
	"-- PUBLIC has CONNECT unless a careful DBA took it away.\n"
	"SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'role')\n"
	"\\gexec\n"
	"\n"
	"-- The rows of listed tables come through the slot; SELECT is for the queries, and only for the columns that "
	"they read.\n"
	"-- The server says which: a view is made of each query, and what it depends on is granted. All in one "
	"transaction, so that a\n"
	"-- walpush that runs misses nothing.\n"
	"BEGIN;\n";

static const char found_text[] = OWN_NAMES
	"-- What these read decides who may listen, so the log must hold its old rows: see below.\n"
	"CREATE TEMP TABLE walpush_found AS\n"
	"SELECT schema, name,\n"
	"       CASE WHEN bool_or(what = 'whole')\n"
	"            THEN ARRAY(SELECT a.attname::text FROM pg_attribute a\n"
	"                       WHERE a.attrelid = format('%I.%I', schema, name)::regclass AND attnum > 0 AND NOT "
	"attisdropped)\n"
	"            ELSE coalesce(array_agg(DISTINCT attname::text) FILTER (WHERE what = 'column'), '{}') END AS "
	"columns\n"
	"FROM (\n";

static const char grants_text[] = "\\gset\n"
				  ":grants\n"
				  "\\echo :grants\n";

/* Around needs_excess. */
static const char excess_text[] =
	"-- What the role may read besides: another configuration's, or what an earlier one needed.\n"
	"CREATE TEMP TABLE walpush_excess AS\n"
	"SELECT * FROM (\n";

static const char excess_end_text[] =
	"\n"
	") AS found (quoted, what, revoke, regrant);\n"
	"\\if :revoke\n"
	"    SELECT coalesce(string_agg(revoke || coalesce(' ' || regrant, ''), E'\\n' ORDER BY quoted), '') AS "
	"revoked "
	"FROM walpush_excess\n"
	"    \\gset\n"
	"    :revoked\n"
	"    \\echo :revoked\n"
	"\\else\n"
	"    SELECT format('note: role %I has %s on %s, which no query of this configuration needs. If no other "
	"configuration does: ',\n"
	"                  :'role', what, quoted)\n"
	"           || CASE WHEN regrant IS NULL THEN revoke ELSE format('BEGIN; %s %s COMMIT;', revoke, regrant) END\n"
	"    FROM walpush_excess ORDER BY quoted;\n"
	"\\endif\n"
	"DROP TABLE walpush_excess;\n";

static const char identity_text[] =
	"COMMIT;\n"
	"\n"
	"-- ---- Old rows "
	"----------------------------------------------------------------------------------------------------\n"
	"\n"
	"-- With REPLICA IDENTITY FULL the log holds the whole old row of an UPDATE or DELETE. Needed where the rules "
	"ask for a\n"
	"-- former value that the primary key does not hold: which unit a row left, whose membership ended, whether a "
	"column\n"
	"-- changed; and for large values, which an update that leaves them alone does not send. It costs WAL: about "
	"the size of\n"
	"-- the old row for each of these. Set before the slot exists, so that the slot never sees a change without "
	"it. The lock\n"
	"-- is exclusive and brief: with lock_timeout a busy table makes this fail instead of stopping the "
	"application. Then run\n"
	"-- it again.\n"
	"SET lock_timeout = '5s';\n";

/* Around needs_identity. */
static const char full_text[] = "SELECT format('ALTER TABLE %s REPLICA IDENTITY FULL', quoted) FROM (\n";

static const char full_end_text[] = "\n"
				    ") AS lacking\n"
				    "\\gexec\n"
				    "RESET lock_timeout;\n"
				    "DROP TABLE walpush_found;\n"
				    "\n";

static const char plugin_text[] =
	"-- ---- The plugin "
	"--------------------------------------------------------------------------------------------------\n"
	"\n"
	"-- Newer minor versions load only the output plugins of this list. What stands there stays; wal2json is "
	"added. The list\n"
	"-- is written name by name: as one string it would become the name of a single library.\n"
	"SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'output_plugin_libraries'\n"
	"               AND NOT EXISTS (SELECT FROM regexp_matches(setting, '\"[^\"]*\"|[^\\s,\"]+', 'g') AS element\n"
	"                               WHERE btrim(element[1], '\"') = 'wal2json')) AS plugin_refused\n"
	"\\gset\n"
	"\\if :plugin_refused\n"
	"    \\echo output_plugin_libraries: adding wal2json (only a superuser may)\n"
	"    SELECT format('ALTER SYSTEM SET output_plugin_libraries = %s', string_agg(quote_literal(library), ', ' "
	"ORDER BY at))\n"
	"    FROM pg_settings\n"
	"    CROSS JOIN LATERAL (SELECT library, min(at) AS at\n"
	"                        FROM regexp_split_to_table(setting || ',wal2json', '[\\s,\"]+') WITH ORDINALITY AS l "
	"(library, at)\n"
	"                        WHERE library <> '' GROUP BY library) AS listed\n"
	"    WHERE name = 'output_plugin_libraries'\n"
	"    \\gexec\n"
	"    SELECT pg_reload_conf() AS reloaded \\gset\n"
	"    -- The server takes it over when it gets round to it, and a session between two statements: look up to "
	"100 times.\n"
	"    SELECT $$SELECT FROM pg_sleep(0.1) WHERE current_setting('output_plugin_libraries') !~ "
	"'\\mwal2json\\M'$$\n"
	"    FROM generate_series(1, 100)\n"
	"    \\gexec\n"
	"\\endif\n"
	"\n";

static const char creators_text[] =
	"-- Whoever may create a function or an operator where walpush looks for names could lead a query to it; "
	"walpush then\n"
	"-- admits nobody by that query. Said and not done: the application's migrations may live on it.\n"
	"SELECT 'note: ' || who || ' may create in schema ' || schema || ', where walpush looks for names. When "
	"nothing "
	"needs it: '\n"
	"       || fix FROM (\n";

static const char creators_end_text[] = "\n"
					") AS found\n"
					"ORDER BY who, schema;\n"
					"\n";

static const char done_text[] =
	"\\echo done: DATABASE_URL for walpush is the URL of this database, directly and not through a pooler, with "
	"role :role_quoted\n";

/* 'public.name', for a name without a schema. */
static void add_qualified(struct buf *out, const char *name)
{
	struct buf text = { 0 };

	buf_addf(&text, "%s%s", strchr(name, '.') ? "" : "public.", name);
	sqltext_literal(out, text.data);
	buf_add_char(out, '\n');
	buf_fini(&text);
}

static unsigned add_view(struct buf *out, const struct rules_query *q, unsigned n)
{
	if (!q || !q->sql)
		return n;
	buf_addf(out, "-- %s\n", q->name);
	reads_view(out, n + 1, q);
	buf_add_text(out, ";\n");
	return n + 1;
}

/* Call this while only the views of the admit queries exist. A table whose section says `ignore` is left out. */
static void add_found(struct buf *out, const struct conf *conf)
{
	buf_add_text(out, found_text);
	buf_add_text(out, reads_query);
	buf_add_text(out,
		     "\n) AS found (what, schema, name, attname, text)\nWHERE what IN ('row', 'column', 'whole')\n");
	for (size_t i = 0; i < conf->n_memberships; i++) {
		if (!conf->memberships[i].ignore)
			continue;
		buf_add_text(out, "  AND schema || '.' || name <> ");
		add_qualified(out, conf->memberships[i].table);
	}
	buf_add_text(out, "GROUP BY schema, name;\n" QUERY_NAMES);
}

static unsigned add_views(struct buf *out, const struct conf *conf, const struct rules *rules)
{
	unsigned n = 0;

	for (size_t i = 0; i < rules_n_streams(rules); i++)
		n = add_view(out, &rules_stream(rules, i)->admit, n);
	add_found(out, conf);
	for (size_t i = 0; i < conf->n_tables; i++) {
		const struct rules_section *s = rules_section(rules, conf->tables[i].name);

		n = add_view(out, &s->lookup, n);
		n = add_view(out, &s->data, n);
	}
	return add_view(out, rules_actor(rules), n);
}

/* walpush looks for names in public, and check looks into the schema of each listed table. */
static void add_schemas(struct buf *out, const struct rules *rules)
{
	buf_add_text(out, "UNION SELECT format('GRANT USAGE ON SCHEMA %I TO %I;', nspname, :'role') FROM pg_namespace\n"
			  "WHERE NOT has_schema_privilege(:'role', oid, 'USAGE') AND nspname IN ('public'");
	for (size_t i = 0; i < rules_n_tables(rules); i++) {
		buf_add_text(out, ", ");
		sqltext_literal(out, rules_table(rules, i)->schema);
	}
	buf_add_text(out, ")\n");
}

static void add_reads(struct buf *out, const struct conf *conf, const struct rules *rules)
{
	unsigned n;

	buf_add_text(out, granted_text);
	buf_add_text(out, "-- Where walpush's sessions look for names without a schema.\n" QUERY_NAMES);
	n = add_views(out, conf, rules);
	buf_add_text(out, OWN_NAMES "SELECT coalesce(string_agg(statement, E'\\n' ORDER BY statement), '') AS grants "
				    "FROM (SELECT * FROM (\n");
	needs_grants(out, ":'role'");
	buf_add_text(out, "\n) AS needed\n");
	add_schemas(out, rules);
	buf_add_text(out, ") AS lacking (statement)\n");
	buf_add_text(out, grants_text);
	buf_add_text(out, excess_text);
	needs_excess(out, ":'role'");
	buf_add_text(out, excess_end_text);
	for (unsigned i = 1; i <= n; i++)
		buf_addf(out, "%s" READS_VIEW "%u", i == 1 ? "DROP VIEW " : ", ", i);
	buf_add_text(out, n ? ";\n" : "");
}

static bool is_pgoutput(const struct setup_options *options)
{
	return strcmp(options->plugin, SETUP_PGOUTPUT) == 0;
}

static void add_preconditions(struct buf *out, const struct conf *conf, const struct rules *rules,
			      const struct setup_options *options)
{
	buf_add_text(out, is_pgoutput(options) ? pgoutput_head : wal2json_head);
	buf_add_text(out, head_text);
	setup_variables(out, conf, options);
	buf_add_text(out, missing_text);
	needs_wanted(out, rules);
	buf_add_text(out, preconditions);
	setup_slot_refused(out, options);
	setup_variables_refused(out);
	setup_standby_refused(out, options);
	buf_add_text(out, raised_text);
}

/* Schemas that are made later lack what this script does to a table. */
static void add_patterns(struct buf *out, const struct rules *rules)
{
	for (size_t i = 0; i < rules_n_patterns(rules); i++) {
		const struct rules_table *t = rules_pattern(rules, i);
		struct buf name = { 0 };

		buf_addf(&name, "%s.%s", t->schema, t->name);
		buf_add_text(out, "SELECT format('note: %s has %s table%s; run this again when a schema is made', ");
		sqltext_literal(out, name.data);
		buf_add_text(out, ", count(*), CASE count(*) WHEN 1 THEN '' ELSE 's' END)\n"
				  "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace\n"
				  "WHERE c.relkind IN ('r', 'p') AND c.relname = ");
		sqltext_literal(out, t->name);
		buf_add_text(out, " AND ");
		needs_matches(out, t);
		buf_add_text(out, ";\n");
		buf_fini(&name);
	}
	buf_add_text(out, rules_n_patterns(rules) ? "\n" : "");
}

static void add_wal2json(struct buf *out, const struct rules *rules)
{
	buf_add_text(out, full_text);
	needs_identity(out, rules, NEEDS_FOUND);
	buf_add_text(out, full_end_text);
	buf_add_text(out, plugin_text);
}

void setup_script(const struct conf *conf, const struct rules *rules, const struct setup_options *options,
		  struct buf *out)
{
	add_preconditions(out, conf, rules, options);
	buf_add_text(out, role_text);
	buf_addf(out, limit_text, (int)conf_sessions(conf), (int)conf_sessions(conf));
	add_reads(out, conf, rules);
	buf_add_text(out, identity_text);
	if (is_pgoutput(options)) {
		setup_published(out, rules);
		setup_filters(out, rules, options->row_filters);
		setup_publication(out);
	} else {
		add_wal2json(out, rules);
	}
	add_patterns(out, rules);
	setup_slot(out, options);
	buf_add_text(out, creators_text);
	buf_add_text(out, needs_creators);
	buf_add_text(out, creators_end_text);
	setup_slot_told(out, options);
	buf_add_text(out, done_text);
}
