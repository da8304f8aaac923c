#include "walpush/admin.h"

#include <errno.h>
#include <inttypes.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "walpush/fail.h"
#include "walpush/log.h"
#include "walpush/mem.h"

#define HEADER_BYTES 8192
#define TIMEOUT_S 10

/* src/status.html, and a zero. */
extern const char admin_page[];
__asm__(".pushsection .rodata\n"
	".global admin_page\n"
	"admin_page:\n"
	".incbin \"src/status.html\"\n"
	".byte 0\n"
	".popsection\n");

struct admin {
	struct evhttp *http;
	struct evhttp_bound_socket *listens;
	const struct admin_calls *calls;
	void *ctx;
};

static void answer(struct evhttp_request *request, int status, const char *type, const char *text)
{
	struct evbuffer *body = evbuffer_new();

	if (!body)
		fail_never("out of memory: no body for an answer of the admin port");
	evbuffer_add(body, text, strlen(text));
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", type);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Cache-Control", "no-store");
	evhttp_send_reply(request, status, NULL, body);
	evbuffer_free(body);
}

static void answer_check(struct evhttp_request *request, const char *trouble)
{
	char text[256];

	snprintf(text, sizeof(text), "%s\n", trouble ? trouble : "ok");
	answer(request, trouble ? 503 : 200, "text/plain; charset=utf-8", text);
}

static void on_health(struct evhttp_request *request, void *arg)
{
	struct admin *a = arg;

	answer_check(request, a->calls->unhealthy(a->ctx));
}

static void on_ready(struct evhttp_request *request, void *arg)
{
	struct admin *a = arg;

	answer_check(request, a->calls->unready(a->ctx));
}

static void on_status(struct evhttp_request *request, void *arg)
{
	struct admin *a = arg;
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
	json_t *status = a->calls->status(a->ctx, query && strcmp(query, "history") == 0);
	char *text = json_dumps(status, JSON_INDENT(2));

	if (!text)
		fail_never("jansson does not print the status");
	answer(request, 200, "application/json", text);
	free(text);
	json_decref(status);
}

static void on_metrics(struct evhttp_request *request, void *arg)
{
	struct admin *a = arg;
	struct buf text = { 0 };

	a->calls->metrics(a->ctx, &text);
	answer(request, 200, "text/plain; version=0.0.4; charset=utf-8", text.data);
	buf_fini(&text);
}

/* Scripts and styles of this answer alone: nothing that a name or a key could smuggle in would run. */
static bool add_page(struct evbuffer *body, const char *nonce)
{
	static const char mark[] = "{{nonce}}";
	const char *at = admin_page, *next;

	for (; (next = strstr(at, mark)); at = next + sizeof(mark) - 1) {
		evbuffer_add(body, at, (size_t)(next - at));
		evbuffer_add(body, nonce, strlen(nonce));
	}
	return evbuffer_add(body, at, strlen(at)) == 0;
}

static void on_page(struct evhttp_request *request)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	struct evbuffer *body = evbuffer_new();
	uint64_t random[2];
	char nonce[33], policy[256];

	if (!body)
		fail_never("out of memory: no body for the status page");
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		fail_never("no random numbers for the status page: %s", strerror(errno));
	snprintf(nonce, sizeof(nonce), "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
	snprintf(policy, sizeof(policy),
		 "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; connect-src 'self'; img-src data:; "
		 "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		 nonce, nonce);
	if (!add_page(body, nonce))
		fail_never("out of memory: no room for the status page");
	evhttp_add_header(headers, "Content-Type", "text/html; charset=utf-8");
	evhttp_add_header(headers, "Content-Security-Policy", policy);
	evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
	evhttp_add_header(headers, "Referrer-Policy", "no-referrer");
	evhttp_add_header(headers, "Cache-Control", "no-store");
	evhttp_send_reply(request, 200, NULL, body);
	evbuffer_free(body);
}

static void on_other(struct evhttp_request *request, void *arg)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));

	(void)arg;
	if (path && strcmp(path, "/") == 0)
		on_page(request);
	else
		answer(request, 404, "text/plain; charset=utf-8",
		       "there are /, /healthz, /readyz, /status and /metrics\n");
}

struct admin *admin_new(struct event_base *loop, const struct conf_admin *conf, const struct admin_calls *calls,
			void *ctx, struct fail *why)
{
	struct admin *a = mem_new(sizeof(*a));

	a->calls = calls;
	a->ctx = ctx;
	a->http = evhttp_new(loop);
	if (!a->http)
		fail_never("libevent makes no HTTP server for the admin port");
	evhttp_set_allowed_methods(a->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_max_headers_size(a->http, HEADER_BYTES);
	evhttp_set_max_body_size(a->http, 0);
	evhttp_set_timeout(a->http, TIMEOUT_S);
	evhttp_set_cb(a->http, "/healthz", on_health, a);
	evhttp_set_cb(a->http, "/readyz", on_ready, a);
	evhttp_set_cb(a->http, "/status", on_status, a);
	evhttp_set_cb(a->http, "/metrics", on_metrics, a);
	evhttp_set_gencb(a->http, on_other, a);
	a->listens = evhttp_bind_socket_with_handle(a->http, conf->address, (ev_uint16_t)conf->port);
	if (a->listens)
		return a;
	fail_set(why, "cannot listen on %s port %d: %s; choose another admin.port, or stop what uses it", conf->address,
		 (int)conf->port, strerror(errno));
	admin_free(a);
	return NULL;
}

void admin_stop_listening(struct admin *a)
{
	if (a->listens)
		evhttp_del_accept_socket(a->http, a->listens);
	a->listens = NULL;
}

void admin_free(struct admin *a)
{
	if (!a)
		return;
	evhttp_free(a->http);
	free(a);
}
