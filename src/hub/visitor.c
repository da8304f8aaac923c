/*
 * visitor: a socket from the moment the hub has it until it is closed. Hub thread.
 *
 * It knows where the socket comes from, which outlives the HTTP request and stands before the WebSocket. The library keeps it as its
 * opaque pointer and tells its end.
 */
#include <stdlib.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/clock.h"
#include "walpush/base/fail.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"

#define FORWARDED_MAX 2048

void visitor_take(struct hub *h, int fd, const struct address *address)
{
	struct visitor *v = mem_new(sizeof(*v));

	v->hub = h;
	v->fd = fd;
	v->socket = v->address = *address;
	v->deadline = clock_us() + h->shared->conf->limits.handshake * 1000;
	v->is_shaking = true;
	DL_APPEND(h->visitors, v);
	if (h->tls)
		visitor_adopt(v);
	else
		peek_begin(v);
}

void visitor_adopt(struct visitor *v)
{
	/* It closes the socket itself when it refuses it. */
	v->wsi = lws_adopt_socket_vhost(v->hub->vhost, v->fd);
	if (v->wsi)
		lws_set_opaque_user_data(v->wsi, v);
	else
		visitor_free(v);
}

struct visitor *visitor_of(struct lws *wsi)
{
	return lws_get_opaque_user_data(wsi);
}

/* A longer header than any chain of proxies writes is the client's doing, and its end is what counts: it is refused. */
bool visitor_forwarded(struct visitor *v)
{
	char forwarded[FORWARDED_MAX];
	int len = lws_hdr_copy(v->wsi, forwarded, sizeof(forwarded), WSI_TOKEN_X_FORWARDED_FOR);

	if (len > 0)
		v->address = address_forwarded(&v->address, (struct slice){ forwarded, (size_t)len },
					       &v->hub->shared->conf->listen.trusted_proxies);
	return len >= 0;
}

const char *visitor_enter(struct visitor *v)
{
	const struct hub_shared *shared = v->hub->shared;
	enum gate_verdict verdict = gate_enter(shared->gate, &shared->conf->limits, &v->address, clock_us());

	switch (verdict) {
	case GATE_OPEN:
		v->entered = true;
		return NULL;
	case GATE_FULL:
		return "full";
	case GATE_ADDRESS:
		return "address";
	case GATE_RATE:
		return "rate";
	}
	fail_never("the gate answered %d", (int)verdict);
}

void visitor_arrived(struct visitor *v)
{
	if (v->is_shaking)
		DL_DELETE(v->hub->visitors, v);
	v->is_shaking = false;
}

void visitor_lost(struct visitor *v)
{
	metrics_count(v->hub->counts, METRICS_REFUSALS, "broken");
	flood_info("a request broke off, or was not understood", log_n("hub", v->hub->index), log_peer(&v->address));
	audit_ended(v->hub->shared->audit, "refused", &(struct audit_client){ .peer = &v->address }, 0, "broken");
}

void visitor_gone(struct lws *wsi)
{
	struct visitor *v = visitor_of(wsi);

	if (!v)
		return;
	lws_set_opaque_user_data(wsi, NULL);
	/* The library hangs up without a word where it cannot read a request, or has no room for it. */
	if (v->is_shaking && !v->refused)
		visitor_lost(v);
	visitor_free(v);
}

void visitor_free(struct visitor *v)
{
	visitor_arrived(v);
	if (v->entered)
		gate_leave(v->hub->shared->gate, &v->address);
	gate_close(v->hub->shared->gate, &v->socket);
	free(v);
}

static void hang_up(struct visitor *v)
{
	if (v->peek) {
		peek_end(v);
		return;
	}
	visitor_arrived(v);
	lws_set_timeout(v->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

void visitors_hang_up(struct hub *h)
{
	while (h->visitors)
		hang_up(h->visitors);
}

/* The library's own timeout starts anew with some of what it reads; this one does not. The list is in the order of the deadlines. */
void visitor_sweep(struct hub *h, int64_t now)
{
	struct visitor *v;

	while ((v = h->visitors) && v->deadline < now) {
		if (v->refused && v->peek) { /* it was counted */
			peek_end(v);
			continue;
		}
		log_debug("a handshake takes too long", log_n("hub", h->index), log_peer(&v->address));
		metrics_count(h->counts, METRICS_REFUSALS, "slow");
		audit_ended(h->shared->audit, "refused", &(struct audit_client){ .peer = &v->address }, 0, "slow");
		hang_up(v);
	}
}

void visitor_drop_all(struct hub *h)
{
	struct visitor *v, *next;

	DL_FOREACH_SAFE(h->visitors, v, next)
		if (v->peek)
			peek_end(v);
}
