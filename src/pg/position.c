#include "walpush/pg/position.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS                                                                                                        \
	"SELECT CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_flush_lsn() END,"  \
	" CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END,"       \
	" (EXTRACT(epoch FROM pg_catalog.current_setting('wal_writer_delay')::interval)::numeric * "                   \
	"1000000::numeric)::bigint"
#define FROM " FROM pg_catalog.pg_is_in_recovery() r"

const char position_sql[] = COLUMNS FROM;

/* What a session sets by itself is not seen. A setting is stored as it was written. */
const char position_async_sql[] =
	COLUMNS ", pg_catalog.current_setting('synchronous_commit') = 'off' OR EXISTS ("
		"SELECT FROM pg_catalog.pg_db_role_setting s"
		" CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c (setting)"
		" WHERE c.setting ~* '^synchronous_commit=(off|false|no|0)$') AS is_async" FROM;

static bool is_complete(const struct sqlrows *rows)
{
	if (rows->n_rows != 1 || rows->n_columns < 3 || rows->n_columns > 4)
		return false;
	for (size_t i = 0; i < rows->n_columns; i++)
		if (!sqlrows_get(rows, 0, i))
			return false;
	return true;
}

bool position_read(const struct sqlrows *rows, const struct fail *error, struct position *out, struct fail *why)
{
	if (!rows) {
		*why = *error;
		return false;
	}
	if (!is_complete(rows) || !lsn_parse(slice_of(sqlrows_get(rows, 0, 0)), &out->flush) ||
	    !lsn_parse(slice_of(sqlrows_get(rows, 0, 1)), &out->insert))
		return fail_set(why, "a strange answer");
	out->delay = strtoll(sqlrows_get(rows, 0, 2), NULL, 10);
	out->is_async = rows->n_columns == 4 && *sqlrows_get(rows, 0, 3) == 't';
	return true;
}
