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

#include "walpush/watch/audit.h"
#include "walpush/conf/conf.h"
#include "walpush/share/gate.h"
#include "walpush/share/mailbox.h"
#include "walpush/watch/metrics.h"
#include "walpush/rules/rules.h"
#include "walpush/token/token.h"
#include "walpush/share/topic.h"

struct hub_shared { /* part of an edition: immutable but for mailbox and gate */
	const struct conf *conf;
	const struct rules *rules; /* paths and admit queries only; not bound */
	const struct token_keys *keys;
	const struct topiclog *log;
	struct metrics *metrics;
	const unsigned *stream_labels; /* of each stream, for METRICS_CONNECTIONS */
	struct audit *audit;
	struct gate *gate;             /* minds its own lock */
	struct tls_identity *identity; /* at the start; NULL: no TLS */
	struct mailbox *to_tap;
	unsigned n_hubs;
};

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
/* How many hubs this configuration asks for, on this machine. */
unsigned edition_hubs(const struct conf *conf);

#endif
