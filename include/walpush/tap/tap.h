/*
 * tap: the thread that reads the slot and fills the topic logs; everything but the WebSockets themselves.
 *
 *   source ─record─▶ intake ─transaction─▶ publish ─▶ topic logs ═══▶ hubs
 *     ▲                                       │
 *     └──────────── confirm ◀── window ◀──────┘
 *
 * It also accepts sockets, answers admissions, and minds timers and signals. One event loop, nothing blocks but name resolution.
 */
#ifndef WALPUSH_TAP_H
#define WALPUSH_TAP_H

#include "walpush/conf/conf.h"
#include "walpush/base/fail.h"

struct tap;

/* Starts the hubs, listens, and begins to connect. NULL: configuration or system error, in `why`. `conf` must outlive it. */
struct tap *tap_new(const struct conf *conf, struct fail *why);
/* Until SIGTERM, SIGINT or a configuration error that only the database could show. Returns the exit status. */
int tap_run(struct tap *t);
void tap_free(struct tap *t);

#endif
