/*
 * home: the parts of a hub, wired as hub.c wires them, without its thread: the test is the thread, the tap, and the clients.
 *
 * Everything is real: the library's context on a libuv loop, sockets (a socketpair each), handshakes, tokens, topic logs, the mailbox to the
 * tap. The test turns the loop by home_run, and the hub's turn by home_turn. As the tap it appends, publishes, takes mails and answers them.
 * Nothing waits: what the loop must do, is there when it is turned.
 */
#ifndef TEST_HOME_H
#define TEST_HOME_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "conn_event.h"
#include "deliver.h"
#include "depart.h"
#include "forge.h"
#include "session.h"
#include "visitor.h"
#include "walpush/base/clock.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/change/render.h"

#define HOME_SECRET "a-secret-of-a-length-that-suits"
#define HOME_CONF                                                                                                      \
	"database = { url = \"postgresql:///x\" slot = \"w\" }\n"                                                      \
	"jwt = { algorithm = \"HS256\" key = \"" HOME_SECRET "\" }\n"                                                  \
	"listen = { origins = [ \"*\" ] trusted-proxies = [ \"10.0.0.0/8\" ] }\n"                                      \
	"limits = { message-bytes = 4096 messages-per-second = 10 token-bytes = 1024 per-address = 50\n"               \
	"  connections = 100 }\n"                                                                                      \
	"streams = {\n"                                                                                                \
	"  units = { path = \"/ws/units/<int:unit_id>/\"\n"                                                            \
	"    admit = \"SELECT {token.user_id}, {token.role}, {path.unit_id}\" groups = [ \"unit_{path.unit_id}\" ]\n"  \
	"    hello = \"{\\\"hello\\\":\\\"{token.role}\\\"}\" }\n"                                                     \
	"  own = { path = \"/ws/own/\" admit = \"SELECT {token.user_id}\" groups = [ \"own_{token.user_id}\" ]\n"      \
	"    resync = \"{\\\"again\\\":\\\"{reason}\\\"}\" }\n"                                                        \
	"  closing = { path = \"/ws/closing/\" admit = \"SELECT {token.user_id}\" groups = [ \"g\" ]\n"                \
	"    resync = \"close\" } }\n"                                                                                 \
	"tables = { roles = { type = \"r\" key = \"k\" groups = [ \"g\" ] } }\n"

#define HOME_TOPICS 4
#define HOME_CLIENTS 32

struct client { /* the peer of one connection */
	int fd;
	struct conn *conn; /* NULL: there was none */
	struct buf in;
	size_t read;
	bool ended;      /* the hub closed the socket */
	char words[126]; /* of the last close frame that was read */
};

struct home {
	struct conf *conf;
	struct topiclog *log;
	struct topic *topics[HOME_TOPICS];
	struct hub_shared world;
	struct gate *gate;
	struct edition *edition;
	struct mailbox to_tap;
	unsigned wakes; /* of the tap */
	struct hub_facts facts;
	struct conns conns;
	struct visitors visitors;
	struct departing departing;
	uv_loop_t loop;
	struct lws_context *context;
	struct mail *taken;
	size_t taken_cap, n_taken, next_taken;
	struct client clients[HOME_CLIENTS];
	size_t n_clients;
	bool keeps_new; /* the library's ESTABLISHED does not reach the connection: it stays CONN_NEW */
};

static struct home home;

/* --- the tap's side ------------------------------------------------------------------------------------------------ */

static inline void home_wake(void *ctx)
{
	(void)ctx;
	home.wakes++;
}

/* The next mail to the tap, which must be of this kind. The caller frees what it holds. */
static inline struct mail home_mail(enum mail_kind kind)
{
	if (home.next_taken == home.n_taken) {
		home.n_taken = mailbox_take(&home.to_tap, &home.taken, &home.taken_cap);
		home.next_taken = 0;
	}
	if (home.next_taken == home.n_taken)
		fail_msg("the tap was sent nothing, and not %d", (int)kind);
	assert_int_equal(home.taken[home.next_taken].kind, kind);
	if (kind == MAIL_LEFT)
		topic_unsubscribe(home.log, home.taken[home.next_taken].topic, 0);
	return home.taken[home.next_taken++];
}

/* How many mails the tap has not taken yet. Their tickets and subscriptions are let go. */
static inline size_t home_mails_left(void)
{
	size_t left = 0;

	for (;;) {
		for (; home.next_taken < home.n_taken; home.next_taken++, left++) {
			struct mail *mail = &home.taken[home.next_taken];

			if (mail->kind == MAIL_LEFT)
				topic_unsubscribe(home.log, mail->topic, 0);
			mail_fini(mail);
		}
		home.n_taken = mailbox_take(&home.to_tap, &home.taken, &home.taken_cap);
		home.next_taken = 0;
		if (home.n_taken == 0)
			return left;
	}
}

static inline void home_append(unsigned topic, lsn_t lsn, uint32_t index, const char *text)
{
	char header[FRAME_HEADER_MAX];
	size_t n = render_frame_header(header, strlen(text));

	topic_append(home.log, home.topics[topic], (struct event_id){ lsn, index }, (struct slice){ header, n },
		     slice_of(text), clock_us());
}

/* An entry with a tag is a run of its own. */
static inline void home_append_tagged(unsigned topic, lsn_t lsn, uint32_t index, struct entry_tag tag, const char *text)
{
	char header[FRAME_HEADER_MAX];
	size_t n = render_frame_header(header, strlen(text));

	topic_append_tagged(home.log, home.topics[topic], (struct event_id){ lsn, index }, tag,
			    (struct slice){ header, n }, slice_of(text), clock_us());
}

static inline void home_publish(lsn_t lsn)
{
	topiclog_publish(home.log, lsn);
	home.facts.published = lsn;
}

/* As the tap: places for these topics ("013") in the mail, behind `after`. */
static inline void home_seats(struct mail *mail, const char *topics, struct event_id after)
{
	mail->given.n_seats = strlen(topics);
	mail->given.seats = mem_new_array(mail->given.n_seats, sizeof(*mail->given.seats));
	for (size_t i = 0; i < mail->given.n_seats; i++) {
		struct topic *t = home.topics[topics[i] - '0'];

		topic_subscribe(home.log, t, 0);
		mail->given.seats[i].topic = t;
		assert_true(topic_place(home.log, t, after, &mail->given.seats[i].cursor));
	}
}

static inline void home_turn(void)
{
	deliver_turn(&home.conns);
}

/* --- the loop ------------------------------------------------------------------------------------------------------ */

static inline void home_run(void)
{
	for (int i = 0; i < 6; i++)
		uv_run(&home.loop, UV_RUN_NOWAIT);
}

static inline int home_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	if (home.keeps_new && reason == LWS_CALLBACK_ESTABLISHED)
		return 0;
	return session_callback(wsi, reason, user, in, len);
}

static inline struct edition *home_edition(const char *text)
{
	struct fail why = { 0 };
	struct conf *conf = conf_parse("test.conf", slice_of(text), &why);
	struct edition *e = conf ? edition_new(&home.world, conf, true, &why) : NULL;

	if (!e)
		fail_msg("%s", why.text);
	return e;
}

static inline void home_make_context(void)
{
	static const struct lws_protocols protocols[] = {
		{ HANDSHAKE_PROTOCOL, home_callback, sizeof(struct conn), 1024, 0, NULL, 4 << 20 },
		{ NULL, NULL, 0, 0, 0, NULL, 0 },
	};
	static const lws_retry_bo_t no_pings = { 0 };
	void *loops[1] = { &home.loop };
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN,
		.protocols = protocols,
		.options =
			LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_VALIDATE_UTF8,
		.foreign_loops = loops,
		.user = &home.conns,
		.gid = (gid_t)-1,
		.uid = (uid_t)-1,
		.retry_and_idle_policy = &no_pings,
		.vhost_name = "walpush",
		.max_http_header_data = 6000,
	};

	info.pcontext = &home.context;
	home.context = lws_create_context(&info);
	assert_non_null(home.context);
	info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
	home.visitors.vhost = lws_create_vhost(home.context, &info);
	assert_non_null(home.visitors.vhost);
}

static inline void home_wire(void)
{
	home.facts.edition = edition_ref(home.edition);
	home.facts.shared = &home.edition->shared;
	home.facts.counts = metrics_of_hub(home.world.metrics, 0);
	memcpy(home.facts.epoch, "epoch", 6);
	home.conns.hub = &home.facts;
	home.conns.channels.to_tap = &home.to_tap;
	home.conns.writers.counts = home.facts.counts;
	home.visitors.hub = &home.facts;
	home.visitors.peeks.loop = &home.loop;
	home.visitors.peeks.head_most = 5000;
	home.departing.conns = &home.conns;
	home.departing.context = home.context;
}

/* Another configuration from now on: HOME_CONF with `to` in place of `from`. */
static inline void home_use(const char *from, const char *to)
{
	const char *at = strstr(HOME_CONF, from);
	struct edition *before = home.facts.edition;
	struct buf conf = { 0 };

	assert_non_null(at);
	buf_add(&conf, HOME_CONF, (size_t)(at - HOME_CONF));
	buf_add_text(&conf, to);
	buf_add_text(&conf, at + strlen(from));
	buf_add_char(&conf, '\0');
	home.facts.edition = home_edition(conf.data);
	home.facts.shared = &home.facts.edition->shared;
	edition_unref(before);
	buf_fini(&conf);
}

static inline int home_open_limited(struct topic_limits limits)
{
	memset(&home, 0, sizeof(home));
	lws_set_log_level(0, NULL);
	log_setup("error", "logfmt");
	mailbox_init(&home.to_tap, home_wake, NULL);
	home.log = topiclog_new(&limits);
	for (unsigned i = 0; i < HOME_TOPICS; i++)
		home.topics[i] = topiclog_topic(home.log, (struct slice){ &"abcd"[i], 1 });
	/* Another hub receives them, so that none is forgotten. */
	for (unsigned i = 0; i < HOME_TOPICS; i++)
		topic_subscribe(home.log, home.topics[i], 1);
	home.gate = gate_new(4096, 1);
	home.world = (struct hub_shared){
		.log = home.log,
		.metrics = metrics_new(1),
		.audit = audit_new(),
		.gate = home.gate,
		.to_tap = &home.to_tap,
		.n_hubs = 1,
	};
	home.edition = home_edition(HOME_CONF);
	assert_int_equal(uv_loop_init(&home.loop), 0);
	home_make_context();
	home_wire();
	return 0;
}

#define HOME_AGE INT64_C(3600000000)

static inline int home_open(void **state)
{
	(void)state;
	return home_open_limited((struct topic_limits){ 1 << 20, 1 << 24, HOME_AGE });
}

/* All that is in the logs now is too old, and dropped. */
static inline void home_drop(void)
{
	topiclog_tidy(home.log, clock_us() + 2 * HOME_AGE);
}

static inline void client_close(struct client *k)
{
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
	buf_fini(&k->in);
}

static inline int home_close(void **state)
{
	(void)state;
	visitors_fini(&home.visitors);
	lws_context_destroy(home.context);
	uv_run(&home.loop, UV_RUN_DEFAULT);
	if (home.context)
		lws_context_destroy(home.context);
	uv_run(&home.loop, UV_RUN_DEFAULT);
	uv_loop_close(&home.loop);
	assert_null(home.conns.all);
	assert_null(home.conns.channels.all);
	assert_null(home.conns.limited);
	assert_null(home.conns.due);
	assert_null(home.conns.resting);
	assert_null(home.conns.writers.behind);
	assert_null(home.visitors.shaking);
	depart_fini(&home.departing);
	conns_fini(&home.conns);
	peeks_fini(&home.visitors.peeks);
	home_mails_left();
	free(home.taken);
	for (unsigned i = 0; i < HOME_TOPICS; i++)
		assert_int_equal(topic_listeners(home.topics[i]), 1);
	mailbox_fini(&home.to_tap);
	edition_unref(home.facts.edition);
	edition_unref(home.edition);
	for (size_t i = 0; i < home.n_clients; i++)
		client_close(&home.clients[i]);
	topiclog_free(home.log);
	gate_free(home.gate);
	audit_free(home.world.audit);
	metrics_free(home.world.metrics);
	return 0;
}

/* --- clients ------------------------------------------------------------------------------------------------------- */

/* A token of user 7 with this role, unless `more` says otherwise: members of the payload, each with a comma before it. */
static inline char *home_token(const char *user, const char *role, const char *more)
{
	struct buf payload = { 0 }, token = { 0 };

	buf_addf(&payload, "{\"user_id\":\"%s\",\"token_type\":\"access\",\"exp\":4000000000,\"role\":\"%s\"%s}", user,
		 role, more);
	forge_token(SLICE("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"), buf_slice(&payload), HOME_SECRET, &token);
	buf_fini(&payload);
	return buf_steal(&token);
}

static inline void client_say_bytes(struct client *k, const void *bytes, size_t n)
{
	assert_int_equal(send(k->fd, bytes, n, MSG_NOSIGNAL), n);
}

/* A socket that the hub has. `room`: bytes of its send buffer; 0: the system's. */
static inline struct client *client_connect(int room)
{
	struct client *k = &home.clients[home.n_clients++];
	struct address address = { 0 };
	int fds[2];

	assert_true(home.n_clients <= HOME_CLIENTS);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	if (room)
		setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	address_parse(SLICE("10.1.2.3"), &address);
	assert_true(gate_accept(home.gate, &home.facts.shared->conf->limits, &address, false));
	*k = (struct client){ .fd = fds[1] };
	visitor_take(&home.visitors, fds[0], &address);
	return k;
}

/* What came, into `in`. */
static inline void client_pull(struct client *k)
{
	ssize_t n;

	while ((n = recv(k->fd, buf_reserve(&k->in, 65536), 65536, MSG_DONTWAIT)) > 0)
		k->in.len += (size_t)n;
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		k->ended = true;
}

#define CLIENT_UPGRADE                                                                                                 \
	"Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"                        \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

/* The status of the answer to this request; 0: none came. */
static inline unsigned client_ask(struct client *k, const char *target, const char *headers)
{
	struct buf request = { 0 };
	const char *end;

	buf_addf(&request, "GET %s HTTP/1.1\r\n%s\r\n", target, headers);
	client_say_bytes(k, request.data, request.len);
	buf_fini(&request);
	home_run();
	client_pull(k);
	buf_add_char(&k->in, '\0');
	k->in.len--;
	end = strstr(k->in.data, "\r\n\r\n");
	if (!end)
		return 0;
	k->read = (size_t)(end + 4 - k->in.data);
	return (unsigned)atoi(k->in.data + 9);
}

/* A WebSocket, and its connection. */
static inline struct client *client_open_with(const char *target, int room)
{
	struct client *k = client_connect(room);

	assert_int_equal(client_ask(k, target, CLIENT_UPGRADE), 101);
	assert_non_null(home.conns.all);
	k->conn = home.conns.all->prev;
	return k;
}

/* With a token of user 7 in the query. */
static inline struct client *client_open(const char *path, int room)
{
	char *token = home_token("7", "clerk", "");
	struct buf target = { 0 };
	struct client *k;

	buf_addf(&target, "%s?token=%s", path, token);
	k = client_open_with(target.data, room);
	buf_fini(&target);
	free(token);
	return k;
}

/* A frame of at most 65535 bytes, masked by zeros. */
static inline void client_say(struct client *k, unsigned char first, const char *payload, size_t len)
{
	struct buf frame = { 0 };

	buf_add_char(&frame, (char)first);
	if (len < 126) {
		buf_add_char(&frame, (char)(0x80 | len));
	} else {
		buf_add_char(&frame, (char)(0x80 | 126));
		buf_add_char(&frame, (char)(len >> 8));
		buf_add_char(&frame, (char)len);
	}
	buf_add(&frame, "\0\0\0\0", 4);
	buf_add(&frame, payload, len);
	client_say_bytes(k, frame.data, frame.len);
	buf_fini(&frame);
	home_run();
}

static inline void client_say_text(struct client *k, const char *text)
{
	client_say(k, 0x81, text, strlen(text));
}

static inline void client_say_token(struct client *k, const char *user, const char *role, const char *more)
{
	char *token = home_token(user, role, more);
	struct buf text = { 0 };

	buf_addf(&text, "{\"type\":\"auth\",\"token\":\"%s\"}", token);
	client_say_text(k, text.data);
	buf_fini(&text);
	free(token);
}

/* The next whole frame; NULL: there is none. Valid until the next call for this client. */
static inline const char *client_frame(struct client *k, unsigned char *first)
{
	const unsigned char *at;
	size_t have, header = 2, len;
	static char text[1 << 20];

	client_pull(k);
	at = (const unsigned char *)k->in.data + k->read;
	have = k->in.len - k->read;
	if (have < 2)
		return NULL;
	len = at[1];
	if (len == 126 && have >= 4) {
		len = (size_t)at[2] << 8 | at[3];
		header = 4;
	} else if (len == 127 && have >= 10) {
		len = (size_t)at[6] << 24 | (size_t)at[7] << 16 | (size_t)at[8] << 8 | at[9];
		header = 10;
	}
	if (have < header + len)
		return NULL;
	assert_true(len < sizeof(text));
	memcpy(text, at + header, len);
	text[len] = '\0';
	*first = at[0];
	k->read += header + len;
	return text;
}

/* The texts of all messages that are there, one behind the other with a space between; "" if there is none. */
static inline const char *client_texts(struct client *k)
{
	static struct buf all;
	unsigned char first;
	const char *text;

	buf_clear(&all);
	while ((text = client_frame(k, &first))) {
		if (all.len)
			buf_add_char(&all, ' ');
		if (first == 0x88) {
			buf_addf(&all, "close:%u", (unsigned)(unsigned char)text[0] << 8 | (unsigned char)text[1]);
			mem_copy_text(k->words, sizeof(k->words), text[0] ? text + 2 : "");
		} else if (first != 0x81) {
			buf_addf(&all, "%02x:%s", first, text);
		} else {
			buf_add_text(&all, text);
		}
	}
	buf_add_char(&all, '\0');
	return all.data;
}

#define assert_receives(client, text) assert_string_equal(client_texts(client), text)

/* Turns the loop until the socket has ended. For what the library does from its own timer, of a millisecond. */
static inline void client_await_end(struct client *k)
{
	int64_t until = clock_us() + 2000000;

	while (!k->ended && clock_us() < until) {
		lws_cancel_service(home.context); /* it looks at its timers then */
		uv_run(&home.loop, UV_RUN_NOWAIT);
		client_pull(k);
	}
	assert_true(k->ended);
}

/* The question becomes the tap's yes, without a limit and without seats. */
static inline void home_say_yes(struct mail *mail)
{
	struct ticket *ticket = mail->asked.ticket;

	mail->kind = MAIL_ADMITTED;
	mail->given = (struct mail_given){ .ticket = ticket, .limit = LSN_MAX };
}

/* The tap's yes to the question of this client, with places in these topics behind `after`, and without a limit. */
static inline struct mail home_admission(struct client *k, const char *topics, lsn_t after)
{
	struct mail mail = home_mail(MAIL_ADMIT);

	assert_int_equal(mail.connection, k->conn->id);
	home_say_yes(&mail);
	mail.given.id = (struct event_id){ after, 0 };
	mail.given.admitted = after;
	home_seats(&mail, topics, mail.given.id);
	return mail;
}

/* The same, taken by the hub, and the hello is read. */
static inline struct client *client_admit(struct client *k, const char *topics, lsn_t after)
{
	struct mail mail = home_admission(k, topics, after);

	session_mail(&home.conns, &mail);
	assert_int_equal(k->conn->state, CONN_OPEN);
	home_turn();
	assert_true(strlen(client_texts(k)) > 0);
	return k;
}

/* A connection of user 7 on /ws/units/5/ that receives these topics, from the start of the logs. */
static inline struct client *client_in(const char *topics, int room)
{
	return client_admit(client_open("/ws/units/5/", room), topics, 0);
}

/* A mail of the tap about this connection, with the number of the token that is in force there. */
static inline struct mail home_about(const struct client *k, enum mail_kind kind)
{
	struct mail mail = { .kind = kind, .connection = k->conn->id, .number = k->conn->answered };

	if (kind == MAIL_MOVED || kind == MAIL_RENEWED || kind == MAIL_ADMITTED)
		mail.given = (struct mail_given){ .limit = LSN_MAX,
						  .resync = kind == MAIL_MOVED,
						  .reason = RESYNC_MEMBERSHIP };
	else
		mail.limit = LSN_MAX;
	return mail;
}

static inline void home_limit(const struct client *k, lsn_t limit)
{
	struct mail mail = home_about(k, MAIL_LIMIT);

	mail.limit = limit;
	session_mail(&home.conns, &mail);
}

/* --- defects ------------------------------------------------------------------------------------------------------- */

static jmp_buf home_defect;
static char home_defect_text[FAIL_NEVER_MAX];

static inline void home_catch(const char *text)
{
	mem_copy_text(home_defect_text, sizeof(home_defect_text), text);
	longjmp(home_defect, 1);
}

/* The expression must end in fail_never, with a sentence that has this in it. */
#define assert_defect(expression, sentence)                                                                            \
	do {                                                                                                           \
		fail_never_through(home_catch);                                                                        \
		if (setjmp(home_defect) == 0) {                                                                        \
			(void)(expression);                                                                            \
			fail_msg("no defect: " #expression);                                                           \
		}                                                                                                      \
		fail_never_through(NULL);                                                                              \
		if (!strstr(home_defect_text, sentence))                                                               \
			fail_msg("%s", home_defect_text);                                                              \
	} while (0)

#define ON_A_HUB(test) cmocka_unit_test_setup_teardown(test, home_open, home_close)

#endif
