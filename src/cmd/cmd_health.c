/* cmd_health: `walpush health`: the answer of /healthz on the admin port, as an exit code. For probes in an image
 * without a shell and curl. */
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cmd.h"
#include "walpush/conf/conf.h"

#define PATIENCE_S 3      /* for each step; a loop that does not turn for this long is not healthy */
#define ANSWER_BYTES 1023 /* status and one line */

static int unwell(const char *what, const char *why)
{
	fprintf(stderr, "walpush health: %s: %s\n", what, why);
	return CMD_FAILED;
}

/* Nobody can connect to the address of all interfaces, so it becomes the loopback address. */
static const char *reachable(const char *address)
{
	if (strcmp(address, "0.0.0.0") == 0)
		return "127.0.0.1";
	return strcmp(address, "::") == 0 ? "::1" : address;
}

static int dial(const struct conf_admin *admin, const char **why)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM }, *found;
	struct timeval patience = { PATIENCE_S, 0 };
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
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
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

/* Reads the answer, up to ANSWER_BYTES. */
static bool ask(int fd, char *answer, const char **why)
{
	static const char request[] = "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n";
	size_t len = 0;
	ssize_t n = send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL);

	if (n == (ssize_t)sizeof(request) - 1)
		while (len < ANSWER_BYTES && (n = recv(fd, answer + len, ANSWER_BYTES - len, 0)) > 0)
			len += (size_t)n;
	answer[len] = '\0';
	if (n < 0)
		*why = errno == EAGAIN ? "no answer in time" : strerror(errno);
	return n >= 0;
}

static int health(const struct conf_admin *admin)
{
	char answer[ANSWER_BYTES + 1];
	const char *why = "";
	const char *body;
	bool answered;
	int fd, status;

	if (admin->port == 0)
		return unwell("admin.port is 0", "give it a number, so that it can be found");
	fd = dial(admin, &why);
	if (fd < 0)
		return unwell("nobody answers on the admin port", why);
	answered = ask(fd, answer, &why);
	close(fd);
	if (!answered)
		return unwell("the admin port does not answer", why);
	if (sscanf(answer, "HTTP/1.%*1d %d", &status) == 1 && status == 200)
		return CMD_FINE;
	body = strstr(answer, "\r\n\r\n");
	return unwell("not well", body ? body + 4 : "the answer is no HTTP");
}

int cmd_health(int argc, char **argv)
{
	static const struct option names[] = { { "config", required_argument, NULL, 'c' }, { NULL, 0, NULL, 0 } };
	const char *file = "sidecar.conf";
	struct fail why = { 0 };
	struct conf *conf;
	int option, status;

	optind = 0;
	while ((option = getopt_long(argc, argv, ":c:", names, NULL)) == 'c')
		file = optarg;
	if (option != -1 || optind < argc) {
		fputs("usage: walpush health [-c sidecar.conf]\n", stderr);
		return CMD_USAGE;
	}
	conf = conf_load(file, &why);
	if (!conf) {
		fprintf(stderr, "walpush health: %s\n", why.text);
		return CMD_USAGE;
	}
	status = health(&conf->admin);
	conf_free(conf);
	return status;
}
