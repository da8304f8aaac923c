/* response: bare HTTP responses for requests that become no WebSocket. Pure. */
#ifndef WALPUSH_HUB_RESPONSE_H
#define WALPUSH_HUB_RESPONSE_H

#include <stddef.h>

#define RESPONSE_MAX 256

/* Returns its length. */
size_t response_write(unsigned status, char out[RESPONSE_MAX]);

#endif
