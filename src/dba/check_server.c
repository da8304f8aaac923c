/* What the connection itself shows of the server: its clock, its certificate, and what its version decodes slowly. */
#include "parts.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "walpush/base/clock.h"

#define SOON_S (14 * 86400)

/* --- the version ---------------------------------------------------------------------------------------------- */

/* PostgreSQL 14 executes the invalidations of a command once (its commit d7eb52d718); before, the server executes all that a transaction has
 * collected after each of its commands. */
void check_ddl_decoding(struct check *c)
{
	if (PQserverVersion(c->sql) >= 140000)
		check_ok(c, "a transaction with much DDL is decoded as fast as others");
	else
		check_add(c, CHECK_WARNING, CHECK_WORDS,
			  "upgrade PostgreSQL; until then run large migrations in several transactions, and let the "
			  "application use no temporary tables in a loop",
			  "PostgreSQL %s decodes a transaction with thousands of DDL commands for minutes or hours: "
			  "nothing "
			  "is pushed meanwhile",
			  PQparameterStatus(c->sql, "server_version"));
}

/* --- the clock ------------------------------------------------------------------------------------------------ */

#define TRIES 3
#define CLOCK_WARNING 2000000  /* µs */
#define CLOCK_FAILURE 30000000 /* µs, unless jwt.leeway says otherwise */

struct offset {
	int64_t us;    /* the server's clock less ours; wrong by at most `slack` */
	int64_t slack; /* half of the round trip */
};

static bool ask_clock(struct check *c, struct offset *out)
{
	static const char query[] = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
	int64_t began = clock_wall_us(), ended;
	PGresult *result = check_ask(c, query, 0, NULL);

	ended = clock_wall_us();
	if (!result)
		return false;
	out->us = strtoll(PQgetvalue(result, 0, 0), NULL, 10) - (began + (ended - began) / 2);
	out->slack = (ended - began) / 2;
	PQclear(result);
	return true;
}

/* The shortest round trip says most. */
static bool find_offset(struct check *c, struct offset *best)
{
	struct offset one;

	for (int i = 0; i < TRIES; i++) {
		if (!ask_clock(c, &one))
			return false;
		if (i == 0 || one.slack < best->slack)
			*best = one;
	}
	return true;
}

void check_server_clock(struct check *c)
{
	int64_t failure = c->conf->jwt.leeway ? c->conf->jwt.leeway * 1000 : CLOCK_FAILURE, least;
	struct offset offset;

	if (!find_offset(c, &offset))
		return;
	least = llabs(offset.us) - offset.slack;
	if (least <= CLOCK_WARNING)
		check_ok(c, "differs from this machine's by less than 2 s");
	else
		check_add(c, least > failure ? CHECK_FAILURE : CHECK_WARNING, CHECK_WORDS,
			  "let NTP set the clocks of this machine and of the database server",
			  "the server's clock is %.1f s %s this machine's: tokens and times of permission are judged "
			  "by the "
			  "one or the other",
			  (double)llabs(offset.us) / 1e6, offset.us > 0 ? "ahead of" : "behind");
}

/* --- the certificate ------------------------------------------------------------------------------------------ */

/* Seconds since 1970. */
static int64_t end_of(const X509 *certificate)
{
	struct tm end = { 0 };

	return ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1 ? timegm(&end) : INT64_MAX;
}

/* Also of the authorities between, and of the root. Not verified: only the server's own. */
static int64_t first_end(const SSL *ssl)
{
	const STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
	X509 *own = SSL_get_peer_certificate(ssl);
	int64_t first = own ? end_of(own) : INT64_MAX;

	for (int i = 0; i < sk_X509_num(chain); i++) {
		int64_t end = end_of(sk_X509_value(chain, i));

		first = end < first ? end : first;
	}
	X509_free(own);
	return first;
}

/* Does the connection fail after the certificate has expired? */
static bool is_verified(PGconn *conn)
{
	PQconninfoOption *options = PQconninfo(conn);
	bool verifies = false;

	for (PQconninfoOption *o = options; o && o->keyword; o++)
		if (strcmp(o->keyword, "sslmode") == 0 && o->val)
			verifies = strncmp(o->val, "verify-", 7) == 0;
	PQconninfoFree(options);
	return verifies;
}

static void say_expiry(struct check *c, const char *whose, int64_t end)
{
	char day[16];
	struct tm at;
	time_t seconds = (time_t)end;

	gmtime_r(&seconds, &at);
	strftime(day, sizeof(day), "%Y-%m-%d", &at);
	check_add(c, CHECK_WARNING, CHECK_WORDS, "renew it, then reload PostgreSQL",
		  "%s expires on %s: walpush cannot connect from then on (sslmode=verify-…)", whose, day);
}

void check_server_certificate(struct check *c)
{
	const SSL *ssl = PQsslStruct(c->sql, "OpenSSL");
	int64_t soon = (int64_t)time(NULL) + SOON_S, end;
	const X509 *shown;

	if (!ssl) {
		check_ok(c, "the connection has no TLS");
		return;
	}
	shown = SSL_get_certificate(ssl);
	end = first_end(ssl);
	if (is_verified(c->sql) && end <= soon)
		say_expiry(c, "the server's certificate, or one of its authorities,", end);
	else if (shown && end_of(shown) <= soon)
		say_expiry(c, "walpush's client certificate (sslcert)", end_of(shown));
	else
		check_ok(c, is_verified(c->sql) ? "valid for more than 14 days" : "nobody verifies it");
}
