/*
 * request: what the headers of an upgrade must look like. libwebsockets takes the request apart and is lenient with the pieces; here they
 * are judged.
 *
 * Pure; any thread. Slices point into what was passed in.
 */
#ifndef WALPUSH_REQUEST_H
#define WALPUSH_REQUEST_H

#include "walpush/base/slice.h"

/* Sec-WebSocket-Key: sixteen bytes in base64 (RFC 6455, section 4.1). */
bool request_key_is_sound(struct slice key);
/* Does a list with commas hold this word? Connection's are the same in upper and lower case, Sec-WebSocket-Protocol's are not. */
bool request_list_has(struct slice list, struct slice word, bool any_case);
/* The token of "Bearer TOKEN"; of anything else it is empty. */
struct slice request_bearer(struct slice authorization);
/* The value of "NAME=VALUE", if that is its name. */
bool request_argument(struct slice argument, struct slice name, struct slice *value);
/* The target of a request line, as it was sent. False: it holds a control character, as it is or as %XX, or a '%' without two hexadecimal
 * digits. No client of ours writes that, and two readers may see two paths in it. */
bool request_target_is_clean(struct slice target);

#endif
