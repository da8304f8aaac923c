/*
 * wsload: many WebSocket subscribers in one process, to load walpush and to check what it delivers.
 *
 * Opens N connections, says "connected N" on stdout once all of them have had their connection_established, then
 * reads until each has received the expected number of changes. It answers pings, checks every frame (final, unmasked,
 * text, shortest length), checks that the event ids of a connection strictly increase, and digests each
 * connection's messages, so that two connections of a group which saw different bytes or another order are told apart.
 * It says "received N" once everything expected is there. At the end it closes properly: what still arrives before the
 * answer to the close counts as one change too many. The last line on stdout is a JSON object of figures. Exit status 0:
 * everything was as expected; 1: not; 2: usage.
 *
 * With --until-closed it is the server that closes, and all that is expected must have come before.
 *
 * A storm: all connections hang up at once without a word and come back with `since` and `epoch`; each must be resumed,
 * and the checks go on as if nothing had happened.
 *
 * One thread, one epoll, one shared receive buffer; a connection owns memory only while a frame is incomplete. It shares
 * no code with walpush, so that both cannot be wrong in the same way.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "latency.h"
#include "message.h"
#include "wsload_options.h"

#define RECEIVE_BYTES (4u << 20) /* the longest frame understood; one read takes at most what is free of it */
#define SLOW_WINDOW 4096         /* SO_RCVBUF of connections that do not read */
#define CLOSE_CODES 5000
#define ABNORMAL 1006

/* Every connection uses the sample key of RFC 6455, section 1.3; so the right answer is known without SHA-1. */
#define HANDSHAKE_KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define HANDSHAKE_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

enum conn_state { CONN_NEW, CONN_CONNECTING, CONN_UPGRADING, CONN_GREETED_NEXT, CONN_OPEN, CONN_CLOSING, CONN_CLOSED };

struct conn {
	int fd;
	enum conn_state state;
	bool slow;
	uint64_t changes;
	struct event_key last;
	uint64_t digest;
	int64_t closed_at; /* microseconds, monotonic */
	char *rest;        /* the beginning of a frame or of the handshake's answer */
	size_t rest_len;
};

struct load {
	struct options opt;
	int epoll;
	char *buffer;
	struct conn *conns;
	char **tokens; /* of the options' file */
	size_t n_tokens;
	unsigned dialled, inflight, greeted, closed; /* connections; inflight: those dialled and not yet greeted */
	unsigned storms;                             /* begun */
	unsigned pending;                            /* readers that have not got all they expect, and still may */
	bool closing;
	char epoch[64]; /* the server's, for `since` */
	uint64_t deliveries, bytes, order_errors, protocol_errors, resyncs, extra, unresumed;
	uint64_t refused[600], closes[CLOSE_CODES]; /* by HTTP status, by close code */
	int64_t started, connected, first, last;    /* microseconds, monotonic */
	int64_t received;                           /* when everything expected was there; 0: not yet */
	int64_t storm_us[STORMS_MAX];               /* what each took */
	int64_t progress;
	struct latency latency;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

static uint64_t digest_add(uint64_t digest, const char *bytes, size_t len)
{
	uint64_t word = len;
	for (size_t i = 0;; i += 8) {
		digest = (digest ^ word) * UINT64_C(0x9E3779B97F4A7C15);
		digest ^= digest >> 29;
		if (i >= len)
			return digest;
		word = 0;
		memcpy(&word, bytes + i, len - i < 8 ? len - i : 8);
	}
}

static const char *conn_token(const struct load *l, const struct conn *c)
{
	if (l->n_tokens)
		return l->tokens[(size_t)(c - l->conns) % l->n_tokens];
	return l->opt.token ? l->opt.token : "";
}

static unsigned conn_group(const struct load *l, const struct conn *c)
{
	return (unsigned)(c - l->conns) % l->opt.groups;
}

/* ---- what happens to a connection -------------------------------------------------------------------------- */

static void conn_end(struct load *l, struct conn *c)
{
	if (c->state < CONN_OPEN)
		l->inflight--;
	if (!c->slow && (!l->opt.expect || c->changes < l->opt.expect))
		l->pending--;
	close(c->fd);
	free(c->rest);
	c->rest = NULL;
	c->rest_len = 0;
	c->state = CONN_CLOSED;
	l->closed++;
	c->closed_at = l->progress = clock_us(CLOCK_MONOTONIC);
}

static void conn_lost(struct load *l, struct conn *c, unsigned code)
{
	l->closes[code < CLOSE_CODES ? code : ABNORMAL]++;
	conn_end(l, c);
}

/* What a peer must not do. The connection ends, and with it the chance of exit status 0. Returns 0, for callers who
 * return the number of bytes used. */
static size_t conn_violation(struct load *l, struct conn *c, const char *what)
{
	if (l->protocol_errors++ < 5)
		fprintf(stderr, "wsload: connection %td: %s\n", c - l->conns, what);
	conn_lost(l, c, ABNORMAL);
	return 0;
}

/* A masked control frame; the mask is zero, so the payload goes as it is. */
static void conn_control(struct conn *c, unsigned char opcode, const char *payload, size_t len)
{
	char frame[6 + 125] = { (char)(0x80 | opcode), (char)(0x80 | len) };
	memcpy(frame + 6, payload, len);
	/* A full socket buffer cannot happen for so few bytes unless the peer is gone, which epoll tells. */
	(void)!send(c->fd, frame, 6 + len, MSG_NOSIGNAL);
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

static void conn_greeted(struct load *l, struct conn *c, const char *text, size_t len)
{
	message_text(text, len, "epoch", l->epoch, sizeof l->epoch);
	if (l->storms && !memmem(text, len, "\"resumed\":true", 14))
		l->unresumed++;
	c->state = CONN_OPEN;
	l->greeted++;
	l->inflight--;
	l->progress = clock_us(CLOCK_MONOTONIC);
	if (!c->slow)
		return;
	struct epoll_event quiet = { .events = EPOLLRDHUP, .data.ptr = c };
	epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &quiet);
}

static void conn_change(struct load *l, struct conn *c, struct event_key id, const char *text, size_t len)
{
	if (id.lsn < c->last.lsn || (id.lsn == c->last.lsn && id.index <= c->last.index))
		if (l->order_errors++ < 5)
			fprintf(stderr, "wsload: connection %td: %.*s after %" PRIX64 "-%" PRIu64 "\n", c - l->conns,
				(int)(len < 40 ? len : 40), text + len - (len < 40 ? len : 40), c->last.lsn,
				c->last.index);
	c->last = id;
	c->digest = digest_add(c->digest, text, len);
	c->changes++;
	l->deliveries++;
	if (l->opt.expect && c->changes > l->opt.expect)
		l->extra++;
	else if (l->opt.expect && c->changes == l->opt.expect && !c->slow)
		l->pending--;
	if (l->opt.latency)
		latency_note(&l->latency, text, len, clock_us(CLOCK_REALTIME));
}

static void conn_message(struct load *l, struct conn *c, const char *text, size_t len)
{
	struct event_key id = { 0, l->opt.loose ? c->changes + 1 : 0 };
	l->bytes += len;
	if (!l->opt.loose && !message_id(text, len, &id)) {
		conn_violation(l, c, "message without an id at its end");
	} else if (c->state == CONN_GREETED_NEXT) {
		if (!message_is(text, len, "connection_established")) {
			conn_violation(l, c, "first message is not connection_established");
			return;
		}
		c->last = l->opt.loose ? c->last : id;
		conn_greeted(l, c, text, len);
	} else if (message_is(text, len, "resync")) {
		l->resyncs++;
	} else {
		conn_change(l, c, id, text, len);
	}
}

/* ---- frames --------------------------------------------------------------------------------------------------- */

static void conn_close_frame(struct load *l, struct conn *c, const unsigned char *payload, size_t len)
{
	unsigned code = len >= 2 ? (unsigned)(payload[0] << 8 | payload[1]) : 1005;
	if (c->state != CONN_CLOSING)
		conn_control(c, 0x8, (const char *)payload, len >= 2 ? 2 : 0);
	conn_lost(l, c, code);
}

/* Handles one frame. Returns its length; 0: more bytes are needed, or the connection has ended. */
static size_t conn_frame(struct load *l, struct conn *c, const unsigned char *at, size_t len)
{
	if (len < 2)
		return 0;
	size_t head = at[1] == 127 ? 10 : at[1] == 126 ? 4 : 2;
	if (len < head)
		return 0;
	uint64_t payload = at[1];
	for (size_t i = 2; i < head; i++)
		payload = (i == 2 ? 0 : payload << 8) | at[i];
	if (at[1] & 0x80)
		return conn_violation(l, c, "masked frame");
	if ((head == 4 && payload < 126) || (head == 10 && payload < 65536))
		return conn_violation(l, c, "length not in its shortest form");
	if (payload > RECEIVE_BYTES - 10)
		return conn_violation(l, c, "frame too long");
	if (len - head < payload)
		return 0;
	const unsigned char *body = at + head;
	switch (at[0]) {
	case 0x81:
		conn_message(l, c, (const char *)body, payload);
		break;
	case 0x88:
		conn_close_frame(l, c, body, payload);
		break;
	case 0x89:
		if (payload > 125)
			return conn_violation(l, c, "control frame too long");
		conn_control(c, 0xA, (const char *)body, payload);
		break;
	case 0x8A:
		break;
	default:
		conn_violation(l, c, "frame that is not a whole text, close, ping or pong");
	}
	return c->state == CONN_CLOSED ? 0 : head + payload;
}

/* The answer to the upgrade. Returns its length; 0: not complete, or refused. */
static size_t conn_answer(struct load *l, struct conn *c, const char *text, size_t len)
{
	const char *end = memmem(text, len, "\r\n\r\n", 4);
	if (!end)
		return 0;
	size_t head = (size_t)(end - text) + 4;
	unsigned status = len > 12 && memcmp(text, "HTTP/1.1 ", 9) == 0 ? (unsigned)atoi(text + 9) : 0;
	if (status != 101) {
		l->refused[status < 600 ? status : 0]++;
		conn_end(l, c);
		return 0;
	}
	if (!memmem(text, head, HANDSHAKE_ACCEPT "\r\n", sizeof HANDSHAKE_ACCEPT + 1))
		return conn_violation(l, c, "wrong Sec-WebSocket-Accept");
	c->state = CONN_GREETED_NEXT;
	return head;
}

static void conn_keep_rest(struct conn *c, const char *at, size_t len)
{
	if (len == 0) {
		free(c->rest);
		c->rest = NULL;
	} else {
		char *rest = malloc(len);
		if (!rest)
			die("wsload: malloc");
		memcpy(rest, at, len);
		free(c->rest);
		c->rest = rest;
	}
	c->rest_len = len;
}

static void conn_readable(struct load *l, struct conn *c)
{
	if (c->rest_len)
		memcpy(l->buffer, c->rest, c->rest_len);
	ssize_t n = recv(c->fd, l->buffer + c->rest_len, RECEIVE_BYTES - c->rest_len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_lost(l, c, ABNORMAL);
		return;
	}
	const char *at = l->buffer;
	size_t left = c->rest_len + (size_t)n, used;
	uint64_t before = l->deliveries;
	do {
		used = c->state == CONN_UPGRADING ? conn_answer(l, c, at, left)
						  : conn_frame(l, c, (const unsigned char *)at, left);
		at += used;
		left -= used;
	} while (used && c->state != CONN_CLOSED);
	if (l->deliveries != before) {
		l->last = l->progress = clock_us(CLOCK_MONOTONIC);
		l->first = l->first ? l->first : l->last;
	}
	if (c->state != CONN_CLOSED)
		conn_keep_rest(c, at, left);
}

/* The path, with the connection's group in place of a '%', and the query. Returns the length; 0: too long. */
static size_t conn_target(const struct load *l, const struct conn *c, char *to, size_t cap)
{
	const struct options *o = &l->opt;
	const char *mark = strchr(o->path, '%'), *token = conn_token(l, c);
	int head = mark ? (int)(mark - o->path) : (int)strlen(o->path);
	int n = snprintf(to, cap, "%.*s", head, o->path);
	if (mark)
		n += snprintf(to + n, cap - (size_t)n, "%u%s", conn_group(l, c) + 1, mark + 1);
	n += snprintf(to + n, cap - (size_t)n, "?%s%s", *token ? "token=" : "", token);
	if (l->storms)
		n += snprintf(to + n, cap - (size_t)n, "&since=%" PRIX64 "/%" PRIX64 "-%" PRIu64 "&epoch=%s",
			      c->last.lsn >> 32, c->last.lsn & UINT32_MAX, c->last.index, l->epoch);
	return n < (int)cap ? (size_t)n : 0;
}

static void conn_writable(struct load *l, struct conn *c)
{
	char target[6000], request[8192];
	int error = 0;
	socklen_t size = sizeof error;
	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (!conn_target(l, c, target, sizeof target))
		die("wsload: the path and the token are too long");
	int n = snprintf(request, sizeof request,
			 "GET %s HTTP/1.1\r\nHost: %s:%u\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
			 "Sec-WebSocket-Key: " HANDSHAKE_KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n",
			 target, l->opt.host, l->opt.port);
	if (error || send(c->fd, request, (size_t)n, MSG_NOSIGNAL) != n) {
		conn_lost(l, c, ABNORMAL);
		return;
	}
	struct epoll_event in = { .events = EPOLLIN, .data.ptr = c };
	epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &in);
	c->state = CONN_UPGRADING;
}

static void conn_event(struct load *l, struct conn *c, uint32_t events)
{
	if (c->state == CONN_CONNECTING)
		conn_writable(l, c);
	else if (c->slow && c->state == CONN_OPEN)
		conn_lost(l, c, ABNORMAL);
	else if (c->state != CONN_CLOSED && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		conn_readable(l, c);
}

/* ---- the run -------------------------------------------------------------------------------------------------- */

static void dial(struct load *l, struct conn *c)
{
	int one = 1, window = SLOW_WINDOW;
	unsigned number = (unsigned)(c - l->conns);
	/* Each source address has its own range of ports. */
	struct sockaddr_in from = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + number % l->opt.sources) };
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("wsload: socket (raise the limit of open files)");
	c->slow = number < l->opt.slow;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (c->slow)
		setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
	if (l->opt.sources > 1) {
		setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
		if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0)
			die("wsload: bind to 127.0.0.x");
	}
	if (connect(c->fd, (struct sockaddr *)&l->opt.server, sizeof l->opt.server) < 0 && errno != EINPROGRESS)
		die("wsload: connect");
	struct epoll_event out = { .events = EPOLLOUT, .data.ptr = c };
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &out) < 0)
		die("wsload: epoll_ctl");
	c->state = CONN_CONNECTING;
	l->inflight++;
}

static void close_all(struct load *l)
{
	static const char normal[2] = { 1000 >> 8, (char)(1000 & 0xFF) };
	l->closing = true;
	l->progress = clock_us(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < l->dialled; i++) {
		struct conn *c = &l->conns[i];
		if (c->state == CONN_CLOSED)
			continue;
		if (c->state != CONN_OPEN || c->slow) {
			conn_end(l, c);
			continue;
		}
		conn_control(c, 0x8, normal, sizeof normal);
		c->state = CONN_CLOSING;
	}
}

/* Keeps the handshakes in flight; says so once when the last one has come to its end, one way or the other. */
static void dial_some(struct load *l)
{
	if (l->connected || l->closing)
		return;
	for (; l->dialled < l->opt.connections && l->inflight < l->opt.inflight; l->dialled++)
		if (l->conns[l->dialled].state == CONN_NEW)
			dial(l, &l->conns[l->dialled]);
	if (l->dialled < l->opt.connections || l->inflight)
		return;
	l->connected = clock_us(CLOCK_MONOTONIC);
	if (l->storms)
		l->storm_us[l->storms - 1] = l->connected - l->storm_us[l->storms - 1];
	printf("connected %u\n", l->greeted);
	fflush(stdout);
}

static void storm(struct load *l)
{
	l->storm_us[l->storms++] = clock_us(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < l->opt.connections; i++) {
		struct conn *c = &l->conns[i];
		if (c->state != CONN_OPEN || c->slow)
			continue;
		close(c->fd);
		conn_keep_rest(c, NULL, 0);
		c->state = CONN_NEW;
		l->greeted--;
	}
	l->dialled = l->connected = 0;
}

/* Everything is there: the time in which more would be too much begins. */
static bool is_received(struct load *l)
{
	if (!l->connected || !l->opt.expect || l->pending || l->storms < l->opt.storms)
		return false;
	if (!l->received) {
		l->received = clock_us(CLOCK_MONOTONIC);
		printf("received %" PRIu64 "\n", l->deliveries);
		fflush(stdout);
	}
	return clock_us(CLOCK_MONOTONIC) - l->received >= (int64_t)l->opt.linger * 1000;
}

/* Returns whether the end was reached, rather than the patience. */
static bool run(struct load *l)
{
	struct epoll_event events[512];
	l->started = l->progress = clock_us(CLOCK_MONOTONIC);
	l->pending = l->opt.connections - l->opt.slow;
	for (;;) {
		dial_some(l);
		if (l->connected && l->storms < l->opt.storms && !l->closing)
			storm(l);
		if (!l->closing && (interrupted || (!l->opt.until_closed && is_received(l))))
			close_all(l);
		if (l->closed == (l->closing ? l->dialled : l->opt.connections))
			return l->connected || l->dialled == l->opt.connections;
		bool waiting = l->opt.expect || !l->connected || l->closing;
		if (waiting && clock_us(CLOCK_MONOTONIC) - l->progress > (int64_t)l->opt.timeout * 1000000) {
			fprintf(stderr, "wsload: nothing happened for %u s\n", l->opt.timeout);
			return false;
		}
		int n = epoll_wait(l->epoll, events, 512, l->received ? 10 : 200);
		for (int i = 0; i < n; i++)
			conn_event(l, events[i].data.ptr, events[i].events);
	}
}

static void print_codes(const char *name, const uint64_t *count, unsigned n)
{
	const char *comma = "";
	printf(",\"%s\":{", name);
	for (unsigned i = 0; i < n; i++) {
		if (!count[i])
			continue;
		printf("%s\"%u\":%" PRIu64, comma, i, count[i]);
		comma = ",";
	}
	printf("}");
}

static int by_time(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

/* The first close, each further tenth of them, and the last, in seconds of CLOCK_MONOTONIC. */
static void print_closed_at(const struct load *l)
{
	unsigned n = l->opt.connections;
	int64_t *at = calloc(n, sizeof *at);
	if (!at)
		die("wsload: calloc");
	for (unsigned i = 0; i < n; i++)
		at[i] = l->conns[i].closed_at;
	qsort(at, n, sizeof *at, by_time);
	printf(",\"closed_at\":[");
	for (unsigned i = 0; i <= 10; i++)
		printf("%s%.6f", i ? "," : "", (double)at[(uint64_t)(n - 1) * i / 10] / 1e6);
	printf("]");
	free(at);
}

/* Returns whether everything was as expected. */
static bool report(struct load *l, bool ended)
{
	const struct options *o = &l->opt;
	uint64_t least = UINT64_MAX, most = 0;
	bool same = true;
	for (unsigned i = o->slow; i < o->connections; i++) {
		const struct conn *c = &l->conns[i];
		least = c->changes < least ? c->changes : least;
		most = c->changes > most ? c->changes : most;
		same = same && (i < o->slow + o->groups || c->digest == l->conns[i - o->groups].digest);
	}
	double seconds = (double)(l->last - l->first) / 1e6;
	printf("{\"connections\":%u,\"established\":%u,\"connect_seconds\":%.3f", o->connections, l->greeted,
	       l->connected ? (double)(l->connected - l->started) / 1e6 : 0.0);
	printf(",\"deliveries\":%" PRIu64 ",\"min\":%" PRIu64 ",\"max\":%" PRIu64, l->deliveries, most == 0 ? 0 : least,
	       most);
	printf(",\"bytes\":%" PRIu64 ",\"seconds\":%.6f,\"per_second\":%.0f", l->bytes, seconds,
	       seconds > 0 ? (double)l->deliveries / seconds : 0.0);
	printf(",\"order_errors\":%" PRIu64 ",\"protocol_errors\":%" PRIu64 ",\"extra\":%" PRIu64, l->order_errors,
	       l->protocol_errors, l->extra);
	printf(",\"resyncs\":%" PRIu64 ",\"same_sequence\":%s", l->resyncs, same ? "true" : "false");
	printf(",\"unresumed\":%" PRIu64 ",\"storm_seconds\":[", l->unresumed);
	for (unsigned i = 0; i < l->storms; i++)
		printf("%s%.3f", i ? "," : "", (double)l->storm_us[i] / 1e6);
	printf("]");
	print_codes("closes", l->closes, CLOSE_CODES);
	print_codes("refused", l->refused, 600);
	if (o->until_closed)
		print_closed_at(l);
	if (o->latency) {
		printf(",\"latency_us\":");
		latency_print(&l->latency);
	}
	printf("}\n");
	bool counted = !o->expect || (least == o->expect && most == o->expect);
	bool closed_well = l->closes[o->until_closed ? 1012 : 1000] == o->connections - o->slow;
	return ended && counted && same && closed_well && !l->order_errors && !l->protocol_errors && !l->resyncs &&
	       !l->unresumed && !l->extra;
}

static void read_tokens(struct load *l)
{
	char *line = NULL;
	size_t cap = 0;
	FILE *f = l->opt.tokens ? fopen(l->opt.tokens, "re") : NULL;
	if (!f && l->opt.tokens)
		die("wsload: the file of the tokens");
	for (ssize_t len; f && (len = getline(&line, &cap, f)) > 1;) {
		l->tokens = realloc(l->tokens, (l->n_tokens + 1) * sizeof *l->tokens);
		if (!l->tokens)
			die("wsload: realloc");
		line[strcspn(line, "\n")] = '\0';
		l->tokens[l->n_tokens++] = strdup(line);
	}
	free(line);
	if (f)
		fclose(f);
}

int main(int argc, char **argv)
{
	struct load l = { 0 };
	options_parse(&l.opt, argc, argv);
	read_tokens(&l);
	raise_file_limit();
	struct sigaction stop = { .sa_handler = on_signal };
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	l.epoll = epoll_create1(EPOLL_CLOEXEC);
	l.buffer = malloc(RECEIVE_BYTES);
	l.conns = calloc(l.opt.connections, sizeof *l.conns);
	if (l.epoll < 0 || !l.buffer || !l.conns)
		die("wsload: start");
	bool ended = run(&l);
	bool good = report(&l, ended);
	for (unsigned i = 0; i < l.opt.connections; i++)
		free(l.conns[i].rest);
	for (size_t i = 0; i < l.n_tokens; i++)
		free(l.tokens[i]);
	free(l.tokens);
	free(l.conns);
	free(l.buffer);
	return good ? 0 : 1;
}
