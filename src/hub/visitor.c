#include "visitor.h"

#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/flood.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/text/head.h"
#include "walpush/text/shown.h"

#define FORWARDED_MAX 2048

struct visitor {
	struct visitors *of;
	struct lws *wsi;   /* NULL: the library does not have it yet */
	struct peek *peek; /* NULL: the library has it */
	int fd;            /* used until the library has it */
	bool refused;      /* and the refusal is counted */
	bool is_shaking;   /* its handshake is not done: in the list `shaking` */
	bool entered;      /* the gate has let it in */
	struct visitor *prev, *next;
	struct address socket;  /* the address of the socket */
	struct address address; /* the client's */
	int64_t deadline;       /* µs: of the handshake */
};

/* Does not close the socket. */
static void visitor_free(struct visitor *v)
{
	struct gate *gate = v->of->hub->shared->gate;

	visitor_arrived(v);
	if (v->entered)
		gate_leave(gate, &v->address);
	gate_close(gate, &v->socket);
	free(v);
}

static void close_and_free(struct visitor *v)
{
	int fd = v->fd;

	visitor_free(v);
	close(fd);
}

static void adopt(struct visitor *v)
{
	/* The library closes the socket itself when it refuses it. */
	v->wsi = lws_adopt_socket_vhost(v->of->vhost, v->fd);
	if (v->wsi)
		lws_set_opaque_user_data(v->wsi, v);
	else
		visitor_free(v);
}

static void tell_audit(const struct visitor *v, unsigned status, const char *reason)
{
	audit_ended(v->of->hub->shared->audit, "refused", &(struct audit_client){ .peer = &v->address }, status,
		    reason);
}

/* The socket ended before a request was understood. */
static void visitor_lost(struct visitor *v)
{
	metrics_count(v->of->hub->counts, METRICS_REFUSALS, "broken");
	flood_info("a request broke off, or was not understood", log_n("hub", v->of->hub->index),
		   log_peer(&v->address));
	tell_audit(v, 0, "broken");
}

static void note_refusal(struct visitor *v, const struct response *response)
{
	metrics_count(v->of->hub->counts, METRICS_REFUSALS, response->reason);
	tell_audit(v, response->status, response->reason);
	v->refused = true;
}

/* --- what a peek finds ------------------------------------------------------------------------------------------- */

static void on_whole(void *ctx)
{
	struct visitor *v = ctx;

	v->peek = NULL;
	adopt(v);
}

static void on_refused(void *ctx, const struct response *response, struct slice head)
{
	struct visitor *v = ctx;
	char path[SHOWN_MAX];

	shown(head_target(head), path);
	flood_info("request refused", log_n("hub", v->of->hub->index), log_peer(&v->address),
		   log_n("status", response->status), log_s("reason", response->reason), log_s("path", path),
		   log_n("bytes", head.len), log_s("answer", response->body));
	note_refusal(v, response);
}

/* A client that sent nothing only checked whether the port is open. */
static void on_ended(void *ctx, bool broke_off)
{
	struct visitor *v = ctx;

	v->peek = NULL;
	if (broke_off)
		visitor_lost(v);
	close_and_free(v);
}

static const struct peek_calls calls = { on_whole, on_refused, on_ended };

static void end_peek(struct visitor *v)
{
	peek_free(v->peek);
	close_and_free(v);
}

/* The system cannot watch more sockets: only this one ends. */
static void give_up(struct visitor *v, const char *why)
{
	flood_error("a socket cannot be watched", log_n("hub", v->of->hub->index), log_s("error", why));
	close_and_free(v);
}

void visitor_take(struct visitors *all, int fd, const struct address *address)
{
	struct visitor *v = mem_new(sizeof(*v));
	const char *why;

	v->of = all;
	v->fd = fd;
	v->socket = v->address = *address;
	v->deadline = clock_us() + all->hub->shared->conf->limits.handshake * 1000;
	v->is_shaking = true;
	DL_APPEND(all->shaking, v);
	if (all->tls) {
		adopt(v);
		return;
	}
	v->peek = peek_new(&all->peeks, fd, &calls, v, &why);
	if (v->peek)
		peek_look(v->peek);
	else
		give_up(v, why);
}

/* --- what the library finds -------------------------------------------------------------------------------------- */

struct visitor *visitor_of(struct lws *wsi)
{
	return lws_get_opaque_user_data(wsi);
}

const struct address *visitor_address(const struct visitor *v)
{
	return &v->address;
}

/* No chain of proxies writes a header of this length, but a client may. The end of the header decides, and is not read, so the request is
 * refused. */
bool visitor_forwarded(struct visitor *v)
{
	char forwarded[FORWARDED_MAX];
	int len = lws_hdr_copy(v->wsi, forwarded, sizeof(forwarded), WSI_TOKEN_X_FORWARDED_FOR);

	if (len > 0)
		v->address = address_forwarded(&v->address, (struct slice){ forwarded, (size_t)len },
					       &v->of->hub->shared->conf->listen.trusted_proxies);
	return len >= 0;
}

const struct response *visitor_enter(struct visitor *v)
{
	const struct hub_shared *shared = v->of->hub->shared;
	enum gate_verdict verdict = gate_enter(shared->gate, &shared->conf->limits, &v->address, clock_us());

	switch (verdict) {
	case GATE_OPEN:
		v->entered = true;
		return NULL;
	case GATE_FULL:
		return &response_full;
	case GATE_ADDRESS:
		return &response_address;
	case GATE_RATE:
		return &response_rate;
	}
	fail_never("the gate answered %d", (int)verdict);
}

void visitor_refused(struct visitor *v, const struct response *response, const char *path, const char *origin)
{
	flood_info("upgrade refused", log_n("hub", v->of->hub->index), log_peer(&v->address),
		   log_n("status", response->status), log_s("reason", response->reason), log_s("path", path),
		   log_s("origin", origin), log_s("answer", response->body));
	note_refusal(v, response);
}

void visitor_arrived(struct visitor *v)
{
	if (v->is_shaking)
		DL_DELETE(v->of->shaking, v);
	v->is_shaking = false;
}

void visitor_gone(struct lws *wsi)
{
	struct visitor *v = visitor_of(wsi);

	if (!v)
		return;
	lws_set_opaque_user_data(wsi, NULL);
	/* The library hangs up without a response if it cannot read a request, or has no room for it. */
	if (v->is_shaking && !v->refused)
		visitor_lost(v);
	visitor_free(v);
}

/* --- ending many visitors ---------------------------------------------------------------------------------------- */

static void hang_up(struct visitor *v)
{
	if (v->peek) {
		end_peek(v);
		return;
	}
	visitor_arrived(v);
	lws_set_timeout(v->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

void visitors_hang_up(struct visitors *all)
{
	while (all->shaking)
		hang_up(all->shaking);
}

/* The library restarts its own timeout with some of its reads; the deadline here stays. The list is in the order of the deadlines. */
void visitors_sweep(struct visitors *all, int64_t now)
{
	struct visitor *v;

	while ((v = all->shaking) && v->deadline < now) {
		if (v->refused && v->peek) { /* the refusal is counted already */
			end_peek(v);
			continue;
		}
		flood_info("a handshake takes too long", log_n("hub", all->hub->index), log_peer(&v->address));
		metrics_count(all->hub->counts, METRICS_REFUSALS, "slow");
		tell_audit(v, 0, "slow");
		hang_up(v);
	}
}

void visitors_fini(struct visitors *all)
{
	struct visitor *v, *next;

	DL_FOREACH_SAFE(all->shaking, v, next)
		if (v->peek)
			end_peek(v);
}
