/*
 * edition: one configuration in force, compiled, as the hubs and the tap use it.
 *
 * Immutable and shared by reference count. A reload makes another edition; the tap takes it over and sends it to the
 * hubs by mail. A connection keeps the edition under which its path was matched until the newer one is known to have
 * the same stream. The last holder frees an edition, on any thread. Bound rules are not part of it: only the tap has
 * them.
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

struct hub_shared { /* part of an edition: immutable except mailbox and gate */
	const struct conf *conf;
	const struct rules *rules; /* paths and admit queries only; not bound */
	const struct token_keys *keys;
	const struct topiclog *log;
	struct metrics *metrics;
	const unsigned *stream_labels; /* for each stream, for METRICS_CONNECTIONS */
	struct audit *audit;
	struct gate *gate;             /* has its own lock */
	struct tls_identity *identity; /* as at the start; NULL: no TLS */
	struct mailbox *to_tap;
	unsigned n_hubs;
};

struct edition {
	struct hub_shared shared; /* the part that hubs read; its conf, rules and keys are this edition's */
	atomic_uint refs;
	struct conf *owned; /* NULL: the caller owns the configuration and keeps it until the end */
	struct rules *rules;
	struct token_keys *keys;
	unsigned *stream_labels;
};

/* `world`: the part that is the same in every edition. If `owned`, the edition takes over `conf`, even on failure. Tap
 * thread. */
struct edition *edition_new(const struct hub_shared *world, const struct conf *conf, bool owned, struct fail *why);
struct edition *edition_ref(const struct edition *e);
void edition_unref(const struct edition *e);
/* The number of hubs for this configuration on this machine. */
unsigned edition_hubs(const struct conf *conf);

#endif
