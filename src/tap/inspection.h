/*
 * inspection: `walpush check` beside a process that serves, in a process of its own.
 *
 * The checks connect, wait and run queries of the configuration. In a process of its own none of this delays a message, none of their memory stays,
 * and it can be ended at any moment. It reads the configuration as it was loaded, not as the file is now, from its standard input, and says what it found as JSON.
 *
 * Bounds: a minute, then it is killed; 1 MiB of JSON. Belongs to the thread of `loop`.
 */
#ifndef WALPUSH_INSPECTION_H
#define WALPUSH_INSPECTION_H

#include <event2/event.h>
#include <jansson.h>

#include "walpush/base/fail.h"
#include "walpush/conf/conf.h"

struct inspection;

/* Called once, from the loop. `report` is borrowed: what `walpush check --json` prints. NULL: `why` says what went wrong. */
typedef void inspection_done(void *ctx, const json_t *report, const struct fail *why);

/* Takes what it needs of `conf` at once. NULL: no process can be made. */
struct inspection *inspection_new(struct event_base *loop, const struct conf *conf, inspection_done *done, void *ctx,
				  struct fail *why);
/* Kills the process. Not called after `done`, which frees the inspection. NULL is allowed. */
void inspection_cancel(struct inspection *i);

#endif
