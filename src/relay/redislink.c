#include "redislink.h"

#include <assert.h>
#include <hiredis/async.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include <hiredis/adapters/libevent.h>

#include "walpush/base/backoff.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/relay/redisrefusal.h"
#include "walpush/relay/redistls.h"
#include "walpush/text/redisurl.h"
#include "walpush/base/repeat.h"

#define WATCH_TICK 250000   /* µs: how often the link looks for an overdue answer */
#define ROLE_EVERY 1000000  /* µs */
#define BACKOFF_BASE 100000 /* µs */
/* When the name changes to a new master, the link follows within this time, even after many failed connects to the old
 * one. */
#define BACKOFF_CAP 2000000 /* µs */
/* A connection that was up for this long has worked: its end is news, and the backoff starts from its base. */
#define STEADY 10000000 /* µs */
#define ARGUMENTS_FIXED 32

struct question {
	struct question *prev, *next;
	struct redislink *link;
	redislink_done *done; /* NULL: the answer is dropped */
	void *ctx;
	int64_t asked; /* µs */
};

/*
 *   WAITING ─timer▶ RESOLVING ──▶ CONNECTING ──▶ GREETING ──▶ UP
 *      ▲                │           ▲    │           │         │
 *      └── the last ────┴─ failed ──┼────┴───────────┴─────────┘
 *                                   └ failed, and another address is left
 */
enum link_state { LINK_WAITING, LINK_RESOLVING, LINK_CONNECTING, LINK_GREETING, LINK_UP };

static const char *const state_names[] = { "waiting", "resolving", "connecting", "greeting", "up" };

/* Answers come in order, so the first question is the oldest. */
struct redislink {
	struct event_base *loop;
	struct resolve *names;
	const char *name;
	struct redisurl server;
	struct resolve_question *question; /* while resolving */
	struct resolve_answer found;       /* the addresses of this attempt */
	size_t tried;                      /* how many of them were tried */
	int64_t patience;
	redislink_state *state_fn;
	void *ctx;
	enum link_state state;
	redisAsyncContext *redis;
	struct question *questions;
	unsigned greetings; /* AUTH, SELECT, PING and ROLE that are not answered yet */
	int64_t since;      /* µs: when the state began */
	struct event *retry, *watch;
	struct backoff backoff;
	char trouble[256]; /* since the link was last up; "": none */
	bool is_said;      /* the trouble was logged at a level that people see */
	struct repeat repeats[REPEAT_TABLE];
	bool refused; /* an error of Redis ended the last connection; until a connection is up again */
	bool role_asked, role_forbidden; /* both of this connection */
	int64_t role_at;                 /* µs: when ROLE was last sent */
	struct redistls tls;
};

/* --- states ------------------------------------------------------------------------------------------------------ */

static void link_to(struct redislink *l, enum link_state next)
{
	log_debug("redis", log_s("link", l->name), log_s("from", state_names[l->state]),
		  log_s("to", state_names[next]));
	l->state = next;
	l->since = clock_us();
}

/* Warns once until the connection is up again. If one connection after the other comes up and ends, it warns rarely. */
static void say_trouble(struct redislink *l, const char *error, int64_t wait_us)
{
	enum log_level level = LOG_LEVEL_DEBUG;
	unsigned times = 1;

	if (!l->trouble[0])
		level = repeat_level(repeat_for(l->repeats, error), LOG_LEVEL_WARN, error, clock_us(), &times);
	if (level == LOG_LEVEL_WARN)
		l->is_said = true;
	log_write(level, "no connection to Redis, trying again",
		  LOG_FIELDS(log_s("link", l->name), log_s("error", error), log_ms("wait_ms", wait_us),
			     log_n("times", times)));
	mem_copy_text(l->trouble, sizeof(l->trouble), error);
}

/* The connection was up long enough: a later error is not a continuation of the earlier ones. */
static void worked(struct redislink *l)
{
	backoff_reset(&l->backoff);
	memset(l->repeats, 0, sizeof(l->repeats));
}

static void question_end(struct question *q, const redisReply *reply)
{
	DL_DELETE(q->link->questions, q);
	if (q->done)
		q->done(q->ctx, reply);
	free(q);
}

/* `l->redis` is gone, or will be at once. If the connection never came up, the link dials the next address at once. */
static void link_lost(struct redislink *l, const char *error)
{
	bool was_up = l->state == LINK_UP;
	bool has_next = l->tried < l->found.n;
	struct timeval wait;
	int64_t us;

	if (was_up && clock_us() - l->since >= STEADY)
		worked(l);
	us = has_next ? 0 : backoff_next(&l->backoff);
	wait = clock_timeval(us);
	error = error && *error ? error : "the connection was closed";
	if (has_next)
		log_debug("trying the next address of Redis", log_s("link", l->name), log_s("error", error));
	else
		say_trouble(l, error, us);
	l->redis = NULL;
	link_to(l, LINK_WAITING);
	event_add(l->retry, &wait);
	while (l->questions)
		question_end(l->questions, NULL);
	if (was_up)
		l->state_fn(l->ctx, false);
}

/* redisAsyncFree calls back for every command that it still knows. The link answers these commands itself, so data =
 * NULL hides the link from the library. */
static void hang_up(struct redislink *l)
{
	redisAsyncContext *redis = l->redis;

	if (!redis)
		return;
	l->redis = NULL;
	redis->data = NULL;
	redisAsyncFree(redis);
}

void redislink_drop(struct redislink *l, const char *why)
{
	if (!l->redis)
		return;
	hang_up(l);
	link_lost(l, why);
}

/* --- commands ---------------------------------------------------------------------------------------------------- */

static void link_refused(struct redislink *l, const char *words)
{
	l->refused = true;
	redislink_drop(l, words);
}

/* While greeting, the callbacks end the connection on any error, without words that may repeat the password. */
static void take_reply(struct redislink *l, struct question *q, const redisReply *reply)
{
	char words[REDISREFUSAL_WORDS];

	if (l->state != LINK_UP || reply->type != REDIS_REPLY_ERROR || !redisrefusal_ends(reply->str)) {
		question_end(q, reply);
		return;
	}
	redisrefusal_words(words, reply->str);
	link_refused(l, words);
}

static void on_reply(redisAsyncContext *redis, void *reply, void *arg)
{
	struct redislink *l = redis->data;

	/* While the library frees a context, link_lost answers its questions. */
	if (l && reply)
		take_reply(l, arg, reply);
}

static void send_command(struct redislink *l, size_t n, const struct slice *arguments, redislink_done *done, void *ctx)
{
	struct question *q = mem_new(sizeof(*q));
	const char *fixed_at[ARGUMENTS_FIXED], **at = fixed_at;
	size_t fixed_len[ARGUMENTS_FIXED], *len = fixed_len;

	if (n > ARGUMENTS_FIXED) {
		at = mem_new_array(n, sizeof(*at));
		len = mem_new_array(n, sizeof(*len));
	}
	for (size_t i = 0; i < n; i++) {
		at[i] = arguments[i].at;
		len[i] = arguments[i].len;
	}
	q->link = l;
	q->done = done;
	q->ctx = ctx;
	q->asked = clock_us();
	DL_APPEND(l->questions, q);
	if (redisAsyncCommandArgv(l->redis, on_reply, q, (int)n, at, len) != REDIS_OK)
		/* The connection is being closed: the disconnect callback answers. */
		log_debug("a command came too late", log_s("link", l->name));
	if (at != fixed_at) {
		free(at);
		free(len);
	}
}

void redislink_ask(struct redislink *l, size_t n, const struct slice *arguments, redislink_done *done, void *ctx)
{
	assert(l->state == LINK_UP);
	send_command(l, n, arguments, done, ctx);
}

/* --- greeting ---------------------------------------------------------------------------------------------------- */

static void came_up(struct redislink *l)
{
	link_to(l, LINK_UP);
	if (l->is_said)
		log_info("connected to Redis again", log_s("link", l->name));
	l->is_said = l->refused = false;
	l->trouble[0] = '\0';
	l->tried = l->found.n; /* after this connection is lost, the name is looked up again */
	l->state_fn(l->ctx, true);
}

static void greeted(struct redislink *l)
{
	if (--l->greetings == 0)
		came_up(l);
}

static void on_greeting(void *ctx, const redisReply *reply)
{
	struct redislink *l = ctx;

	if (!reply)
		return;
	if (reply->type == REDIS_REPLY_ERROR) {
		redislink_drop(l, reply->str);
		return;
	}
	greeted(l);
}

/* While Redis cannot save, it refuses PING like a write; but it still serves reads. */
static void on_ping(void *ctx, const redisReply *reply)
{
	struct redislink *l = ctx;

	if (reply && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "MISCONF ", 8) == 0)
		greeted(l);
	else
		on_greeting(ctx, reply);
}

/* The first word of an error is its kind, "WRONGPASS" or "NOAUTH". The rest of the answer to AUTH may repeat the
 * password, for example if the command has another name: "ERR unknown command `AUTH`, with args beginning with: …". */
static void on_auth(void *ctx, const redisReply *reply)
{
	struct redislink *l = ctx;
	char text[96];

	if (!reply || reply->type != REDIS_REPLY_ERROR) {
		on_greeting(ctx, reply);
		return;
	}
	snprintf(text, sizeof(text), "%.*s: user or password of relay.url is refused",
		 (int)strspn(reply->str, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), reply->str);
	redislink_drop(l, text);
}

/* NULL: this is no answer to ROLE. */
static const char *role_in(const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0 || reply->element[0]->type != REDIS_REPLY_STRING)
		return NULL;
	return reply->element[0]->str;
}

static void on_role(void *ctx, const redisReply *reply)
{
	struct redislink *l = ctx;
	const char *role;
	char words[64];

	l->role_asked = false;
	if (!reply)
		return;
	role = role_in(reply);
	l->role_forbidden = !role;
	if (role && redisrefusal_role_ends(role)) {
		snprintf(words, sizeof(words), "ROLE says %s: this server is not the master", role);
		link_refused(l, words);
	} else if (l->state == LINK_GREETING) {
		greeted(l);
	}
}

static void ask_role(struct redislink *l)
{
	struct slice role[1] = { SLICE("ROLE") };

	l->role_asked = true;
	l->role_at = clock_us();
	send_command(l, 1, role, on_role, l);
}

static void greet(struct redislink *l)
{
	const struct redisurl *a = &l->server;
	struct slice auth[3] = { SLICE("AUTH") }, choose[2] = { SLICE("SELECT") }, ping[1] = { SLICE("PING") };
	size_t n = 1;

	link_to(l, LINK_GREETING);
	l->greetings = 2;
	if (a->password) {
		if (a->user)
			auth[n++] = slice_of(a->user);
		auth[n++] = slice_of(a->password);
		l->greetings++;
		send_command(l, n, auth, on_auth, l);
	}
	if (redisurl_selects(a)) {
		choose[1] = slice_of(a->database);
		l->greetings++;
		send_command(l, 2, choose, on_greeting, l);
	}
	/* A server that is still loading its data answers PING with an error. */
	send_command(l, 1, ping, on_ping, l);
	ask_role(l);
}

/* --- the connection ---------------------------------------------------------------------------------------------- */

/* A handshake ends with the first bytes that are read, so that its failure looks like that of a connection. */
static const char *lost_error(struct redislink *l, const redisAsyncContext *redis)
{
	return l->state == LINK_UP ? redis->errstr : redistls_error(&l->tls, &redis->c);
}

static void on_connected(const redisAsyncContext *redis, int status)
{
	struct redislink *l = redis->data;

	if (!l)
		return;
	if (status != REDIS_OK) { /* the library frees the context */
		link_lost(l, lost_error(l, redis));
		return;
	}
	greet(l);
}

static void on_disconnected(const redisAsyncContext *redis, int status)
{
	struct redislink *l = redis->data;

	(void)status;
	if (l)
		link_lost(l, lost_error(l, redis));
}

/* An overdue answer shows that the peer vanished; these options are for the kernel's buffers. */
static void set_socket(int fd, int64_t patience)
{
	unsigned ms = (unsigned)(patience / 1000);
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

/* hiredis does not block on an address. */
static void link_dial(struct redislink *l)
{
	link_to(l, LINK_CONNECTING);
	l->redis = redisAsyncConnect(l->found.addresses[l->tried++], l->server.port);
	if (!l->redis)
		fail_never("out of memory: hiredis makes no connection");
	l->redis->data = l;
	if (l->redis->err || !redistls_start(&l->tls, &l->redis->c, &l->server)) {
		char error[192];

		mem_copy_text(error, sizeof(error), redistls_error(&l->tls, &l->redis->c));
		hang_up(l);
		link_lost(l, error);
		return;
	}
	set_socket(l->redis->c.fd, l->patience);
	redisLibeventAttach(l->redis, l->loop);
	redisAsyncSetConnectCallback(l->redis, on_connected);
	redisAsyncSetDisconnectCallback(l->redis, on_disconnected);
}

static void on_resolved(void *ctx, const struct resolve_answer *answer)
{
	struct redislink *l = ctx;
	struct fail why;

	l->question = NULL;
	l->found = *answer;
	l->tried = 0;
	if (l->found.n) {
		link_dial(l);
		return;
	}
	resolve_fail(&why, l->server.host, answer);
	link_lost(l, why.text);
}

static void link_resolve(struct redislink *l)
{
	link_to(l, LINK_RESOLVING);
	l->question = resolve_ask(l->names, l->server.host, l->patience, on_resolved, l);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct redislink *l = arg;

	(void)fd;
	(void)what;
	if (l->tried < l->found.n)
		link_dial(l);
	else
		link_resolve(l);
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct redislink *l = arg;
	int64_t now = clock_us(), since = l->since;

	(void)fd;
	(void)what;
	if (l->state == LINK_UP && !l->role_asked && !l->role_forbidden && now - l->role_at >= ROLE_EVERY)
		ask_role(l);
	if (!l->redis || (l->state == LINK_UP && !l->questions))
		return;
	if (l->questions && l->questions->asked > since)
		since = l->questions->asked;
	if (now - since <= l->patience)
		return;
	/* A server without TLS waits for the end of what it takes for a command. */
	if (l->server.tls && l->state != LINK_UP)
		redislink_drop(l, "no answer in time: perhaps Redis speaks no TLS on this port");
	else
		redislink_drop(l, "no answer in time");
}

/* --- life -------------------------------------------------------------------------------------------------------- */

bool redislink_is_up(const struct redislink *l)
{
	return l->state == LINK_UP;
}

bool redislink_is_refused(const struct redislink *l)
{
	return l->refused;
}

const char *redislink_trouble(const struct redislink *l)
{
	return l->trouble[0] ? l->trouble : NULL;
}

struct redislink *redislink_new(struct event_base *loop, struct resolve *names, const char *name, const char *url,
				int64_t patience, redislink_state *state, void *ctx)
{
	struct redislink *l = mem_new(sizeof(*l));
	struct fail why;

	l->loop = loop;
	l->names = names;
	l->name = name;
	l->patience = patience;
	l->state_fn = state;
	l->ctx = ctx;
	l->backoff = (struct backoff){ .base = BACKOFF_BASE, .cap = BACKOFF_CAP };
	if (!redisurl_parse(url, &l->server, &why))
		fail_never("relay.url is malformed: redisurl_check was not called");
	l->retry = event_new(loop, -1, 0, on_retry, l);
	l->watch = event_new(loop, -1, EV_PERSIST, on_watch, l);
	if (!l->retry || !l->watch)
		fail_never("libevent makes no timers for link %s", name);
	event_add(l->watch, &(struct timeval){ 0, WATCH_TICK });
	event_active(l->retry, EV_TIMEOUT, 0); /* from the loop, so that nothing calls back before this returns */
	return l;
}

void redislink_free(struct redislink *l)
{
	if (!l)
		return;
	resolve_forget(l->question);
	hang_up(l);
	while (l->questions)
		question_end(l->questions, NULL);
	event_free(l->retry);
	event_free(l->watch);
	redistls_fini(&l->tls);
	redisurl_fini(&l->server);
	free(l);
}
