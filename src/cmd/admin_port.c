#include "admin_port.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Nobody can connect to the address of all interfaces, so it becomes the loopback address. */
static const char *reachable(const char *address)
{
	if (strcmp(address, "0.0.0.0") == 0)
		return "127.0.0.1";
	return strcmp(address, "::") == 0 ? "::1" : address;
}

int admin_port_dial(const struct conf_admin *admin, int patience, const char **why)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM }, *found;
	struct timeval limit = { patience, 0 };
	char port[8];
	int fd, error;

	snprintf(port, sizeof(port), "%d", (int)admin->port);
	error = getaddrinfo(reachable(admin->address), port, &hints, &found);
	if (error) {
		*why = gai_strerror(error);
		return -1;
	}
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	}
	if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
		*why = strerror(errno);
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	freeaddrinfo(found);
	return fd;
}

static bool send_all(int fd, struct slice bytes)
{
	ssize_t n = send(fd, bytes.at, bytes.len, MSG_NOSIGNAL);

	return n == (ssize_t)bytes.len;
}

static void read_head(struct admin_answer *a)
{
	const char *end;

	buf_add_text(&a->text, "");
	end = strstr(a->text.data, "\r\n\r\n");
	a->body = end ? end + 4 : "the answer is no HTTP";
	if (!end || sscanf(a->text.data, "HTTP/1.%*1d %d", &a->status) != 1)
		a->status = 0;
}

bool admin_port_ask(int fd, const char *target, const char *token, size_t most, struct admin_answer *out,
		    const char **why)
{
	struct buf request = { 0 };
	ssize_t n = -1;

	buf_addf(&request, "GET %s HTTP/1.0\r\nHost: localhost\r\n", target);
	if (token)
		buf_addf(&request, "Authorization: Bearer %s\r\n", token);
	buf_add_text(&request, "\r\n");
	if (send_all(fd, buf_slice(&request)))
		do {
			char *to = buf_reserve(&out->text, 4096);

			n = recv(fd, to, 4096, 0);
			out->text.len += n > 0 ? (size_t)n : 0;
		} while (n > 0 && out->text.len < most);
	buf_fini(&request);
	if (n < 0)
		*why = errno == EAGAIN ? "no answer in time" : strerror(errno);
	else
		read_head(out);
	return n >= 0;
}
