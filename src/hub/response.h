/*
 * response: the HTTP responses for requests that become no WebSocket. Pure.
 *
 * Each has a body of one line that says what to do: for people who try with curl, and for the network tab of a browser, which shows it although
 * the page cannot read it. The line never repeats anything of the request.
 */
#ifndef WALPUSH_HUB_RESPONSE_H
#define WALPUSH_HUB_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>

#define RESPONSE_MAX 512 /* bytes, with the zero */

struct response {
	unsigned status;
	const char *reason; /* a value of METRICS_REFUSALS */
	const char *body;   /* without the line's end */
};

/* 400 */
extern const struct response response_no_http, response_no_websocket, response_target, response_forwarded,
	response_host, response_connection, response_key, response_subprotocol, response_content;
/* 403, 404, 426, 431 */
extern const struct response response_origin, response_path, response_plain_http, response_version, response_headers;
/* 503 */
extern const struct response response_full, response_address, response_rate;

/* Returns its length. `bare`: without the body, for a HEAD request. */
size_t response_write(const struct response *r, bool bare, char out[RESPONSE_MAX]);

#endif
