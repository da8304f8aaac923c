/* answer: bare HTTP responses for requests that become no WebSocket. Pure. */
#ifndef WALPUSH_HUB_ANSWER_H
#define WALPUSH_HUB_ANSWER_H

#include <stddef.h>

#define ANSWER_MAX 256

/* Returns its length. */
size_t answer_write(unsigned status, char out[ANSWER_MAX]);

#endif
