#include "peek.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "walpush/base/fail.h"
#include "walpush/base/mem.h"
#include "walpush/text/head.h"

/* Bytes that a refused client may still send. */
#define DISCARD_MOST (1u << 20)

struct peek { /* the loop owns it until the handle is closed */
	uv_poll_t poll;
	struct peeks *all;
	int fd;
	size_t seen; /* bytes of the head; after a refusal, bytes that came after it */
	bool refused;
	const struct peek_calls *calls;
	void *ctx;
};

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void peek_free(struct peek *p)
{
	uv_poll_stop(&p->poll);
	uv_close((uv_handle_t *)&p->poll, on_closed);
}

static void end(struct peek *p, bool broke_off)
{
	const struct peek_calls *calls = p->calls;
	void *ctx = p->ctx;

	peek_free(p);
	calls->ended(ctx, broke_off);
}

static void wake_at(const struct peek *p, size_t bytes)
{
	int n = (int)bytes;

	setsockopt(p->fd, SOL_SOCKET, SO_RCVLOWAT, &n, sizeof(n));
}

static void refuse(struct peek *p, const struct response *response)
{
	char answer[RESPONSE_MAX];
	size_t n = response_write(response, false, answer);

	p->calls->refused(p->ctx, response, (struct slice){ p->all->bytes, p->seen });
	p->refused = true;
	/* These are the first bytes on this connection, so the socket has room for them. */
	if (send(p->fd, answer, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n || shutdown(p->fd, SHUT_WR) != 0) {
		end(p, false);
		return;
	}
	wake_at(p, 1);
	p->seen = 0;
}

static void discard(struct peek *p)
{
	char bytes[16384];
	ssize_t n;

	while ((n = recv(p->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0 && p->seen <= DISCARD_MOST)
		p->seen += (size_t)n;
	if (n >= 0 || errno != EAGAIN)
		end(p, false);
}

static void hand_over(struct peek *p)
{
	const struct peek_calls *calls = p->calls;
	void *ctx = p->ctx;

	wake_at(p, 1);
	peek_free(p);
	calls->whole(ctx);
}

static void take(struct peek *p, size_t n)
{
	p->seen = n;
	switch (head_judge((struct slice){ p->all->bytes, n }, p->all->head_most)) {
	case HEAD_MORE:
		wake_at(p, n + 1);
		return;
	case HEAD_WHOLE:
		hand_over(p);
		return;
	case HEAD_MALFORMED:
		refuse(p, &response_no_http);
		return;
	case HEAD_TOO_LONG:
		refuse(p, &response_headers);
		return;
	}
	fail_never("peek: a verdict that head_judge does not have");
}

static void look(struct peek *p, bool at_end)
{
	size_t before = p->seen;
	ssize_t n = recv(p->fd, p->all->bytes, p->all->head_most, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || (at_end && (size_t)n == before))
		end(p, p->seen > 0);
	else
		take(p, (size_t)n);
}

void peek_look(struct peek *p)
{
	look(p, false);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct peek *p = poll->data;

	/* The loop reports errors here after a refusal too; `seen` then counts the bytes after the refusal. */
	if (status < 0)
		end(p, p->seen > 0);
	else if (p->refused)
		discard(p);
	else
		look(p, events & UV_DISCONNECT);
}

struct peek *peek_new(struct peeks *all, int fd, const struct peek_calls *calls, void *ctx, const char **why)
{
	struct peek *p = mem_new(sizeof(*p));
	int error = uv_poll_init(all->loop, &p->poll, fd);

	if (error) {
		free(p);
		*why = uv_strerror(error);
		return NULL;
	}
	if (!all->bytes)
		all->bytes = mem_new(all->head_most);
	p->all = all;
	p->fd = fd;
	p->calls = calls;
	p->ctx = ctx;
	p->poll.data = p;
	error = uv_poll_start(&p->poll, UV_READABLE | UV_DISCONNECT, on_readable);
	if (error)
		fail_never("peek: libuv does not start to watch a socket: %s", uv_strerror(error));
	return p;
}

void peeks_fini(struct peeks *all)
{
	free(all->bytes);
}
