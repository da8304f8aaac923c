/* What holds WAL, and can be done about it: rows that nobody has read yet, and transactions that nobody ends. */
#include "parts.h"

#include <string.h>

#include "walpush/base/buf.h"
#include "walpush/pg/pending.h"

#define DECODING_MOST 10000000 /* µs */

static double megabytes(lsn_t from, lsn_t to)
{
	return to > from ? (double)(to - from) / 1048576 : 0;
}

static void decoded(struct check *c, const struct pending *p)
{
	if (p->reached >= p->end)
		check_ok(c, "%.1f MB of WAL wait, and all that is in them can be decoded", megabytes(p->from, p->end));
	else
		check_add(c, CHECK_WARNING, CHECK_WORDS, "start walpush, which reads on from where the slot is",
			  "%.1f MB of WAL wait: %.1f MB could be decoded in 10 s, and %.1f MB are left that were not "
			  "looked at",
			  megabytes(p->from, p->end), megabytes(p->from, p->reached), megabytes(p->reached, p->end));
}

static void not_decoded(struct check *c, const struct pending *p, const struct fail *why)
{
	bool is_passed_over = p->is_poison && c->conf->database.skip;
	char lsn[LSN_TEXT_MAX];

	if (strcmp(why->sqlstate, "55006") == 0) {
		check_ok(c, "somebody has begun to read");
		return;
	}
	lsn_format(lsn, p->reached);
	check_add(c, is_passed_over ? CHECK_WARNING : CHECK_FAILURE, CHECK_WORDS,
		  p->fix ? p->fix : "see the server's log",
		  "what waits behind %s cannot be decoded: %s (%s), %.1f MB are left", lsn, why->text, why->sqlstate,
		  megabytes(p->reached, p->end));
}

/* The tables as walpush asks for them: a row of another table is not printed, however large it is. c->rules are bound table by table, and know of no
 * children. */
static void add_lists(const struct check *c, struct buf *add, struct buf *filter)
{
	struct fail why = { 0 };
	struct rules *whole = rules_new(c->conf, &why);

	if (whole && rules_bind(whole, c->catalog, &why)) {
		rules_add_tables(whole, add);
		rules_filter_tables(whole, filter);
	} else {
		rules_add_tables(c->rules, add);
	}
	rules_free(whole);
}

static void look(struct check *c)
{
	struct pending pending;
	struct fail why = { 0 };
	struct buf add = { 0 }, filter = { 0 };

	add_lists(c, &add, &filter);
	if (pending_decode(&c->conf->database, buf_slice(&add).at, buf_slice(&filter).at, DECODING_MOST, &pending,
			   &why))
		decoded(c, &pending);
	else
		not_decoded(c, &pending, &why);
	buf_fini(&add);
	buf_fini(&filter);
}

void check_waiting(struct check *c)
{
	PGresult *result = check_ask(c, "SELECT active FROM pg_replication_slots WHERE slot_name = $1", 1,
				     (const char *[]){ c->conf->database.slot });
	bool is_read = !result || PQntuples(result) == 0 || PQgetvalue(result, 0, 0)[0] == 't';

	PQclear(result);
	if (is_read)
		check_ok(c, "what is written is being read");
	else
		look(c);
}

/* They are in no list of sessions, and outlive a restart. Without a slot each is waited for; a slot is held by the old. */
const char check_sql_prepared[] =
	"SELECT 'warning', format('transaction %s of role %s is prepared since %s, in database %s: %s',"
	"  quote_literal(gid), owner, prepared::timestamptz(0), database,"
	"  CASE WHEN there THEN 'the slot keeps all WAL since then' ELSE 'the slot is made only after its end' END),"
	" 'words', format('in database %1$s: COMMIT PREPARED %2$L or ROLLBACK PREPARED %2$L', database, gid)"
	" FROM pg_prepared_xacts,"
	"  (SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1) AS there) AS s"
	" WHERE NOT there OR prepared < now() - interval '5 minutes' ORDER BY prepared";
