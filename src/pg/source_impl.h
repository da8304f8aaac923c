/*
 * source_impl: what source.c and source_start.c share: the connection while it streams, and the questions before. Nobody else includes it.
 * All of it belongs to the tap thread.
 */
#ifndef WALPUSH_SOURCE_IMPL_H
#define WALPUSH_SOURCE_IMPL_H

#include "walpush/base/backoff.h"
#include "walpush/pg/pgdial.h"
#include "walpush/base/repeat.h"
#include "walpush/pg/source.h"

/*
 * The walsender speaks the simple query protocol: one question at a time, its answer awaited.
 *
 *   IDLE ─go▶ DIALLING ─▶ SETTING ─▶ IDENTIFY ─▶ SLOT ─▶ STARTING ─▶ STREAMING ─end▶ ENDING ─▶ IDLE
 *     ▲           │          │           │         │          │           │
 *     └─ stop ────┴──────────┴───────────┴── any failure ─────┴───────────┴─▶ WAITING ─timer▶ DIALLING
 */
enum source_state {
	SOURCE_IDLE,
	SOURCE_DIALLING,
	SOURCE_SETTING, /* the timeouts that an administrator may have set */
	SOURCE_IDENTIFY,
	SOURCE_SLOT,
	SOURCE_STARTING,
	SOURCE_STREAMING,
	SOURCE_ENDING, /* the server has yet to say that it has let go of the slot */
	SOURCE_WAITING
};

struct source {
	struct event_base *loop;
	struct resolve *names;
	const struct conf_database *conf;
	const struct source_calls *calls;
	void *ctx;

	enum source_state state;
	struct pgdial *dial;
	PGconn *conn;
	struct event *readable;
	struct event *writable;
	struct event *retry;
	struct event *status; /* every status_interval while streaming */
	struct backoff soon;  /* for what passes by itself */
	struct backoff slow;  /* for what a person must mend */
	bool paused;
	bool in_callback; /* the connection must not be closed under the reader's feet */
	bool restart;     /* asked for meanwhile, because of: */
	struct fail restart_why;
	enum source_loss restart_loss;
	lsn_t received; /* the server's end as far as frames told */
	lsn_t furthest; /* the same, of all connections */
	int64_t spoke;  /* µs: the last keepalive */
	unsigned deaths;
	lsn_t handled; /* as the owner told; */
	bool refused;  /* and it has refused what comes next */
	lsn_t sent;    /* highest position confirmed on any connection */
	int64_t down_since;
	struct repeat trouble;
	const char *mend; /* what to do about it; a literal, NULL: not known */
	bool held_by_other;

	char no_prefix[33]; /* of logical messages: one that nobody uses, so that the plugin sends none */
	char *system_id;
	char *timeline;
	lsn_t server_end;
};

/* --- source.c --- */
void source_to(struct source *s, enum source_state next);
/* Hangs up, says why, and tries again after a while: `slow` if a person must act first. */
void source_lost(struct source *s, const struct fail *why, bool slow);
/* The same, for what libpq says is wrong. */
void source_broken(struct source *s);
/* False: the connection is broken. */
bool source_flush(struct source *s);
/* START_REPLICATION was answered. */
void source_streaming(struct source *s);

/* --- source_start.c --- */
/* On a new connection: the first question. */
void source_begin(struct source *s);
/* The socket is readable, and does not stream yet. */
void source_read_answer(struct source *s);

#endif
