#include "source_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/text/pgurl.h"
#include "walframe.h"

/* Seconds between 1970 and 2000, the epoch of the protocol's clock. */
#define PG_EPOCH_S 946684800LL
/* A slot may be bounded to little more than the server needs by itself (max_slot_wal_keep_size), and a busy server writes a segment in less
 * time than status-interval: each 16 MiB, the size of a segment, is confirmed at once. */
#define STATUS_BYTES (UINT64_C(16) << 20)

static const char *const state_names[] = { "idle",     "dialling",  "setting", "identify", "slot",
					   "starting", "streaming", "ending",  "waiting" };

static void source_dial(struct source *s);

void source_to(struct source *s, enum source_state next)
{
	log_debug("replication", log_s("from", state_names[s->state]), log_s("to", state_names[next]));
	if (next == SOURCE_STREAMING)
		s->down_since = 0;
	else if (s->state == SOURCE_STREAMING)
		s->down_since = clock_us();
	s->state = next;
}

/* --- trouble -------------------------------------------------------------------------------------------------- */

struct mend {
	const char *sqlstate; /* a prefix */
	const char *what;
	bool slow; /* a person must act */
};

/* Source: PostgreSQL's slot.c, walsender.c, and measurements. The first that fits. */
static const struct mend mends[] = {
	{ "55006", "another process holds the slot; waiting for it, as a standby", false },
	{ "42704", "the slot does not exist: walpush sql prints what creates it", true },
	{ "55P03", "a lock_timeout of the server or the role ended the session: see \"Timeouts\" in docs/operations.md",
	  false },
	{ "57014",
	  "a statement_timeout of the role, or somebody's cancel, ended the session: see \"Timeouts\" in "
	  "docs/operations.md",
	  false },
	{ "57P05", "an idle_session_timeout ended the session: see \"Timeouts\" in docs/operations.md", false },
	{ "57P01", "the server is stopping, or somebody ended the session with pg_terminate_backend", false },
	{ "55000", "the slot cannot be used: see pg_replication_slots; drop it, and walpush sql makes a new one",
	  true },
	{ "42501",
	  "the role lacks a privilege, or output_plugin_libraries does not list wal2json: run what walpush sql prints",
	  true },
	{ "28",
	  "the server does not let this role in: check user, password and pg_hba.conf (database name, not "
	  "'replication')",
	  true },
	{ "3D000", "the database in the connection string does not exist", true },
	{ "58P01", "the server has no wal2json: install the package postgresql-NN-wal2json there", true },
	{ "0A000", "the server is too old or wal_level is not logical", true },
	{ "22023", "the slot's plugin refused the options: is it wal2json 2.x?", true },
	{ "54000",
	  "a row is too large for wal2json to print: it is passed over unless database.skip is false, see \"A row is "
	  "too "
	  "large\" in docs/operations.md",
	  false },
	{ "XX000",
	  "a row may be too large for wal2json to print: see \"A row is too large\" in docs/operations.md, and the "
	  "server's log",
	  false },
	{ "25P", "a timeout of the server ended the session: see \"Timeouts\" in docs/operations.md", false },
	{ "53300", "no connection or walsender slot is free: raise max_wal_senders or max_connections", false },
	{ "57P", "the server is starting, stopping or recovering", false },
};

static const struct mend *mend_for(const struct fail *why)
{
	for (size_t i = 0; i < sizeof(mends) / sizeof(*mends); i++)
		if (why->sqlstate[0] && strncmp(why->sqlstate, mends[i].sqlstate, strlen(mends[i].sqlstate)) == 0)
			return &mends[i];
	return NULL;
}

static void say_trouble(struct source *s, const struct fail *why, const struct mend *mend, int64_t wait_us)
{
	unsigned times;
	enum log_level level = repeat_level(&s->trouble, LOG_LEVEL_WARN, why->text, clock_us(), &times);

	s->mend = mend ? mend->what : NULL;
	log_write(level, "not streaming, trying again",
		  LOG_FIELDS(log_s("slot", s->conf->slot), log_s("error", why->text), log_s("sqlstate", why->sqlstate),
			     log_s("mend", mend ? mend->what : ""), log_ms("wait_ms", wait_us), log_n("times", times)));
}

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
}

static void ended(struct source *s)
{
	hang_up(s);
	source_to(s, SOURCE_IDLE);
	s->calls->ended(s->ctx);
}

/* Where libpq gets no memory for a record, it has no word for that but these; the record comes again on the next connection. */
static bool is_too_large_for_libpq(const char *text)
{
	return strstr(text, "out of memory") || strstr(text, "cannot allocate memory for input buffer") ||
	       strstr(text, "lost synchronization with server");
}

/* Of the server's errors these alone speak of the record: others pass with what caused them. */
static bool is_poison(const struct fail *why)
{
	if (strcmp(why->sqlstate, "XX000") == 0)
		return strstr(why->text, "invalid memory alloc request size") != NULL;
	return strcmp(why->sqlstate, "54000") == 0 || (!why->sqlstate[0] && is_too_large_for_libpq(why->text));
}

static void try_again(struct source *s, const struct fail *why, bool slow, enum source_loss loss)
{
	const struct mend *mend = mend_for(why);
	bool was_streaming = s->state == SOURCE_STREAMING;
	int64_t us = backoff_next(slow || (mend && mend->slow) ? &s->slow : &s->soon);
	struct timeval wait = clock_timeval(us);

	s->held_by_other = strcmp(why->sqlstate, "55006") == 0;
	say_trouble(s, why, mend, us);
	hang_up(s);
	source_to(s, SOURCE_WAITING);
	event_add(s->retry, &wait);
	if (!was_streaming)
		return;
	s->deaths++;
	s->calls->lost(s->ctx, loss, why);
}

void source_lost(struct source *s, const struct fail *why, bool slow)
{
	if (s->state == SOURCE_ENDING)
		ended(s);
	else
		try_again(s, why, slow, is_poison(why) ? SOURCE_POISON : SOURCE_GONE);
}

void source_broken(struct source *s)
{
	struct fail why = { 0 };
	char *newline;

	fail_set(&why, "%s", pgurl_error(s->conn));
	newline = strchr(why.text, '\n');
	if (newline)
		*newline = '\0';
	source_lost(s, &why, false);
}

/* --- writing -------------------------------------------------------------------------------------------------- */

bool source_flush(struct source *s)
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
	if (!source_flush(s))
		source_broken(s);
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
	/* A failure shows on the read side, from where it is safe to hang up. */
	if (PQputCopyData(s->conn, frame, sizeof(frame)) != 1 || !source_flush(s))
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
	if (handled > s->handled) {
		s->handled = handled;
		s->refused = false;
	}
	if (s->state == SOURCE_STREAMING && s->calls->confirm(s->ctx) >= s->sent + STATUS_BYTES)
		send_status(s, false);
}

static void on_status(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	source_send_status(arg);
}

/* --- reading the stream --------------------------------------------------------------------------------------- */

/* Something came that no earlier connection brought, or there is nothing more to come. What was refused comes early enough to be received
 * with what is behind it, so there only a position handled is progress. */
static void progressed(struct source *s)
{
	if (s->refused || (!s->deaths && !s->trouble.text[0]))
		return;
	s->deaths = 0;
	s->mend = NULL;
	repeat_end(&s->trouble);
	backoff_reset(&s->soon);
	backoff_reset(&s->slow);
}

static void moved(struct source *s, const struct walframe *frame)
{
	if (frame->end > s->received)
		s->received = frame->end;
	if (frame->end > s->furthest)
		s->furthest = frame->end;
	else if (frame->kind != WALFRAME_KEEPALIVE || frame->end < s->server_end)
		return;
	progressed(s);
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
	source_lost(s, &why, false);
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
		source_broken(s);
}

void source_streaming(struct source *s)
{
	struct timeval interval = clock_timeval(s->conf->status_interval * 1000);

	source_to(s, SOURCE_STREAMING);
	s->held_by_other = false;
	event_add(s->status, &interval);
	/* That it begins again and again is no news where it ends as often, which is said elsewhere. */
	log_write(s->deaths > 1 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "streaming",
		  LOG_FIELDS(log_s("slot", s->conf->slot), log_s("system", s->system_id),
			     log_s("timeline", s->timeline), log_lsn("confirmed", s->sent),
			     log_lsn("server_end", s->server_end)));
	/* The answer tells how far the server is, even when nothing is ever written. */
	send_status(s, true);
	s->calls->streaming(s->ctx);
	read_stream(s);
}

/* What comes before the server has seen our end of the copy is not handled any more. */
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

static void read_all(struct source *s)
{
	if (s->state == SOURCE_STREAMING)
		read_stream(s);
	else if (s->state == SOURCE_ENDING)
		read_end(s);
	else
		source_read_answer(s);
}

/* What came before the end, the server's last words among it, may have been read by PQflush and waits in libpq: it is looked at even if
 * nothing more can be read. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct source *s = arg;
	PGconn *conn = s->conn;
	bool is_over = !PQconsumeInput(conn);

	(void)fd;
	(void)what;
	read_all(s);
	if (is_over && s->conn == conn)
		source_broken(s);
}

/* --- life ----------------------------------------------------------------------------------------------------- */

static void on_dialled(void *ctx, PGconn *conn, const struct fail *why)
{
	struct source *s = ctx;

	s->dial = NULL;
	if (!conn) {
		source_lost(s, why, false);
		return;
	}
	s->conn = conn;
	s->readable = event_new(s->loop, PQsocket(conn), EV_READ | EV_PERSIST, on_readable, s);
	s->writable = event_new(s->loop, PQsocket(conn), EV_WRITE, on_writable, s);
	if (!s->readable || !s->writable || event_add(s->readable, NULL) != 0)
		fail_never("libevent does not watch the replication socket: %s", strerror(errno));
	source_begin(s);
}

static void source_dial(struct source *s)
{
	source_to(s, SOURCE_DIALLING);
	s->dial = pgdial_start(s->loop, s->names, s->conf, PGDIAL_REPLICATION, on_dialled, s);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	source_dial(arg);
}

void source_go(struct source *s)
{
	if (s->state == SOURCE_IDLE)
		source_dial(s);
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
	s->refused = true;
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
	source_dial(s);
	s->calls->lost(s->ctx, SOURCE_GONE, &why);
}

void source_stop(struct source *s)
{
	assert(!s->in_callback);
	source_send_status(s);
	hang_up(s);
	source_to(s, SOURCE_IDLE);
}

void source_end(struct source *s)
{
	assert(!s->in_callback);
	source_send_status(s);
	if (s->state != SOURCE_STREAMING || PQputCopyEnd(s->conn, NULL) != 1 || !source_flush(s)) {
		ended(s);
		return;
	}
	source_to(s, SOURCE_ENDING);
	event_del(s->status);
	/* It may be paused; and libpq may hold bytes that no socket event will announce. */
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
		/* libpq may hold records that no socket event will announce. */
		event_active(s->readable, EV_READ, 0);
	}
}

bool source_is_streaming(const struct source *s)
{
	return s->state == SOURCE_STREAMING;
}

lsn_t source_server_end(const struct source *s)
{
	return s->received > s->server_end ? s->received : s->server_end;
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
	return s->deaths;
}

bool source_is_held_by_other(const struct source *s)
{
	return s->held_by_other;
}

const char *source_trouble(const struct source *s, const char **mend)
{
	*mend = s->mend;
	return s->trouble.text[0] ? s->trouble.text : NULL;
}

int64_t source_down_since(const struct source *s)
{
	return s->down_since;
}

void source_free_record(char *bytes)
{
	PQfreemem(bytes);
}

/* Any role may send messages, and of any size. */
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

	s->loop = loop;
	s->names = names;
	s->conf = conf;
	s->calls = calls;
	s->ctx = ctx;
	s->down_since = clock_us();
	choose_prefix(s);
	s->soon = (struct backoff){ .base = 100000, .cap = 5000000 };
	s->slow = (struct backoff){ .base = 5000000, .cap = 15000000 };
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
	event_free(s->retry);
	event_free(s->status);
	free(s->system_id);
	free(s->timeline);
	free(s);
}
