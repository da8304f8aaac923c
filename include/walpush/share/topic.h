/*
 * topic: the logs of ready-made frames, one a group, that the tap writes and the hubs read.
 *
 *   topic "requests_unit_{5}"
 *   tail ──▶ [segment]──next──▶[segment]──next──▶[segment] ◀── head (the only one that grows)
 *               ▲                  ▲
 *            cursor             cursor          a cursor is (segment, entry): all that a connection has
 *
 * A segment is one block: frames one behind the other from its front, so that many go out in one write; entries (event id, end
 * offset) from its back. Below `count` nothing changes any more. An entry that a hub must not pass on as it is, because it ends its
 * readers' connections or is said otherwise on some streams, has a tag, which stands before its frame; a run never holds it together
 * with others.
 *
 * Threads. The tap alone appends, drops and places cursors. A hub only reads, and moves cursors that were handed to it. What both touch:
 *   published   atomic: every entry of a commit below this LSN may be delivered; stored after the whole transaction is in all logs
 *   count       atomic: entries complete in the segment
 *   next        atomic: set once; holds a reference on the successor
 *   dropped     atomic: the segment left the log; a cursor with something unread in it has lost it
 *   refs        atomic: the log's, the predecessor's, and each cursor's
 *
 * Bounds: a topic keeps at most group_bytes, all topics together log_bytes, nothing is older than age (all of them plus one
 * segment). What counts is what malloc takes: for segments, and for the topics themselves with their names. The oldest segment of all goes
 * first. A reader cannot hold memory: a dropped segment lives until the hub's next wake-up, at which the hub lets go of it.
 *
 * A topic that nobody hears and nothing is in is forgotten: at once where log_bytes is reached, else when what it had is older than age. As
 * long as it exists it knows what it dropped. The log remembers the newest of what forgotten topics had dropped, and a topic that is made
 * later does not reach back behind that, whichever it is. A topic that is heard is never forgotten, so the connections bound how many there
 * are; they leave an eighth of log_bytes to the history.
 *
 * topic_append to another one, topiclog_each, topiclog_reset and topiclog_tidy may forget a topic; nothing else does.
 */
#ifndef WALPUSH_TOPIC_H
#define WALPUSH_TOPIC_H

#include <stdatomic.h>

#include "walpush/base/event_id.h"
#include "walpush/base/slice.h"

#define HUBS_MAX 64

struct segment;
struct topic;
struct topiclog;

enum entry_kind {
	ENTRY_MESSAGE,
	ENTRY_REFETCH
}; /* REFETCH: `resync`, or a bulk message: a stream may have other words for it */

struct entry_tag {
	uint8_t kind;
	uint8_t reason; /* of ENTRY_REFETCH: enum resync_reason */
	uint16_t close; /* its readers' connections are closed behind it with this code; 0: no */
};

struct topic_limits {
	size_t group_bytes; /* of segments */
	size_t log_bytes;   /* of segments and topics */
	int64_t age;        /* µs */
};

/* --- the tap's side ------------------------------------------------------------------------------------------- */

struct topiclog *topiclog_new(const struct topic_limits *limits);
/* After the hubs ended. */
void topiclog_free(struct topiclog *log);

/* Made when missing. */
struct topic *topiclog_topic(struct topiclog *log, struct slice group);
/* NULL: there is none of that name. */
struct topic *topiclog_find(struct topiclog *log, struct slice group);
/* For each topic, in no order; `one` may append, but must not add topics. */
void topiclog_each(struct topiclog *log, void (*one)(void *ctx, struct topic *t), void *ctx);
/* Those that somebody hears. */
void topiclog_each_heard(const struct topiclog *log, void (*one)(void *ctx, struct topic *t), void *ctx);
struct slice topic_name(const struct topic *t);
/* The last that was appended, be it dropped since; 0-0: none. */
struct event_id topic_last(const struct topic *t);

/* One message for one group: frame header and payload are copied behind each other. Ids grow within a topic, their indexes are below
 * 2^31. `now` in µs of clock_us. */
void topic_append(struct topiclog *log, struct topic *t, struct event_id id, struct slice header, struct slice payload,
		  int64_t now);
/* The same for an entry that is not passed on like any other. */
void topic_append_tagged(struct topiclog *log, struct topic *t, struct event_id id, struct entry_tag tag,
			 struct slice header, struct slice payload, int64_t now);
/* Everything of commits below `lsn` may be delivered. Never goes back but by topiclog_reset. */
void topiclog_publish(struct topiclog *log, lsn_t lsn);
/* Another history begins: all logs are emptied, `floor` is where the new one starts. */
void topiclog_reset(struct topiclog *log, lsn_t floor);
/* Something happened at `id` to groups that cannot be named, whose logs were told one by one: a topic that is made later does not reach
 * back behind it. */
void topiclog_mark(struct topiclog *log, struct event_id id);
/* From where on the logs are complete, at first. */
lsn_t topiclog_floor(const struct topiclog *log);
/* Drops what is too old, and forgets topics. Call every second or so; it costs as much as there is to drop. */
void topiclog_tidy(struct topiclog *log, int64_t now);
/* What topics and segments cost, with their names and with what malloc adds. */
size_t topiclog_bytes(const struct topiclog *log);
size_t topiclog_count(const struct topiclog *log);

struct cursor {                  /* owned by the connection on its hub; 16 bytes */
	struct segment *segment; /* a reference */
	uint32_t entry;
};

/* Behind `after`: the first entry greater than it. False: the log does not reach back that far. */
bool topic_place(struct topiclog *log, struct topic *t, struct event_id after, struct cursor *out);
/* Is nothing there behind `after`, up to `upto` with it? False also where the log does not reach back that far. */
bool topic_is_empty_between(const struct topiclog *log, const struct topic *t, struct event_id after,
			    struct event_id upto);
/* Before what is not published yet, as far as it is still there. */
void topic_place_at_head(struct topiclog *log, struct topic *t, struct cursor *out);
/* Subscriptions of a hub, so that only hubs that hear a topic are told of it. Before a cursor is placed, and until it is released. */
void topic_subscribe(struct topiclog *log, struct topic *t, unsigned hub);
void topic_unsubscribe(struct topiclog *log, struct topic *t, unsigned hub);
/* Connections that hear it, on all hubs. */
unsigned topic_listeners(const struct topic *t);
bool topic_heard_by(const struct topic *t, unsigned hub);
/* Its hubs are to be told of it: true the first time, if there are any. From then until topic_clean it is not forgotten. */
bool topic_mark_dirty(struct topic *t);
void topic_clean(struct topiclog *log, struct topic *t);
/* Was something appended that topiclog_publish has not reached? */
bool topic_has_unpublished(const struct topiclog *log, const struct topic *t);

/* --- the hubs' side ------------------------------------------------------------------------------------------- */

/* Any thread. */
lsn_t topiclog_published(const struct topiclog *log);

enum cursor_state { CURSOR_AT_END, CURSOR_HAS_RUN, CURSOR_LOST };

struct run {                  /* consecutive frames of one segment */
	struct entry_tag tag; /* not zero: of its only entry */
	const char *bytes;
	size_t len;
	uint32_t entries;
	struct event_id first;
	struct event_id last;
};

/* Frames at the cursor with commit LSN below `published` and id below `before`, at least one where there is one, at most
 * `most` bytes otherwise. Moves the cursor over segments that it has read to the end. */
enum cursor_state cursor_run(struct cursor *c, lsn_t published, struct event_id before, size_t most, struct run *out);
/* Over entries that cursor_run returned. */
void cursor_advance(struct cursor *c, uint32_t entries);
/* What is passed over unread may say that its readers' connections end. */
struct missed {
	lsn_t from, to; /* of the commits that the reader is concerned with, both included */
	unsigned close; /* out: the code of the last message among those that has one */
};

/* To the first entry of a commit at or above `published`. `missed`: NULL, or what is noted of the entries on the way; take one for all
 * cursors of a connection. */
void cursor_to_head(struct cursor *c, lsn_t published, struct missed *missed);
/* After topiclog_reset: over everything that was dropped, to where the new history begins. */
void cursor_restart(struct cursor *c);
/* Is there something below a dropped segment's end that was not read? Then the bytes are let go: the cursor goes to the head as
 * cursor_to_head says, and true is returned: tell the client `resync`. */
bool cursor_fell_off(struct cursor *c, lsn_t published, struct missed *missed);
/* Another one at the same place. */
struct cursor cursor_copy(const struct cursor *c);
void cursor_release(struct cursor *c);

#endif
