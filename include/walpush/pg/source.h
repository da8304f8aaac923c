/*
 * source: the replication connection, from IDENTIFY_SYSTEM to a stream of wal2json records.
 *
 * Tap thread. It connects, looks at the slot, starts streaming behind the position that its owner names, reads frames, answers keepalives
 * and sends status. A connection that is lost is made again: 0.1 to 5 s apart for what passes by itself, up to 15 s for what a person must
 * fix (slot missing, lost, wrong plugin, no privilege). Each reason is said once in the log, with its fix, until it changes.
 * A slot held by another is waited for, never taken. That streaming begins again is no success: the waits grow until something comes that
 * no earlier connection brought.
 *
 * The owner decides what may be confirmed; the position sent never goes back, because old servers would move the slot back with it.
 */
#ifndef WALPUSH_SOURCE_H
#define WALPUSH_SOURCE_H

#include <event2/event.h>

#include "walpush/conf/conf.h"
#include "walpush/base/event_id.h"
#include "walpush/base/fail.h"
#include "walpush/base/resolve.h"

struct source;

struct source_start { /* what the server said before streaming */
	const char *system_id;
	const char *timeline;
	lsn_t server_end; /* its WAL position at that moment */
	lsn_t confirmed;  /* of the slot */
};

enum source_loss {
	SOURCE_GONE,  /* the connection, the server, or the network */
	SOURCE_POISON /* what comes next cannot be decoded, received or read; it may pass, or never */
};

struct source_calls {
	/* Before START_REPLICATION: where to start. Commits before the answer do not come. The slot's confirmed position at
	 * the least; the owner compares it with what it handled. */
	lsn_t (*start)(void *ctx, const struct source_start *s);
	/* Streaming began. */
	void (*streaming)(void *ctx);
	/* One wal2json record. `bytes` is the frame's memory, the callee's, to be freed with source_free_record; `record` points into it. */
	void (*record)(void *ctx, char *bytes, struct slice record);
	/* Everything that commits before `end` has been sent. Not called while paused. */
	void (*keepalive)(void *ctx, lsn_t end, bool reply_demanded);
	/* Streaming ended; it will be tried again. source_stop may be called from within. */
	void (*lost)(void *ctx, enum source_loss loss, const struct fail *why);
	/* After source_end: the connection is closed. */
	void (*ended)(void *ctx);
	/* wal2json's add-tables and filter-tables; empty: no such option. */
	const char *(*add_tables)(void *ctx);
	const char *(*filter_tables)(void *ctx);
	/* Of the logical messages that are wanted; NULL: none is, and the server sends none, whoever makes some. */
	const char *(*message_prefix)(void *ctx);
	/* What to confirm now: never below an earlier answer. */
	lsn_t (*confirm)(void *ctx);
};

struct source *source_new(struct event_base *loop, struct resolve *names, const struct conf_database *conf,
			  const struct source_calls *calls, void *ctx);
void source_free(struct source *s);
void source_free_record(char *bytes);

/* Connect, if not connected or connecting. */
void source_go(struct source *s);
/* Close and connect again. */
void source_restart(struct source *s, const char *reason);
/* The same for what was received: it counts as poison. */
void source_refuse(struct source *s, const struct fail *why);
/* The same without trouble: a large record has left the connection with a buffer of its size. */
void source_renew(struct source *s);
/* Close and stay closed until source_go. A last status is sent, without waiting for the socket. */
void source_stop(struct source *s);
/*
 * The same in good order: a last status, the end of the copy, and then the server's answer, which says that the status is taken and
 * the slot free. What still comes before it is dropped. `ended` is called then, or once the connection is lost; from within if
 * nothing streams. The server answers only between two transactions, so the owner keeps a timer, and calls source_stop.
 */
void source_end(struct source *s);
/* Stop reading while the owner's buffer is full. Status goes on being sent. */
void source_pause(struct source *s, bool paused);
/* Sends the position to be confirmed now instead of at the next interval. */
void source_send_status(struct source *s);
/* The same, and the server is to answer with a keepalive. */
void source_ask(struct source *s);
/* µs of clock_us: when the last one came; 0: none has. */
int64_t source_spoke(const struct source *s);
/* Everything that commits before `handled` is; what may be confirmed has moved: tells the server if that is by much. */
void source_moved(struct source *s, lsn_t handled);
bool source_is_streaming(const struct source *s);
/* The server's end of WAL, as far as it told. */
lsn_t source_server_end(const struct source *s);
/* As far as frames came. */
lsn_t source_received(const struct source *s);
/* The same, on any connection. */
lsn_t source_furthest(const struct source *s);
/* So many streams have ended since something came that had not come before. */
unsigned source_deaths(const struct source *s);
/* The last try ended with "slot is active": another process streams. */
bool source_is_held_by_other(const struct source *s);
/* Why it does not stream, and what to do about it if that is known; NULL: it streams, or has not tried yet. */
const char *source_trouble(const struct source *s, const char **fix);
/* µs on clock_us when streaming ended or the program started; 0 while streaming. */
int64_t source_down_since(const struct source *s);

#endif
