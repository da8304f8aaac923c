#include "topic_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "walpush/base/fail.h"
#include "walpush/base/mem.h"
#include "walpush/base/nametab.h"

/* Without subscriptions, the first segment of a topic has room for one message, because most groups have no readers.
 * Each further segment doubles, so that a busy group has few segments. With subscriptions, segments begin with room for
 * a few messages, so that these go out in one write. */
#define SEGMENT_HEARD 2048
#define SEGMENT_MAX 131072
/* A segment is dropped as a whole, so it costs at most this part of the smaller of group_bytes and log_bytes. One
 * transaction of about seven eighths of group_bytes fits: the first segment may be full of older messages, the last one
 * may be empty, and a large message that does not fit gets its own segment, so that little room is lost at the end of
 * the others. */
#define LIMIT_PARTS 16
/* This part of log_bytes is for history, whatever the topics cost. */
#define HISTORY_PART 8
/* A segment that was open for this part of the age is closed, so that segments expire in small enough steps. */
#define AGE_PARTS 8
/* Segments, and topics, that one call of topiclog_tidy drops: about 10 ms in which nothing else is handled. */
#define TIDY_MOST 20000

/* The list of a topic, besides the table of names. */
enum topic_list {
	LIST_NONE,  /* no subscriptions, but entries */
	LIST_HEARD, /* subscriptions */
	LIST_IDLE   /* no subscriptions, no entries, and not dirty: it may be forgotten */
};

struct topic {
	struct nametab_node node; /* the first member, so that a node can be cast to its topic */
	/* NULL: none. The log's reference is on the tail; each segment holds a reference on its successor. */
	struct segment *tail, *head;
	struct topic *prev, *next; /* of its list */
	size_t bytes;              /* what its segments cost */
	struct event_id dropped; /* the newest entry that was dropped; a client that is further behind cannot resume */
	int64_t dropped_at;      /* µs: when that entry was appended, or in LIST_IDLE when a later one was */
	unsigned *heard;         /* subscriptions, by hub; of the first n_hubs */
	unsigned n_heard;
	uint32_t name_len;
	uint8_t n_hubs;
	bool is_dirty;
	uint8_t list; /* enum topic_list */
	char name[];
};

struct topiclog {
	_Atomic lsn_t published;
	struct topic_limits limits;
	size_t segment_max; /* bytes of room; a larger message gets more */
	struct nametab topics;
	struct topic *heard;
	struct topic *idle;       /* in the order of dropped_at */
	struct segment *segments; /* all segments that have room, oldest first */
	size_t bytes;             /* of topics and segments */
	size_t history;           /* the part of `segments` */
	bool is_walked;           /* by topiclog_each: no topic may be forgotten */
	lsn_t floor;
	struct event_id newborn; /* the newest entry that topics made from now on count as dropped */
};

/* --- lists of topics ------------------------------------------------------------------------------------------- */

static bool is_empty(const struct topic *t)
{
	return !t->tail || t->tail->room == 0; /* such a segment is dropped as soon as it has a successor */
}

/* A topic with nothing to remember goes to the front. Any other waits for the topics before it, which takes no longer
 * than the age. */
static void list_idle(struct topiclog *log, struct topic *t)
{
	if (!log->idle || t->dropped_at <= log->idle->dropped_at) {
		DL_PREPEND(log->idle, t);
		return;
	}
	if (t->dropped_at < log->idle->prev->dropped_at)
		t->dropped_at = log->idle->prev->dropped_at;
	DL_APPEND(log->idle, t);
}

/* Moves the topic to the list where it belongs. Every change that the list depends on ends with this call. */
static void topic_settle(struct topiclog *log, struct topic *t)
{
	enum topic_list to = t->n_heard ? LIST_HEARD : is_empty(t) && !t->is_dirty ? LIST_IDLE : LIST_NONE;

	if (to == t->list)
		return;
	if (t->list == LIST_HEARD)
		DL_DELETE(log->heard, t);
	else if (t->list == LIST_IDLE)
		DL_DELETE(log->idle, t);
	t->list = (uint8_t)to;
	if (to == LIST_HEARD)
		DL_APPEND(log->heard, t);
	else if (to == LIST_IDLE)
		list_idle(log, t);
}

/* --- segments ------------------------------------------------------------------------------------------------- */

static struct segment *segment_new(struct topic *t, size_t room)
{
	struct segment *s;

	room = (room + sizeof(struct entry) - 1) / sizeof(struct entry) * sizeof(struct entry);
	s = mem_resize(NULL, 1, sizeof(*s) + room);
	memset(s, 0, sizeof(*s));
	atomic_init(&s->refs, 1);
	s->topic = t;
	s->room = room;
	return s;
}

static size_t segment_free_room(const struct segment *s)
{
	return s->room - s->used - atomic_load_explicit(&s->count, memory_order_relaxed) * sizeof(struct entry);
}

static size_t segment_cost(const struct segment *s)
{
	return mem_cost(sizeof(*s) + s->room);
}

/* Adds a segment after the head. The log takes over the reference of segment_new. */
static void topic_add_segment(struct topiclog *log, struct topic *t, size_t room, int64_t now)
{
	struct segment *s = segment_new(t, room);

	s->opened = s->last = now;
	if (t->head)
		atomic_store_explicit(&t->head->next, s, memory_order_release);
	else
		t->tail = s;
	t->head = s;
	t->bytes += segment_cost(s);
	log->bytes += segment_cost(s);
	if (s->room) {
		log->history += segment_cost(s);
		DL_APPEND2(log->segments, s, older, newer);
	}
}

static void segment_unlist(struct topiclog *log, struct segment *s)
{
	s->topic->bytes -= segment_cost(s);
	log->bytes -= segment_cost(s);
	if (s->room) {
		log->history -= segment_cost(s);
		DL_DELETE2(log->segments, s, older, newer);
	}
}

/* The topic's oldest segment leaves the log. A cursor in it may go on only if it had read the whole segment. */
static void topic_drop_tail(struct topiclog *log, struct topic *t)
{
	struct segment *s = t->tail;
	uint32_t count = atomic_load_explicit(&s->count, memory_order_relaxed);

	if (s == t->head && t->n_heard > 0) /* a cursor must always find a successor */
		topic_add_segment(log, t, 0, s->last);
	t->tail = atomic_load_explicit(&s->next, memory_order_relaxed);
	if (t->tail)
		segment_ref(t->tail);
	else
		t->head = NULL;
	if (count) {
		t->dropped = entry_id(s, count - 1);
		t->dropped_at = s->last;
	}
	segment_unlist(log, s);
	atomic_store_explicit(&s->dropped, true, memory_order_release);
	segment_unref(s);
	topic_settle(log, t);
}

/* --- topics --------------------------------------------------------------------------------------------------- */

/* The room of a segment with at most this cost. */
static size_t room_within(size_t cost)
{
	size_t besides = mem_cost(sizeof(struct segment)) + sizeof(struct entry);

	return cost > besides + SEGMENT_HEARD ? cost - besides : SEGMENT_HEARD;
}

struct topiclog *topiclog_new(const struct topic_limits *limits)
{
	struct topiclog *log = mem_new(sizeof(*log));
	size_t least = limits->group_bytes < limits->log_bytes ? limits->group_bytes : limits->log_bytes;

	log->limits = *limits;
	log->segment_max = room_within(least / LIMIT_PARTS < SEGMENT_MAX ? least / LIMIT_PARTS : SEGMENT_MAX);
	return log;
}

static size_t topic_cost(const struct topic *t)
{
	return mem_cost(offsetof(struct topic, name) + t->name_len + 1) +
	       (t->n_hubs ? mem_cost(t->n_hubs * sizeof(*t->heard)) : 0);
}

static void topic_free(struct topic *t)
{
	segment_unref(t->tail);
	free(t->heard);
	free(t);
}

static struct topic *topic_of(struct nametab_node *node)
{
	return (struct topic *)(void *)node;
}

void topiclog_free(struct topiclog *log)
{
	struct nametab_node *node, *next;

	if (!log)
		return;
	for (size_t i = 0; i < log->topics.n; i++)
		for (node = nametab_slot(&log->topics, i); node; node = next) {
			next = node->next;
			topic_free(topic_of(node));
		}
	nametab_fini(&log->topics);
	free(log);
}

/* Forgets an idle topic. If the topic is made again, it cannot be resumed over what it dropped. Other topics are not
 * affected. */
static void topic_forget(struct topiclog *log, struct topic *t)
{
	if (event_id_compare(t->dropped, log->newborn) > 0)
		log->newborn = t->dropped;
	if (t->tail)
		segment_unlist(log, t->tail);
	DL_DELETE(log->idle, t);
	nametab_remove(&log->topics, &t->node);
	log->bytes -= topic_cost(t);
	topic_free(t);
}

static struct topic *find(const struct topiclog *log, uint32_t hash, struct slice group)
{
	struct nametab_node *node = nametab_chain(&log->topics, hash);

	while (node && (node->hash != hash || !slice_equal(topic_name(topic_of(node)), group)))
		node = node->next;
	return topic_of(node);
}

struct topic *topiclog_find(struct topiclog *log, struct slice group)
{
	return find(log, nametab_hash(group), group);
}

struct topic *topiclog_topic(struct topiclog *log, struct slice group)
{
	uint32_t hash = nametab_hash(group);
	struct topic *t = find(log, hash, group);

	if (t)
		return t;
	t = mem_new(offsetof(struct topic, name) + group.len + 1);
	memcpy(t->name, group.at, group.len);
	t->name_len = (uint32_t)group.len;
	t->dropped = log->newborn;
	nametab_add(&log->topics, &t->node, hash);
	log->bytes += topic_cost(t);
	topic_settle(log, t);
	return t;
}

struct slice topic_name(const struct topic *t)
{
	return (struct slice){ t->name, t->name_len };
}

void topic_subscribe(struct topiclog *log, struct topic *t, unsigned hub)
{
	assert(hub < HUBS_MAX);
	if (hub >= t->n_hubs) {
		log->bytes -= topic_cost(t);
		t->heard = mem_resize(t->heard, hub + 1, sizeof(*t->heard));
		memset(t->heard + t->n_hubs, 0, (hub + 1 - t->n_hubs) * sizeof(*t->heard));
		t->n_hubs = (uint8_t)(hub + 1);
		log->bytes += topic_cost(t);
	}
	t->heard[hub]++;
	t->n_heard++;
	topic_settle(log, t);
}

static void nobody_hears(struct topiclog *log, struct topic *t)
{
	log->bytes -= topic_cost(t);
	free(t->heard);
	t->heard = NULL;
	t->n_hubs = 0;
	log->bytes += topic_cost(t);
	if (t->tail && t->tail->room == 0)
		topic_drop_tail(log, t);
}

void topic_unsubscribe(struct topiclog *log, struct topic *t, unsigned hub)
{
	assert(topic_heard_by(t, hub));
	t->heard[hub]--;
	if (--t->n_heard == 0)
		nobody_hears(log, t);
	topic_settle(log, t);
}

unsigned topic_listeners(const struct topic *t)
{
	return t->n_heard;
}

bool topic_heard_by(const struct topic *t, unsigned hub)
{
	return hub < t->n_hubs && t->heard[hub] > 0;
}

bool topic_mark_dirty(struct topic *t)
{
	if (t->is_dirty || t->n_heard == 0)
		return false;
	t->is_dirty = true;
	return true;
}

void topic_clean(struct topiclog *log, struct topic *t)
{
	t->is_dirty = false;
	topic_settle(log, t);
}

/* --- appending and dropping ----------------------------------------------------------------------------------- */

/* Twice the bytes that the last segment used: a segment that was closed by age shows how little its group needs. */
static size_t next_room(const struct topiclog *log, const struct topic *t, size_t need)
{
	size_t room = t->head ? 2 * (t->head->room - segment_free_room(t->head)) : 0;

	if (t->n_heard > 0 && room < SEGMENT_HEARD)
		room = SEGMENT_HEARD;
	if (room > log->segment_max)
		room = log->segment_max;
	return room > need && need < log->segment_max / LIMIT_PARTS ? room : need;
}

/* The newest segment stays. So does HISTORY_PART of log_bytes: the cost of topics with subscriptions cannot take it
 * from the history. */
static bool may_drop(const struct topiclog *log)
{
	return log->segments && log->segments->newer && log->history > log->limits.log_bytes / HISTORY_PART;
}

/* First the idle topics are forgotten, then the oldest segment of all is dropped, which is its topic's tail. */
static void keep_all_within(struct topiclog *log)
{
	while (topiclog_bytes(log) > log->limits.log_bytes) {
		if (log->idle && !log->is_walked)
			topic_forget(log, log->idle);
		else if (may_drop(log))
			topic_drop_tail(log, log->segments->topic);
		else
			return;
	}
}

static void keep_within(struct topiclog *log, struct topic *t)
{
	while (t->bytes > log->limits.group_bytes && t->tail != t->head)
		topic_drop_tail(log, t);
	keep_all_within(log);
}

/* The head, with room for `len` bytes of one more entry. */
static struct segment *head_with_room(struct topiclog *log, struct topic *t, size_t len, int64_t now)
{
	size_t need = len + sizeof(struct entry);
	struct segment *s = t->head;

	if (!s || segment_free_room(s) < need || now - s->opened > log->limits.age / AGE_PARTS) {
		topic_add_segment(log, t, next_room(log, t, need), now);
		if (t->tail->room == 0)
			topic_drop_tail(log, t);
		topic_settle(log, t);
		keep_within(log, t);
	}
	return t->head;
}

static void add_bytes(struct segment *s, struct slice bytes)
{
	memcpy(s->data + s->used, bytes.at, bytes.len);
	s->used += bytes.len;
}

/* `tag` is empty for most entries. */
static void append(struct topiclog *log, struct topic *t, struct event_id id, struct slice tag, struct slice header,
		   struct slice payload, int64_t now)
{
	struct segment *s = head_with_room(log, t, tag.len + header.len + payload.len, now);
	uint32_t n = atomic_load_explicit(&s->count, memory_order_relaxed);

	assert(id.index < IS_TAGGED);
	add_bytes(s, tag);
	add_bytes(s, header);
	add_bytes(s, payload);
	s->last = now;
	*entry_at(s, n) = (struct entry){ id.lsn, id.index | (tag.len ? IS_TAGGED : 0), (uint32_t)s->used };
	atomic_store_explicit(&s->count, n + 1, memory_order_release);
}

void topic_append(struct topiclog *log, struct topic *t, struct event_id id, struct slice header, struct slice payload,
		  int64_t now)
{
	append(log, t, id, SLICE(""), header, payload, now);
}

void topic_append_tagged(struct topiclog *log, struct topic *t, struct event_id id, struct entry_tag tag,
			 struct slice header, struct slice payload, int64_t now)
{
	append(log, t, id, (struct slice){ (const char *)&tag, sizeof(tag) }, header, payload, now);
}

void topiclog_publish(struct topiclog *log, lsn_t lsn)
{
	assert(lsn >= atomic_load_explicit(&log->published, memory_order_relaxed));
	atomic_store_explicit(&log->published, lsn, memory_order_release);
}

bool topic_has_unpublished(const struct topiclog *log, const struct topic *t)
{
	struct event_id published = { topiclog_published(log), 0 };
	uint32_t count = t->head ? atomic_load_explicit(&t->head->count, memory_order_relaxed) : 0;

	return event_id_compare(t->dropped, published) > 0 ||
	       (count > 0 && event_id_compare(entry_id(t->head, count - 1), published) > 0);
}

lsn_t topiclog_published(const struct topiclog *log)
{
	return atomic_load_explicit(&log->published, memory_order_acquire);
}

static void empty(void *ctx, struct topic *t)
{
	struct topiclog *log = ctx;

	while (!is_empty(t))
		topic_drop_tail(log, t);
	t->dropped = (struct event_id){ 0 };
	t->dropped_at = 0;
}

void topiclog_reset(struct topiclog *log, lsn_t floor)
{
	/* First the position, so that a hub that finds a segment dropped here also finds the position gone back. */
	atomic_store_explicit(&log->published, floor, memory_order_release);
	topiclog_each(log, empty, log);
	log->floor = floor;
	log->newborn = (struct event_id){ 0 };
}

void topiclog_mark(struct topiclog *log, struct event_id id)
{
	log->newborn = id;
}

lsn_t topiclog_floor(const struct topiclog *log)
{
	return log->floor;
}

size_t topiclog_bytes(const struct topiclog *log)
{
	return log->bytes + nametab_bytes(&log->topics);
}

size_t topiclog_count(const struct topiclog *log)
{
	return log->topics.n;
}

void topiclog_each(struct topiclog *log, void (*one)(void *ctx, struct topic *t), void *ctx)
{
	log->is_walked = true;
	for (size_t i = 0; i < log->topics.n; i++)
		for (struct nametab_node *node = nametab_slot(&log->topics, i); node; node = node->next)
			one(ctx, topic_of(node));
	log->is_walked = false;
	keep_all_within(log);
}

void topiclog_each_heard(const struct topiclog *log, void (*one)(void *ctx, struct topic *t), void *ctx)
{
	struct topic *t;

	DL_FOREACH(log->heard, t)
		one(ctx, t);
}

void topiclog_tidy(struct topiclog *log, int64_t now)
{
	struct segment *s;

	for (unsigned n = 0; n < TIDY_MOST && (s = log->segments) && now - s->last > log->limits.age; n++)
		topic_drop_tail(log, s->topic);
	for (unsigned n = 0; n < TIDY_MOST && log->idle && now - log->idle->dropped_at > log->limits.age; n++)
		topic_forget(log, log->idle);
	keep_all_within(log);
}

/* --- placing --------------------------------------------------------------------------------------------------- */

struct event_id topic_last(const struct topic *t)
{
	/* A topic with neither subscriptions nor entries has no segment. */
	uint32_t count = t->head ? atomic_load_explicit(&t->head->count, memory_order_relaxed) : 0;

	return count ? entry_id(t->head, count - 1) : t->dropped;
}

/* The first entry greater than `after`; the count if there is none. */
static uint32_t segment_search(const struct segment *s, uint32_t count, struct event_id after)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (event_id_compare(entry_id(s, middle), after) > 0)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static bool reaches_back(const struct topiclog *log, const struct topic *t, struct event_id after)
{
	return after.lsn >= log->floor && event_id_compare(after, t->dropped) >= 0;
}

/* For a topic with segments: where the first entry greater than `after` is, or will be. */
static struct segment *topic_search(const struct topic *t, struct event_id after, uint32_t *at)
{
	for (struct segment *s = t->tail;;) {
		struct segment *next = atomic_load_explicit(&s->next, memory_order_relaxed);
		uint32_t count = atomic_load_explicit(&s->count, memory_order_relaxed);

		*at = segment_search(s, count, after);
		if (*at < count || !next)
			return s;
		s = next;
	}
}

bool topic_place(struct topiclog *log, struct topic *t, struct event_id after, struct cursor *out)
{
	if (!reaches_back(log, t, after))
		return false;
	if (!t->tail)
		topic_add_segment(log, t, 0, 0);
	out->segment = topic_search(t, after, &out->entry);
	segment_ref(out->segment);
	return true;
}

bool topic_is_empty_between(const struct topiclog *log, const struct topic *t, struct event_id after,
			    struct event_id upto)
{
	struct segment *s;
	uint32_t at;

	if (!reaches_back(log, t, after))
		return false;
	if (!t->tail)
		return true;
	s = topic_search(t, after, &at);
	return at == atomic_load_explicit(&s->count, memory_order_relaxed) ||
	       event_id_compare(entry_id(s, at), upto) > 0;
}

void topic_place_at_head(struct topiclog *log, struct topic *t, struct cursor *out)
{
	struct event_id head = { topiclog_published(log), 0 };

	if (event_id_compare(t->dropped, head) > 0)
		head = t->dropped;
	if (!topic_place(log, t, head, out))
		fail_never("the logs do not hold their own head"); /* the floor is not above it */
}
