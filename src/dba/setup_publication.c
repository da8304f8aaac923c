#include "setup_publication.h"

#include "needs.h"
#include "walpush/text/sqltext.h"

/* Followed by needs_identity. */
static const char full_text[] = "CREATE TEMP TABLE walpush_full AS\n"
				"SELECT quoted::regclass::oid AS oid FROM (\n";

static const char wanted_text[] = "\n"
				  ") AS lacking;\n"
				  "\n"
				  "CREATE TEMP TABLE walpush_wanted AS\n"
				  "SELECT schema, name FROM (";

/*
 * The partitions of a published table are in the publication, whichever are made later; other children are not, so they are listed. A
 * partition without its root is published by its own name.
 */
static const char published_text[] =
	"\n"
	"    ) AS w (schema, name)\n"
	"UNION SELECT schema, name FROM walpush_found;\n"
	"\n"
	"-- What is published: these tables and their children, but partitions through their root. Nothing of a view, "
	"a "
	"foreign or an\n"
	"-- unlogged table is in the log.\n"
	"CREATE TEMP TABLE walpush_published AS\n"
	"WITH RECURSIVE kin (oid) AS (\n"
	"    SELECT c.oid FROM walpush_wanted w JOIN pg_namespace n ON n.nspname = w.schema\n"
	"    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name\n"
	"    UNION\n"
	"    SELECT i.inhrelid FROM kin JOIN pg_class c ON c.oid = kin.oid AND c.relkind = 'r'\n"
	"    JOIN pg_inherits i ON i.inhparent = c.oid\n"
	")\n"
	"SELECT kin.oid, (SELECT k.oid FROM pg_partition_ancestors(kin.oid) WITH ORDINALITY AS a (relid, at)\n"
	"                 JOIN kin AS k ON k.oid = a.relid AND k.oid <> kin.oid AND pg_relation_is_publishable(k.oid)\n"
	"                 ORDER BY a.at DESC LIMIT 1) AS root\n"
	"FROM kin WHERE pg_relation_is_publishable(kin.oid);\n"
	"SELECT format('note: %I.%I is not in the publication: it is %s, and the log has none of its rows', schema, "
	"name,\n"
	"              CASE WHEN c.relkind IN ('v', 'm') THEN 'a view' WHEN c.relkind = 'f' THEN 'a foreign table'\n"
	"                   ELSE 'not an ordinary logged table' END)\n"
	"FROM walpush_wanted JOIN pg_class c ON c.oid = to_regclass(format('%I.%I', schema, name))\n"
	"WHERE NOT pg_relation_is_publishable(c.oid)\n"
	"ORDER BY 1;\n"
	"SELECT format('note: %s is a partition of %s, which is published: its rows come as rows of that table',\n"
	"              oid::regclass, root::regclass)\n"
	"FROM walpush_published WHERE root IS NOT NULL\n"
	"ORDER BY 1;\n"
	"DELETE FROM walpush_published WHERE root IS NOT NULL;\n"
	"-- The tables that hold their rows.\n"
	"CREATE TEMP TABLE walpush_leaf AS\n"
	"SELECT p.oid AS root, c.oid\n"
	"FROM walpush_published p\n"
	"CROSS JOIN LATERAL (SELECT p.oid UNION SELECT relid::oid FROM pg_partition_tree(p.oid)) AS part (oid)\n"
	"JOIN pg_class c ON c.oid = part.oid AND c.relkind = 'r' AND pg_relation_is_publishable(c.oid);\n"
	"\n";

/* PostgreSQL's rules are those of CheckCmdReplicaIdentity and RelationGetReplicaIndex. Since 18 the replica identity must not have a
 * generated column that the publication does not send, and virtual ones are never sent; FULL has them all. Before 18 no column is
 * attgenerated 'v', and no publication has pubgencols. */
static const char refused_text[] =
	"-- PostgreSQL refuses an UPDATE or DELETE of a published table without a replica identity. So nothing is "
	"published where\n"
	"-- a statement of the application would fail, now or in a partition that is made later. REPLICA IDENTITY FULL "
	"below counts.\n"
	"SELECT format('DO %L', format('BEGIN RAISE EXCEPTION USING MESSAGE = %L, DETAIL = %L, HINT = %L; END',\n"
	"              'the publication was not touched: the application''s own UPDATE and DELETE would fail',\n"
	"              string_agg(problem, E'\\n' ORDER BY problem),\n"
	"              string_agg(fix, E'\\n' ORDER BY problem) || E'\\nThen run this again.'))\n"
	"FROM (\n"
	"    SELECT format('%s has no primary key, so a partition that is made later has no replica identity', "
	"p.oid::regclass),\n"
	"           format('ALTER TABLE %s ADD PRIMARY KEY (…); with the columns of its partition key %s. Or list its "
	"partitions'\n"
	"                  ' in sidecar.conf, and not itself.', p.oid::regclass, pg_get_partkeydef(p.oid))\n"
	"    FROM walpush_published p JOIN pg_class c ON c.oid = p.oid AND c.relkind = 'p'\n"
	"    WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = p.oid AND i.indisprimary AND i.indisvalid\n"
	"                      AND i.indimmediate)\n"
	"    UNION ALL\n"
	"    SELECT format('%s has no replica identity: its key is deferrable or not valid', l.oid::regclass),\n"
	"           format('ALTER TABLE %s REPLICA IDENTITY FULL;', l.oid::regclass)\n"
	"    FROM walpush_leaf l JOIN pg_class c ON c.oid = l.oid\n"
	"    WHERE c.relreplident <> 'f' AND NOT EXISTS (SELECT FROM walpush_full f WHERE f.oid = l.oid)\n"
	"      AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = l.oid AND i.indisvalid AND i.indimmediate\n"
	"                      AND i.indisunique AND i.indpred IS NULL\n"
	"                      AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident\n"
	"                               ELSE false END)\n"
	"    UNION ALL\n"
	"    SELECT format('%s needs REPLICA IDENTITY FULL and has the virtual generated column %I', l.oid::regclass, "
	"a.attname),\n"
	"           format('Make %s.%I STORED, or use wal2json: walpush sql --plugin wal2json.', l.oid::regclass, "
	"a.attname)\n"
	"    FROM walpush_leaf l JOIN pg_class c ON c.oid = l.oid\n"
	"    JOIN pg_attribute a ON a.attrelid = l.oid AND a.attgenerated = 'v' AND NOT a.attisdropped\n"
	"    WHERE c.relreplident = 'f' OR EXISTS (SELECT FROM walpush_full f WHERE f.oid = l.oid)\n"
	"    UNION ALL\n"
	"    SELECT format('%s needs REPLICA IDENTITY FULL, has a generated column, and is in publication %I without "
	"'\n"
	"                  'generated columns', l.oid::regclass, p.pubname),\n"
	"           format('ALTER PUBLICATION %I SET (publish_generated_columns = stored);', p.pubname)\n"
	"    FROM walpush_leaf l JOIN walpush_full f ON f.oid = l.oid\n"
	"    JOIN pg_publication p ON to_jsonb(p) ->> 'pubgencols' = 'n'\n"
	"    JOIN pg_publication_tables t ON t.pubname = p.pubname\n"
	"     AND to_regclass(format('%I.%I', t.schemaname, t.tablename)) IN (l.oid, l.root)\n"
	"    WHERE EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = l.oid AND a.attgenerated = 's')\n"
	") AS refused (problem, fix)\n"
	"HAVING count(*) > 0\n"
	"\\gexec\n"
	"\n";

/*
 * A row of a partition comes with the description of its root, and the server takes the root's replica identity to be that of the row. A
 * root with more than the primary key would promise old values that a later partition does not log: they would come as null. An index
 * identity of a partition may lack the root's primary key.
 */
static const char alter_text[] =
	"-- A partition's row comes with the replica identity of its root, which must not promise more than a "
	"partition "
	"logs that\n"
	"-- is made later: so the root has its primary key, and no partition has an index of its own instead.\n"
	"SELECT format('ALTER TABLE %s REPLICA IDENTITY %s', oid::regclass, identity) FROM (\n"
	"    SELECT oid, 'FULL' FROM walpush_full\n"
	"    UNION\n"
	"    SELECT c.oid, 'FULL' FROM walpush_leaf l JOIN pg_class c ON c.oid = l.oid\n"
	"    WHERE l.root <> l.oid AND c.relreplident = 'i'\n"
	"    UNION\n"
	"    SELECT c.oid, 'DEFAULT' FROM walpush_published p JOIN pg_class c ON c.oid = p.oid\n"
	"    WHERE c.relkind = 'p' AND c.relreplident <> 'd'\n"
	") AS lacking (oid, identity)\n"
	"ORDER BY oid\n"
	"\\gexec\n"
	"\n";

static void add_row(struct buf *out, const char *schema, const struct rules_table *t)
{
	buf_addf(out, "%s, ", schema);
	sqltext_literal(out, t->name);
}

void setup_published(struct buf *out, const struct rules *r)
{
	buf_add_text(out, full_text);
	needs_identity(out, r, NEEDS_FOUND);
	buf_add_text(out, wanted_text);
	needs_rows(out, r, add_row);
	buf_add_text(out, published_text);
	buf_add_text(out, refused_text);
	buf_add_text(out, alter_text);
}

/*
 * The members that there are, and what becomes of each. `keys` has the columns of the replica identity by name, because those of a partition may
 * have other numbers than its root's; null: there is none that PostgreSQL takes for an UPDATE. FULL is all columns, and none if one of them is
 * virtual. Names that older versions lack are found in `absent`: prattrs and prqual exist since 15.
 */
static const char member_text[] =
	"-- ---- The publication "
	"---------------------------------------------------------------------------------------------\n"
	"\n"
	"-- What is in it already. A table that this configuration does not name may be another one's, so it stays, "
	"unless "
	"its UPDATE\n"
	"-- and DELETE would fail, or its rows come as rows of a root that is needed.\n"
	"CREATE TEMP TABLE walpush_member AS\n"
	"WITH member AS (\n"
	"    SELECT r.prrelid AS oid, r.condition, r.conditional, r.columns,\n"
	"           EXISTS (SELECT FROM walpush_published w WHERE w.oid = r.prrelid) AS ours,\n"
	"           EXISTS (SELECT FROM pg_partition_ancestors(r.prrelid) AS a (relid) JOIN walpush_published w ON "
	"w.oid = "
	"a.relid\n"
	"                   WHERE w.oid <> r.prrelid) AS covered,\n"
	"           EXISTS (SELECT FROM walpush_published w CROSS JOIN pg_partition_ancestors(w.oid) AS a (relid)\n"
	"                   WHERE a.relid = r.prrelid AND w.oid <> r.prrelid) AS covers\n"
	"    FROM (SELECT NULL::pg_node_tree AS prqual, NULL::int2vector AS prattrs) AS absent\n"
	"    CROSS JOIN LATERAL (SELECT prpubid, prrelid, pg_get_expr(prqual, prrelid) AS condition,\n"
	"                               ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = prrelid AND attnum IN "
	"(\n"
	"                                   SELECT number[1]::int FROM regexp_matches(prqual::text, ':varattno "
	"(\\d+)', "
	"'g') AS number)) AS conditional,\n"
	"                               CASE WHEN prattrs IS NOT NULL\n"
	"                                    THEN ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = prrelid\n"
	"                                               AND attnum = ANY (prattrs::int2[])) END AS columns\n"
	"                        FROM pg_publication_rel) AS r\n"
	"    JOIN pg_publication p ON p.oid = r.prpubid\n"
	"    WHERE p.pubname = :'publication'\n"
	"), leaf AS (\n"
	"    SELECT m.oid AS root, c.relreplident = 'f' AS is_full, ARRAY(\n"
	"        SELECT a.attname FROM pg_attribute a\n"
	"        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND (c.relreplident = 'f' OR EXISTS "
	"(\n"
	"            SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate\n"
	"             AND a.attnum = ANY (i.indkey::int2[])\n"
	"             AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident)))) AS "
	"keys,\n"
	"        EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated = 'v' AND NOT "
	"a.attisdropped) AS is_virtual\n"
	"    FROM member m\n"
	"    CROSS JOIN LATERAL (SELECT m.oid UNION SELECT relid::oid FROM pg_partition_tree(m.oid)) AS part (oid)\n"
	"    JOIN pg_class c ON c.oid = part.oid AND c.relkind = 'r'\n"
	"), refused AS (\n"
	"    SELECT root AS oid, bool_or(keys = '{}' OR is_full AND is_virtual) AS nameless,\n"
	"           bool_or(NOT keys <@ columns OR NOT conditional <@ keys) AS uncovered\n"
	"    FROM leaf JOIN member ON member.oid = leaf.root GROUP BY root\n"
	")\n"
	"SELECT member.oid, member.columns, member.condition, ours, covers,\n"
	"       CASE WHEN ours THEN 'ours' WHEN covered OR nameless THEN 'goes' WHEN uncovered THEN 'whole'\n"
	"            WHEN :'revoke'::boolean THEN 'goes' ELSE 'left' END AS fate\n"
	"FROM member LEFT JOIN refused USING (oid);\n"
	"-- A table that is sent without this filter may be read by others: it goes on being sent so, unless it was "
	"asked for.\n"
	"WITH unfiltered AS (\n"
	"    DELETE FROM walpush_filter f USING walpush_member m\n"
	"    WHERE m.oid = f.oid AND m.condition IS DISTINCT FROM f.condition AND NOT :'revoke'::boolean\n"
	"    RETURNING f.oid\n"
	")\n"
	"SELECT format('note: no row filter for %s: publication %I has it without this one, and another slot may read "
	"it. If "
	"none does:'\n"
	"              ' -v revoke=on (walpush sql --plugin pgoutput --row-filters --revoke)', oid::regclass, "
	":'publication')\n"
	"FROM unfiltered ORDER BY 1;\n"
	"\n";

/* to_jsonb reads pubgencols, which exists since 18. Without publish_generated_columns
 * REPLICA IDENTITY FULL fails in 18 if the table has stored generated columns. */
static const char publication_text[] =
	"-- The slot sends the rows of its tables, and of no others. They are in it with all columns, and with all "
	"rows "
	"but for\n"
	"-- the filters above: else it would hide what the rules need.\n"
	"SELECT NOT EXISTS (SELECT FROM pg_publication WHERE pubname = :'publication') AS publication_missing,\n"
	"       EXISTS (SELECT FROM pg_publication WHERE pubname = :'publication' AND puballtables) AS "
	"publication_stays,\n"
	"       EXISTS (SELECT FROM pg_publication p WHERE pubname = :'publication'\n"
	"               AND NOT (pubinsert AND pubupdate AND pubdelete AND pubtruncate AND pubviaroot\n"
	"                        AND coalesce(to_jsonb(p) ->> 'pubgencols', 's') = 's')) AS publication_differs,\n"
	"       'publish = ''insert, update, delete, truncate'', publish_via_partition_root = true'\n"
	"       || CASE WHEN current_setting('server_version_num')::int >= 180000\n"
	"               THEN ', publish_generated_columns = stored' ELSE '' END AS parameters,\n"
	"       current_setting('server_version_num')::int >= 150000 AS knows_schemas\n"
	"\\gset\n"
	"\\if :knows_schemas\n"
	"    SELECT :'publication_stays'::boolean OR EXISTS (\n"
	"        SELECT FROM pg_publication_namespace n JOIN pg_publication p ON p.oid = n.pnpubid\n"
	"        WHERE p.pubname = :'publication') AS publication_stays\n"
	"    \\gset\n"
	"\\endif\n"
	"\\if :publication_stays\n"
	"    \\echo publication :publication_quoted is FOR ALL TABLES or FOR TABLES IN SCHEMA: it stays as it is\n"
	"    SELECT format('note: walpush needs ALTER PUBLICATION %I SET (%s);', :'publication', :'parameters')\n"
	"    WHERE :'publication_differs'::boolean;\n"
	"\\else\n"
	"    SELECT coalesce(string_agg(statement, E'\\n' ORDER BY rank, statement), '') AS changes,\n"
	"           count(*) = 0 AS unchanged\n"
	"    FROM (\n"
	"        WITH member AS (\n"
	"            SELECT m.*, m.columns IS NULL AND m.condition IS NOT DISTINCT FROM f.condition AS whole\n"
	"            FROM walpush_member m LEFT JOIN walpush_filter f USING (oid)\n"
	"        )\n"
	"        SELECT 0, format('CREATE PUBLICATION %I WITH (%s);', :'publication', :'parameters')\n"
	"        WHERE :'publication_missing'::boolean\n"
	"        UNION ALL\n"
	"        SELECT 1, format('ALTER PUBLICATION %I DROP TABLE ONLY %s;', :'publication', oid::regclass)\n"
	"        FROM member WHERE fate IN ('goes', 'whole') OR ours AND NOT whole\n"
	"        UNION ALL\n"
	"        SELECT 2, format('ALTER PUBLICATION %I SET (%s);', :'publication', :'parameters')\n"
	"        WHERE :'publication_differs'::boolean\n"
	"        UNION ALL\n"
	"        SELECT 3, format('ALTER PUBLICATION %I ADD TABLE ONLY %s%s;', :'publication', oid::regclass,\n"
	"                         ' WHERE (' || condition || ')')\n"
	"        FROM walpush_published LEFT JOIN walpush_filter USING (oid)\n"
	"        WHERE oid NOT IN (SELECT oid FROM member WHERE whole)\n"
	"        UNION ALL\n"
	"        SELECT 3, format('ALTER PUBLICATION %I ADD TABLE ONLY %s;', :'publication', oid::regclass)\n"
	"        FROM member WHERE fate = 'whole'\n"
	"    ) AS change (rank, statement)\n"
	"    \\gset\n"
	"    \\if :unchanged\n"
	"        \\echo publication :publication_quoted has what it needs\n"
	"    \\else\n"
	"        BEGIN;\n"
	"        :changes\n"
	"        COMMIT;\n"
	"        \\echo :changes\n"
	"    \\endif\n"
	"    SELECT format('note: publication %1$I has %2$s, which this configuration does not name%3$s. If no other "
	"slot needs "
	"it: '\n"
	"                  'ALTER PUBLICATION %1$I DROP TABLE ONLY %2$s;', :'publication', oid::regclass,\n"
	"                  CASE WHEN covers THEN ', so that rows of its partitions come as its own, and this "
	"configuration "
	"misses them' END)\n"
	"    FROM walpush_member WHERE fate = 'left' ORDER BY 1;\n"
	"\\endif\n"
	"RESET lock_timeout;\n"
	"DROP TABLE walpush_found, walpush_full, walpush_wanted, walpush_published, walpush_leaf, walpush_filter, "
	"walpush_member;\n"
	"\n"
	"-- What is in the log from before the publication cannot be sent.\n"
	"SELECT format('note: slot %I is older than publication %I. Where walpush says that the publication does not "
	"exist:'\n"
	"              ' SELECT pg_drop_replication_slot(%L); then run this again.', slot_name, :'publication', "
	"slot_name)\n"
	"FROM pg_replication_slots\n"
	"WHERE slot_name = :'slot' AND plugin = 'pgoutput' AND :'publication_missing'::boolean;\n"
	"\n";

void setup_publication(struct buf *out)
{
	buf_add_text(out, member_text);
	buf_add_text(out, publication_text);
}
