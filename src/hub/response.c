#include "response.h"

#include <stdio.h>
#include <string.h>

#define MALFORMED 400, "malformed"

const struct response response_no_http = { MALFORMED, "This is no HTTP/1.1 request, or it has control characters or "
						      "bad %-escapes. Does a TLS client or an HTTP/2 proxy "
						      "talk to this port?" };
const struct response response_no_websocket = {
	MALFORMED, "Only an upgrade to websocket is served here; send \"Upgrade: websocket\"."
};
const struct response response_target = {
	MALFORMED, "The path or the query has control characters or bad %-escapes; encode both with encodeURIComponent."
};
const struct response response_forwarded = { MALFORMED,
					     "X-Forwarded-For is too long; have the outermost proxy set it anew." };
const struct response response_host = { MALFORMED, "Exactly one Host header is needed." };
const struct response response_connection = {
	MALFORMED, "\"Connection: Upgrade\" is missing; a proxy in between must pass on Connection and Upgrade."
};
const struct response response_key = {
	MALFORMED, "Exactly one Sec-WebSocket-Key is needed, with 16 bytes in Base64; use a WebSocket client."
};
const struct response response_subprotocol = {
	MALFORMED, "The only subprotocol is \"walpush\"; offer this one or none. The token does not go there."
};
const struct response response_content = {
	MALFORMED, "An upgrade has no body; send neither Content-Length nor Transfer-Encoding."
};

const struct response response_origin = {
	403, "origin",
	"Pages of this origin may not connect; if the page is yours, add its origin to listen.origins in sidecar.conf."
};
const struct response response_path = { 404, "path",
					"No stream has this path; compare it with the paths in sidecar.conf, up to the "
					"slash at its end. A proxy may have changed it." };
const struct response response_plain_http = { 426, "upgrade",
					      "This path is a WebSocket; connect with ws:// or wss://. A proxy in "
					      "between must speak HTTP/1.1 and pass on Connection and "
					      "Upgrade." };
const struct response response_version = {
	426, "upgrade", "Only version 13 of the WebSocket protocol is spoken; send \"Sec-WebSocket-Version: 13\" once."
};
const struct response response_headers = { 431, "headers",
					   "The head of the request is too long, most often because of cookies; set "
					   "them for another host or path, or raise "
					   "limits.token-bytes." };

const struct response response_full = { 503, "full", "limits.connections is reached; try again later." };
const struct response response_address = {
	503, "address", "limits.per-address is reached for this address; behind a proxy set listen.trusted-proxies."
};
const struct response response_rate = { 503, "rate",
					"limits.handshakes-per-second is reached; try again in a moment." };

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
	case 431:
		return "Request Header Fields Too Large";
	case 503:
		return "Service Unavailable";
	default:
		return "Error";
	}
}

size_t response_write(const struct response *r, bool bare, char out[RESPONSE_MAX])
{
	return (size_t)snprintf(out, RESPONSE_MAX,
				"HTTP/1.1 %u %s\r\n%sConnection: close\r\nContent-Type: text/plain\r\nContent-Length: "
				"%zu\r\n\r\n%s%s",
				r->status, status_text(r->status),
				r->status == 426 ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" : "",
				strlen(r->body) + 1, bare ? "" : r->body, bare ? "" : "\n");
}
