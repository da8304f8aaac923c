/*
 * admin: the operators' HTTP port, on the tap's loop.
 *
 *   /healthz   200 while every loop turns; never asks the database
 *   /readyz    200 while the stream is live; else 503 and why. For alerts, not for a sidecar's readiness
 *   /status    what is known, as JSON; with ?history the last minutes too
 *   /          a page that shows it to a person
 *   /metrics   for Prometheus
 *
 * A request must name this port by an IP address, as localhost, or by a name of admin.hosts (host.h), else it is refused with 421; a malformed
 * one with 400. HTTP/1.0 may leave out Host.
 *
 * GET and HEAD only. Bound: evhttp's limits, set to 8 KiB of headers and no body; 10 s a request.
 */
#ifndef WALPUSH_ADMIN_H
#define WALPUSH_ADMIN_H

#include <event2/event.h>
#include <jansson.h>

#include "walpush/conf/conf.h"
#include "walpush/base/fail.h"

struct admin;

struct admin_calls {
	/* NULL: healthy, or ready; else why not, a literal. */
	const char *(*unhealthy)(void *ctx);
	const char *(*unready)(void *ctx);
	/* A new object, the callee's. */
	json_t *(*status)(void *ctx, bool with_history);
	/* The names that a request may give this port, those of the configuration in force. */
	const struct texts *(*hosts)(void *ctx);
	/* A request was refused; `reason` is a value of METRICS_ADMIN_REFUSALS. */
	void (*refused)(void *ctx, const char *reason);
	/* Added to `out`. */
	void (*metrics)(void *ctx, struct buf *out);
};

/* NULL: the address cannot be had. */
struct admin *admin_new(struct event_base *loop, const struct conf_admin *conf, const struct admin_calls *calls,
			void *ctx, struct fail *why);
/* A successor can listen there. Connections that are open go on. */
void admin_stop_listening(struct admin *a);
void admin_free(struct admin *a);

#endif
