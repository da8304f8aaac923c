#include "walpush/pg/pending.h"

#include <libpq-fe.h>
#include <poll.h>
#include <string.h>

#include "source_fix.h"
#include "source_start.h"
#include "walframe.h"
#include "walpush/base/clock.h"
#include "walpush/pg/pgdial.h"
#include "walpush/text/pgurl.h"

#define ASK_EVERY 200 /* ms: how often the server is asked where it is */
/* No logical message has this prefix: any role can write them, of any size. */
#define NO_PREFIX "walpush_check_wants_none"

/* Position 0 confirms nothing. */
static bool ask_where(PGconn *conn)
{
	char frame[WALFRAME_STATUS_SIZE];

	walframe_status(frame, 0, 0, 0, true);
	return PQputCopyData(conn, frame, sizeof(frame)) == 1 && PQflush(conn) >= 0;
}

/* False: the connection is broken. */
static bool wait_for_more(PGconn *conn)
{
	struct pollfd one = { .fd = PQsocket(conn), .events = POLLIN };
	int ready = poll(&one, 1, ASK_EVERY);

	return (ready > 0 || ask_where(conn)) && (ready <= 0 || PQconsumeInput(conn));
}

static bool said(PGconn *conn, struct fail *why)
{
	PGresult *result = PQgetResult(conn);

	if (result && PQresultStatus(result) == PGRES_FATAL_ERROR && PQresultErrorField(result, PG_DIAG_SQLSTATE))
		pgdial_result_fail(result, why);
	else
		fail_set(why, "%.*s", (int)strcspn(pgurl_error(conn), "\n"), pgurl_error(conn));
	PQclear(result);
	return false;
}

static bool read_stream(PGconn *conn, int64_t until, struct pending *out, struct fail *why)
{
	struct walframe frame;
	char *bytes;
	int n;

	while (out->reached < out->end && clock_us() < until) {
		n = PQgetCopyData(conn, &bytes, 1);
		if (n < 0 || (n == 0 && !wait_for_more(conn)))
			return said(conn, why);
		if (n == 0)
			continue;
		if (walframe_parse((struct slice){ bytes, (size_t)n }, &frame, why) && frame.end > out->reached)
			out->reached = frame.end;
		PQfreemem(bytes);
		if (why->text[0])
			return false;
	}
	return true;
}

static enum source_step take(struct source_starting *s, PGconn *conn, struct fail *why)
{
	PGresult *result = PQexec(conn, s->command.data);
	enum source_step step = source_start_take(s, result, why);

	PQclear(result);
	return step;
}

/* As the source does, up to the stream. */
static bool start(struct source_starting *s, PGconn *conn, const char *add, const char *filter, struct fail *why)
{
	struct source_options options = {
		.no_prefix = NO_PREFIX, .add = add, .filter = filter, .server = PQserverVersion(conn)
	};
	enum source_step step;

	source_start_first(s);
	while ((step = take(s, conn, why)) == SOURCE_STEP_ASK || step == SOURCE_STEP_PLACE)
		if (step == SOURCE_STEP_PLACE)
			source_start_place(s, s->confirmed, &options);
	return step == SOURCE_STEP_STREAM;
}

bool pending_decode(const struct conf_database *conf, const char *add, const char *filter, int64_t most,
		    struct pending *out, struct fail *why)
{
	struct source_starting starting = { .conf = conf };
	int64_t until = clock_us() + most;
	PGconn *conn = pgdial_open(conf, PGDIAL_REPLICATION, why);
	const struct source_fix *fix;
	bool ok = conn && start(&starting, conn, add, filter, why);

	*out = (struct pending){ .from = starting.confirmed,
				 .reached = starting.confirmed,
				 .end = starting.server_end };
	ok = ok && ask_where(conn) && read_stream(conn, until, out, why);
	PQfinish(conn);
	source_start_fini(&starting);
	fix = ok ? NULL : source_fix_for(why);
	out->fix = fix ? fix->what : NULL;
	out->is_poison = !ok && source_fix_is_poison(why);
	return ok;
}
