/*
 * pgwrite: changes of requests at an even pace, each a transaction of its own.
 *
 *   pgwrite --url URL --count N --rate R --first ID --rows K
 *
 * Updates the requests ID … ID+K-1 in turn, R a second (0: as fast as it can). updated_at is clock_timestamp(): the last
 * thing known before the commit, from which latency is measured. Prints one line, {"written":N,"seconds":S,"late_us":L};
 * late is how far behind its pace it was at worst.
 */
#include <getopt.h>
#include <inttypes.h>
#include <libpq-fe.h>

#include "bench.h"

#define UPDATE "UPDATE requests SET purpose = $2, updated_at = clock_timestamp() WHERE id = $1::int"

struct options {
	const char *url;
	unsigned count, rate, first, rows;
};

static void parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = { { "url", 1, NULL, 'u' },  { "count", 1, NULL, 'c' },
					       { "rate", 1, NULL, 'r' }, { "first", 1, NULL, 'f' },
					       { "rows", 1, NULL, 'k' }, { 0 } };
	for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
		if (c == 'u')
			o->url = optarg;
		else if (c == 'c')
			o->count = n;
		else if (c == 'r')
			o->rate = n;
		else if (c == 'f')
			o->first = n;
		else if (c == 'k')
			o->rows = n;
	}
	if (!o->url || !o->count || !o->first || !o->rows) {
		fprintf(stderr, "usage: pgwrite --url URL --count N --rate R --first ID --rows K\n");
		exit(2);
	}
}

static void fail(PGconn *conn)
{
	fprintf(stderr, "pgwrite: %s", PQerrorMessage(conn));
	exit(1);
}

static void write_one(PGconn *conn, const struct options *o, unsigned i)
{
	char id[16], purpose[64];
	const char *values[2] = { id, purpose };
	snprintf(id, sizeof id, "%u", o->first + i % o->rows);
	snprintf(purpose, sizeof purpose, "withdrawn for the audit, change %u", i);
	PGresult *result = PQexecPrepared(conn, "update", 2, values, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_COMMAND_OK || strcmp(PQcmdTuples(result), "1") != 0)
		fail(conn);
	PQclear(result);
}

int main(int argc, char **argv)
{
	struct options o = { .rows = 1 };
	parse(argc, argv, &o);
	PGconn *conn = PQconnectdb(o.url);
	if (PQstatus(conn) != CONNECTION_OK)
		fail(conn);
	PGresult *prepared = PQprepare(conn, "update", UPDATE, 0, NULL);
	if (PQresultStatus(prepared) != PGRES_COMMAND_OK)
		fail(conn);
	PQclear(prepared);
	int64_t start = clock_us(CLOCK_MONOTONIC), late = 0;
	for (unsigned i = 0; i < o.count; i++) {
		int64_t due = o.rate ? start + (int64_t)i * 1000000 / o.rate : 0, now = clock_us(CLOCK_MONOTONIC);
		struct timespec until = { due / 1000000, due % 1000000 * 1000 };
		if (due > now)
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		else if (o.rate && now - due > late)
			late = now - due;
		write_one(conn, &o, i);
	}
	printf("{\"written\":%u,\"seconds\":%.6f,\"late_us\":%" PRId64 "}\n", o.count,
	       (double)(clock_us(CLOCK_MONOTONIC) - start) / 1e6, late);
	PQfinish(conn);
	return 0;
}
