#include "walpush/pg/position.h"

#include <stdlib.h>
#include <string.h>

/* How long a commit without synchronous_commit stays unflushed at most, in wal_writer_delay. Source: PostgreSQL's manual. */
#define WRITER_DELAYS 3
/* µs. Mostly the next record comes before. A standby that is paused, or has lost its primary, is asked so often for each answer that waits. */
#define REDO_DELAY 100000
/* The record behind a position begins there, or behind the header of a page, of at most 40 bytes. */
#define REDO_BEGINS 41

/* Of a primary the first column is null. Of a standby it is what walreceiver has received, or 0/0 if no walreceiver runs; then what is applied need
 * not have been received. Columns are computed in order, and the replayed position must be read last: then a record that was under way at the
 * query is either in it, or was under way at the look at walreceiver too. */
#define COLUMNS                                                                                                        \
	"SELECT CASE WHEN r THEN CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_stat_get_wal_receiver() AS w"             \
	" WHERE w.pid IS NOT NULL) THEN COALESCE(pg_catalog.pg_last_wal_receive_lsn(), '0/0') ELSE '0/0' END END,"     \
	" CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_flush_lsn() END,"        \
	" CASE WHEN r THEN NULL ELSE pg_catalog.pg_current_wal_insert_lsn() END,"                                      \
	" (EXTRACT(epoch FROM pg_catalog.current_setting('wal_writer_delay')::interval)::numeric * "                   \
	"1000000::numeric)::bigint"
#define FROM " FROM pg_catalog.pg_is_in_recovery() r"

enum { RECEIVED, FLUSHED, INSERTED, WRITER_DELAY, IS_ASYNC, ALL_COLUMNS };

const char position_sql[] = COLUMNS FROM;

/* What a session sets by itself is not seen. A setting is stored as it was written. */
const char position_async_sql[] =
	COLUMNS ", pg_catalog.current_setting('synchronous_commit') = 'off' OR EXISTS ("
		"SELECT FROM pg_catalog.pg_db_role_setting s"
		" CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c (setting)"
		" WHERE c.setting ~* '^synchronous_commit=(off|false|no|0)$') AS is_async" FROM;

static bool take_lsn(const struct sqlrows *rows, size_t column, lsn_t *out)
{
	const char *text = sqlrows_get(rows, 0, column);

	return text && lsn_parse(slice_of(text), out);
}

static bool take_standby(const struct sqlrows *rows, struct position *out)
{
	lsn_t received, replayed;

	if (!take_lsn(rows, RECEIVED, &received) || !take_lsn(rows, FLUSHED, &replayed))
		return false;
	out->is_standby = true;
	out->in_redo = received != replayed;
	out->insert = replayed + REDO_BEGINS;
	out->flush = out->in_redo ? out->insert : replayed;
	out->delay = REDO_DELAY;
	return true;
}

static bool take_primary(const struct sqlrows *rows, struct position *out)
{
	const char *delay = sqlrows_get(rows, 0, WRITER_DELAY);

	if (!delay || !take_lsn(rows, FLUSHED, &out->flush) || !take_lsn(rows, INSERTED, &out->insert))
		return false;
	out->delay = WRITER_DELAYS * strtoll(delay, NULL, 10);
	return true;
}

static bool take(const struct sqlrows *rows, struct position *out)
{
	if (rows->n_rows != 1 || rows->n_columns < IS_ASYNC || rows->n_columns > ALL_COLUMNS)
		return false;
	if (!(sqlrows_get(rows, 0, RECEIVED) ? take_standby(rows, out) : take_primary(rows, out)))
		return false;
	if (rows->n_columns == IS_ASYNC)
		return true;
	if (!sqlrows_get(rows, 0, IS_ASYNC))
		return false;
	out->is_async = *sqlrows_get(rows, 0, IS_ASYNC) == 't';
	return true;
}

bool position_read(const struct sqlrows *rows, const struct fail *error, struct position *out, struct fail *why)
{
	if (!rows) {
		*why = *error;
		return false;
	}
	*out = (struct position){ 0 };
	return take(rows, out) || fail_set(why, "a strange answer");
}

lsn_t position_certain(const struct position *p, bool is_async)
{
	return is_async && !p->is_standby ? p->insert : p->flush;
}

bool position_may_fall(const struct position *p, lsn_t certain)
{
	return p->is_standby ? p->in_redo : certain > p->flush;
}
