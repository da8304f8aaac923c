/*
 * tap_watch: is what decides permission still what was found? The WAL has rows, not DDL: if a table is renamed, is swapped for another table, or
 * loses its replica identity, a permission may end without a record.
 *
 * So twice in each database.watch a digest over rows of the server's catalog is compared. The digest covers the rows of these tables, views and
 * policies; of all functions, operators, casts, types and collations that are not the server's own; of text search; and of the roles that read:
 * their attributes and memberships. The digest contains each row's xmin, so a change that was undone is noticed too. The first answer with another
 * digest stops delivery, and every connection is asked again; then everything is read again. For kinds with many rows, the digest contains only the
 * count of rows and the sum of xmin: a row that replaces another row has a higher xmin. So it is for tables that match a pattern. Temporary objects concern only their own session.
 *
 * Then the sessions for queries are opened again. The settings of the role or the database with which they began may have changed. The server
 * also keeps plans for policies of roles that the role was a member of, and for text search with another configuration.
 *
 * A table whose UPDATE or DELETE is not decoded from the WAL cannot be followed at all. While there is such a table, every connection is asked again
 * in each database.watch, and receives messages meanwhile.
 *
 * The queries of the watch have a connection of their own, so no lookup that waits for a lock delays them.
 */
#include <stdlib.h>
#include <string.h>

#include "leaves.h"
#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

/* Looks in each database.watch. A permission that DDL removed must end within database.watch, and the answer takes its time too. */
#define LOOKS 2

#define MATCHED CATALOG_MATCHES("$4")

struct watch {
	struct sqlpipe *sql;
	struct sqlpipe_query *query;
	struct publication_ask *publication; /* NULL: nothing is asked at present */
	struct event *tick;
	char deciding[33], all[33]; /* digests */
	char *leaves;               /* as leaves.h has them; NULL: not known */
	struct buf suspects;        /* roots of which a leaf was gone or changed, */
	int64_t suspected, rotated; /* µs: since when; and when tap_published_rotate was called */
	bool renew;                 /* the session of `sql` must be opened again, too */
	bool begins;                /* later answers are compared with the next one */
	struct repeat said, said_of_others;
};

/* $1: names of tables, $2: OIDs of relations, $3: names of tables that decide permission, $4: patterns. One row: the digest of what decides permission; the
 * digest of everything; the deciding tables, and the other tables, whose updates and deletes are not decoded; and whether there is an event trigger
 * for DDL. Partitions and other children are included with their parent. `walpush_ddl_drop` does not count: it reports only drops, and without it the
 * digest notices them. */
static const char watch_query[] =
	"WITH RECURSIVE rel (oid, decides, logged, many) AS ("
	"  SELECT c.oid, pg_catalog.format('%s.%s', n.nspname, c.relname) = ANY ($3::text[]), true, false"
	"  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	"  WHERE pg_catalog.format('%s.%s', n.nspname, c.relname) = ANY ($1::text[])"
	"  UNION SELECT o, true, false, false FROM pg_catalog.unnest($2::oid[]) AS o"
	"  UNION SELECT m.oid, false, true, true FROM (" MATCHED ") AS m WHERE m.matches"
	"  UNION SELECT i.inhrelid, rel.decides, rel.logged, rel.many FROM rel JOIN pg_catalog.pg_inherits i ON "
	"i.inhparent = "
	"rel.oid"
	"), one (oid, decides) AS ("
	"  SELECT oid, pg_catalog.bool_or(decides) FROM rel GROUP BY oid HAVING NOT pg_catalog.bool_and(many)"
	"), many (oid) AS (" /* tables that match a pattern; there may be thousands, and none of them decides */
	"  SELECT oid FROM rel GROUP BY oid HAVING pg_catalog.bool_and(many)"
	"), who (oid) AS ("
	"  SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user OR r.rolname = session_user"
	"  UNION SELECT c.relowner FROM one JOIN pg_catalog.pg_class c ON c.oid = one.oid"
	"  UNION SELECT m.roleid FROM who JOIN pg_catalog.pg_auth_members m ON m.member = who.oid"
	"), setting (text) AS (" /* of sessions that are opened from now on */
	"  SELECT pg_catalog.format('s %s %s %s', s.setdatabase, s.setrole, s.xmin)"
	"  FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase IN (SELECT 0::oid UNION ALL"
	"   SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())"
	"  AND s.setrole IN (SELECT 0::oid UNION ALL"
	"   SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = session_user)"
	"), temp (oid) AS ("
	"  SELECT n.oid FROM pg_catalog.pg_namespace n WHERE pg_catalog.starts_with(n.nspname::text, 'pg_temp_')"
	"), type (oid, xmin) AS ("
	"  SELECT t.oid, t.xmin FROM pg_catalog.pg_type t WHERE t.oid >= 16384::oid AND t.typrelid = 0::oid"
	"   AND t.typcategory <> 'A' AND t.typnamespace NOT IN (SELECT oid FROM temp)"
	"), line (decides, text) AS ("
	"  SELECT one.decides, pg_catalog.format('r %s %s %s %s', c.oid, c.xmin, c.relname, c.relnamespace)"
	"  FROM one JOIN pg_catalog.pg_class c ON c.oid = one.oid"
	"  UNION ALL SELECT one.decides, pg_catalog.format('a %s %s %s', a.attrelid, a.attnum, a.xmin)"
	"  FROM one JOIN pg_catalog.pg_attribute a ON a.attrelid = one.oid WHERE a.attnum > 0"
	"  UNION ALL SELECT one.decides, pg_catalog.format('i %s %s %s', i.indexrelid, i.xmin, i.indrelid)"
	"  FROM one JOIN pg_catalog.pg_index i ON i.indrelid = one.oid WHERE i.indisprimary OR i.indisreplident"
	"  UNION ALL SELECT one.decides, pg_catalog.format('h %s %s', i.inhrelid, i.xmin)"
	"  FROM one JOIN pg_catalog.pg_inherits i ON i.inhparent = one.oid"
	"  UNION ALL SELECT one.decides, pg_catalog.format('p %s %s', p.oid, p.xmin)"
	"  FROM one JOIN pg_catalog.pg_policy p ON p.polrelid = one.oid"
	"  UNION ALL SELECT one.decides, pg_catalog.format('v %s %s', r.oid, r.xmin)"
	"  FROM one JOIN pg_catalog.pg_rewrite r ON r.ev_class = one.oid"
	"  UNION ALL SELECT one.decides, pg_catalog.format('n %s %s %s', n.oid, n.xmin, n.nspname)"
	"  FROM one JOIN pg_catalog.pg_class c ON c.oid = one.oid JOIN pg_catalog.pg_namespace n ON n.oid = "
	"c.relnamespace"
	"  UNION ALL SELECT one.decides, pg_catalog.format('g %s %s', d.oid, d.xmin)"
	"  FROM one JOIN pg_catalog.pg_attrdef d ON d.adrelid = one.oid"
	"  JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated <> ''"
	"  UNION ALL SELECT true, pg_catalog.format('w %s %s %s %s', r.oid, r.rolsuper, r.rolbypassrls, r.rolinherit)"
	"  FROM who JOIN pg_catalog.pg_roles r ON r.oid = who.oid"
	"  UNION ALL SELECT true, pg_catalog.format('m %s %s %s', m.roleid, m.member, m.xmin)"
	"  FROM who JOIN pg_catalog.pg_auth_members m ON m.member = who.oid"
	"  UNION ALL SELECT true, text FROM setting"
	"  UNION ALL SELECT true, pg_catalog.format('%s %s %s', kind, pg_catalog.count(*), pg_catalog.sum(x)) FROM ("
	"   SELECT 'f', p.xmin::text::bigint FROM pg_catalog.pg_proc p WHERE p.oid >= 16384::oid"
	"    AND p.pronamespace NOT IN (SELECT oid FROM temp)"
	"   UNION ALL SELECT 'o', o.xmin::text::bigint FROM pg_catalog.pg_operator o WHERE o.oid >= 16384::oid"
	"    AND o.oprnamespace NOT IN (SELECT oid FROM temp)"
	"   UNION ALL SELECT 'c', c.xmin::text::bigint FROM pg_catalog.pg_cast c WHERE c.oid >= 16384::oid"
	"   UNION ALL SELECT 'y', t.xmin::text::bigint FROM type t"
	"   UNION ALL SELECT 'e', e.xmin::text::bigint FROM pg_catalog.pg_enum e"
	"    WHERE e.enumtypid IN (SELECT oid FROM type)"
	"   UNION ALL SELECT 'd', k.xmin::text::bigint FROM pg_catalog.pg_constraint k WHERE k.contypid >= 16384::oid"
	"    AND k.contypid IN (SELECT oid FROM type)"
	"   UNION ALL SELECT 'l', l.xmin::text::bigint FROM pg_catalog.pg_collation l WHERE l.oid >= 16384::oid"
	"    AND l.collnamespace NOT IN (SELECT oid FROM temp)"
	"   UNION ALL SELECT 'q', q.xmin::text::bigint FROM pg_catalog.pg_opclass q WHERE q.oid >= 16384::oid"
	"    AND q.opcnamespace NOT IN (SELECT oid FROM temp)"
	"   UNION ALL SELECT 'b', b.xmin::text::bigint FROM pg_catalog.pg_amop b WHERE b.oid >= 16384::oid"
	"   UNION ALL SELECT 't', c.xmin::text::bigint FROM pg_catalog.pg_ts_config c"
	"    WHERE c.cfgnamespace NOT IN (SELECT oid FROM temp)"
	"   UNION ALL SELECT 'u', d.xmin::text::bigint FROM pg_catalog.pg_ts_dict d"
	"    WHERE d.dictnamespace NOT IN (SELECT oid FROM temp)"
	"   UNION ALL SELECT 'x', m.xmin::text::bigint FROM pg_catalog.pg_ts_config_map m"
	"    JOIN pg_catalog.pg_ts_config c ON c.oid = m.mapcfg WHERE c.cfgnamespace NOT IN (SELECT oid FROM temp)"
	"  ) AS row (kind, x) GROUP BY kind"
	"  UNION ALL SELECT false, pg_catalog.format('mr %s %s', pg_catalog.count(*), "
	"pg_catalog.sum(c.xmin::text::bigint))"
	"  FROM many JOIN pg_catalog.pg_class c ON c.oid = many.oid"
	"  UNION ALL SELECT false, pg_catalog.format('ma %s %s', pg_catalog.count(*), "
	"pg_catalog.sum(a.xmin::text::bigint))"
	"  FROM many JOIN pg_catalog.pg_attribute a ON a.attrelid = many.oid WHERE a.attnum > 0"
	"  UNION ALL SELECT false, pg_catalog.format('mi %s %s', pg_catalog.count(*), "
	"pg_catalog.sum(i.xmin::text::bigint))"
	"  FROM many JOIN pg_catalog.pg_index i ON i.indrelid = many.oid WHERE i.indisprimary OR i.indisreplident"
	"  UNION ALL SELECT false, pg_catalog.format('mh %s %s', pg_catalog.count(*), "
	"pg_catalog.sum(i.xmin::text::bigint))"
	"  FROM many JOIN pg_catalog.pg_inherits i ON i.inhparent = many.oid"
	"  UNION ALL SELECT false, pg_catalog.format('mn %s %s', pg_catalog.count(*), "
	"pg_catalog.sum(n.xmin::text::bigint))"
	"  FROM pg_catalog.pg_namespace n WHERE n.oid IN ("
	"   SELECT c.relnamespace FROM many JOIN pg_catalog.pg_class c ON c.oid = many.oid)"
	"), mute (name, decides) AS ("
	"  SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.bool_or(rel.decides)"
	"  FROM rel JOIN pg_catalog.pg_class c ON c.oid = rel.oid"
	"  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
	"  WHERE rel.logged AND c.relkind = 'r' AND (c.relreplident = 'n'"
	"   OR c.relreplident IN ('d', 'i') AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid"
	"    AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident)))"
	"  GROUP BY n.nspname, c.relname"
	") "
	"SELECT (SELECT pg_catalog.md5(coalesce(pg_catalog.string_agg(text, ',' ORDER BY text COLLATE "
	"pg_catalog.\"C\"), '')) FROM line WHERE "
	"decides),"
	" (SELECT pg_catalog.md5(coalesce(pg_catalog.string_agg(text, ',' ORDER BY text COLLATE pg_catalog.\"C\"), "
	"'')) FROM line),"
	" (SELECT pg_catalog.string_agg(name, ', ' ORDER BY name) FROM mute WHERE decides),"
	" (SELECT pg_catalog.string_agg(name, ', ' ORDER BY name) FROM mute WHERE NOT decides),"
	" EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'walpush_ddl' AND evtenabled IN ('A', 'O')),"
	" (SELECT pg_catalog.string_agg(pg_catalog.format('%s:%s:%s', c.oid, c.relfilenode, pg_catalog.encode("
	"   pg_catalog.convert_to(pg_catalog.format('%s.%s', n.nspname, r.relname), 'UTF8'), 'hex')), ',' ORDER BY "
	"c.oid)"
	"  FROM (SELECT DISTINCT oid FROM rel WHERE logged) l JOIN pg_catalog.pg_class c ON c.oid = l.oid"
	"  JOIN pg_catalog.pg_class r ON r.oid = pg_catalog.pg_partition_root(c.oid)::oid"
	"  JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace"
	"  WHERE c.relispartition AND c.relkind = 'r')";

enum { ROW_DECIDING, ROW_ALL, ROW_MUTE, ROW_MUTE_OTHERS, ROW_TRIGGER, ROW_LEAVES };

static void ask_everybody(struct tap *t)
{
	admit_changed(t->admissions, topiclog_published(t->now.log), NULL);
}

static void say_mute(struct repeat *said, enum log_level first, const char *message, const char *tables)
{
	unsigned times;
	enum log_level level;

	if (!tables) {
		repeat_end(said);
		return;
	}
	level = repeat_level(said, first, tables, clock_us(), &times);
	log_write(level, message,
		  LOG_FIELDS(log_s("tables", tables), log_fix("ALTER TABLE … REPLICA IDENTITY FULL"),
			     log_n("times", times)));
}

static void say_mute_tables(struct tap *t, const char *deciding, const char *others)
{
	say_mute(&t->watch->said, LOG_LEVEL_ERROR,
		 "the log does not hold all changes of a table that decides permission; everybody is asked again and "
		 "again",
		 deciding);
	say_mute(&t->watch->said_of_others, LOG_LEVEL_ERROR,
		 "the log does not hold the updates and deletes of a table; nobody hears of them", others);
}

void tap_watch_go(struct tap *t)
{
	struct timeval wait = clock_timeval(t->now.conf->database.watch * 1000 / LOOKS);

	event_add(t->watch->tick, &wait);
}

/* sqlpipe sends unanswered queries again in the new session. */
static void renew_sessions(struct tap *t)
{
	sqlpipe_renew(t->sql);
	for (size_t i = 0; i < 2; i++)
		sqlpipe_renew(t->asking[i].sql);
	tap_lanes_renew(t);
	t->watch->renew = true;
}

/* A partition's file is another one when it was truncated, or written anew; it is no partition any more when it was dropped or detached. A publication
 * with publish_via_partition_root tells of none of this, so it counts as a TRUNCATE. A TRUNCATE of the root looks the same, but it is told: so it is
 * waited for, for a while, and what was told before counts for a while. */
static void take_leaves(struct tap *t, const char *leaves)
{
	int64_t now = clock_us(), patience = t->now.conf->database.watch * 1000 / LOOKS;
	struct watch *w = t->watch;
	char *before = w->leaves;

	if (w->suspects.len && now - w->suspected >= patience) {
		if (leaves_untold(buf_slice(&w->suspects), buf_slice(&t->published.truncated)))
			tap_published_missed(t, "a partition was emptied, dropped, detached or written anew");
		buf_clear(&w->suspects);
	}
	if (now - w->rotated >= 4 * patience) {
		tap_published_rotate(t);
		w->rotated = now;
	}
	w->leaves = mem_text(leaves ? leaves : "");
	w->suspected = w->suspects.len ? w->suspected : now;
	if (before && t->published.is_pgoutput)
		leaves_compare(before, w->leaves, &w->suspects);
	free(before);
}

/* Compares with the digests that were known before, even if a row that does not fit has started a new reading meanwhile. */
static bool take_digests(struct tap *t, const struct sqlrows *rows)
{
	const char *deciding = sqlrows_get(rows, 0, ROW_DECIDING), *all = sqlrows_get(rows, 0, ROW_ALL),
		   *mute = sqlrows_get(rows, 0, ROW_MUTE);
	bool is_known = t->watch->all[0], changed = is_known && strcmp(all, t->watch->all) != 0;
	bool has_trigger = strcmp(sqlrows_get(rows, 0, ROW_TRIGGER), "true") == 0;
	bool decides = is_known && strcmp(deciding, t->watch->deciding) != 0;

	mem_copy_text(t->watch->deciding, sizeof(t->watch->deciding), deciding);
	mem_copy_text(t->watch->all, sizeof(t->watch->all), all);
	say_mute_tables(t, mute, sqlrows_get(rows, 0, ROW_MUTE_OTHERS));
	take_leaves(t, sqlrows_get(rows, 0, ROW_LEAVES));
	changed = changed || t->has_trigger != has_trigger;
	t->has_trigger = has_trigger;
	if (decides || (!is_known && t->now.rules))
		renew_sessions(t);
	if (decides) {
		log_info("what decides permission has changed; everybody is asked, and it is found out anew");
		t->finds_out = true;
		metrics_add(t->counts, METRICS_WATCHED_CHANGES, 1);
		if (!tap_ddl_asks(t))
			ask_everybody(t);
	}
	if (t->now.has_mute != (mute != NULL)) {
		t->now.has_mute = mute != NULL;
		admit_recheck(t->admissions);
	}
	return changed;
}

static void on_published(void *ctx, const struct publication_says *says, const struct fail *why)
{
	struct tap *t = ctx;

	t->watch->publication = NULL;
	if (!says)
		log_warn("cannot compare what the publication sends; trying again", log_s("error", why->text));
	if (says && (says->digest != t->published.digest || says->is_pgoutput != t->published.is_pgoutput))
		t->wires->changed(t);
	else
		tap_watch_go(t);
}

/* The digests are as they were. */
static void look_at_publication(struct tap *t)
{
	if (t->now.rules && t->published.is_pgoutput)
		t->watch->publication = publication_ask_new(t->watch->sql, &t->now.conf->database, t->now.rules, false,
							    on_published, t);
	else
		tap_watch_go(t);
}

static void on_answer(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	struct tap *t = ctx;

	t->watch->query = NULL;
	if (!rows || rows->n_rows != 1 || !sqlrows_get(rows, 0, ROW_ALL) || !sqlrows_get(rows, 0, ROW_TRIGGER)) {
		log_warn("cannot compare what decides permission; trying again",
			 log_s("sqlstate", rows ? "" : why->sqlstate),
			 log_s("error", rows ? "a strange answer" : why->text));
		tap_watch_go(t);
	} else if (t->watch->begins) {
		t->watch->begins = false;
		take_digests(t, rows);
		t->wires->watched(t);
	} else if (take_digests(t, rows)) {
		t->wires->changed(t);
	} else {
		look_at_publication(t);
	}
	sqlrows_free(rows);
}

static void ask(struct tap *t)
{
	struct buf names = { 0 }, objects = { 0 }, deciding = { 0 }, patterns = { 0 };

	if (t->watch->renew)
		sqlpipe_renew(t->watch->sql);
	t->watch->renew = false;
	tap_rules_watched(t, &names, &deciding, &patterns);
	reads_objects(t->reads, t->n_reads, &objects);
	t->watch->query =
		sqlpipe_ask(t->watch->sql, "watch", watch_query, 4,
			    (const char *[]){ names.data, objects.data, deciding.data, patterns.data }, on_answer, t);
	buf_fini(&names);
	buf_fini(&objects);
	buf_fini(&deciding);
	buf_fini(&patterns);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	ask(arg);
}

void tap_watch_pause(struct tap *t)
{
	event_del(t->watch->tick);
	if (t->watch->query)
		sqlpipe_forget(t->watch->sql, t->watch->query);
	t->watch->query = NULL;
	publication_ask_cancel(t->watch->publication);
	t->watch->publication = NULL;
}

void tap_watch_forget(struct tap *t)
{
	tap_watch_pause(t); /* it may look at the rules that are replaced */
	t->watch->deciding[0] = t->watch->all[0] = '\0';
	free(t->watch->leaves);
	t->watch->leaves = NULL;
	buf_clear(&t->watch->suspects);
}

void tap_watch_begin(struct tap *t)
{
	tap_watch_pause(t);
	t->watch->begins = true;
	ask(t);
}

static void on_state(void *ctx, bool up, const struct fail *why)
{
	struct tap *t = ctx;

	(void)why;
	if (up)
		metrics_count(t->counts, METRICS_CONNECTS, "watch");
}

void tap_watch_init(struct tap *t)
{
	t->watch = mem_new(sizeof(*t->watch));
	t->watch->tick = event_new(t->loop, -1, 0, on_tick, t);
	if (!t->watch->tick)
		fail_never("libevent makes no timer for the watch");
}

void tap_watch_start(struct tap *t)
{
	t->watch->sql = sqlpipe_new(t->loop, t->names, "watch", &t->now.conf->database, t->suspects, on_state, t);
	sqlpipe_anchor(t->watch->sql, &t->anchor);
	sqlpipe_login(t->watch->sql, &t->login);
}

struct sqlpipe *tap_watch_sql(const struct tap *t)
{
	return t->watch->sql;
}

void tap_watch_fini(struct tap *t)
{
	publication_ask_cancel(t->watch->publication);
	free(t->watch->leaves);
	buf_fini(&t->watch->suspects);
	sqlpipe_free(t->watch->sql);
	event_free(t->watch->tick);
	free(t->watch);
}
