/*
 * tap: the thread that reads the slot and fills the logs. It does everything except the WebSockets.
 *
 *   source ─record─▶ intake ─transaction─▶ publish ─▶ logs ═══▶ hubs
 *     ▲                                       │
 *     └──────────── confirm ◀── window ◀──────┘
 *
 * The tap also accepts sockets, answers admissions, and handles timers and signals. It has one event loop that nothing blocks: names are
 * resolved in threads (resolve.h).
 */
#ifndef WALPUSH_TAP_H
#define WALPUSH_TAP_H

#include "walpush/conf/conf.h"
#include "walpush/base/fail.h"

struct tap;

/* Starts the hubs, listens, and begins to connect. NULL: configuration or system error, in `why`. `conf` must outlive it. */
struct tap *tap_new(const struct conf *conf, struct fail *why);
/* Runs until SIGTERM, SIGINT or a configuration error that only the database can show. Returns the exit status. */
int tap_run(struct tap *t);
void tap_free(struct tap *t);

#endif
