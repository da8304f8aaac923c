#include "walpush/pg/pgdial.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "walpush/base/buf.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/mem.h"
#include "pghosts.h"
#include "walpush/text/pgurl.h"
#include "walpush/text/sqltext.h"
#include "walpush/base/file.h"

#define URL_FILE_MAX 8192 /* bytes */

/*
 * An attempt looks up the names of hosts, each with a question of its own, and then connects:
 *
 *   start ──▶ names ──all answered──▶ connecting ──▶ done
 *
 * The questions have their own time limit. The deadline bounds the rest of the attempt.
 */
struct pgdial {
	struct event_base *loop;
	const struct conf_database *conf;
	enum pgdial_kind kind;
	char *url;
	struct buf options; /* of the session */
	int64_t until;      /* µs */
	struct pghosts hosts;
	struct name { /* one for each of `hosts` */
		struct pgdial *dial;
		struct pghost *host;
		struct resolve_question *question; /* NULL: none, or answered */
	} * names;                                 /* NULL: none must be looked up */
	size_t n_asked;                            /* questions without an answer */
	PGconn *conn;
	struct event *io;       /* on the current socket; made again at every step */
	struct event *deadline; /* also reports a failed start from the loop */
	struct fail why;
	struct fail last_words; /* the server's reason if it ends the session while it is being opened */
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
	char text[URL_FILE_MAX + 2], *url;
	ssize_t n = file_read_short(path, text, sizeof(text));

	if (n < 0) {
		fail_set(why, "cannot open database.url-file %s: %s", path, strerror(errno));
		return NULL;
	}
	if (n == 0 || n > URL_FILE_MAX || memchr(text, '\0', (size_t)n)) {
		fail_set(why, "database.url-file %s is empty, too long, no text, or cannot be read", path);
		return NULL;
	}
	while (n > 0 && isspace((unsigned char)text[n - 1]))
		n--;
	url = mem_text_of((struct slice){ text, (size_t)n });
	explicit_bzero(text, sizeof(text));
	return url;
}

/* Returns the connection string, which the caller frees. database.url was checked when the configuration was read; the file may have changed. */
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

/* Appends the `options` of the connection string, so that the options of walpush follow them. */
static bool user_options(const char *url, struct buf *out, struct fail *why)
{
	/* libpq's own message is not used, because it may quote the string with its password. */
	PQconninfoOption *parts = PQconninfoParse(url, NULL);

	if (!parts)
		return fail_set(why, "the database's connection string is malformed; write "
				     "postgresql://user:password@host:5432/database");
	for (const PQconninfoOption *p = parts; p->keyword; p++)
		if (strcmp(p->keyword, "options") == 0 && p->val)
			buf_add_text(out, p->val);
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

char *pgdial_part(const struct conf_database *conf, const char *keyword)
{
	struct fail ignored;
	char *url = read_url(conf, &ignored), *value = NULL;
	PQconninfoOption *parts = url ? PQconninfoParse(url, NULL) : NULL;

	for (const PQconninfoOption *p = parts; p && p->keyword && !value; p++)
		if (p->val && *p->val && strcmp(p->keyword, keyword) == 0)
			value = mem_text(p->val);
	PQconninfoFree(parts);
	forget_url(url);
	return value;
}

typedef void add_setting(struct buf *out, const char *name, const char *value);

static void add_number(add_setting *add, struct buf *out, const char *name, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)value);
	add(out, name, text);
}

/* No value has a blank or a quote in it (conf_accept_timezone). */
static void each_setting(const struct conf_database *conf, enum pgdial_kind kind, add_setting *add, struct buf *out)
{
	add(out, "timezone", conf->timezone);
	add(out, "datestyle", "ISO");
	add(out, "intervalstyle", "postgres");
	add(out, "bytea_output", "hex");
	add(out, "search_path", SQLTEXT_PATH);
	if (kind == PGDIAL_REPLICATION) {
		add(out, "wal_sender_timeout", "60s");
		return;
	}
	add(out, "default_transaction_read_only", "on");
	/* The plans of large catalogs are dear by estimate: to compile one takes seconds, to run it tenths of one. */
	add(out, "jit", "off");
	add_number(add, out, "statement_timeout", conf->statement_timeout);
	add_number(add, out, "lock_timeout", conf->lock_timeout);
}

/* PgBouncer refuses a blank behind the last one, even if it ignores the options. */
static void add_option(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, "%s-c %s=%s", out->len ? " " : "", name, value);
}

static void add_call(struct buf *out, const char *name, const char *value)
{
	buf_addf(out, ", pg_catalog.set_config('%s', '%s', false)", name, value);
}

void pgdial_settings(const struct conf_database *conf, enum pgdial_kind kind, struct buf *sql)
{
	each_setting(conf, kind, add_call, sql);
}

/* NULL: no memory. For libpq a NULL value is not given. */
static PGconn *connect_start(const struct pgdial *d, const struct pghosts_lists *hosts)
{
	const char *const keys[] = { "dbname",
				     "host",
				     "hostaddr",
				     "port",
				     "options",
				     "replication",
				     "fallback_application_name",
				     "client_encoding",
				     "keepalives_idle",
				     "keepalives_interval",
				     "keepalives_count",
				     "tcp_user_timeout",
				     NULL };
	const char *const values[] = { d->url,
				       hosts->host.data,
				       hosts->hostaddr.data,
				       hosts->port.data,
				       d->options.data,
				       d->kind == PGDIAL_REPLICATION ? "database" : NULL,
				       "walpush",
				       "UTF8",
				       "10",
				       "5",
				       "3",
				       "30000",
				       NULL };

	return PQconnectStartParams(keys, values, 1);
}

/* --- the attempt ---------------------------------------------------------------------------------------------- */

static void dial_free(struct pgdial *d)
{
	for (size_t i = 0; d->names && i < d->hosts.n; i++)
		resolve_forget(d->names[i].question);
	free(d->names);
	pghosts_fini(&d->hosts);
	if (d->io)
		event_free(d->io);
	event_free(d->deadline);
	if (d->conn)
		PQfinish(d->conn);
	buf_fini(&d->options);
	forget_url(d->url);
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

/* The first error that a server answered, in libpq's verbose form: "FATAL:  28P01: password …". Hosts that did not answer may stand before it.
 * After it may stand an attempt without TLS, which says less. NULL: no server has answered. */
static const char *answered(const char *text, const char **sqlstate)
{
	static const char of_states[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	for (const char *at = text; (at = strstr(at, ":  ")); at += 3) {
		if (strspn(at + 3, of_states) != 5 || strncmp(at + 8, ": ", 2) != 0)
			continue;
		*sqlstate = at + 3;
		return at + 10;
	}
	return NULL;
}

/* libpq's message of a failed attempt, with the SQLSTATE of its verbose form. */
static void attempt_fail(const PGconn *conn, struct fail *why)
{
	static const char of_file[] = "password retrieved from file ";
	const char *text = pgurl_error(conn), *sqlstate = NULL, *said = answered(text, &sqlstate);
	const char *file = strstr(text, of_file);

	if (!said) {
		fail_set(why, "%s", text);
		return;
	}
	fail_set(why, "%.*s%s%.*s", (int)strcspn(said, "\n"), said, file ? "; " : "",
		 file ? (int)strcspn(file, "\n") : 0, file ? file : "");
	mem_copy_text(why->sqlstate, sizeof(why->sqlstate), sqlstate);
}

/* Takes libpq's message, and adds a host that did not resolve. */
static void take_failure(struct pgdial *d)
{
	const struct pghost *missing = pghosts_missing(&d->hosts);
	struct fail of_name;
	size_t len;

	attempt_fail(d->conn, &d->why);
	one_line(d->why.text);
	if (!missing)
		return;
	resolve_fail(&of_name, missing->host, &missing->answer);
	len = strlen(d->why.text);
	snprintf(d->why.text + len, sizeof(d->why.text) - len, "; and %s", of_name.text);
}

static void dial_failed(struct pgdial *d)
{
	take_failure(d);
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
	PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
	if (d->last_words.text[0]) {
		d->why = d->last_words;
		dial_end(d, NULL);
		return;
	}
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
		fail_never("libevent does not watch the socket of a new database connection: %s", strerror(errno));
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
	if (!d->why.text[0])
		fail_set(&d->why, "no connection within %lld ms: check host, port and firewall",
			 (long long)d->conf->connect_timeout);
	dial_end(d, NULL);
}

/* False: `d->why` is filled. */
static bool dial_connect(struct pgdial *d)
{
	struct pghosts_lists hosts = { 0 };
	struct timeval left = clock_timeval(d->until > clock_us() ? d->until - clock_us() : 0);

	if (d->hosts.n_names && !pghosts_lists(&d->hosts, &hosts, &d->why))
		return false;
	d->conn = connect_start(d, &hosts);
	pghosts_lists_fini(&hosts);
	if (!d->conn)
		return fail_set(&d->why, "out of memory for a database connection");
	PQsetNoticeReceiver(d->conn, pgdial_last_words, &d->last_words);
	PQsetErrorVerbosity(d->conn, PQERRORS_VERBOSE);
	if (PQstatus(d->conn) == CONNECTION_BAD) {
		take_failure(d);
		return false;
	}
	event_add(d->deadline, &left);
	dial_wait(d, EV_WRITE); /* as libpq requires before the first PQconnectPoll */
	return true;
}

/* --- names ---------------------------------------------------------------------------------------------------- */

static void on_answer(void *ctx, const struct resolve_answer *answer)
{
	struct name *name = ctx;
	struct pgdial *d = name->dial;

	name->question = NULL;
	name->host->answer = *answer;
	if (--d->n_asked == 0 && !dial_connect(d))
		dial_end(d, NULL);
}

/* If a name server does not answer for one of several hosts, the other hosts still have half of the time. */
static void ask_names(struct pgdial *d, struct resolve *names)
{
	int64_t patience = d->conf->connect_timeout * 1000 / (d->hosts.n > 1 ? 2 : 1);

	d->names = mem_new_array(d->hosts.n, sizeof(*d->names));
	d->n_asked = d->hosts.n_names;
	for (size_t i = 0; i < d->hosts.n; i++) {
		d->names[i] = (struct name){ .dial = d, .host = &d->hosts.at[i] };
		if (d->hosts.at[i].is_name)
			d->names[i].question =
				resolve_ask(names, d->hosts.at[i].host, patience, on_answer, &d->names[i]);
	}
}

static bool dial_begin(struct pgdial *d, struct resolve *names)
{
	d->url = read_url(d->conf, &d->why);
	if (!d->url || !user_options(d->url, &d->options, &d->why))
		return false;
	pghosts_read(d->url, &d->hosts);
	each_setting(d->conf, d->kind, add_option, &d->options);
	if (!d->hosts.n_names)
		return dial_connect(d);
	ask_names(d, names);
	return true;
}

static struct pgdial *dial_new(struct event_base *loop, struct resolve *names, const struct conf_database *conf,
			       enum pgdial_kind kind)
{
	struct pgdial *d = mem_new(sizeof(*d));

	d->loop = loop;
	d->conf = conf;
	d->kind = kind;
	d->until = clock_us() + conf->connect_timeout * 1000;
	d->deadline = event_new(loop, -1, 0, on_deadline, d);
	if (!d->deadline)
		fail_never("libevent gives no event");
	if (!dial_begin(d, names))
		event_add(d->deadline, &(struct timeval){ 0, 0 });
	return d;
}

struct pgdial *pgdial_start(struct event_base *loop, struct resolve *names, const struct conf_database *conf,
			    enum pgdial_kind kind, pgdial_done *done, void *ctx)
{
	struct pgdial *d = dial_new(loop, names, conf, kind);

	d->done = done;
	d->ctx = ctx;
	return d;
}

void pgdial_cancel(struct pgdial *d)
{
	if (d)
		dial_free(d);
}

/* --- for commands, which may block ----------------------------------------------------------------------------- */

struct opening {
	struct event_base *loop;
	PGconn *conn;
	struct fail *why;
};

static void on_opened(void *ctx, PGconn *conn, const struct fail *why)
{
	struct opening *o = ctx;

	o->conn = conn;
	if (!conn)
		*o->why = *why;
	event_base_loopbreak(o->loop);
}

/* Blocks. NULL: the connection is closed. */
static PGconn *settle(PGconn *conn, const struct conf_database *conf, enum pgdial_kind kind, struct fail *why)
{
	struct buf sql = { 0 };
	PGresult *result;

	buf_add_text(&sql, "SELECT 1");
	pgdial_settings(conf, kind, &sql);
	result = PQexec(conn, sql.data);
	buf_fini(&sql);
	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		pgdial_result_fail(result, why);
		PQfinish(conn);
		conn = NULL;
	}
	PQclear(result);
	return conn;
}

PGconn *pgdial_open(const struct conf_database *conf, enum pgdial_kind kind, struct fail *why)
{
	struct opening o = { .loop = event_base_new(), .why = why };
	struct resolve *names;
	struct pgdial *d;

	if (!o.loop)
		fail_never("libevent gives no loop");
	names = resolve_new(o.loop, false);
	d = dial_new(o.loop, names, conf, kind);
	d->done = on_opened;
	d->ctx = &o;
	event_base_dispatch(o.loop);
	resolve_free(names);
	event_base_free(o.loop);
	if (!o.conn)
		return NULL;
	PQsetnonblocking(o.conn, 0);
	return settle(o.conn, conf, kind, why);
}

/* Of a value that a URL gives twice, libpq takes the last. */
static char *url_with_tls(const char *url)
{
	bool is_uri = strncmp(url, "postgres", 8) == 0 && strstr(url, "://");
	struct buf out = { 0 };

	buf_addf(&out, "%s%csslmode=require", url, !is_uri ? ' ' : strchr(url, '?') ? '&' : '?');
	return buf_steal(&out);
}

enum refusal_tls pgdial_try_tls(const struct conf_database *conf, enum pgdial_kind kind)
{
	struct conf_database with = *conf;
	struct fail why = { 0 };
	char *url = read_url(conf, &why), *with_tls;
	PGconn *conn;

	if (!url)
		return REFUSAL_TLS_UNKNOWN;
	with.url = with_tls = url_with_tls(url);
	with.url_file = NULL;
	conn = pgdial_open(&with, kind, &why);
	PQfinish(conn);
	forget_url(url);
	forget_url(with_tls);
	if (conn)
		return REFUSAL_TLS_WORKS;
	if (strstr(why.text, "does not support SSL"))
		return REFUSAL_TLS_NONE;
	if (strncmp(why.sqlstate, "28", 2) == 0 && strstr(why.text, "pg_hba.conf"))
		return REFUSAL_TLS_REFUSED;
	return why.sqlstate[0] ? REFUSAL_TLS_WORKS : REFUSAL_TLS_UNKNOWN;
}

void pgdial_fix(const struct conf_database *conf, enum pgdial_kind kind, const struct fail *why, struct buf *fix)
{
	char *role = pgdial_part(conf, "user"), *database = pgdial_part(conf, "dbname"),
	     *host = pgdial_part(conf, "host");
	struct refusal_facts facts = { .role = role,
				       .database = database,
				       .host = host,
				       .provider = provider_of_host(host),
				       .is_replication = kind == PGDIAL_REPLICATION };
	struct buf text = { 0 };
	enum refusal_kind found = refusal_fix(why, &facts, &text);

	buf_addf(fix, "%s%s", found == REFUSAL_WORDS ? "" : refusal_title(found), text.data);
	buf_fini(&text);
	free(role);
	free(database);
	free(host);
}

void pgdial_result_fail(const PGresult *result, struct fail *why)
{
	static const char *const harmless[] = { "42", "55", "57", "53", "54", "25", "0A", "3D", "28", "58", "XX" };
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	/* For a string of 1 GB the server says only "out of memory"; the detail explains it. */
	const char *detail =
		state && strncmp(state, "54", 2) == 0 ? PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL) : NULL;
	bool quote = false;

	if (!state)
		state = "";
	for (size_t i = 0; i < sizeof(harmless) / sizeof(*harmless); i++)
		quote = quote || strncmp(state, harmless[i], 2) == 0;
	fail_set(why, "%s%s%s", quote && text ? text : "the server refused the query", detail ? ": " : "",
		 detail ? detail : "");
	mem_copy_text(why->sqlstate, sizeof(why->sqlstate), state);
	one_line(why->text);
}

void pgdial_last_words(void *words, const PGresult *notice)
{
	const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *state = PQresultErrorField(notice, PG_DIAG_SQLSTATE);

	if ((severity && strcmp(severity, "FATAL") == 0) || (state && strncmp(state, "57P", 3) == 0))
		pgdial_result_fail(notice, words);
}
