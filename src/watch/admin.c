#include "walpush/watch/admin.h"

#include <errno.h>
#include <inttypes.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "walpush/base/fail.h"
#include "walpush/base/flood.h"
#include "walpush/text/host.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/base/secret.h"
#include "walpush/text/request.h"

#define HEADER_BYTES 8192
#define TIMEOUT_S 10
#define HOST_SHOWN 80 /* bytes of a name in the log */

/* src/watch/status.html, terminated by a zero. */
extern const char admin_page[];
__asm__(".pushsection .rodata\n"
	".global admin_page\n"
	"admin_page:\n"
	".incbin \"src/watch/status.html\"\n"
	".byte 0\n"
	".popsection\n");

struct admin {
	struct evhttp *http;
	struct evhttp_bound_socket *listens;
	const struct admin_calls *calls;
	void *ctx;
};

#define PLAIN "text/plain; charset=utf-8"

static void answer(struct evhttp_request *request, int status, const char *phrase, const char *type, const char *text)
{
	struct evbuffer *body = evbuffer_new();

	if (!body)
		fail_never("out of memory: no body for an answer of the admin port");
	evbuffer_add(body, text, strlen(text));
	evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", type);
	evhttp_add_header(evhttp_request_get_output_headers(request), "Cache-Control", "no-store");
	evhttp_send_reply(request, status, phrase, body);
	evbuffer_free(body);
}

static void answer_check(struct evhttp_request *request, const char *trouble, const char *remark)
{
	char text[256];

	snprintf(text, sizeof(text), "%s%s\n", trouble ? trouble : "ok", trouble || !remark ? "" : remark);
	answer(request, trouble ? 503 : 200, NULL, PLAIN, text);
}

static void health(struct admin *a, struct evhttp_request *request)
{
	answer_check(request, a->calls->unhealthy(a->ctx), NULL);
}

static void ready(struct admin *a, struct evhttp_request *request)
{
	answer_check(request, a->calls->unready(a->ctx), a->calls->remark(a->ctx));
}

/* Takes over the document. */
static void answer_json(struct evhttp_request *request, int status, json_t *document)
{
	char *text = json_dumps(document, JSON_INDENT(2));

	if (!text)
		fail_never("jansson does not print a document of the admin port");
	answer(request, status, NULL, "application/json", text);
	free(text);
	json_decref(document);
}

static const char *query_of(struct evhttp_request *request)
{
	return evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
}

static void status(struct admin *a, struct evhttp_request *request)
{
	const char *query = query_of(request);

	answer_json(request, 200, a->calls->status(a->ctx, query && strcmp(query, "history") == 0));
}

static void metrics(struct admin *a, struct evhttp_request *request)
{
	struct buf text = { 0 };

	a->calls->metrics(a->ctx, &text);
	answer(request, 200, NULL, "text/plain; version=0.0.4; charset=utf-8", text.data);
	buf_fini(&text);
}

/* Writes the page with the nonce of this answer. The browser runs only scripts with this nonce, so nothing that a name
 * or a key smuggles in would run. */
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

static void page(struct admin *a, struct evhttp_request *request)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	struct evbuffer *body = evbuffer_new();
	uint64_t random[2];
	char nonce[33], policy[256];

	(void)a;
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

/* --- what needs the token -------------------------------------------------------------------------------------------- */

struct admin_reply {
	struct evhttp_request *request; /* libevent reads nothing from its connection before the answer, so it stays */
};

void admin_reply(struct admin_reply *reply, int status, json_t *document)
{
	answer_json(reply->request, status, document);
	free(reply);
}

static bool has_token(struct evhttp_request *request, const char *token)
{
	const char *header = evhttp_find_header(evhttp_request_get_input_headers(request), "Authorization");

	return header && strncasecmp(header, "Bearer ", 7) == 0 && secret_equal(slice_of(header + 7), slice_of(token));
}

/* Neither the token nor what was sent in its place is logged. */
static void refuse_token(struct admin *a, struct evhttp_request *request)
{
	char *peer = NULL;
	ev_uint16_t port;

	evhttp_connection_get_peer(evhttp_request_get_connection(request), &peer, &port);
	flood_warn("a request to the admin port is refused", log_s("peer", peer), log_s("reason", "token"),
		   log_s("fix", "send the token of admin.token or admin.token-file"));
	a->calls->refused(a->ctx, "token");
	answer(request, 403, NULL, PLAIN,
	       "this needs the token of admin.token or admin.token-file: Authorization: Bearer TOKEN\n");
}

static void explain(struct admin *a, struct evhttp_request *request)
{
	const char *token = a->calls->token(a->ctx), *query = query_of(request);
	struct admin_reply *reply;

	if (!token) {
		answer(request, 404, NULL, PLAIN,
		       "explain and search are off: set admin.token or admin.token-file, and reload (SIGHUP)\n");
		return;
	}
	if (!has_token(request, token)) {
		refuse_token(a, request);
		return;
	}
	reply = mem_new(sizeof(*reply));
	reply->request = request;
	a->calls->explain(a->ctx, slice_of(query ? query : ""), reply);
}

static const struct {
	const char *path;
	void (*serve)(struct admin *a, struct evhttp_request *request);
} routes[] = { { "/healthz", health },  { "/readyz", ready },    { "/status", status },
	       { "/metrics", metrics }, { "/explain", explain }, { "/", page } };

static void route(struct admin *a, struct evhttp_request *request)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));

	for (size_t i = 0; path && i < sizeof(routes) / sizeof(*routes); i++)
		if (strcmp(routes[i].path, path) == 0) {
			routes[i].serve(a, request);
			return;
		}
	answer(request, 404, NULL, PLAIN, "there are /, /healthz, /readyz, /status, /metrics and /explain\n");
}

/* --- the host of a request, and malformed requests --------------------------------------------------------------- */

/* The value of the Host header, or NULL if there is none. False: there are two Host headers, and two readers could use
 * different ones. */
static bool only_host(struct evhttp_request *request, const char **host)
{
	const struct evkeyval *header;

	*host = NULL;
	TAILQ_FOREACH(header, evhttp_request_get_input_headers(request), next)
	{
		if (strcasecmp(header->key, "Host") != 0)
			continue;
		if (*host)
			return false;
		*host = header->value;
	}
	return true;
}

/* `named`: the host that decides the verdict; NULL: none. */
static enum host_verdict judge(const struct admin *a, struct evhttp_request *request, const char **named)
{
	const struct texts *names = a->calls->hosts(a->ctx);
	const char *target = evhttp_uri_get_host(evhttp_request_get_evhttp_uri(request));

	if (!only_host(request, named))
		return HOST_MALFORMED;
	/* HTTP/1.0 has no Host. Load balancers still send such requests, browsers do not. */
	if (!*named && (request->major != 1 || request->minor != 0))
		return HOST_MALFORMED;
	/* "GET http://name/metrics" names a host too, and RFC 9112 gives this host precedence over the header. */
	if (target && host_judge(slice_of(target), names) != HOST_ADMITTED)
		*named = target;
	return *named ? host_judge(slice_of(*named), names) : HOST_ADMITTED;
}

/* evhttp does not decode this text, and it has already refused a text with a zero byte. */
static bool is_clean(struct evhttp_request *request)
{
	return request_target_is_clean(slice_of(evhttp_request_get_uri(request)));
}

static void refuse(struct admin *a, struct evhttp_request *request, bool foreign, const char *named)
{
	const char *reason = foreign ? "host" : "malformed";
	char shown[HOST_SHOWN], *peer = NULL;
	ev_uint16_t port;

	mem_copy_text(shown, sizeof(shown), named ? named : "");
	evhttp_connection_get_peer(evhttp_request_get_connection(request), &peer, &port);
	flood_warn("a request to the admin port is refused", log_s("peer", peer), log_s("reason", reason),
		   log_s("host", shown), log_s("fix", foreign ? "add the name to admin.hosts, if it is yours" : ""));
	a->calls->refused(a->ctx, reason);
	if (foreign)
		answer(request, 421, "Misdirected Request", PLAIN,
		       "Host must be an IP address, localhost, or a name in admin.hosts\n");
	else
		answer(request, 400, NULL, PLAIN, "the request is malformed\n");
}

static void on_request(struct evhttp_request *request, void *arg)
{
	struct admin *a = arg;
	const char *named = NULL;
	enum host_verdict verdict = is_clean(request) ? judge(a, request, &named) : HOST_MALFORMED;

	if (verdict == HOST_ADMITTED)
		route(a, request);
	else
		refuse(a, request, verdict == HOST_FOREIGN, named);
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
	/* Not evhttp's own table of paths: that table takes "/healthz%00x" for "/healthz". */
	evhttp_set_gencb(a->http, on_request, a);
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
