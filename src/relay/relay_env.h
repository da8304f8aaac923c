/* relay_env: what relay.c gives to each part of the relay. Borrowed; it outlives the parts. */
#ifndef WALPUSH_RELAY_ENV_H
#define WALPUSH_RELAY_ENV_H

#include <event2/event.h>

#include "walpush/base/resolve.h"
#include "walpush/conf/conf.h"

struct relay_env {
	struct event_base *loop;
	struct resolve *names;
	const struct conf_relay *conf;
	int64_t (*clock)(void); /* µs; never goes back. clock_us, or the clock of a test */
};

struct relay;
struct relay_calls;

/* relay_new with the clock of `env`. The relay keeps a copy of `env`. */
struct relay *relay_make(const struct relay_env *env, const char *slot, const struct relay_calls *calls, void *ctx);

#endif
