/* tap_trouble: is this replica ready for clients, and if not, why? */
#include <string.h>

#include "parts.h"
#include "walpush/base/clock.h"

#define LOGIN_REFUSED "the server refuses walpush's login: see the log"

static bool lags(const struct tap *t)
{
	lsn_t end = tap_server_end(t), published = topiclog_published(t->now.log);
	int64_t limit = t->now.conf->admin.ready_bytes;

	return limit && end > published && end - published > (uint64_t)limit;
}

/* If a connection is missing because a name does not resolve, this is the reason to show: the other side cannot know it. */
static const char *or_names(const char *said, const char *otherwise)
{
	return said && strncmp(said, RESOLVE_TROUBLE, sizeof(RESOLVE_TROUBLE) - 1) == 0 ? said : otherwise;
}

static const char *source_missing(struct tap *t)
{
	const char *fix, *said = source_trouble(t->source, &fix);

	if (source_is_held_by_other(t->source))
		return "another process holds the slot";
	if (login_is_refused(&t->login))
		return LOGIN_REFUSED;
	/* The source does not begin before the catalog is read. */
	return or_names(said ? said : sqlpipe_trouble(t->sql), "not streaming: see the log");
}

static const char *queries_missing(const struct tap *t)
{
	const char *said = sqlpipe_trouble(t->sql);

	if (login_is_refused(&t->login))
		return LOGIN_REFUSED;
	for (size_t i = 0; i < 2 && !said; i++)
		said = sqlpipe_trouble(t->asking[i].sql);
	return or_names(said ? said : tap_lanes_trouble(t), "no connection for queries");
}

/* One of the two sessions for the queries of rows is enough. */
static bool can_ask(const struct tap *t)
{
	return sqlpipe_is_up(t->asking[0].sql) || sqlpipe_is_up(t->asking[1].sql);
}

#define BREAKER_PATIENCE 60000000 /* µs */

struct standing { /* a query that rows have not asked for long, although admissions read the same tables */
	const struct tap *tap;
	int64_t now;
	bool is;
};

static bool reads_as_admit(const struct tap *t, uint32_t query)
{
	for (size_t i = rules_n_row_queries(t->now.plain); i < rules_n_queries(t->now.plain); i++)
		if (overlap_shares(tap_overlap(t), query, i))
			return true;
	return false;
}

static void look_at_left_out(void *ctx, const struct intake_left_out *q)
{
	struct standing *s = ctx;

	s->is |= s->now - q->since >= BREAKER_PATIENCE && reads_as_admit(s->tap, q->query);
}

static bool breaker_stands(const struct tap *t)
{
	struct standing s = { .tap = t, .now = clock_us() };

	if (tap_overlap(t))
		intake_each_left_out(t->intake, look_at_left_out, &s);
	return s.is;
}

static const char *unanswered(const struct tap *t)
{
	if (admit_is_unanswered(t->admissions))
		return "the database has answered no admission for a minute: see the log";
	return breaker_stands(t) ? "tables that admissions read do not answer: see queries_left_out of /status" : NULL;
}

const char *tap_trouble(struct tap *t)
{
	const char *trouble;

	if (t->stopping)
		return "stopping";
	if (t->relay && relay_unready(t->relay, clock_us()))
		return relay_unready(t->relay, clock_us());
	trouble = tap_progress_trouble(t);
	if (trouble)
		return trouble;
	if (t->relay && relay_leaderless_since(t->relay))
		return "nobody feeds the Redis stream";
	if (!t->relay && !source_is_streaming(t->source))
		return source_missing(t);
	if (!t->is_live)
		return "catching up with what was written before the start";
	if (t->now.is_withheld)
		return "the publication does not send what decides permission: see the log";
	if (unanswered(t))
		return unanswered(t);
	if (lags(t))
		return "too far behind the server's end of WAL";
	return sqlpipe_is_up(t->sql) && can_ask(t) && tap_lanes_is_up(t) ? NULL : queries_missing(t);
}
