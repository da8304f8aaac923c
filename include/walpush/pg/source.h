/*
 * source: the replication connection, from IDENTIFY_SYSTEM to a stream of records, of wal2json or of pgoutput.
 *
 * Tap thread. The source connects, checks the slot, starts streaming after the position that its owner names, reads frames, answers keepalives
 * and sends status. After a loss it connects again. The waits grow from at most 0.1 s to at most 5 s for a trouble that passes by itself, and
 * from at most 5 s to at most 15 s for a trouble that a person must fix (slot missing, lost, wrong plugin, no privilege). Each reason is
 * logged once with its fix, and then from time to time (repeat.h). If another process holds the slot, the source waits and never takes the
 * slot. A new stream alone is not a success: the waits grow until something arrives that no earlier connection brought.
 *
 * The owner decides what may be confirmed. The confirmed position never goes back, because old servers would move the slot back too.
 */
#ifndef WALPUSH_SOURCE_H
#define WALPUSH_SOURCE_H

#include <event2/event.h>

#include "walpush/conf/conf.h"
#include "walpush/base/event_id.h"
#include "walpush/base/fail.h"
#include "walpush/base/resolve.h"
#include "walpush/pg/login.h"

struct source;

struct source_start { /* the server's answers before streaming */
	const char *system_id;
	const char *timeline;
	lsn_t server_end;   /* the server's WAL position at that moment */
	lsn_t confirmed;    /* of the slot */
	bool is_pgoutput;   /* its plugin; else it is wal2json */
	const char *server; /* anchor.h's */
	/* Of pgoutput, in another zone than UTC: "at offset,at offset", from when on (s since 1970) how many seconds the session's time zone is east of
	 * UTC; else "". */
	const char *zone;
};

enum source_loss {
	SOURCE_GONE,  /* the connection, the server, or the network */
	SOURCE_POISON /* the next record cannot be decoded, received or read; the trouble may pass, or never */
};

struct source_calls {
	/* Called before START_REPLICATION; returns the position where to start, at least the slot's confirmed position. The server sends no commit
	 * before this position. The owner compares the slot's position with the position that it has handled. */
	lsn_t (*start)(void *ctx, const struct source_start *s);
	/* Streaming has begun. */
	void (*streaming)(void *ctx);
	/* One record of the slot's plugin. `bytes` is the frame's memory; the callee owns it, and frees it with source_free_record. `record` points into it. */
	void (*record)(void *ctx, char *bytes, struct slice record);
	/* Everything that commits before `end` has been sent. Not called while paused. */
	void (*keepalive)(void *ctx, lsn_t end, bool reply_demanded);
	/* Streaming has ended; the source tries again. source_stop may be called from within. */
	void (*lost)(void *ctx, enum source_loss loss, const struct fail *why);
	/* After source_end: the connection is closed. */
	void (*ended)(void *ctx);
	/* wal2json's add-tables and filter-tables; empty: no such option. */
	const char *(*add_tables)(void *ctx);
	const char *(*filter_tables)(void *ctx);
	/* The prefix of the logical messages that are wanted. NULL: none are wanted, and the server sends none. */
	const char *(*message_prefix)(void *ctx);
	/* The position to confirm now; never below an earlier answer. */
	lsn_t (*confirm)(void *ctx);
};

struct source *source_new(struct event_base *loop, struct resolve *names, const struct conf_database *conf,
			  const struct source_calls *calls, void *ctx);
void source_free(struct source *s);
void source_free_record(char *bytes);

/* From now on the source waits where the server refuses the process's logins (login.h). Once, at the beginning; `login` outlives the source. */
void source_login(struct source *s, struct login *login);

/* Connects, unless the source is connected or connecting. */
void source_go(struct source *s);
/* Closes the connection, and connects again. */
void source_restart(struct source *s, const char *reason);
/* The same because the owner cannot read a record: the loss is SOURCE_POISON. */
void source_refuse(struct source *s, const struct fail *why);
/* The same at once and without an error: a large record has left the connection with a buffer of its size. */
void source_renew(struct source *s);
/* Closes the connection until source_go. Sends a last status, without waiting for the socket. */
void source_stop(struct source *s);
/*
 * Closes the connection in order: sends a last status and the end of the copy, and waits for the server's answer, which shows that the server
 * has the status and that the slot is free. Records that arrive before the answer are dropped. Then `ended` is called, or when the connection
 * is lost; from within if nothing streams. The server answers only between two transactions, so the owner keeps a timer, and calls
 * source_stop.
 */
void source_end(struct source *s);
/* Stops reading while the owner's buffer is full. The source still sends status. */
void source_pause(struct source *s, bool paused);
/* Sends the position to confirm now instead of at the next interval. */
void source_send_status(struct source *s);
/* The same, and demands a keepalive from the server. */
void source_ask(struct source *s);
/* µs of clock_us: when the last keepalive arrived; 0: none has. */
int64_t source_spoke(const struct source *s);
/* Everything that commits before `handled` is handled. If the position to confirm has moved by 16 MiB or more, sends a status. */
void source_moved(struct source *s, lsn_t handled);
bool source_is_streaming(const struct source *s);
/* "wal2json" or "pgoutput", as the slot was last seen. NULL: not seen yet, or it is missing or cannot be used. */
const char *source_plugin(const struct source *s);
/* The server's end of WAL, as far as the server has reported it. */
lsn_t source_server_end(const struct source *s);
/* The highest end of WAL in the frames of this connection; before the first frame, the slot's confirmed position. */
lsn_t source_received(const struct source *s);
/* The highest end of WAL in the frames of all connections; 0: no frame has arrived. */
lsn_t source_furthest(const struct source *s);
/* How many streams have ended since something arrived that no earlier connection brought. */
unsigned source_deaths(const struct source *s);
/* The last try ended with "slot is active": another process streams. */
bool source_is_held_by_other(const struct source *s);
/* Why the source does not stream; *fix says what to do, or is NULL. NULL: the source streams, or has not tried yet. */
const char *source_trouble(const struct source *s, const char **fix);
/* µs of clock_us: when streaming ended or the program started; 0 while streaming. */
int64_t source_down_since(const struct source *s);

#endif
