/*
 * wsbare: the floor of fan-out. A WebSocket server that does nothing but epoll and send: no library, no token, no log.
 *
 * Prints "port P" and takes connections. A line "send N RATE" on stdin has it send N messages, RATE a second (0: as fast as
 * it can), each with one send(2) a connection; then it prints "sent N". A message is as long as --bytes says and looks like
 * walpush's, so that the same load client measures both. Ends with its stdin.
 *
 * What send does not take at once is waited for with poll: the client reads everything, so this is short.
 */
#include <arpa/inet.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define CLIENTS_MAX 20000
#define FRAME_MAX 65536
/* The answer to the sample key of RFC 6455, section 1.3, which wsload uses. */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

struct client {
	int fd; /* -1: gone */
	bool open;
};

struct bare {
	int epoll, listener;
	struct client clients[CLIENTS_MAX];
	unsigned n_clients;
	char frame[FRAME_MAX];
	size_t payload;
	uint64_t lsn;
};

static struct bare bare;

static void send_all(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return; /* the epoll will tell */
		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		}
		if (len)
			poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 1000);
	}
}

/* A text frame around what stands behind the room for the longest header used here. Returns where it begins. */
static char *frame_around(char *payload, size_t len, size_t *frame_len)
{
	char *at = payload - (len < 126 ? 2 : 4);
	at[0] = (char)0x81;
	at[1] = (char)(len < 126 ? len : 126);
	if (len >= 126) {
		at[2] = (char)(len >> 8);
		at[3] = (char)len;
	}
	*frame_len = len + (size_t)(payload - at);
	return at;
}

/* ---- connections ---------------------------------------------------------------------------------------------- */

static void client_accept(struct bare *b)
{
	int fd, one = 1;
	while ((fd = accept4(b->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if (b->n_clients == CLIENTS_MAX)
			die("wsbare: too many clients");
		struct client *c = &b->clients[b->n_clients++];
		*c = (struct client){ .fd = fd };
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		struct epoll_event in = { .events = EPOLLIN, .data.ptr = c };
		epoll_ctl(b->epoll, EPOLL_CTL_ADD, fd, &in);
	}
}

static void client_greet(struct client *c)
{
	static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
				     "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n";
	char hello[256], *frame;
	size_t len;
	send_all(c->fd, answer, sizeof answer - 1);
	len = (size_t)snprintf(hello + 4, sizeof hello - 4, "{\"type\":\"connection_established\",\"id\":\"0/0-0\"}");
	frame = frame_around(hello + 4, len, &len);
	send_all(c->fd, frame, len);
	c->open = true;
}

/* The request comes in one piece on loopback; afterwards the client sends only its close frame, which is answered. */
static void client_readable(struct client *c)
{
	static const char closed[] = { (char)0x88, 2, 1000 >> 8, (char)(1000 & 0xFF) };
	char bytes[8192];
	ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0 && !c->open) {
		client_greet(c);
		return;
	}
	if (n > 0)
		send_all(c->fd, closed, sizeof closed);
	close(c->fd);
	*c = (struct client){ .fd = -1 };
}

static void serve(struct bare *b, int timeout_ms)
{
	struct epoll_event events[256];
	int n = epoll_wait(b->epoll, events, 256, timeout_ms);
	for (int i = 0; i < n; i++) {
		struct client *c = events[i].data.ptr;
		if (!c)
			client_accept(b);
		else if (c->fd >= 0)
			client_readable(c);
	}
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

/* Of exactly b->payload bytes, with the time of now and the next id. */
static char *next_message(struct bare *b, size_t *frame_len)
{
	char *text = b->frame + 4, tail[64];
	int64_t now = clock_us(CLOCK_REALTIME);
	time_t seconds = (time_t)(now / 1000000);
	struct tm utc;
	char date[32];
	int head, end;
	gmtime_r(&seconds, &utc);
	strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc);
	head = sprintf(text, "{\"type\":\"request.updated\",\"updated_at\":\"%s.%06" PRId64 "Z\",\"data\":\"", date,
		       now % 1000000);
	end = sprintf(tail, "\",\"id\":\"0/%" PRIX64 "-1\"}", ++b->lsn);
	memset(text + head, 'x', b->payload - (size_t)(head + end));
	memcpy(text + b->payload - end, tail, (size_t)end);
	return frame_around(text, b->payload, frame_len);
}

static void broadcast(struct bare *b, unsigned count, unsigned rate)
{
	int64_t start = clock_us(CLOCK_MONOTONIC);
	for (unsigned i = 0; i < count; i++) {
		int64_t due = rate ? start + (int64_t)i * 1000000 / rate : 0;
		size_t len;
		for (int64_t now; rate && (now = clock_us(CLOCK_MONOTONIC)) < due;)
			serve(b, (int)((due - now + 999) / 1000));
		char *frame = next_message(b, &len);
		for (unsigned c = 0; c < b->n_clients; c++)
			if (b->clients[c].open)
				send_all(b->clients[c].fd, frame, len);
	}
	printf("sent %u\n", count);
	fflush(stdout);
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static void start(struct bare *b)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof at;
	struct epoll_event in = { .events = EPOLLIN };
	b->epoll = epoll_create1(EPOLL_CLOEXEC);
	b->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (b->epoll < 0 || b->listener < 0 || bind(b->listener, (struct sockaddr *)&at, size) < 0 ||
	    listen(b->listener, 4096) < 0 || getsockname(b->listener, (struct sockaddr *)&at, &size) < 0 ||
	    epoll_ctl(b->epoll, EPOLL_CTL_ADD, b->listener, &in) < 0)
		die("wsbare: listen");
	printf("port %u\n", ntohs(at.sin_port));
	fflush(stdout);
}

/* False at the end of stdin. */
static bool command(struct bare *b)
{
	char line[128];
	unsigned count, rate;
	ssize_t n = read(STDIN_FILENO, line, sizeof line - 1);
	if (n <= 0)
		return false;
	line[n] = '\0';
	if (sscanf(line, "send %u %u", &count, &rate) == 2)
		broadcast(b, count, rate);
	return true;
}

int main(int argc, char **argv)
{
	unsigned long bytes = argc == 3 && strcmp(argv[1], "--bytes") == 0 ? strtoul(argv[2], NULL, 10) : 0;
	if (bytes < 200 || bytes > FRAME_MAX - 4) {
		fprintf(stderr, "usage: wsbare --bytes N   (200 to %d)\n", FRAME_MAX - 4);
		return 2;
	}
	bare.payload = bytes;
	raise_file_limit();
	start(&bare);
	struct pollfd ready[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = bare.epoll, .events = POLLIN } };
	for (;;) {
		poll(ready, 2, -1);
		if (ready[1].revents)
			serve(&bare, 0);
		if (ready[0].revents && !command(&bare))
			return 0;
	}
}
