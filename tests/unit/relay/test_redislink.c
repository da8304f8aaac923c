/*
 * The connection to Redis over a real socket: how it greets, what ends it, and who is told of it in which order. The server is in the same loop and
 * answers each command by its first word. Timers are fired, not waited for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redislink.h"
#include "walpush/base/buf.h"
#include "walpush/base/clock.h"
#include "walpush/base/mem.h"

#define PATIENCE 5000000
#define MASTER "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
#define REPLICA "*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$7\r\nconnect\r\n:0\r\n"

static struct event_base *loop;
static struct resolve *names;
static struct redislink *link_under_test;

/* --- the server ------------------------------------------------------------------------------------------------------- */

struct answer {
	const char *command, *wire; /* wire NULL: no answer */
};

static struct evconnlistener *listener;
static struct bufferevent *peer;
static redisReader *requests;
static const struct answer *answers;
static struct buf asked; /* the commands, a line each */
static unsigned accepted;

static const char *wire_for(const char *command)
{
	for (const struct answer *a = answers; a && a->command; a++)
		if (strcmp(a->command, command) == 0)
			return a->wire;
	return strcmp(command, "ROLE") == 0 ? MASTER : strcmp(command, "PING") == 0 ? "+PONG\r\n" : "+OK\r\n";
}

static void serve(const redisReply *request)
{
	const char *wire = wire_for(request->element[0]->str);

	for (size_t i = 0; i < request->elements; i++)
		buf_addf(&asked, "%s%s", i ? " " : asked.len ? "; " : "", request->element[i]->str);
	if (wire)
		bufferevent_write(peer, wire, strlen(wire));
}

static void on_request(struct bufferevent *b, void *ctx)
{
	struct evbuffer *in = bufferevent_get_input(b);
	size_t n = evbuffer_get_length(in);
	void *request;

	(void)ctx;
	redisReaderFeed(requests, (const char *)evbuffer_pullup(in, -1), n);
	evbuffer_drain(in, n);
	while (redisReaderGetReply(requests, &request) == REDIS_OK && request) {
		serve(request);
		freeReplyObject(request);
	}
}

static void hang_up(void)
{
	if (peer)
		bufferevent_free(peer);
	peer = NULL;
}

static void on_peer_gone(struct bufferevent *b, short what, void *ctx)
{
	(void)what;
	(void)ctx;
	if (b == peer)
		hang_up();
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *address, int len, void *ctx)
{
	(void)l;
	(void)address;
	(void)len;
	(void)ctx;
	hang_up();
	accepted++;
	redisReaderFree(requests);
	requests = redisReaderCreate();
	peer = bufferevent_socket_new(loop, fd, BEV_OPT_CLOSE_ON_FREE);
	bufferevent_setcb(peer, on_request, NULL, on_peer_gone, NULL);
	bufferevent_enable(peer, EV_READ | EV_WRITE);
}

static int listen_on_some_port(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);

	listener = evconnlistener_new_bind(loop, on_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 8, (struct sockaddr *)&a,
					   sizeof(a));
	assert_non_null(listener);
	getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&a, &len);
	return ntohs(a.sin_port);
}

/* --- the owner -------------------------------------------------------------------------------------------------------- */

static char told[512]; /* what the link told, in order */

static void tell(const char *what)
{
	size_t at = strlen(told);

	snprintf(told + at, sizeof(told) - at, "%s%s", at ? " " : "", what);
}

static void on_state(void *ctx, bool up)
{
	(void)ctx;
	tell(up ? "up" : "down");
}

static void on_answer(void *ctx, const redisReply *reply)
{
	(void)ctx;
	tell(!reply ? "none" : reply->str ? reply->str : "reply");
}

static void connect_to(int port, const char *who, const char *database)
{
	char url[128];

	snprintf(url, sizeof(url), "redis://%s127.0.0.1:%d%s", who, port, database);
	link_under_test = redislink_new(loop, names, "test", url, PATIENCE, on_state, NULL);
}

static int open_loop(void **state)
{
	(void)state;
	told[0] = '\0';
	answers = NULL;
	accepted = 0;
	loop = event_base_new();
	names = resolve_new(loop, false);
	return 0;
}

static int close_loop(void **state)
{
	(void)state;
	redislink_free(link_under_test);
	link_under_test = NULL;
	hang_up();
	redisReaderFree(requests);
	requests = NULL;
	if (listener)
		evconnlistener_free(listener);
	listener = NULL;
	resolve_free(names);
	event_base_loop(loop, EVLOOP_NONBLOCK);
	event_base_free(loop);
	buf_fini(&asked);
	return 0;
}

/* For the next case of a table. */
static void again(void)
{
	close_loop(NULL);
	open_loop(NULL);
}

static bool is_up(void)
{
	return redislink_is_up(link_under_test);
}

static bool has_trouble(void)
{
	return redislink_trouble(link_under_test) != NULL;
}

static bool is_told(void)
{
	return told[0] != '\0';
}

/* The loop waits for the socket, which is the kernel's, and for no timer. */
static void until(bool (*condition)(void))
{
	int64_t limit = clock_us() + 10000000;

	while (!condition() && clock_us() < limit)
		event_base_loop(loop, EVLOOP_ONCE);
	assert_true(condition());
}

static int fire(const struct event_base *base, const struct event *e, void *arg)
{
	struct timeval due;

	(void)base;
	(void)arg;
	if (event_get_callback(e) && event_pending(e, EV_TIMEOUT, &due) &&
	    !(event_get_events(e) & (EV_READ | EV_PERSIST)))
		event_active((struct event *)e, EV_TIMEOUT, 0);
	return 0;
}

/* --- greeting --------------------------------------------------------------------------------------------------------- */

#define SECRET "s3cret"

static const struct {
	const char *who, *database;
	struct answer answers[3];
	const char *asked;
	const char *trouble; /* NULL: it comes up */
	bool refused;
} greetings[] = {
	{ "", "", { { 0 } }, "PING; ROLE", NULL, false },
	{ ":" SECRET "@", "/0", { { 0 } }, "AUTH " SECRET "; PING; ROLE", NULL, false },
	{ "u:" SECRET "@", "/2", { { 0 } }, "AUTH u " SECRET "; SELECT 2; PING; ROLE", NULL, false },
	/* Who may not run ROLE is told by errors alone. While Redis cannot save, it can be read. */
	{ "", "", { { "ROLE", "-NOPERM no\r\n" } }, "PING; ROLE", NULL, false },
	{ "", "", { { "ROLE", ":1\r\n" } }, "PING; ROLE", NULL, false },
	{ "", "", { { "PING", "-MISCONF Redis is configured to save RDB snapshots\r\n" } }, "PING; ROLE", NULL, false },
	/* No words that may repeat the password. */
	{ ":" SECRET "@",
	  "",
	  { { "AUTH", "-WRONGPASS invalid username-password pair\r\n" } },
	  NULL,
	  "WRONGPASS: user or password of relay.url is refused",
	  false },
	{ ":" SECRET "@",
	  "",
	  { { "AUTH", "-ERR unknown command `AUTH`, with args beginning with: `" SECRET "`\r\n" } },
	  NULL,
	  "ERR: user or password of relay.url is refused",
	  false },
	{ "",
	  "/2",
	  { { "SELECT", "-ERR DB index is out of range\r\n" } },
	  NULL,
	  "ERR DB index is out of range",
	  false },
	{ "", "", { { "PING", "-LOADING Redis is loading\r\n" } }, NULL, "LOADING Redis is loading", false },
	{ "",
	  "",
	  { { "PING", "-NOAUTH Authentication required.\r\n" } },
	  NULL,
	  "NOAUTH Authentication required.",
	  false },
	{ "", "", { { "ROLE", REPLICA } }, NULL, "ROLE says slave: this server is not the master", true },
};

static void each_greeting(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(greetings) / sizeof(*greetings); i++) {
		again();
		answers = greetings[i].answers;
		connect_to(listen_on_some_port(), greetings[i].who, greetings[i].database);
		until(greetings[i].trouble ? has_trouble : is_up);
		if (greetings[i].asked)
			assert_string_equal(asked.data, greetings[i].asked);
		assert_string_equal(told, greetings[i].trouble ? "" : "up");
		if (greetings[i].trouble)
			assert_string_equal(redislink_trouble(link_under_test), greetings[i].trouble);
		else
			assert_null(redislink_trouble(link_under_test));
		assert_int_equal(redislink_is_refused(link_under_test), greetings[i].refused);
	}
}

/* --- commands --------------------------------------------------------------------------------------------------------- */

static void ask(const char *command)
{
	struct slice arguments[] = { slice_of(command), SLICE("x") };

	redislink_ask(link_under_test, 2, arguments, on_answer, NULL);
}

static void come_up(const struct answer *with)
{
	answers = with;
	connect_to(listen_on_some_port(), "", "");
	until(is_up);
	told[0] = '\0';
}

static bool all_told;

static bool is_all_told(void)
{
	return all_told;
}

static void on_last(void *ctx, const redisReply *reply)
{
	on_answer(ctx, reply);
	all_told = true;
}

static void ask_last(const char *command)
{
	struct slice arguments[] = { slice_of(command) };

	all_told = false;
	redislink_ask(link_under_test, 1, arguments, on_last, NULL);
}

static void answers_come_in_order(void **state)
{
	static const struct answer with[] = { { "B", "-OOM full\r\n" }, { "C", ":7\r\n" }, { 0 } };
	struct slice many[100];

	(void)state;
	come_up(with);
	ask("A");
	ask("B"); /* an error of the command, not of the connection */
	for (size_t i = 0; i < 100; i++)
		many[i] = SLICE("C");
	redislink_ask(link_under_test, 100, many, on_answer, NULL);
	ask_last("D");
	until(is_all_told);
	assert_string_equal(told, "OK OOM full reply OK");
	assert_true(is_up());
}

/* Each asker before the owner, and the one whose answer ended it first. */
static void a_replica_ends_the_connection(void **state)
{
	static const struct answer with[] = { { "B", "-READONLY You can't write against a read only replica.\r\n" },
					      { 0 } };

	(void)state;
	come_up(with);
	ask("A");
	ask("B");
	ask("C");
	until(has_trouble);
	assert_string_equal(told, "OK none none down");
	assert_true(redislink_is_refused(link_under_test));
	assert_non_null(strstr(redislink_trouble(link_under_test), "READONLY"));
}

static void a_connection_is_made_again(void **state)
{
	static const struct answer with[] = { { "A", NULL }, { 0 } };

	(void)state;
	come_up(with);
	ask("A");
	event_base_loop(loop, EVLOOP_NONBLOCK);
	until(is_up);
	hang_up();
	until(has_trouble);
	assert_string_equal(told, "none down");
	assert_false(redislink_is_refused(link_under_test));
	event_base_foreach_event(loop, fire, NULL); /* the wait is over */
	until(is_up);
	assert_string_equal(told, "none down up");
	assert_int_equal(accepted, 2);
	assert_null(redislink_trouble(link_under_test));
}

static void a_connection_is_dropped(void **state)
{
	static const struct answer with[] = { { "A", NULL }, { 0 } };

	(void)state;
	come_up(with);
	ask("A");
	redislink_drop(link_under_test, "it makes no sense");
	assert_string_equal(told, "none down");
	assert_string_equal(redislink_trouble(link_under_test), "it makes no sense");
	redislink_drop(link_under_test, "again"); /* there is none */
	assert_string_equal(redislink_trouble(link_under_test), "it makes no sense");
}

static void what_was_asked_is_answered_when_it_is_freed(void **state)
{
	static const struct answer with[] = { { "A", NULL }, { 0 } };

	(void)state;
	come_up(with);
	ask("A");
	redislink_free(link_under_test);
	link_under_test = NULL;
	assert_string_equal(told, "none");
	redislink_free(NULL);
}

static void nobody_listens(void **state)
{
	int port = listen_on_some_port();

	(void)state;
	evconnlistener_free(listener);
	listener = NULL;
	connect_to(port, "", "");
	assert_null(redislink_trouble(link_under_test)); /* not tried yet */
	until(has_trouble);
	assert_string_equal(redislink_trouble(link_under_test), "Connection refused");
	assert_false(is_told());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)
		TEST(each_greeting),
		TEST(answers_come_in_order),
		TEST(a_replica_ends_the_connection),
		TEST(a_connection_is_made_again),
		TEST(a_connection_is_dropped),
		TEST(what_was_asked_is_answered_when_it_is_freed),
		TEST(nobody_listens),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
