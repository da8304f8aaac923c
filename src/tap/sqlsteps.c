#include "sqlsteps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "walpush/base/buf.h"
#include "walpush/base/clock.h"
#include "walpush/base/mem.h"
#include "walpush/pg/pgdial.h"
#include "walpush/text/pgurl.h"

#define DEAD_AFTER_US 5000000 /* beyond statement_timeout */

struct sqlsteps {
	struct event_base *loop;
	const struct conf_database *conf;
	const struct sqlsteps_calls *calls;
	void *ctx;

	struct resolve *names;
	struct login *login;
	struct login_ear login_ear;
	struct event *later; /* pending: it waits for a login that may pass */
	struct pgdial *dial;
	PGconn *conn;
	bool is_settled; /* the settings of the session were said once more: a pooler may have left them out */
	struct event *readable, *writable;
	struct event *silence;
};

static void steps_free(struct sqlsteps *s)
{
	pgdial_cancel(s->dial);
	login_leave(s->login, &s->login_ear);
	event_free(s->later);
	if (s->readable)
		event_free(s->readable);
	if (s->writable)
		event_free(s->writable);
	event_free(s->silence);
	if (s->conn)
		PQfinish(s->conn);
	free(s);
}

static void end(struct sqlsteps *s, const struct fail *why)
{
	const struct sqlsteps_calls *calls = s->calls;
	void *ctx = s->ctx;
	struct fail copy = { 0 };

	if (why)
		copy = *why;
	steps_free(s);
	calls->end(ctx, why ? &copy : NULL);
}

static void broken(struct sqlsteps *s)
{
	struct fail why = { 0 };

	fail_set(&why, "%.*s", (int)strcspn(pgurl_error(s->conn), "\n"), pgurl_error(s->conn));
	end(s, &why);
}

/* False: `s` is freed. */
static bool flush(struct sqlsteps *s)
{
	int left = PQflush(s->conn);

	if (left > 0)
		event_add(s->writable, NULL);
	if (left < 0)
		broken(s);
	return left >= 0;
}

static bool send_settings(struct sqlsteps *s)
{
	struct buf sql = { 0 };
	bool is_sent;

	buf_add_text(&sql, "SELECT 1");
	pgdial_settings(s->conf, PGDIAL_SQL, &sql);
	is_sent = PQsendQuery(s->conn, sql.data);
	buf_fini(&sql);
	return is_sent;
}

static void send_next(struct sqlsteps *s)
{
	struct timeval limit = clock_timeval(s->conf->statement_timeout * 1000 + DEAD_AFTER_US);

	if (!(s->is_settled ? s->calls->send(s->ctx, s->conn) : send_settings(s))) {
		broken(s);
		return;
	}
	event_add(s->silence, &limit);
	flush(s);
}

/* The statement is done, or the connection has ended. */
static void go_on(struct sqlsteps *s)
{
	bool was_settled = s->is_settled;

	s->is_settled = true;
	if (PQstatus(s->conn) != CONNECTION_OK)
		broken(s);
	else if (!was_settled || s->calls->next(s->ctx))
		send_next(s);
	else
		end(s, NULL);
}

/* False: `s` is freed. */
static bool take_result(struct sqlsteps *s, PGresult *result)
{
	struct fail why = { 0 };

	if (s->is_settled) {
		s->calls->result(s->ctx, result);
		return true;
	}
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		return true;
	pgdial_result_fail(result, &why);
	end(s, &why);
	return false;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct sqlsteps *s = arg;
	PGresult *result;
	bool goes_on = true;

	(void)fd;
	(void)what;
	if (!PQconsumeInput(s->conn)) {
		broken(s);
		return;
	}
	while (goes_on && !PQisBusy(s->conn)) {
		result = PQgetResult(s->conn);
		if (!result) {
			go_on(s);
			return;
		}
		goes_on = take_result(s, result);
		PQclear(result);
	}
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	flush(arg);
}

static void on_silence(evutil_socket_t fd, short what, void *arg)
{
	struct fail why = { 0 };

	(void)fd;
	(void)what;
	fail_set(&why, "the server did not answer in time");
	end(arg, &why);
}

static void on_dialled(void *ctx, PGconn *conn, const struct fail *why)
{
	struct sqlsteps *s = ctx;

	s->dial = NULL;
	if (!conn) {
		login_failed(s->login, &s->login_ear, why, false, clock_us());
		end(s, why);
		return;
	}
	login_passed(s->login, &s->login_ear);
	s->conn = conn;
	s->readable = event_new(s->loop, PQsocket(conn), EV_READ | EV_PERSIST, on_readable, s);
	s->writable = event_new(s->loop, PQsocket(conn), EV_WRITE, on_writable, s);
	if (!s->readable || !s->writable || event_add(s->readable, NULL) != 0)
		fail_never("libevent does not watch a database connection: %s", strerror(errno));
	send_next(s);
}

static void dial(struct sqlsteps *s)
{
	/* The first login is for a session that says why it fails. */
	int64_t us = login_is_known(s->login) ? login_wait(s->login, &s->login_ear, clock_us()) : LOGIN_AGAIN;
	struct timeval wait = clock_timeval(us);

	if (us)
		event_add(s->later, &wait);
	else
		s->dial = pgdial_start(s->loop, s->names, s->conf, PGDIAL_SQL, on_dialled, s);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	dial(arg);
}

static void on_passed(void *ctx)
{
	struct sqlsteps *s = ctx;

	if (!event_pending(s->later, EV_TIMEOUT, NULL))
		return;
	event_del(s->later);
	dial(s);
}

struct sqlsteps *sqlsteps_new(struct event_base *loop, struct resolve *names, const struct conf_database *conf,
			      struct login *login, const struct sqlsteps_calls *calls, void *ctx)
{
	struct sqlsteps *s = mem_new(sizeof(*s));

	*s = (struct sqlsteps){
		.loop = loop, .names = names, .conf = conf, .login = login, .calls = calls, .ctx = ctx
	};
	s->login_ear = (struct login_ear){ .passed = on_passed, .ctx = s };
	login_listen(login, &s->login_ear);
	s->silence = event_new(loop, -1, 0, on_silence, s);
	s->later = event_new(loop, -1, 0, on_later, s);
	if (!s->silence || !s->later)
		fail_never("libevent makes no timer for a database connection");
	dial(s);
	return s;
}

void sqlsteps_cancel(struct sqlsteps *s)
{
	if (s)
		steps_free(s);
}
