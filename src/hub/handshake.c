#include "handshake.h"

#include <stdlib.h>
#include <string.h>

#include "visitor.h"
#include "walpush/base/mem.h"
#include "walpush/text/origin.h"
#include "walpush/text/request.h"
#include "walpush/text/shown.h"

#define ORIGIN_MAX 512

static int match(const struct hub_shared *shared, struct lws *wsi, struct path_values *values)
{
	char path[PATH_LENGTH_MAX + 1];
	int len = lws_hdr_copy(wsi, path, sizeof(path), WSI_TOKEN_GET_URI);

	if (len <= 0)
		return -1;
	return rules_match_path(shared->rules, (struct slice){ path, (size_t)len }, values);
}

static bool path_exists(const struct hub_shared *shared, struct lws *wsi)
{
	struct path_values values;

	return match(shared, wsi, &values) >= 0;
}

/* --- how the library decodes %00 and the like; over TLS only the library sees the raw bytes ---------------------------- */

static bool is_printable(const char *text, int len)
{
	for (int i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
			return false;
	return true;
}

/* One argument of the query, decoded, with its length; NULL: there are no more. */
static char *copy_fragment(struct lws *wsi, int i, int *len)
{
	char *text;

	*len = lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i);
	if (*len <= 0)
		return NULL;
	text = mem_new((size_t)*len + 1);
	if (lws_hdr_copy_fragment(wsi, text, *len + 1, WSI_TOKEN_HTTP_URI_ARGS, i) < 0)
		*len = 0;
	return text;
}

static void wipe(char *text, int len)
{
	explicit_bzero(text, (size_t)len);
	free(text);
}

static bool arguments_are_printable(struct lws *wsi)
{
	bool ok = true;
	char *text;
	int len;

	for (int i = 0; ok && (text = copy_fragment(wsi, i, &len)); i++) {
		ok = is_printable(text, len);
		wipe(text, len);
	}
	return ok;
}

/* libwebsockets 4.1 stores the zero of a %00 after a slash, but does not count it: "/path/%00" has the length of "/path/". Without a %00, one
 * zero follows the path, and then the version of HTTP; or, if there is a query, a byte without meaning and the first argument. */
static bool hides_a_zero(struct lws *wsi)
{
#if LWS_LIBRARY_VERSION_NUMBER < 4003000
	char *path, *text;
	int n, len;
	bool hides;

	if (lws_http_get_uri_and_method(wsi, &path, &n) < 0 || n <= 0)
		return false;
	text = copy_fragment(wsi, 0, &len);
	if (!text)
		return lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_URI_ARGS) == 0 && path[n + 1] == '\0';
	hides = memcmp(path + n + 2, text, (size_t)len) != 0 || path[n + 2 + len] != '\0';
	wipe(text, len);
	return hides;
#else
	(void)wsi;
	return false;
#endif
}

/* A decoded line end ends the request line, and then the version is missing. */
static bool target_is_clean(struct lws *wsi)
{
	char path[PATH_LENGTH_MAX + 1], version[16];
	int len = lws_hdr_copy(wsi, path, sizeof(path), WSI_TOKEN_GET_URI);

	if (lws_hdr_copy(wsi, version, sizeof(version), WSI_TOKEN_HTTP) != 8 || memcmp(version, "HTTP/1.", 7) != 0)
		return false;
	return is_printable(path, len) && arguments_are_printable(wsi) && !(lws_is_ssl(wsi) && hides_a_zero(wsi));
}

/* --- the parts of the request ------------------------------------------------------------------------------------- */

static bool origin_is_fine(const struct hub_shared *shared, struct lws *wsi)
{
	char origin[ORIGIN_MAX];
	int len = lws_hdr_total_length(wsi, WSI_TOKEN_ORIGIN);

	if (len == 0)
		return origin_admits(&shared->conf->listen.origins, NULL);
	if (lws_hdr_copy(wsi, origin, sizeof(origin), WSI_TOKEN_ORIGIN) < 0)
		return false; /* two headers come as "one,other", which is no origin */
	return origin_admits(&shared->conf->listen.origins, origin);
}

/* Copies a header's value. False: the header is absent, or longer than `out`, or there twice, so that a proxy may have read the other one. */
static bool only(struct lws *wsi, enum lws_token_indexes header, char *out, int cap, struct slice *value)
{
	int len = lws_hdr_fragment_length(wsi, header, 1) ? -1 : lws_hdr_copy(wsi, out, cap, header);

	*value = (struct slice){ out, len > 0 ? (size_t)len : 0 };
	return len > 0;
}

static bool key_is_fine(struct lws *wsi)
{
	char text[64];
	struct slice key;

	return only(wsi, WSI_TOKEN_KEY, text, sizeof(text), &key) && request_key_is_sound(key);
}

static bool host_is_fine(struct lws *wsi)
{
	return lws_hdr_total_length(wsi, WSI_TOKEN_HOST) > 0 && !lws_hdr_fragment_length(wsi, WSI_TOKEN_HOST, 1);
}

static bool upgrades_to_websocket(struct lws *wsi)
{
	char text[16];
	struct slice value;

	return only(wsi, WSI_TOKEN_UPGRADE, text, sizeof(text), &value) && strcasecmp(text, "websocket") == 0;
}

static bool version_is_fine(struct lws *wsi)
{
	char text[16];
	struct slice value;

	return only(wsi, WSI_TOKEN_VERSION, text, sizeof(text), &value) && strcmp(text, "13") == 0;
}

static bool connection_is_fine(struct lws *wsi)
{
	char text[256];
	int len = lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_CONNECTION);

	return len > 0 && request_list_has((struct slice){ text, (size_t)len }, SLICE("upgrade"), true);
}

/* A client that offers subprotocols fails if none is echoed. The library hangs up without a response if it knows none of them. */
static bool subprotocol_is_fine(struct lws *wsi)
{
	char text[128];
	int len = lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_PROTOCOL);

	return len == 0 ||
	       (len > 0 && request_list_has((struct slice){ text, (size_t)len }, SLICE(HANDSHAKE_PROTOCOL), false));
}

static bool has_body(struct lws *wsi)
{
	return lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0 ||
	       lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0;
}

static const struct response *check_headers(struct lws *wsi)
{
	if (!version_is_fine(wsi))
		return &response_version;
	if (!host_is_fine(wsi))
		return &response_host;
	if (!connection_is_fine(wsi))
		return &response_connection;
	if (!key_is_fine(wsi))
		return &response_key;
	if (!subprotocol_is_fine(wsi))
		return &response_subprotocol;
	return has_body(wsi) ? &response_content : NULL;
}

const struct response *handshake_check(const struct hub_shared *shared, struct lws *wsi)
{
	const struct response *refusal;

	if (!upgrades_to_websocket(wsi))
		return &response_no_websocket; /* h2c, for example */
	if (lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) == 0 || !target_is_clean(wsi))
		return &response_target;
	if (!visitor_forwarded(visitor_of(wsi)))
		return &response_forwarded;
	if (!path_exists(shared, wsi))
		return &response_path;
	if (!origin_is_fine(shared, wsi))
		return &response_origin;
	refusal = check_headers(wsi);
	/* Checked last, so that rejected requests do not count against the limits. */
	return refusal ? refusal : visitor_enter(visitor_of(wsi));
}

const struct response *handshake_check_plain(const struct hub_shared *shared, struct lws *wsi)
{
	return path_exists(shared, wsi) ? &response_plain_http : &response_path;
}

/* --- refusals -------------------------------------------------------------------------------------------------------- */

/* Without the query: the library keeps it elsewhere. False: the library has answered the request itself, with 403, and freed the headers. */
static bool show_path(struct lws *wsi, char out[SHOWN_MAX])
{
	char *path;
	int len, method = lws_http_get_uri_and_method(wsi, &path, &len);

	shown((struct slice){ method < 0 ? "" : path, method < 0 ? 0 : (size_t)len }, out);
	return method >= 0;
}

static void show_origin(struct lws *wsi, char out[SHOWN_MAX])
{
	char origin[ORIGIN_MAX];
	int len = lws_hdr_copy(wsi, origin, sizeof(origin), WSI_TOKEN_ORIGIN);

	shown(len < 0 ? SLICE("(too long)") : (struct slice){ origin, (size_t)len }, out);
}

static void send_response(struct lws *wsi, const struct response *response)
{
	unsigned char bytes[LWS_PRE + RESPONSE_MAX];
	size_t n = response_write(response, lws_hdr_total_length(wsi, WSI_TOKEN_HEAD_URI) > 0, (char *)bytes + LWS_PRE);

	lws_write(wsi, bytes + LWS_PRE, n, LWS_WRITE_HTTP_HEADERS);
}

void handshake_refuse(struct lws *wsi, const struct response *response)
{
	char path[SHOWN_MAX], origin[SHOWN_MAX];
	bool is_answered = !show_path(wsi, path);

	show_origin(wsi, origin);
	visitor_refused(visitor_of(wsi), response, path, origin);
	if (!is_answered)
		send_response(wsi, response);
}

/* The value of this name in the query. The library splits the query at '&' and decodes the percent signs. */
static char *copy_argument(struct lws *wsi, const char *name)
{
	char *found = NULL, *text;
	struct slice value;
	int len;

	for (int i = 0; !found && (text = copy_fragment(wsi, i, &len)); i++) {
		if (request_argument((struct slice){ text, (size_t)len }, slice_of(name), &value))
			found = mem_text_of(value);
		wipe(text, len);
	}
	return found;
}

static char *copy_bearer(struct lws *wsi)
{
	int len = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_AUTHORIZATION);
	char *header, *token = NULL;
	struct slice found;

	if (len <= 0)
		return NULL;
	header = mem_new((size_t)len + 1);
	if (lws_hdr_copy(wsi, header, len + 1, WSI_TOKEN_HTTP_AUTHORIZATION) > 0) {
		found = request_bearer(slice_of(header));
		token = found.len ? mem_text_of(found) : NULL;
	}
	wipe(header, len);
	return token;
}

int handshake_read(const struct hub_shared *shared, struct lws *wsi, struct handshake *out)
{
	char *since = copy_argument(wsi, "since");

	out->path = mem_new(sizeof(*out->path));
	out->token = copy_argument(wsi, "token");
	if (!out->token)
		out->token = copy_bearer(wsi);
	/* A malformed `since`, or one without `epoch`, cannot be resumed, but it shows that the client expects to resume. */
	out->has_since = since != NULL;
	if (since && event_id_parse(slice_of(since), &out->since))
		out->epoch = copy_argument(wsi, "epoch");
	free(since);
	return match(shared, wsi, out->path);
}

void handshake_forget_token(struct handshake *h)
{
	if (h->token)
		explicit_bzero(h->token, strlen(h->token));
	free(h->token);
	free(h->path);
	h->token = NULL;
	h->path = NULL;
}

void handshake_forget(struct handshake *h)
{
	handshake_forget_token(h);
	free(h->epoch);
	h->epoch = NULL;
}
