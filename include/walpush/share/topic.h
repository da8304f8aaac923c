/*
 * topic: the logs of ready-made frames, one for each group. The tap writes them and the hubs read them.
 *
 *   topic "requests_unit_{5}"
 *   tail ──▶ [segment]──next──▶[segment]──next──▶[segment] ◀── head (the only one that grows)
 *               ▲                  ▲
 *            cursor             cursor          a cursor is (segment, entry): a connection has nothing else
 *
 * A segment is one block. Frames are one after the other from its front, so that many go out in one write; entries
 * (event id, end offset) grow from its back. Everything below `count` is immutable. Some entries must not be passed on
 * like the others: they end their readers' connections, or some streams have other words for them. Such an entry has a
 * tag before its frame, and a run never combines it with others.
 *
 * Threads. Only the tap appends, drops and places cursors. A hub only reads, and moves the cursors that it was given.
 * Both sides touch:
 *   published   atomic: every entry of a commit below this LSN may be delivered; stored after the whole transaction is in all logs
 *   count       atomic: complete entries in the segment
 *   next        atomic: set once; holds a reference on the successor
 *   dropped     atomic: the segment left the log; a cursor with unread entries in it has lost them
 *   refs        atomic: the log's, the predecessor's, and each cursor's
 *
 * Bounds: a topic keeps at most group_bytes, all topics together log_bytes, and nothing is older than age (all of them
 * plus one segment). The bytes that malloc takes count: for segments, and for topics with their names. The oldest
 * segment of all is dropped first. A reader cannot hold memory: a dropped segment lives until the next wake-up of its
 * hubs, which then release it.
 *
 * A topic with neither subscriptions nor entries is forgotten: at once if log_bytes is reached, otherwise when its last
 * entry is older than age. As long as it exists, it knows what it dropped. The log remembers the newest entry that
 * forgotten topics had dropped, and no topic that is made later reaches back before this entry. A topic with
 * subscriptions is never forgotten, so the number of connections bounds the number of such topics; they leave an eighth
 * of log_bytes to the history.
 *
 * Only topic_append to another topic, topiclog_each, topiclog_reset and topiclog_tidy may forget a topic.
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
}; /* REFETCH: `resync`, or a bulk message: a stream may have its own words for it */

struct entry_tag {
	uint8_t kind;
	uint8_t reason; /* of ENTRY_REFETCH: enum resync_reason */
	uint16_t close; /* its readers' connections are closed after it with this code; 0: they are not */
};

struct topic_limits {
	size_t group_bytes; /* of segments */
	size_t log_bytes;   /* of segments and topics */
	int64_t age;        /* µs */
};

/* --- the tap's side ------------------------------------------------------------------------------------------- */

struct topiclog *topiclog_new(const struct topic_limits *limits);
/* Call it after the hubs ended. */
void topiclog_free(struct topiclog *log);

/* Never NULL: the topic is made when it is missing. */
struct topic *topiclog_topic(struct topiclog *log, struct slice group);
/* NULL: there is no topic of this name. */
struct topic *topiclog_find(struct topiclog *log, struct slice group);
/* Calls `one` for each topic, in no order; `one` may append, but must not add topics. */
void topiclog_each(struct topiclog *log, void (*one)(void *ctx, struct topic *t), void *ctx);
/* Only topics with subscriptions. */
void topiclog_each_heard(const struct topiclog *log, void (*one)(void *ctx, struct topic *t), void *ctx);
struct slice topic_name(const struct topic *t);
/* The last entry that was appended, even if it was dropped since; 0-0: none. */
struct event_id topic_last(const struct topic *t);

/* Appends one message for one group: copies frame header and payload one after the other. Ids grow within a topic, and
 * their indexes are below 2^31. `now` in µs of clock_us. */
void topic_append(struct topiclog *log, struct topic *t, struct event_id id, struct slice header, struct slice payload,
		  int64_t now);
/* The same for an entry with a tag. */
void topic_append_tagged(struct topiclog *log, struct topic *t, struct event_id id, struct entry_tag tag,
			 struct slice header, struct slice payload, int64_t now);
/* Every commit below `lsn` may be delivered. Only topiclog_reset goes back. */
void topiclog_publish(struct topiclog *log, lsn_t lsn);
/* Another history begins: all logs are emptied, and the new history begins at `floor`. */
void topiclog_reset(struct topiclog *log, lsn_t floor);
/* At `id` something concerned groups that cannot be named; each existing log of them has an entry for it. A topic that
 * is made later does not reach back before `id`. */
void topiclog_mark(struct topiclog *log, struct event_id id);
/* The LSN from which the logs were complete when this history began. */
lsn_t topiclog_floor(const struct topiclog *log);
/* Drops old segments, and forgets topics. Call it every second or so; the cost is proportional to what is dropped. */
void topiclog_tidy(struct topiclog *log, int64_t now);
/* The bytes of topics and segments, with their names and the overhead of malloc. */
size_t topiclog_bytes(const struct topiclog *log);
size_t topiclog_count(const struct topiclog *log);

struct cursor {                  /* owned by the connection on its hub; 16 bytes */
	struct segment *segment; /* a reference */
	uint32_t entry;
};

/* Places a cursor after `after`: at the first entry greater than it. False: the log does not reach back that far. */
bool topic_place(struct topiclog *log, struct topic *t, struct event_id after, struct cursor *out);
/* Is there no entry after `after` and up to `upto`, inclusive? Also false if the log does not reach back that far. */
bool topic_is_empty_between(const struct topiclog *log, const struct topic *t, struct event_id after,
			    struct event_id upto);
/* Places a cursor before the unpublished entries, as far as they are still there. */
void topic_place_at_head(struct topiclog *log, struct topic *t, struct cursor *out);
/* Subscriptions of a hub, so that only hubs with a subscription are notified. Subscribe before a cursor is placed, and
 * unsubscribe after it is released. */
void topic_subscribe(struct topiclog *log, struct topic *t, unsigned hub);
void topic_unsubscribe(struct topiclog *log, struct topic *t, unsigned hub);
/* Subscriptions on all hubs. */
unsigned topic_listeners(const struct topic *t);
bool topic_heard_by(const struct topic *t, unsigned hub);
/* Its hubs must be notified: true the first time, if there are any. From then until topic_clean the topic is not
 * forgotten. */
bool topic_mark_dirty(struct topic *t);
void topic_clean(struct topiclog *log, struct topic *t);
/* Has an entry been appended that topiclog_publish has not reached? */
bool topic_has_unpublished(const struct topiclog *log, const struct topic *t);

/* --- the hubs' side ------------------------------------------------------------------------------------------- */

/* Any thread. */
lsn_t topiclog_published(const struct topiclog *log);

enum cursor_state { CURSOR_AT_END, CURSOR_HAS_RUN, CURSOR_LOST };

struct run {                  /* consecutive frames of one segment */
	struct entry_tag tag; /* not zero: the tag of its only entry */
	const char *bytes;
	size_t len;
	uint32_t entries;
	struct event_id first;
	struct event_id last;
};

/* Frames at the cursor with a commit LSN below `published` and an id below `before`: at most `most` bytes, but at least
 * one frame if there is one. Moves the cursor over segments that it has read to the end. */
enum cursor_state cursor_run(struct cursor *c, lsn_t published, struct event_id before, size_t most, struct run *out);
/* Moves over entries that cursor_run returned. */
void cursor_advance(struct cursor *c, uint32_t entries);
/* Entries that are skipped unread may close their readers' connections. */
struct missed {
	lsn_t from, to; /* of the commits that concern the reader, both included */
	unsigned close; /* out: the code of the last of these messages that has one */
};

/* Moves to the first entry of a commit at or above `published`. `missed`: NULL, or collects from the skipped entries;
 * use one for all cursors of a connection. */
void cursor_to_head(struct cursor *c, lsn_t published, struct missed *missed);
/* After topiclog_reset: moves over everything that was dropped, to the beginning of the new history. */
void cursor_restart(struct cursor *c);
/* Is there an unread entry below a dropped segment's end? Then the cursor releases the segment and moves to the head
 * like cursor_to_head, and the answer is true: send the client `resync`. */
bool cursor_fell_off(struct cursor *c, lsn_t published, struct missed *missed);
/* A second cursor at the same place. */
struct cursor cursor_copy(const struct cursor *c);
void cursor_release(struct cursor *c);

#endif
