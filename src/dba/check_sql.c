/*
 * The checks that are one query. Each gives rows of state, text, kind of fix and fix, and no rows if all is well. So
 * PostgreSQL does the quoting. Parameters: $1 slot, $2 plugin, $3 replay.bytes, $4 the tables as an array of "schema.name", $5 sessions, $6 publication,
 * $7 database.warn-bytes.
 * PostgreSQL 13 to 18; what only some versions have is looked up by name.
 */
#include <stdio.h>
#include <string.h>

#include "parts.h"
#include "walpush/base/fail.h"

#define SLOT "FROM pg_replication_slots AS s WHERE s.slot_name = $1"
#define SETTING(name) "(SELECT setting FROM pg_settings WHERE name = '" name "')"
/* The fix if a foreign slot has the configured name: a name of our own. */
#define OTHER_SLOT                                                                                                     \
	"format('database.slot = \"%s\"',"                                                                             \
	" left($1 || '_' || regexp_replace(lower(current_database()), '[^a-z0-9_]', '_', 'g'), 63))"

const char check_sql_primary[] =
	"SELECT 'failure', 'this server is a standby, and before PostgreSQL 16 only a primary decodes', 'words',"
	" 'lead the database''s url to the primary'"
	" WHERE pg_is_in_recovery() AND current_setting('server_version_num')::int < 160000";

const char check_sql_encoding[] =
	"SELECT 'failure', format('the database stores its text as %s, but browsers get UTF-8: only UTF8 can be read',"
	"                         current_setting('server_encoding')), 'shell',"
	"       format('createdb --template=template0 --encoding=UTF8 --locale=C.UTF-8 %1$s_utf8"
	" && pg_dump %1$s | psql %1$s_utf8', CASE WHEN current_database() ~ '^[A-Za-z0-9_.-]+$' THEN current_database()"
	"        ELSE $q$'$q$ || replace(current_database(), $q$'$q$, $q$'\\''$q$) || $q$'$q$ END)"
	" WHERE current_setting('server_encoding') <> 'UTF8'";

const char check_sql_wal_level[] =
	"SELECT 'failure', format('wal_level is %s, but only logical writes what walpush reads', setting), 'restart',"
	"       'ALTER SYSTEM SET wal_level = logical;'"
	" FROM pg_settings WHERE name = 'wal_level' AND setting <> 'logical'";

/* A standby whose state this role may not see counts as synchronous, because it may be. */
const char check_sql_standby[] =
	"SELECT 'failure', format('synchronous_standby_names is %s, and no such standby is connected: commits wait for "
	"one,"
	" and what nobody can see yet is pushed to nobody', quote_literal(setting)), 'words',"
	"       'bring the standby back, or take it off synchronous_standby_names'"
	" FROM pg_settings WHERE name = 'synchronous_standby_names' AND setting <> '' AND NOT EXISTS"
	" (SELECT FROM pg_stat_replication WHERE sync_state IS NULL OR sync_state IN ('sync', 'quorum'))";

const char check_sql_slots[] =
	"SELECT 'failure', format('all %s replication slots are taken: there is room for no other', taken), 'restart',"
	"       format('ALTER SYSTEM SET max_replication_slots = %s;', taken + 4)"
	" FROM (SELECT count(*) AS taken, coalesce(bool_or(slot_name = $1), false) AS there"
	"       FROM pg_replication_slots) AS s"
	" WHERE NOT there AND taken >= " SETTING("max_replication_slots") "::int";

const char check_sql_walsenders[] =
	"SELECT 'failure', format('all %s walsenders are taken: walpush could not stream', taken), 'restart',"
	"       format('ALTER SYSTEM SET max_wal_senders = %s;', taken + 4)"
	" FROM (SELECT count(*) AS taken FROM pg_stat_replication) AS w"
	" WHERE taken >= " SETTING("max_wal_senders") "::int AND NOT EXISTS (SELECT " SLOT " AND s.active)";

const char check_sql_slot[] = "SELECT 'failure', format('there is no slot %s: nothing can be pushed', $1), 'sql',"
			      "       format('SELECT pg_create_logical_replication_slot(%L, %L);', $1, $2)"
			      " WHERE NOT EXISTS (SELECT " SLOT ")";

/* A slot of the other plugin can be moved. */
#define OF_OTHER_PLUGIN "slot_type = 'logical' AND plugin IN ('wal2json', 'pgoutput') AND plugin <> $2"

const char check_sql_slot_kind[] =
	"SELECT 'failure', format('the slot %s is for plugin %s, and database.plugin says %s', $1, plugin, $2), "
	"'shell',"
	"       format('walpush sql -c sidecar.conf --plugin %s --switch | psql -d %I', $2, database)"
	" " SLOT " AND " OF_OTHER_PLUGIN
	" UNION ALL SELECT 'failure', format('the slot %s is %s: it serves something else', $1,"
	"                         CASE slot_type WHEN 'logical' THEN 'for plugin ' || plugin ELSE slot_type END),"
	"       'conf', " OTHER_SLOT " " SLOT " AND (slot_type <> 'logical' OR plugin <> $2) AND (" OF_OTHER_PLUGIN
	") IS NOT TRUE"
	" UNION ALL SELECT 'ok', format('logical, with %s', plugin), '', NULL " SLOT
	" AND slot_type = 'logical' AND plugin = $2";

const char check_sql_slot_database[] = "SELECT 'failure', format('the slot %s belongs to database %s, this one is %s', "
				       "$1, database, current_database()),"
				       "       'conf', " OTHER_SLOT " " SLOT " AND database <> current_database()";

#define HELD                                                                                                           \
	"pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,"   \
	" s.restart_lsn)"

/* invalidation_reason exists since PostgreSQL 17; before, a slot is lost only because its WAL is removed. */
const char check_sql_slot_state[] =
	"SELECT CASE wal_status WHEN 'unreserved' THEN 'warning' ELSE 'failure' END,"
	"       CASE wal_status WHEN 'unreserved'"
	"            THEN 'WAL that the slot needs goes at the next checkpoint: get walpush running at once'"
	"            ELSE format('the slot is lost (%s): what was written since is not pushed, browsers are told to "
	"refetch',"
	"                        coalesce(to_jsonb(s) ->> 'invalidation_reason', 'WAL removed')) END,"
	"       'sql',"
	"       CASE wal_status WHEN 'unreserved'"
	"            THEN format('ALTER SYSTEM SET max_slot_wal_keep_size = ''%sMB''; SELECT pg_reload_conf();',"
	"                        greatest(10240, 4 * ($3::bigint / 1048576 + 1), 2 * (" HELD " / 1048576)::bigint))"
	"            ELSE format('SELECT pg_drop_replication_slot(%1$L);"
	" SELECT pg_create_logical_replication_slot(%1$L, %2$L);', $1, $2) END"
	" " SLOT " AND (wal_status IN ('lost', 'unreserved') OR to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL)";

const char check_sql_slot_reader[] =
	"SELECT CASE WHEN ours THEN 'ok' ELSE 'failure' END,"
	"       CASE WHEN ours THEN format('a walpush streams from it, process %s', pid)"
	"            ELSE format('process %s, %s of role %s, reads the slot: walpush gets nothing until it has gone', "
	"pid,"
	"                        coalesce(nullif(application_name, ''), 'a client'), coalesce(usename, 'unknown')) END,"
	"       CASE WHEN ours THEN '' ELSE 'sql' END,"
	"       CASE WHEN NOT ours THEN format('SELECT pg_terminate_backend(%s);', pid) END"
	" FROM (SELECT s.active_pid AS pid, a.application_name, a.usename,"
	"              a.usename = current_user AND a.application_name LIKE 'walpush%' IS TRUE AS ours"
	"       FROM pg_replication_slots AS s LEFT JOIN pg_stat_activity AS a ON a.pid = s.active_pid"
	"       WHERE s.slot_name = $1 AND s.active_pid IS NOT NULL) AS reader";

/* In megabytes; -1: no limit. walpush holds the replay window by design, and a burst comes on top. */
const char check_sql_keep_size[] =
	"SELECT 'warning',"
	"       CASE WHEN size < 0 THEN 'max_slot_wal_keep_size is -1: a walpush that is away lets WAL fill the disk'"
	"            ELSE format('max_slot_wal_keep_size is %s MB, and walpush holds up to %s MB by itself "
	"(replay.bytes):"
	" a burst of writes loses the slot', size, held) END,"
	"       'sql', format('ALTER SYSTEM SET max_slot_wal_keep_size = ''%sMB''; SELECT pg_reload_conf();',"
	"                     greatest(10240, 4 * held))"
	" FROM (SELECT setting::bigint AS size, $3::bigint / 1048576 + 1 AS held"
	"       FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS s"
	" WHERE size < 2 * held";

/* It is never taken from the role that asks: it may be the last superuser, or the one that people log in with. */
const char check_sql_superuser[] =
	"SELECT 'warning', format('role %s is a superuser: who gets its password owns the server', current_user), "
	"'words', 'give walpush a role of its own, in the database''s url; walpush sql prints what makes it'"
	" FROM pg_roles WHERE rolname = current_user AND rolsuper "
	"UNION ALL "
	"SELECT 'warning', format('role %s owns %s: it may do more than read', current_user, "
	"string_agg(c.oid::regclass::text, ', ')),"
	"       'words', 'give walpush a role of its own, in the database''s url; walpush sql prints what makes it'"
	" FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace JOIN pg_roles AS r ON r.oid = c.relowner"
	" WHERE n.nspname || '.' || c.relname = ANY ($4::text[]) AND r.rolname = current_user"
	" HAVING count(*) > 0";

/* With one connection for admissions walpush does all that it should, and a slow query of one user delays the others. */
const char check_sql_connection_limit[] =
	"SELECT CASE WHEN rolconnlimit < 7 THEN 'failure' ELSE 'warning' END,"
	"       format(CASE WHEN rolconnlimit < 7 THEN 'role %s may have %s connections, and walpush needs 7'"
	"                   ELSE 'role %s may have %s connections, and walpush takes up to %s: a slow admit query may "
	"delay others'"
	"              END, current_user, rolconnlimit, $5),"
	"       'sql', format('ALTER ROLE %I CONNECTION LIMIT -1;', current_user)"
	" FROM pg_roles WHERE rolname = current_user AND rolconnlimit BETWEEN 0 AND $5::int - 1";

/* During a rolling update two processes run. A server's walsenders have places of their own, so this counts one connection too many. */
const char check_sql_server_connections[] =
	"SELECT 'warning', format('the server has room for %s connections of applications, and others use %s: walpush "
	"takes up to %s, and twice as many during a rolling update', room, others, $5),"
	"       'restart', format('ALTER SYSTEM SET max_connections = %s;',"
	"                         current_setting('max_connections')::int + others + 2 * $5::int - room)"
	" FROM (SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
	"              - coalesce(nullif(current_setting('reserved_connections', true), ''), '0')::int AS room,"
	"              (SELECT count(*)::int FROM pg_stat_activity"
	"               WHERE usename <> current_user AND datid IS NOT NULL) AS others) AS s"
	" WHERE room - others < 2 * $5::int";

const char check_sql_password_expiry[] =
	"SELECT 'warning', format('the password of role %s expires at %s', current_user, "
	"rolvaliduntil::timestamptz(0)),"
	"       'sql', format('ALTER ROLE %I VALID UNTIL ''infinity'';', current_user)"
	" FROM pg_roles WHERE rolname = current_user AND rolvaliduntil < now() + interval '30 days'";

/* Also for public, because sessions of walpush look for names without a schema there. */
const char check_sql_schemas[] =
	"SELECT 'failure', format('role %s may not look into schema %s', current_user, nspname), 'sql',"
	"       format('GRANT USAGE ON SCHEMA %I TO %I;', nspname, current_user)"
	" FROM pg_namespace WHERE nspname IN (SELECT 'public' UNION SELECT n.nspname FROM pg_namespace n JOIN "
	"unnest($4::text[]) "
	"AS t ON starts_with(t, n.nspname || '.'))"
	"  AND NOT has_schema_privilege(oid, 'USAGE')";

#define LISTED(kinds)                                                                                                  \
	"FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"                                          \
	" WHERE n.nspname || '.' || c.relname = ANY ($4::text[]) AND c.relkind IN (" kinds ")"

/* Also of a listed table's partitions and children. SET LOGGED is refused while the table refers to an unlogged one: the older ones go first. */
const char check_sql_persistence[] =
	"WITH RECURSIVE kin (oid, schema, name) AS (SELECT c.oid, n.nspname, c.relname " LISTED(
		"'r', 'p'") " UNION SELECT i.inhrelid, kin.schema, kin.name FROM kin JOIN pg_inherits i ON"
			    " i.inhparent = kin.oid) "
			    "SELECT DISTINCT ON (c.oid) 'failure', format('%s is unlogged: its changes are not in the "
			    "WAL, and nobody hears of "
			    "them', c.oid::regclass),"
			    "       'sql', format('ALTER TABLE %s SET LOGGED;', c.oid::regclass), kin.schema, kin.name"
			    " FROM kin JOIN pg_class AS c ON c.oid = kin.oid WHERE c.relkind = 'r' AND "
			    "c.relpersistence = 'u' "
			    "ORDER BY c.oid";

/*
 * As CheckCmdReplicaIdentity in the server has it: a table that is published with UPDATE or DELETE refuses both, to everybody, without a replica
 * identity that the published columns cover. It asks about a partitioned table and about its partition. Not only listed tables count: each is the
 * application's. Names that the server lacks are found in `absent`, and pg_depend has the schemas, as in publication_query.
 */
const char check_sql_published_identity[] =
	"WITH RECURSIVE pub AS (SELECT oid, puballtables FROM pg_publication"
	"  WHERE pubname = $6 AND $2 = 'pgoutput' AND (pubupdate OR pubdelete)"
	"), whole (oid) AS ("
	"  SELECT s.refobjid FROM pub JOIN pg_depend d ON d.refclassid = 'pg_publication'::regclass AND d.refobjid = "
	"pub.oid"
	"   AND d.classid = to_regclass('pg_catalog.pg_publication_namespace')"
	"  JOIN pg_depend s ON s.classid = d.classid AND s.objid = d.objid AND s.refclassid = 'pg_namespace'::regclass"
	"), part (relid, attrs) AS ("
	"  SELECT r.* FROM (SELECT NULL::int2vector AS prattrs) AS absent CROSS JOIN pub CROSS JOIN LATERAL"
	"  (SELECT prrelid, prattrs::int2[] FROM pg_publication_rel WHERE prpubid = pub.oid) AS r"
	"), included (oid, attrs) AS ("
	"  SELECT c.oid, part.attrs FROM pub CROSS JOIN pg_class c LEFT JOIN part ON part.relid = c.oid"
	"  WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384"
	"   AND (puballtables OR part.relid IS NOT NULL OR c.relnamespace IN (SELECT oid FROM whole))"
	"  UNION SELECT i.inhrelid, included.attrs FROM included JOIN pg_inherits i ON i.inhparent = included.oid"
	"  JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition"
	"), identity AS ("
	"  SELECT c.oid, c.relreplident, included.attrs, i.indkey::int2[] AS key"
	"  FROM included JOIN pg_class c ON c.oid = included.oid"
	"  LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisvalid AND i.indimmediate"
	"   AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident)"
	") "
	"SELECT 'failure', format('%s is in publication %s without a replica identity:"
	" the application''s own UPDATE and DELETE of it fail', oid::regclass, $6),"
	" 'sql', format('ALTER TABLE ONLY %s REPLICA IDENTITY FULL;', oid::regclass)"
	" FROM identity WHERE relreplident <> 'f' AND key IS NULL "
	"UNION "
	"SELECT 'failure', format('the column list of %s in publication %s does not cover its replica identity:"
	" the application''s own UPDATE and DELETE of it fail', oid::regclass, $6),"
	" 'sql', format('BEGIN; ALTER PUBLICATION %1$I DROP TABLE ONLY %2$s; ALTER PUBLICATION %1$I ADD TABLE ONLY "
	"%2$s;"
	" COMMIT;', $6, oid::regclass)"
	" FROM identity WHERE attrs IS NOT NULL AND oid IN (SELECT relid FROM part)"
	"  AND (relreplident = 'f' OR NOT key <@ attrs) ORDER BY 2";

/* The index of a word that the checks' own SQL returned. Dies if there is no such word. */
static unsigned index_of(const char *const *names, size_t n, const char *word)
{
	for (unsigned i = 0; i < n; i++)
		if (strcmp(names[i], word) == 0)
			return i;
	fail_never("the checks' own query answered a word that they do not know");
}

static void take_row(struct check *c, const PGresult *result, int i)
{
	const char *fix = PQgetisnull(result, i, 3) ? NULL : PQgetvalue(result, i, 3);

	if (PQnfields(result) > 4 && rules_is_expanded(c->rules))
		check_about(c, rules_listed(c->rules, PQgetvalue(result, i, 4), PQgetvalue(result, i, 5)));
	check_add(c, index_of(check_states, CHECK_STATES, PQgetvalue(result, i, 0)),
		  index_of(check_fixes, CHECK_FIXES, PQgetvalue(result, i, 2)), fix, "%s", PQgetvalue(result, i, 1));
}

void check_sql(struct check *c, const struct check_row *row)
{
	char bytes[24], sessions[24], warn[24];
	struct buf tables = { 0 };
	PGresult *result;

	rules_catalog_param(c->rules, &tables);
	snprintf(bytes, sizeof(bytes), "%lld", (long long)c->conf->replay.bytes);
	snprintf(sessions, sizeof(sessions), "%lld", (long long)conf_sessions(c->conf));
	snprintf(warn, sizeof(warn), "%lld", (long long)c->conf->database.warn_bytes);
	result = check_ask(c, row->sql, 7,
			   (const char *[]){ c->conf->database.slot, c->plugin, bytes, tables.data, sessions,
					     c->conf->database.publication, warn });
	buf_fini(&tables);
	if (!result)
		return;
	for (int i = 0; i < PQntuples(result); i++)
		take_row(c, result, i);
	if (PQntuples(result) == 0)
		check_ok(c, "%s", row->fine);
	PQclear(result);
}
