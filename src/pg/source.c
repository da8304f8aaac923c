#include "walpush/pg/source.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/pg/pgdial.h"
#include "walpush/text/pgurl.h"
#include "source_fix.h"
#include "source_health.h"
#include "source_start.h"
#include "walframe.h"

/* Seconds between 1970 and 2000, the epoch of the protocol's clock. */
#define PG_EPOCH_S 946684800LL
/* Bytes. max_slot_wal_keep_size may bound a slot to little more than the server itself needs, and a busy server writes a segment in less time
 * than status-interval. So each 16 MiB, the size of a segment, are confirmed at once. */
#define STATUS_BYTES (UINT64_C(16) << 20)

/*
 * Before the replication stream, source_start.c decides the questions and their order.
 *
 *   IDLE ─go▶ DIALLING ─▶ SETTING ─▶ IDENTIFY ─▶ SLOT ─▶ STARTING ─▶ STREAMING ─end▶ ENDING ─▶ IDLE
 *     ▲           │          │           │         │          │           │
 *     └─ stop ────┴──────────┴───────────┴── any failure ─────┴───────────┴─▶ WAITING ─timer▶ DIALLING
 */
enum source_state {
	SOURCE_IDLE,
	SOURCE_DIALLING,
	SOURCE_SETTING,
	SOURCE_IDENTIFY,
	SOURCE_SLOT,
	SOURCE_STARTING,
	SOURCE_STREAMING,
	SOURCE_ENDING, /* the server has not answered yet that the slot is free */
	SOURCE_WAITING
};

/* All fields belong to the thread that called source_new. */
struct source {
	pthread_t home;
	struct event_base *loop;
	struct resolve *names;
	const struct conf_database *conf;
	const struct source_calls *calls;
	void *ctx;

	enum source_state state;
	struct source_starting starting;
	struct source_health health;
	struct login *login; /* NULL: nobody else logs in */
	struct login_ear login_ear;
	bool waits_for_login;
	struct fail last_words; /* of the server, on the current connection */
	struct pgdial *dial;
	PGconn *conn;
	struct event *readable;
	struct event *writable;
	struct event *retry;
	struct event *status; /* every status_interval while streaming */
	bool paused;
	bool in_callback; /* read_stream is running, so the connection must not be closed */
	bool restart;     /* requested by a callback, for this reason: */
	struct fail restart_why;
	enum source_loss restart_loss;
	lsn_t received; /* the highest end of WAL in the frames of this connection */
	lsn_t furthest; /* the same, of all connections */
	int64_t spoke;  /* µs: when the last keepalive arrived; 0: none has */
	lsn_t sent;     /* highest position confirmed on any connection */
	int64_t down_since;
	char no_prefix[33]; /* a prefix that no logical message has, so that the plugin sends none */
};

static const char *const state_names[] = { "idle",     "dialling",  "setting", "identify", "slot",
					   "starting", "streaming", "ending",  "waiting" };

static void dial(struct source *s);

static void move_to(struct source *s, enum source_state next)
{
	assert(pthread_equal(s->home, pthread_self()));
	log_debug("replication", log_s("from", state_names[s->state]), log_s("to", state_names[next]));
	if (next == SOURCE_STREAMING)
		s->down_since = 0;
	else if (s->state == SOURCE_STREAMING)
		s->down_since = clock_us();
	s->state = next;
}

/* --- trouble -------------------------------------------------------------------------------------------------- */

static void hang_up(struct source *s)
{
	pgdial_cancel(s->dial);
	s->dial = NULL;
	if (s->readable)
		event_free(s->readable);
	if (s->writable)
		event_free(s->writable);
	s->readable = s->writable = NULL;
	event_del(s->status);
	event_del(s->retry);
	if (s->conn)
		PQfinish(s->conn);
	s->conn = NULL;
	s->waits_for_login = false;
}

static void ended(struct source *s)
{
	hang_up(s);
	move_to(s, SOURCE_IDLE);
	s->calls->ended(s->ctx);
}

static void try_again(struct source *s, const struct fail *why, bool slow, enum source_loss loss)
{
	bool was_streaming = s->state == SOURCE_STREAMING;
	struct timeval wait = clock_timeval(source_health_fails(&s->health, s->conf->slot, why, slow, clock_us()));

	hang_up(s);
	move_to(s, SOURCE_WAITING);
	event_add(s->retry, &wait);
	if (!was_streaming)
		return;
	s->health.deaths++;
	s->calls->lost(s->ctx, loss, why);
}

/* Closes the connection, logs the reason, and tries again later. `slow`: a person must act first. */
static void lost(struct source *s, const struct fail *why, bool slow)
{
	if (s->state == SOURCE_ENDING)
		ended(s);
	else
		try_again(s, why, slow, source_fix_is_poison(why) ? SOURCE_POISON : SOURCE_GONE);
}

/* The connection could not be opened. */
static void refused(struct source *s, const struct fail *why)
{
	int64_t now = clock_us();
	int64_t us = s->login ? login_failed(s->login, &s->login_ear, why, true, now) : 0;
	struct timeval wait;
	struct buf fix = { 0 };

	pgdial_fix(s->conf, PGDIAL_REPLICATION, why, &fix);
	wait = clock_timeval(source_health_refused(&s->health, s->conf->slot, why, fix.data, us, now));
	buf_fini(&fix);
	hang_up(s);
	s->waits_for_login = us > 0;
	move_to(s, SOURCE_WAITING);
	event_add(s->retry, &wait);
}

/* The same with what the server said before it closed the connection, or with libpq's error. */
static void broken(struct source *s)
{
	struct fail why = s->last_words;
	char *newline;

	if (why.text[0]) {
		lost(s, &why, false);
		return;
	}

	fail_set(&why, "%s", pgurl_error(s->conn));
	newline = strchr(why.text, '\n');
	if (newline)
		*newline = '\0';
	lost(s, &why, false);
}

/* --- writing -------------------------------------------------------------------------------------------------- */

/* False: the connection is broken. */
static bool flush_out(struct source *s)
{
	int left = PQflush(s->conn);

	if (left < 0)
		return false;
	if (left > 0)
		event_add(s->writable, NULL);
	return true;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;

	(void)fd;
	(void)what;
	if (!flush_out(s))
		broken(s);
}

static void send_status(struct source *s, bool demand_reply)
{
	char frame[WALFRAME_STATUS_SIZE];
	lsn_t confirm;

	if (s->state != SOURCE_STREAMING)
		return;
	confirm = s->calls->confirm(s->ctx);
	if (confirm < s->sent)
		confirm = s->sent;
	s->sent = confirm;
	walframe_status(frame, s->received > confirm ? s->received : confirm, confirm,
			clock_wall_us() - PG_EPOCH_S * 1000000, demand_reply);
	/* on_readable finds the failure; from there it is safe to hang up. */
	if (PQputCopyData(s->conn, frame, sizeof(frame)) != 1 || !flush_out(s))
		event_active(s->readable, EV_READ, 0);
}

void source_send_status(struct source *s)
{
	send_status(s, false);
}

void source_ask(struct source *s)
{
	send_status(s, true);
}

int64_t source_spoke(const struct source *s)
{
	return s->spoke;
}

void source_moved(struct source *s, lsn_t handled)
{
	source_health_handled(&s->health, handled);
	if (s->state == SOURCE_STREAMING && s->calls->confirm(s->ctx) >= s->sent + STATUS_BYTES)
		send_status(s, false);
}

static void on_status(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	source_send_status(arg);
}

/* --- reading the replication stream --------------------------------------------------------------------------- */

static void moved(struct source *s, const struct walframe *frame)
{
	if (frame->end > s->received)
		s->received = frame->end;
	if (frame->end > s->furthest)
		s->furthest = frame->end;
	else if (frame->kind != WALFRAME_KEEPALIVE || frame->end < s->starting.server_end)
		return;
	source_health_progress(&s->health);
}

/* Takes over `bytes`. */
static bool take_frame(struct source *s, char *bytes, int n, struct fail *why)
{
	struct walframe frame;

	if (!walframe_parse((struct slice){ bytes, (size_t)n }, &frame, why)) {
		PQfreemem(bytes);
		return false;
	}
	moved(s, &frame);
	if (frame.kind == WALFRAME_KEEPALIVE) {
		s->spoke = clock_us();
		PQfreemem(bytes);
		s->calls->keepalive(s->ctx, frame.end, frame.reply_demanded);
		if (frame.reply_demanded)
			source_send_status(s);
		return true;
	}
	s->calls->record(s->ctx, bytes, frame.payload);
	return true;
}

static void stream_ended(struct source *s)
{
	struct fail why = { 0 };
	PGresult *result = PQgetResult(s->conn);

	if (result && PQresultStatus(result) == PGRES_FATAL_ERROR)
		pgdial_result_fail(result, &why);
	else
		fail_set(&why, "the server ended the stream");
	PQclear(result);
	lost(s, &why, false);
}

static void restart(struct source *s, const struct fail *why, enum source_loss loss)
{
	s->restart = false;
	if (s->state == SOURCE_ENDING)
		ended(s);
	else if (s->state != SOURCE_IDLE)
		try_again(s, why, false, loss);
}

static void read_stream(struct source *s)
{
	struct fail why = { 0 };
	char *bytes = NULL;
	int n = 0;

	s->in_callback = true;
	while (!s->paused && !s->restart && (n = PQgetCopyData(s->conn, &bytes, 1)) > 0)
		if (!take_frame(s, bytes, n, &why))
			break;
	s->in_callback = false;
	if (s->restart)
		restart(s, &s->restart_why, s->restart_loss);
	else if (why.text[0])
		try_again(s, &why, true, SOURCE_POISON);
	else if (!s->paused && n == -1)
		stream_ended(s);
	else if (!s->paused && n == -2)
		broken(s);
}

static void begin_stream(struct source *s)
{
	struct timeval interval = clock_timeval(s->conf->status_interval * 1000);

	move_to(s, SOURCE_STREAMING);
	s->health.held_by_other = false;
	event_add(s->status, &interval);
	/* If streams end again and again, source_health logs this; their beginnings then have the debug level. */
	log_write(s->health.deaths > 1 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "streaming",
		  LOG_FIELDS(log_s("slot", s->conf->slot), log_s("system", s->starting.system_id),
			     log_s("timeline", s->starting.timeline), log_s("plugin", s->starting.plugin),
			     log_lsn("confirmed", s->sent), log_lsn("server_end", s->starting.server_end)));
	/* The answer reports the server's position, also if nothing is ever written. */
	send_status(s, true);
	s->calls->streaming(s->ctx);
	read_stream(s);
}

/* Drops everything that the server sends before it has seen the end of the copy. */
static void read_end(struct source *s)
{
	char *bytes;
	int n;

	while ((n = PQgetCopyData(s->conn, &bytes, 1)) > 0)
		PQfreemem(bytes);
	if (n == 0 || PQisBusy(s->conn))
		return;
	PQclear(PQgetResult(s->conn));
	ended(s);
}

/* --- the questions before the replication stream --------------------------------------------------------------- */

static void ask(struct source *s)
{
	static const enum source_state states[] = {
		[SOURCE_ASKS_SETTINGS] = SOURCE_SETTING,
		[SOURCE_ASKS_IDENTITY] = SOURCE_IDENTIFY,
		[SOURCE_ASKS_SLOT] = SOURCE_SLOT,
		[SOURCE_ASKS_STREAM] = SOURCE_STARTING,
	};

	move_to(s, states[s->starting.asked]);
	if (!PQsendQuery(s->conn, s->starting.command.data) || !flush_out(s))
		broken(s);
}

/* Asks the owner where the replication stream starts and what it contains. */
static void place(struct source *s)
{
	struct source_start start = { s->starting.system_id, s->starting.timeline,    s->starting.server_end,
				      s->starting.confirmed, s->starting.is_pgoutput, s->starting.server,
				      s->starting.zone };
	lsn_t from;

	s->sent = s->received = start.confirmed;
	from = s->calls->start(s->ctx, &start);
	source_start_place(&s->starting, from,
			   &(struct source_options){ .prefix = s->calls->message_prefix(s->ctx),
						     .no_prefix = s->no_prefix,
						     .add = s->calls->add_tables(s->ctx),
						     .filter = s->calls->filter_tables(s->ctx),
						     .server = PQserverVersion(s->conn) });
	ask(s);
}

/* The answer to one simple query. */
static void take_answer(struct source *s, const PGresult *result)
{
	struct fail why = { 0 };
	enum source_step step = source_start_take(&s->starting, result, &why);

	switch (step) {
	case SOURCE_STEP_ASK:
		ask(s);
		return;
	case SOURCE_STEP_PLACE:
		place(s);
		return;
	case SOURCE_STEP_STREAM:
		begin_stream(s);
		return;
	case SOURCE_STEP_FAIL:
	case SOURCE_STEP_FIX:
		lost(s, &why, step == SOURCE_STEP_FIX);
	}
}

static void read_answer(struct source *s)
{
	PGresult *result, *extra;

	if (PQisBusy(s->conn))
		return;
	result = PQgetResult(s->conn);
	if (!result) {
		broken(s);
		return;
	}
	/* The results of a simple query end with NULL. A stream has no such end. */
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
		while ((extra = PQgetResult(s->conn)))
			PQclear(extra);
	take_answer(s, result);
	PQclear(result);
}

/* --- socket events ---------------------------------------------------------------------------------------------- */

static void read_all(struct source *s)
{
	if (s->state == SOURCE_STREAMING)
		read_stream(s);
	else if (s->state == SOURCE_ENDING)
		read_end(s);
	else
		read_answer(s);
}

/* PQflush may already have read the bytes before the end of the connection, with the server's last message. They wait in libpq, so they are
 * handled even if nothing more can be read. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;
	PGconn *conn = s->conn;
	bool is_over = !PQconsumeInput(conn);

	(void)fd;
	(void)what;
	read_all(s);
	if (is_over && s->conn == conn)
		broken(s);
}

/* --- life ----------------------------------------------------------------------------------------------------- */

static void on_dialled(void *ctx, PGconn *conn, const struct fail *why)
{
	struct source *s = ctx;

	s->dial = NULL;
	if (!conn) {
		refused(s, why);
		return;
	}
	if (s->login)
		login_passed(s->login, &s->login_ear);
	s->conn = conn;
	s->last_words = (struct fail){ 0 };
	PQsetNoticeReceiver(conn, pgdial_last_words, &s->last_words);
	s->readable = event_new(s->loop, PQsocket(conn), EV_READ | EV_PERSIST, on_readable, s);
	s->writable = event_new(s->loop, PQsocket(conn), EV_WRITE, on_writable, s);
	if (!s->readable || !s->writable || event_add(s->readable, NULL) != 0)
		fail_never("libevent does not watch the replication socket: %s", strerror(errno));
	source_start_first(&s->starting);
	ask(s);
}

static void dial(struct source *s)
{
	int64_t us = s->login ? login_wait(s->login, &s->login_ear, clock_us()) : 0;
	struct timeval wait = clock_timeval(us);

	s->waits_for_login = us > 0;
	move_to(s, us ? SOURCE_WAITING : SOURCE_DIALLING);
	if (us) {
		event_add(s->retry, &wait);
		return;
	}
	s->dial = pgdial_start(s->loop, s->names, s->conf, PGDIAL_REPLICATION, on_dialled, s);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	dial(arg);
}

static void on_passed(void *ctx)
{
	struct source *s = ctx;

	if (!s->waits_for_login)
		return;
	event_del(s->retry);
	dial(s);
}

void source_login(struct source *s, struct login *login)
{
	s->login = login;
	s->login_ear = (struct login_ear){ .passed = on_passed, .ctx = s };
	login_listen(login, &s->login_ear);
}

void source_go(struct source *s)
{
	if (s->state == SOURCE_IDLE)
		dial(s);
}

static void restart_soon(struct source *s, const struct fail *why, enum source_loss loss)
{
	if (s->in_callback) {
		s->restart = true;
		s->restart_why = *why;
		s->restart_loss = loss;
	} else {
		restart(s, why, loss);
	}
}

void source_restart(struct source *s, const char *reason)
{
	struct fail why = { 0 };

	fail_set(&why, "%s", reason);
	restart_soon(s, &why, SOURCE_GONE);
}

void source_refuse(struct source *s, const struct fail *why)
{
	source_health_refuse(&s->health);
	restart_soon(s, why, SOURCE_POISON);
}

void source_renew(struct source *s)
{
	struct fail why = { 0 };

	assert(!s->in_callback);
	if (s->state != SOURCE_STREAMING)
		return;
	log_info("the replication connection is renewed, because a large record has left a buffer of its size");
	source_send_status(s);
	hang_up(s);
	dial(s);
	s->calls->lost(s->ctx, SOURCE_GONE, &why);
}

void source_stop(struct source *s)
{
	assert(!s->in_callback);
	source_send_status(s);
	hang_up(s);
	move_to(s, SOURCE_IDLE);
}

void source_end(struct source *s)
{
	assert(!s->in_callback);
	source_send_status(s);
	if (s->state != SOURCE_STREAMING || PQputCopyEnd(s->conn, NULL) != 1 || !flush_out(s)) {
		ended(s);
		return;
	}
	move_to(s, SOURCE_ENDING);
	event_del(s->status);
	/* The source may be paused, and libpq may hold bytes for which no socket event comes. */
	event_add(s->readable, NULL);
	event_active(s->readable, EV_READ, 0);
}

void source_pause(struct source *s, bool paused)
{
	if (s->paused == paused)
		return;
	s->paused = paused;
	if (s->state != SOURCE_STREAMING)
		return;
	if (paused) {
		event_del(s->readable);
	} else {
		event_add(s->readable, NULL);
		/* libpq may hold records for which no socket event comes. */
		event_active(s->readable, EV_READ, 0);
	}
}

bool source_is_streaming(const struct source *s)
{
	return s->state == SOURCE_STREAMING;
}

const char *source_plugin(const struct source *s)
{
	return s->starting.plugin;
}

lsn_t source_server_end(const struct source *s)
{
	return s->received > s->starting.server_end ? s->received : s->starting.server_end;
}

lsn_t source_received(const struct source *s)
{
	return s->received;
}

lsn_t source_furthest(const struct source *s)
{
	return s->furthest;
}

unsigned source_deaths(const struct source *s)
{
	return s->health.deaths;
}

bool source_is_held_by_other(const struct source *s)
{
	return s->health.held_by_other;
}

const char *source_trouble(const struct source *s, const char **fix)
{
	*fix = s->health.fix;
	return s->health.trouble.text[0] ? s->health.trouble.text : NULL;
}

int64_t source_down_since(const struct source *s)
{
	return s->down_since;
}

void source_free_record(char *bytes)
{
	PQfreemem(bytes);
}

/* Any role can write logical messages of any size, with any prefix. A random prefix keeps them out of the replication stream. */
static void choose_prefix(struct source *s)
{
	unsigned char random[16];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		fail_never("source: no random bytes: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(s->no_prefix + 2 * i, 3, "%02x", random[i]);
}

struct source *source_new(struct event_base *loop, struct resolve *names, const struct conf_database *conf,
			  const struct source_calls *calls, void *ctx)
{
	struct source *s = mem_new(sizeof(*s));

	s->home = pthread_self();
	s->loop = loop;
	s->names = names;
	s->conf = s->starting.conf = conf;
	s->calls = calls;
	s->ctx = ctx;
	s->down_since = clock_us();
	choose_prefix(s);
	source_health_init(&s->health);
	s->retry = event_new(loop, -1, 0, on_retry, s);
	s->status = event_new(loop, -1, EV_PERSIST, on_status, s);
	if (!s->retry || !s->status)
		fail_never("libevent makes no timers for the replication connection");
	return s;
}

void source_free(struct source *s)
{
	if (!s)
		return;
	hang_up(s);
	if (s->login)
		login_leave(s->login, &s->login_ear);
	event_free(s->retry);
	event_free(s->status);
	source_start_fini(&s->starting);
	free(s);
}
