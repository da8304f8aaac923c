/* tap_accept: the listener. Sockets go to the hubs in turn; the gate decides when there are too many. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parts.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

#define BACKLOG 4096
/* The listener pauses for this long if no file descriptor is free. Meanwhile new connections wait in the kernel. */
#define LISTEN_PAUSE 100000 /* µs */

struct accept {
	struct evconnlistener *listener;
	struct event *again;
	bool fails;  /* and the error is logged */
	bool begins; /* the listener is enabled */
	unsigned next_hub;
};

/* Logs the error once, until a socket is accepted again. */
static void say_trouble(struct tap *t, const char *error)
{
	if (!t->accept->fails)
		log_error("cannot accept all connections", log_s("error", error),
			  log_fix("raise the limit of open files (ulimit -n, LimitNOFILE)"));
	t->accept->fails = true;
}

/* The client gets no response: a response comes after its request, and the tap does not read the request. */
static void turn_away(struct tap *t, int fd, const struct address *peer)
{
	log_debug("socket refused", log_peer(peer));
	metrics_count(t->counts, METRICS_REFUSALS, "socket");
	audit_ended(t->shared.audit, "refused", &(struct audit_client){ .peer = peer }, 0, "socket");
	close(fd);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *peer, int len, void *arg)
{
	struct tap *t = arg;
	struct mail mail = { .kind = MAIL_SOCKET, .socket = { fd, address_of(peer) } };

	(void)l;
	(void)len;
	if (!gate_accept(t->gate, &t->now.conf->limits, &mail.socket.peer,
			 address_in(&mail.socket.peer, &t->now.conf->listen.trusted_proxies))) {
		turn_away(t, fd, &mail.socket.peer);
		return;
	}
	t->accept->fails = false;
	hub_post(t->hubs[t->accept->next_hub], &mail);
	t->accept->next_hub = (t->accept->next_hub + 1) % t->n_hubs;
}

static void on_accept_error(struct evconnlistener *l, void *arg)
{
	struct tap *t = arg;

	say_trouble(t, strerror(errno));
	evconnlistener_disable(l);
	event_add(t->accept->again, &(struct timeval){ 0, LISTEN_PAUSE });
}

static void on_listen_again(evutil_socket_t fd, short what, void *arg)
{
	struct tap *t = arg;

	(void)fd;
	(void)what;
	if (!t->stopping)
		evconnlistener_enable(t->accept->listener);
}

static void say_where(const struct tap *t)
{
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "";

	if (getsockname(evconnlistener_get_fd(t->accept->listener), (struct sockaddr *)&bound, &len) == 0)
		getnameinfo((struct sockaddr *)&bound, len, host, sizeof(host), port, sizeof(port),
			    NI_NUMERICHOST | NI_NUMERICSERV);
	if (gate_connections(t->gate, &t->now.conf->limits) < (uint64_t)t->now.conf->limits.connections)
		log_warn("the limit of open files allows fewer connections than limits.connections",
			 log_n("connections", gate_connections(t->gate, &t->now.conf->limits)),
			 log_fix("raise it (ulimit -n, LimitNOFILE)"));
	log_info("listening", log_s("address", host), log_s("port", port), log_n("threads", t->n_hubs),
		 log_n("connections", gate_connections(t->gate, &t->now.conf->limits)));
}

bool tap_listen(struct tap *t, struct fail *why)
{
	const struct conf_listen *conf = &t->now.conf->listen;
	struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV,
				  .ai_socktype = SOCK_STREAM };
	struct addrinfo *found;
	char port[16];
	int error;

	snprintf(port, sizeof(port), "%d", (int)conf->port);
	error = getaddrinfo(conf->address, port, &hints, &found);
	if (error)
		return fail_set(why, "listen.address \"%s\" is not an IP address: %s", conf->address,
				gai_strerror(error));
	t->accept->listener = evconnlistener_new_bind(t->loop, on_accept, t,
						      LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC |
							      LEV_OPT_REUSEABLE | LEV_OPT_DISABLED,
						      BACKLOG, found->ai_addr, (int)found->ai_addrlen);
	error = errno;
	freeaddrinfo(found);
	if (!t->accept->listener)
		return fail_set(why,
				"cannot listen on %s port %s: %s; choose another listen.port, or stop what uses it",
				conf->address, port, strerror(error));
	evconnlistener_set_error_cb(t->accept->listener, on_accept_error);
	return true;
}

void tap_accept_begin(struct tap *t)
{
	if (t->accept->begins || !t->accept->listener)
		return;
	t->accept->begins = true;
	evconnlistener_enable(t->accept->listener);
	say_where(t);
}

/* The listener is freed, not only disabled: otherwise the kernel would still make connections. */
void tap_stop_listening(struct tap *t)
{
	if (t->accept->listener)
		evconnlistener_free(t->accept->listener);
	t->accept->listener = NULL;
}

void tap_accept_init(struct tap *t)
{
	t->accept = mem_new(sizeof(*t->accept));
	t->accept->again = event_new(t->loop, -1, 0, on_listen_again, t);
	if (!t->accept->again)
		fail_never("libevent makes no timer for the listener");
}

void tap_accept_fini(struct tap *t)
{
	tap_stop_listening(t);
	event_free(t->accept->again);
	free(t->accept);
}
