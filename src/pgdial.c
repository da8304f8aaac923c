#include "walpush/pgdial.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "walpush/buf.h"
#include "walpush/clock.h"
#include "walpush/mem.h"
#include "walpush/pgurl.h"

#define URL_FILE_MAX 8192 /* bytes */

struct pgdial {
	struct event_base *loop;
	const struct conf_database *conf;
	PGconn *conn;
	struct event *io;       /* on the socket of the moment; remade at every step */
	struct event *deadline; /* also carries a failure of the start to the loop */
	struct fail why;
	bool started;
	pgdial_done *done;
	void *ctx;
};

/* --- the connection string ------------------------------------------------------------------------------------ */

static void forget_url(char *url)
{
	if (url)
		explicit_bzero(url, strlen(url));
	free(url);
}

static char *read_url_file(const char *path, struct fail *why)
{
	char text[URL_FILE_MAX + 1], *url;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		fail_set(why, "cannot open database.url-file %s: %s", path, strerror(errno));
		return NULL;
	}
	n = read(fd, text, sizeof(text));
	close(fd);
	if (n <= 0 || n > URL_FILE_MAX || memchr(text, '\0', (size_t)n)) {
		fail_set(why, "database.url-file %s is empty, too long, no text, or cannot be read", path);
		return NULL;
	}
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		n--;
	url = mem_text_of((struct slice){ text, (size_t)n });
	explicit_bzero(text, sizeof(text));
	return url;
}

/* The connection string, which is the caller's. One in the configuration was judged when that was read. */
static char *read_url(const struct conf_database *conf, struct fail *why)
{
	char *url = conf->url_file ? read_url_file(conf->url_file, why) : mem_text(conf->url);
	const char *trouble = url ? pgurl_trouble(url) : NULL;

	if (!trouble)
		return url;
	fail_set(why, "%s %s should be %s", conf->url_file ? "what is in database.url-file" : "database.url",
		 conf->url_file ? conf->url_file : "", trouble);
	forget_url(url);
	return NULL;
}

/* The `options` the user gave in the connection string, so that ours are added to them. */
static bool user_options(const char *url, struct buf *out, struct fail *why)
{
	/* libpq's own message may quote the string, password and all. */
	PQconninfoOption *parts = PQconninfoParse(url, NULL);

	if (!parts)
		return fail_set(why, "the database's connection string is malformed; write "
				     "postgresql://user:password@host:5432/database");
	for (const PQconninfoOption *p = parts; p->keyword; p++)
		if (strcmp(p->keyword, "options") == 0 && p->val)
			buf_addf(out, "%s ", p->val);
	PQconninfoFree(parts);
	return true;
}

bool pgdial_identity(const struct conf_database *conf, char **user, char **database, struct fail *why)
{
	char *url = read_url(conf, why);
	PQconninfoOption *parts = url ? PQconninfoParse(url, NULL) : NULL;
	bool ok = url != NULL;

	*user = *database = NULL;
	for (const PQconninfoOption *p = parts; p && p->keyword; p++) {
		if (p->val && strcmp(p->keyword, "user") == 0)
			*user = mem_text(p->val);
		else if (p->val && strcmp(p->keyword, "dbname") == 0)
			*database = mem_text(p->val);
	}
	PQconninfoFree(parts);
	forget_url(url);
	return ok;
}

static PGconn *connect_start(const struct conf_database *conf, enum pgdial_kind kind, struct fail *why)
{
	char *url = read_url(conf, why);
	struct buf options = { 0 };
	PGconn *conn = NULL;

	if (!url || !user_options(url, &options, why))
		goto done;
	buf_addf(&options,
		 "-c timezone=%s -c datestyle=ISO -c intervalstyle=postgres -c bytea_output=hex -c "
		 "search_path=public,pg_temp ",
		 conf->timezone);
	if (kind == PGDIAL_REPLICATION)
		buf_add_text(&options, "-c wal_sender_timeout=60s");
	else
		buf_addf(&options, "-c default_transaction_read_only=on -c statement_timeout=%lld",
			 (long long)conf->statement_timeout);

	const char *const keys[] = { "dbname",
				     "options",
				     "replication",
				     "fallback_application_name",
				     "client_encoding",
				     "keepalives_idle",
				     "keepalives_interval",
				     "keepalives_count",
				     "tcp_user_timeout",
				     NULL };
	const char *const values[] = { url,       options.data, kind == PGDIAL_REPLICATION ? "database" : NULL,
				       "walpush", "UTF8",       "10",
				       "5",       "3",          "30000",
				       NULL };

	conn = PQconnectStartParams(keys, values, 1);
	if (!conn)
		fail_set(why, "out of memory for a database connection");
done:
	buf_fini(&options);
	forget_url(url);
	return conn;
}

/* --- the attempt ---------------------------------------------------------------------------------------------- */

static void dial_free(struct pgdial *d)
{
	if (d->io)
		event_free(d->io);
	event_free(d->deadline);
	if (d->conn)
		PQfinish(d->conn);
	free(d);
}

static void dial_end(struct pgdial *d, PGconn *conn)
{
	pgdial_done *done = d->done;
	struct fail why = d->why;
	void *ctx = d->ctx;

	dial_free(d);
	done(ctx, conn, conn ? NULL : &why);
}

static void one_line(char *text)
{
	size_t end = strlen(text);

	while (end && isspace((unsigned char)text[end - 1]))
		text[--end] = '\0';
	for (; *text; text++)
		if (*text == '\n' || *text == '\t')
			*text = ' ';
}

static void dial_failed(struct pgdial *d)
{
	fail_set(&d->why, "%s", pgurl_error(d->conn));
	one_line(d->why.text);
	dial_end(d, NULL);
}

static void ignore_notice(void *ctx, const PGresult *notice)
{
	(void)ctx;
	(void)notice;
}

static void dial_connected(struct pgdial *d)
{
	PGconn *conn = d->conn;

	PQsetNoticeReceiver(conn, ignore_notice, NULL);
	if (PQsetnonblocking(conn, 1) != 0) {
		dial_failed(d);
		return;
	}
	d->conn = NULL;
	dial_end(d, conn);
}

static void on_socket(evutil_socket_t fd, short what, void *arg);

static void dial_wait(struct pgdial *d, short what)
{
	if (d->io)
		event_free(d->io);
	d->io = event_new(d->loop, PQsocket(d->conn), what, on_socket, d);
	if (!d->io || event_add(d->io, NULL) != 0)
		abort();
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct pgdial *d = arg;

	(void)fd;
	(void)what;
	switch (PQconnectPoll(d->conn)) {
	case PGRES_POLLING_READING:
		dial_wait(d, EV_READ);
		return;
	case PGRES_POLLING_WRITING:
		dial_wait(d, EV_WRITE);
		return;
	case PGRES_POLLING_OK:
		dial_connected(d);
		return;
	default:
		dial_failed(d);
	}
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct pgdial *d = arg;

	(void)fd;
	(void)what;
	if (!d->started)
		; /* the failure of the start is in why already */
	else
		fail_set(&d->why, "no connection within %lld ms: check host, port and firewall",
			 (long long)d->conf->connect_timeout);
	dial_end(d, NULL);
}

struct pgdial *pgdial_start(struct event_base *loop, const struct conf_database *conf, enum pgdial_kind kind,
			    pgdial_done *done, void *ctx)
{
	struct pgdial *d = mem_new(sizeof(*d));
	struct timeval at_once = { 0, 0 }, limit = clock_timeval(conf->connect_timeout * 1000);

	d->loop = loop;
	d->conf = conf;
	d->done = done;
	d->ctx = ctx;
	d->deadline = event_new(loop, -1, 0, on_deadline, d);
	if (!d->deadline)
		abort();
	d->conn = connect_start(conf, kind, &d->why);
	if (d->conn && PQstatus(d->conn) == CONNECTION_BAD) {
		fail_set(&d->why, "%s", pgurl_error(d->conn));
		one_line(d->why.text);
	} else if (d->conn) {
		d->started = true;
		/* PQconnectPoll wants to be called as if writable first. */
		dial_wait(d, EV_WRITE);
	}
	event_add(d->deadline, d->started ? &limit : &at_once);
	return d;
}

void pgdial_cancel(struct pgdial *d)
{
	if (d)
		dial_free(d);
}

/* --- for commands, which may wait ------------------------------------------------------------------------------ */

/* libpq's message of a failed attempt, with the SQLSTATE that its verbose form holds: "FATAL:  28P01: password …". */
static void attempt_fail(const PGconn *conn, struct fail *why)
{
	const char *text = pgurl_error(conn);
	const char *state = strstr(text, ":  ");

	if (state && strspn(state + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && strncmp(state + 8, ": ", 2) == 0)
		text = state + 10;
	else
		state = NULL;
	fail_set(why, "%.*s", (int)strcspn(text, "\n"), text);
	if (state)
		mem_copy_text(why->sqlstate, sizeof(why->sqlstate), state + 3);
}

/* Waits until the socket can do what libpq wants. */
static bool wait_for_socket(const PGconn *conn, short events, int64_t deadline)
{
	struct pollfd fd = { .fd = PQsocket(conn), .events = events };
	int64_t left = (deadline - clock_us()) / 1000;

	return left > 0 && (poll(&fd, 1, (int)left) > 0 || errno == EINTR);
}

PGconn *pgdial_open(const struct conf_database *conf, enum pgdial_kind kind, struct fail *why)
{
	int64_t deadline = clock_us() + conf->connect_timeout * 1000;
	PGconn *conn = connect_start(conf, kind, why);
	PostgresPollingStatusType next = PGRES_POLLING_WRITING;

	if (!conn)
		return NULL;
	PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
	while (PQstatus(conn) != CONNECTION_BAD && next != PGRES_POLLING_OK && next != PGRES_POLLING_FAILED) {
		if (!wait_for_socket(conn, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline)) {
			fail_set(why, "no answer within %lld s", (long long)conf->connect_timeout / 1000);
			PQfinish(conn);
			return NULL;
		}
		next = PQconnectPoll(conn);
	}
	if (PQstatus(conn) == CONNECTION_OK) {
		PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
		PQsetNoticeReceiver(conn, ignore_notice, NULL);
		return conn;
	}
	attempt_fail(conn, why);
	PQfinish(conn);
	return NULL;
}

void pgdial_result_fail(const PGresult *result, struct fail *why)
{
	static const char *const harmless[] = { "42", "55", "57", "53", "0A", "3D", "28", "58", "XX" };
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	bool quote = false;

	if (!state)
		state = "";
	for (size_t i = 0; i < sizeof(harmless) / sizeof(*harmless); i++)
		quote = quote || strncmp(state, harmless[i], 2) == 0;
	fail_set(why, "%s", quote && text ? text : "the server refused the query");
	mem_copy_text(why->sqlstate, sizeof(why->sqlstate), state);
	one_line(why->text);
}
