/*
 * request: the strict checks of an upgrade's headers. libwebsockets parses the request but does not check the parts strictly.
 *
 * Pure; any thread. Returned slices point into the arguments.
 */
#ifndef WALPUSH_REQUEST_H
#define WALPUSH_REQUEST_H

#include "walpush/base/slice.h"

/* Sec-WebSocket-Key: sixteen bytes in base64 (RFC 6455, section 4.1). */
bool request_key_is_sound(struct slice key);
/* Is this word in a list with commas? any_case: ignore case, as for Connection; Sec-WebSocket-Protocol needs the exact case. */
bool request_list_has(struct slice list, struct slice word, bool any_case);
/* The token of "Bearer TOKEN"; empty for any other value. */
struct slice request_bearer(struct slice authorization);
/* The value of "NAME=VALUE". False: the argument has another name. */
bool request_argument(struct slice argument, struct slice name, struct slice *value);
/* `target`: of a request line, as sent. False: the target is empty, or contains a control character, as a byte or as %XX, or a '%' without two
 * hexadecimal digits. No real client sends such a target, and two parsers may read different paths from it. */
bool request_target_is_clean(struct slice target);

#endif
