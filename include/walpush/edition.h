/*
 * edition: one configuration in force, compiled, as the hubs and the tap use it.
 *
 * Immutable and shared by reference count. A reload makes another one beside it; the tap takes it over and sends it to the hubs by mail.
 * A connection keeps the edition under which its path was matched until the newer one is known to have the same stream. The last
 * holder frees it, on whatever thread. Bound rules are not in it: they are the tap's alone.
 */
#ifndef WALPUSH_EDITION_H
#define WALPUSH_EDITION_H

#include <stdatomic.h>

#include "walpush/conf.h"
#include "walpush/hub.h"

struct edition {
	struct hub_shared shared; /* what hubs read; its conf, rules and keys are this edition's */
	atomic_uint refs;
	struct conf *owned; /* NULL: the configuration is the caller's, who keeps it until the end */
	struct rules *rules;
	struct token_keys *keys;
	unsigned *stream_labels;
};

/* `world`: all that is the same in every edition. `conf` goes over to the edition if `owned`, also when it fails. Tap thread. */
struct edition *edition_new(const struct hub_shared *world, const struct conf *conf, bool owned, struct fail *why);
struct edition *edition_ref(const struct edition *e);
void edition_unref(const struct edition *e);

#endif
