/*
 * shown: what a client sent, as a log line may show it. Pure.
 *
 * A path or an origin is the client's own text: it may be long, may hold control characters or a terminal's escapes, and may hold a token that was
 * put into the wrong place ("/ws/requests/5/&token=eyJ…"). So the text is cut, and every byte that is not printable ASCII, '"', '\' or '%' is
 * written as %XX.
 */
#ifndef WALPUSH_SHOWN_H
#define WALPUSH_SHOWN_H

#include "walpush/base/slice.h"

#define SHOWN_MAX 161 /* bytes, with the zero */

/* Cuts the text before what may begin a query or a token: '?', '&', ';', '=', '#', and "eyJ", which is how every JSON Web Token begins; and where `out`
 * ends. A text that was cut ends in "...". */
void shown(struct slice text, char out[SHOWN_MAX]);

#endif
