/* handshake: what the HTTP request says, read before and while it is upgraded. Hub thread. */
#include <stdlib.h>
#include <string.h>

#include "hub_impl.h"
#include "walpush/mem.h"
#include "walpush/origin.h"

#define ORIGIN_MAX 512

static int match(const struct hub_shared *shared, struct lws *wsi, struct path_values *values)
{
	char path[PATH_LENGTH_MAX + 1];
	int len = lws_hdr_copy(wsi, path, sizeof(path), WSI_TOKEN_GET_URI);

	if (len <= 0)
		return -1;
	return rules_match_path(shared->rules, (struct slice){ path, (size_t)len }, values);
}

bool handshake_path_exists(const struct hub_shared *shared, struct lws *wsi)
{
	struct path_values values;

	return match(shared, wsi, &values) >= 0;
}

static bool origin_is_fine(const struct hub_shared *shared, struct lws *wsi)
{
	char origin[ORIGIN_MAX];
	int len = lws_hdr_total_length(wsi, WSI_TOKEN_ORIGIN);

	if (len == 0)
		return origin_admits(&shared->conf->listen.origins, NULL);
	if (lws_hdr_copy(wsi, origin, sizeof(origin), WSI_TOKEN_ORIGIN) < 0)
		return false;
	return origin_admits(&shared->conf->listen.origins, origin);
}

/* Clients that offer subprotocols fail when none is echoed, and the library hangs up without a word on those it does not know. */
static bool subprotocol_is_fine(struct lws *wsi)
{
	char offered[256];
	int len = lws_hdr_total_length(wsi, WSI_TOKEN_PROTOCOL);

	if (len == 0)
		return true;
	if (lws_hdr_copy(wsi, offered, sizeof(offered), WSI_TOKEN_PROTOCOL) < 0)
		return false;
	for (char *save, *one = strtok_r(offered, ", ", &save); one; one = strtok_r(NULL, ", ", &save))
		if (strcmp(one, hub_protocols[0].name) == 0)
			return true;
	return false;
}

static const char *refused(unsigned *status, unsigned with, const char *why)
{
	*status = with;
	return why;
}

const char *handshake_check(const struct hub_shared *shared, struct lws *wsi, const char *upgrade, unsigned *status)
{
	char version[8] = "";
	const char *why;

	if (strcasecmp(upgrade, "websocket") != 0)
		return refused(status, 400, "malformed"); /* h2c and whatever else: never */
	if (lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) == 0 || !visitor_forwarded(visitor_of(wsi)))
		return refused(status, 400, "malformed");
	if (!handshake_path_exists(shared, wsi))
		return refused(status, 404, "path");
	if (!origin_is_fine(shared, wsi))
		return refused(status, 403, "origin");
	if (lws_hdr_copy(wsi, version, sizeof(version), WSI_TOKEN_VERSION) < 0 || strcmp(version, "13") != 0)
		return refused(status, 426, "upgrade");
	if (lws_hdr_total_length(wsi, WSI_TOKEN_KEY) == 0 || lws_hdr_total_length(wsi, WSI_TOKEN_HOST) == 0)
		return refused(status, 400, "malformed");
	if (!subprotocol_is_fine(wsi))
		return refused(status, 400, "malformed");
	/* The last, so that what is no client of ours takes nobody's place. */
	why = visitor_enter(visitor_of(wsi));
	return why ? refused(status, 503, why) : NULL;
}

static const char *status_text(unsigned status)
{
	switch (status) {
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 426:
		return "Upgrade Required";
	case 503:
		return "Service Unavailable";
	default:
		return "Error";
	}
}

void handshake_refuse(struct lws *wsi, unsigned status)
{
	unsigned char response[LWS_PRE + 256];
	int n = snprintf((char *)response + LWS_PRE, sizeof(response) - LWS_PRE,
			 "HTTP/1.1 %u %s\r\n%sConnection: close\r\nContent-Length: 0\r\n\r\n", status,
			 status_text(status),
			 status == 426 ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" : "");

	lws_write(wsi, response + LWS_PRE, (size_t)n, LWS_WRITE_HTTP_HEADERS);
}

static char *copy_header(struct lws *wsi, enum lws_token_indexes header)
{
	int len = lws_hdr_total_length(wsi, header);
	char *text;

	if (len <= 0)
		return NULL;
	text = mem_new((size_t)len + 1);
	if (lws_hdr_copy(wsi, text, len + 1, header) < 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* The value of "name=" in the query; the library splits it at '&' and undoes the percent signs. */
static char *copy_argument(struct lws *wsi, const char *name)
{
	size_t name_len = strlen(name);
	char *found = NULL;

	for (int i = 0; !found; i++) {
		int len = lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i);
		char *text;

		if (len <= 0)
			return NULL;
		text = mem_new((size_t)len + 1);
		if (lws_hdr_copy_fragment(wsi, text, len + 1, WSI_TOKEN_HTTP_URI_ARGS, i) >= 0 &&
		    strncmp(text, name, name_len) == 0)
			found = mem_text(text + name_len);
		memset(text, 0, (size_t)len);
		free(text);
	}
	return found;
}

static char *bearer(struct lws *wsi)
{
	static const char scheme[] = "Bearer ";
	char *header = copy_header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION), *token = NULL;

	if (header && strncasecmp(header, scheme, sizeof(scheme) - 1) == 0)
		token = mem_text(header + sizeof(scheme) - 1);
	free(header);
	return token;
}

void handshake_read(const struct hub_shared *shared, struct conn *c)
{
	char *since = copy_argument(c->wsi, "since=");

	c->path = mem_new(sizeof(*c->path));
	c->stream = match(shared, c->wsi, c->path);
	c->token = copy_argument(c->wsi, "token=");
	if (!c->token)
		c->token = bearer(c->wsi);
	/* What is no id, or lacks its epoch, names nothing that could be continued, but says that something is to be. */
	c->has_since = since != NULL;
	if (since && event_id_parse(slice_of(since), &c->since))
		c->epoch = copy_argument(c->wsi, "epoch=");
	free(since);
}
