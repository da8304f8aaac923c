/*
 * peek: a visitor's bytes before the library has them. Hub thread.
 *
 *   taken ─▶ waits ─head is whole▶ the library's
 *              │
 *              ├─ malformed, too long ─▶ answered, and listened to until the client ends, so that the answer is not lost by a reset
 *              └─ the client ends, time is over ─▶ gone
 *
 * Nothing is read: the bytes stay in the socket, where the library finds them. SO_RCVLOWAT keeps the loop from turning for bytes that were seen.
 * Over TLS the bytes say nothing, so such a socket goes to the library at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/text/head.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

/* What a refused client may go on to send. */
#define DISCARD_MOST (1u << 20)

struct peek { /* the loop's, until it has closed the handle */
	uv_poll_t poll;
	struct visitor *visitor;
};

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* The loop looks at the socket no more. */
static void stop(struct visitor *v)
{
	struct peek *p = v->peek;

	v->peek = NULL;
	uv_poll_stop(&p->poll);
	uv_close((uv_handle_t *)&p->poll, on_closed);
}

void peek_end(struct visitor *v)
{
	int fd = v->fd;

	stop(v);
	visitor_free(v);
	close(fd);
}

static void wake_at(const struct visitor *v, size_t bytes)
{
	int n = (int)bytes;

	setsockopt(v->fd, SOL_SOCKET, SO_RCVLOWAT, &n, sizeof(n));
}

static void refuse(struct visitor *v, unsigned status, const char *reason)
{
	char answer[HANDSHAKE_ANSWER];
	size_t n = handshake_answer(status, answer);

	metrics_count(v->hub->counts, METRICS_REFUSALS, reason);
	flood_info("request refused", log_n("hub", v->hub->index), log_peer(&v->address), log_n("status", status),
		   log_s("reason", reason), log_n("bytes", v->seen));
	audit_ended(v->hub->shared->audit, "refused", &(struct audit_client){ .peer = &v->address }, status, reason);
	v->refused = true;
	/* The first bytes of this connection: there is room for them. */
	if (send(v->fd, answer, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n || shutdown(v->fd, SHUT_WR) != 0) {
		peek_end(v);
		return;
	}
	wake_at(v, 1);
	v->seen = 0;
}

static void discard(struct visitor *v)
{
	char bytes[16384];
	ssize_t n;

	while ((n = recv(v->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0 && v->seen <= DISCARD_MOST)
		v->seen += (size_t)n;
	if (n >= 0 || errno != EAGAIN)
		peek_end(v);
}

static void hand_over(struct visitor *v)
{
	wake_at(v, 1);
	stop(v);
	visitor_adopt(v);
}

static void take(struct visitor *v, size_t n)
{
	v->seen = n;
	switch (head_judge((struct slice){ v->hub->peeked, n }, v->hub->head_most)) {
	case HEAD_MORE:
		wake_at(v, n + 1);
		return;
	case HEAD_WHOLE:
		hand_over(v);
		return;
	case HEAD_MALFORMED:
		refuse(v, 400, "malformed");
		return;
	case HEAD_TOO_LONG:
		refuse(v, 431, "headers");
		return;
	}
	fail_never("peek: a verdict that head_judge does not have");
}

/* It said nothing, or not all: who looks whether the port is open does so. */
static void broke_off(struct visitor *v)
{
	if (v->seen)
		visitor_lost(v);
	peek_end(v);
}

static void look(struct visitor *v, bool at_end)
{
	size_t before = v->seen;
	ssize_t n = recv(v->fd, v->hub->peeked, v->hub->head_most, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || (at_end && (size_t)n == before))
		broke_off(v);
	else
		take(v, (size_t)n);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct visitor *v = ((struct peek *)poll->data)->visitor;

	if (status < 0)
		broke_off(v);
	else if (v->refused)
		discard(v);
	else
		look(v, events & UV_DISCONNECT);
}

/* The system watches no more sockets: only this one ends. */
static void give_up(struct visitor *v, int error)
{
	int fd = v->fd;

	flood_error("a socket cannot be watched", log_n("hub", v->hub->index), log_s("error", uv_strerror(error)));
	visitor_free(v);
	close(fd);
}

void peek_begin(struct visitor *v)
{
	struct hub *h = v->hub;
	struct peek *p = mem_new(sizeof(*p));
	int error = uv_poll_init(&h->loop, &p->poll, v->fd);

	if (error) {
		free(p);
		give_up(v, error);
		return;
	}
	if (!h->peeked)
		h->peeked = mem_new(h->head_most);
	p->visitor = v;
	p->poll.data = p;
	v->peek = p;
	error = uv_poll_start(&p->poll, UV_READABLE | UV_DISCONNECT, on_readable);
	if (error)
		fail_never("peek: libuv does not start to watch a socket: %s", uv_strerror(error));
	look(v, false);
}
