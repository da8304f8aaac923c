/*
 * admin: the operators' HTTP port, on the tap's loop.
 *
 *   /healthz   200 while every loop turns; never asks the database
 *   /readyz    200 while the replication stream is live; else 503 and why. For alerts, not for a sidecar's readiness
 *   /status    everything known, as JSON; with ?history the last minutes too
 *   /          a page that shows /status to a person
 *   /metrics   for Prometheus
 *   /explain   why somebody receives something, or not; only with the token of the configuration, and off without one
 *
 * A request must name this port by an IP address, as localhost, or by a name of admin.hosts (host.h); otherwise it is
 * refused with 421. A malformed request is refused with 400. An HTTP/1.0 request may omit Host.
 *
 * GET and HEAD only. Bounds: evhttp's limits, set to 8 KiB of headers and no body; 10 s a request.
 */
#ifndef WALPUSH_ADMIN_H
#define WALPUSH_ADMIN_H

#include <event2/event.h>
#include <jansson.h>

#include "walpush/conf/conf.h"
#include "walpush/base/fail.h"

struct admin;
struct admin_reply; /* an answer that is due; owned by the callee of `explain` */

struct admin_calls {
	/* NULL: healthy, or ready. Otherwise the reason, a literal. */
	const char *(*unhealthy)(void *ctx);
	const char *(*unready)(void *ctx);
	/* What a person should know of a process that is ready, a literal; NULL: nothing. */
	const char *(*remark)(void *ctx);
	/* A new object; the callee takes it over. */
	json_t *(*status)(void *ctx, bool with_history);
	/* The names by which a request may call this port, from the configuration in force. */
	const struct texts *(*hosts)(void *ctx);
	/* Who sends it may ask /explain; NULL: nobody may. */
	const char *(*token)(void *ctx);
	/* The question in the query; the callee gives its answer by admin_reply, now or later. */
	void (*explain)(void *ctx, struct slice query, struct admin_reply *reply);
	/* A request was refused; `reason` is a value of METRICS_ADMIN_REFUSALS. */
	void (*refused)(void *ctx, const char *reason);
	/* Appends to `out`. */
	void (*metrics)(void *ctx, struct buf *out);
};

/* NULL: admin cannot listen on the address. */
struct admin *admin_new(struct event_base *loop, const struct conf_admin *conf, const struct admin_calls *calls,
			void *ctx, struct fail *why);
/* Answers, once, with this document, which it takes over. Before admin_free. */
void admin_reply(struct admin_reply *reply, int status, json_t *document);
/* Afterwards a successor can listen on the address. Open connections go on. */
void admin_stop_listening(struct admin *a);
void admin_free(struct admin *a);

#endif
