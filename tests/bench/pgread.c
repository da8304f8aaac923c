/*
 * pgread: the floor of latency. Reads a replication slot and does nothing with it.
 *
 *   pgread --url URL --slot SLOT --tables LIST --expect N [--snapshot]
 *
 * Starts at the slot's confirmed position with the options that walpush uses, prints "streaming", and reads until N rows
 * have come. Without --snapshot a row's latency ends with its receipt. With it, it ends when a fresh snapshot sees the
 * transaction, which is the earliest moment at which anybody may be told of it. Prints one line of figures. Confirms
 * nothing: the slot stays where it is.
 */
#include <getopt.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdbool.h>

#include "bench.h"
#include "latency.h"

#define WAL_HEADER 25 /* 'w' and three numbers of 8 bytes */

struct reader {
	PGconn *stream, *sql;
	const char *url, *slot, *tables;
	bool snapshot;
	unsigned expect, rows, unseen_at_first;
	uint32_t xid; /* of the transaction that is being read */
	bool is_seen;
	struct latency latency;
};

static void fail(PGconn *conn, const char *what)
{
	fprintf(stderr, "pgread: %s: %s", what, PQerrorMessage(conn));
	exit(1);
}

static PGconn *dial(const char *url, bool replication)
{
	const char *names[] = { "dbname", "replication", NULL }, *values[] = { url, "database", NULL };
	if (!replication)
		names[1] = NULL;
	PGconn *conn = PQconnectdbParams(names, values, 1);
	if (PQstatus(conn) != CONNECTION_OK)
		fail(conn, "connect");
	return conn;
}

static void start(struct reader *r)
{
	char sql[1024];
	r->stream = dial(r->url, true);
	snprintf(sql, sizeof sql,
		 "START_REPLICATION SLOT \"%s\" LOGICAL 0/0 (\"format-version\" '2', \"include-types\" 'false', "
		 "\"include-type-oids\" 'true', \"include-lsn\" 'true', \"include-timestamp\" 'true', "
		 "\"include-xids\" 'true', \"add-msg-prefixes\" 'walpush', \"add-tables\" '%s')",
		 r->slot, r->tables);
	PGresult *result = PQexec(r->stream, sql);
	if (PQresultStatus(result) != PGRES_COPY_BOTH)
		fail(r->stream, "START_REPLICATION");
	PQclear(result);
	if (r->snapshot) {
		r->sql = dial(r->url, false);
		PQclear(PQprepare(r->sql, "snapshot", "SELECT pg_catalog.pg_current_snapshot()", 0, NULL));
	}
	printf("streaming\n");
	fflush(stdout);
}

/* "xmin:xmax:xid,xid,…": done is what is below xmax and not in the list. Compared as 32-bit numbers, as far apart as they are. */
static bool sees(const char *text, uint32_t xid)
{
	char *at;
	uint32_t xmin = (uint32_t)strtoull(text, &at, 10), xmax = (uint32_t)strtoull(at + 1, &at, 10);
	if ((int32_t)(xid - xmin) < 0)
		return true;
	if ((int32_t)(xid - xmax) >= 0)
		return false;
	while (*at && at[1])
		if ((uint32_t)strtoull(at + 1, &at, 10) == xid)
			return false;
	return true;
}

static void wait_until_seen(struct reader *r)
{
	for (unsigned tries = 0; !r->is_seen; tries++) {
		PGresult *result = PQexecPrepared(r->sql, "snapshot", 0, NULL, NULL, NULL, 0);
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			fail(r->sql, "snapshot");
		r->is_seen = sees(PQgetvalue(result, 0, 0), r->xid);
		r->unseen_at_first += tries == 0 && !r->is_seen;
		PQclear(result);
	}
}

static void take_record(struct reader *r, const char *text, size_t len)
{
	static const char begin[] = "{\"action\":\"B\",\"xid\":";
	if (len > sizeof begin && memcmp(text, begin, sizeof begin - 1) == 0) {
		r->xid = (uint32_t)strtoul(text + sizeof begin - 1, NULL, 10);
		r->is_seen = false;
	}
	if (len < 12 || text[11] == 'B' || text[11] == 'C')
		return;
	if (r->snapshot)
		wait_until_seen(r);
	latency_note_row(&r->latency, text, len, clock_us(CLOCK_REALTIME));
	r->rows++;
}

static void read_all(struct reader *r)
{
	struct pollfd in = { .fd = PQsocket(r->stream), .events = POLLIN };
	while (r->rows < r->expect) {
		char *bytes = NULL;
		int n = PQgetCopyData(r->stream, &bytes, 1);
		if (n < 0)
			fail(r->stream, "read");
		if (n > WAL_HEADER && bytes[0] == 'w')
			take_record(r, bytes + WAL_HEADER, (size_t)n - WAL_HEADER);
		PQfreemem(bytes);
		if (n == 0 && poll(&in, 1, 30000) == 0) {
			fprintf(stderr, "pgread: nothing came for 30 s\n");
			exit(1);
		}
		if (n == 0 && !PQconsumeInput(r->stream))
			fail(r->stream, "read");
	}
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "url", 1, NULL, 'u' },      { "slot", 1, NULL, 's' },
					       { "tables", 1, NULL, 't' },   { "expect", 1, NULL, 'e' },
					       { "snapshot", 0, NULL, 'v' }, { 0 } };
	struct reader r = { 0 };
	for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		if (c == 'u')
			r.url = optarg;
		else if (c == 's')
			r.slot = optarg;
		else if (c == 't')
			r.tables = optarg;
		else if (c == 'e')
			r.expect = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'v')
			r.snapshot = true;
	}
	if (!r.url || !r.slot || !r.tables || !r.expect) {
		fprintf(stderr, "usage: pgread --url URL --slot SLOT --tables LIST --expect N [--snapshot]\n");
		return 2;
	}
	start(&r);
	read_all(&r);
	printf("{\"rows\":%u,\"unseen_at_first\":%u,\"latency_us\":", r.rows, r.unseen_at_first);
	latency_print(&r.latency);
	printf("}\n");
	PQfinish(r.stream);
	PQfinish(r.sql);
	return 0;
}
