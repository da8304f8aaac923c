#include "topic_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "walpush/mem.h"

/* A topic's first segment; each further one doubles, so that a quiet group costs little and a busy one few segments. */
#define SEGMENT_MIN 2048
#define SEGMENT_MAX 131072
/* A segment goes as a whole, so it takes no more than this part of what a topic or the log may keep. */
#define LIMIT_PARTS 8
/* A segment that was open for this part of the age is closed, so that age is judged finely enough. */
#define AGE_PARTS 8

struct topic {
	UT_hash_handle hh;
	struct segment *tail, *head; /* the log's reference is on the tail; each segment holds its successor */
	size_t bytes;                /* rooms of its segments */
	struct event_id dropped;     /* the newest entry that was dropped; what is older cannot be resumed */
	int64_t dropped_at;          /* µs: when that entry was appended */
	uint64_t dirty_round;
	bool is_idle; /* tidying found it unheard and empty; the next one frees it */
	unsigned heard[HUBS_MAX];
	unsigned n_heard;
	size_t name_len;
	char name[];
};

struct topiclog {
	_Atomic lsn_t published;
	struct topic_limits limits;
	size_t segment_max; /* bytes, but for a message that needs more */
	struct topic *topics;
	struct segment *segments; /* all that have room, oldest first */
	size_t bytes;
	lsn_t floor;
	struct event_id newborn; /* what topics made from now on count as dropped */
};

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

/* Behind the head; takes over the reference that the creation gave. */
static void topic_add_segment(struct topiclog *log, struct topic *t, size_t room, int64_t now)
{
	struct segment *s = segment_new(t, room);

	s->opened = s->last = now;
	if (t->head)
		atomic_store_explicit(&t->head->next, s, memory_order_release);
	else
		t->tail = s;
	t->head = s;
	t->bytes += s->room;
	log->bytes += s->room;
	if (s->room)
		DL_APPEND2(log->segments, s, older, newer);
}

static void segment_unlist(struct topiclog *log, struct segment *s)
{
	s->topic->bytes -= s->room;
	log->bytes -= s->room;
	if (s->room)
		DL_DELETE2(log->segments, s, older, newer);
}

/* The topic's oldest leaves the log. A cursor in it may read on to its end only if it had read it all. */
static void topic_drop_tail(struct topiclog *log, struct topic *t)
{
	struct segment *s = t->tail;
	uint32_t count = atomic_load_explicit(&s->count, memory_order_relaxed);

	if (s == t->head) /* a cursor must always find a way on */
		topic_add_segment(log, t, 0, s->last);
	t->tail = atomic_load_explicit(&s->next, memory_order_relaxed);
	segment_ref(t->tail);
	if (count) {
		const struct entry *last = entry_at(s, count - 1);

		t->dropped = (struct event_id){ last->lsn, last->index & ~IS_TAGGED };
		t->dropped_at = s->last;
	}
	segment_unlist(log, s);
	atomic_store_explicit(&s->dropped, true, memory_order_release);
	segment_unref(s);
}

/* --- topics --------------------------------------------------------------------------------------------------- */

struct topiclog *topiclog_new(const struct topic_limits *limits)
{
	struct topiclog *log = mem_new(sizeof(*log));
	size_t least = limits->group_bytes < limits->log_bytes ? limits->group_bytes : limits->log_bytes;

	log->limits = *limits;
	log->segment_max = least / LIMIT_PARTS < SEGMENT_MAX ? least / LIMIT_PARTS : SEGMENT_MAX;
	if (log->segment_max < SEGMENT_MIN)
		log->segment_max = SEGMENT_MIN;
	return log;
}

static void topic_free(struct topiclog *log, struct topic *t)
{
	struct segment *s = t->tail, *next;

	HASH_DEL(log->topics, t);
	for (; s; s = next) {
		next = atomic_load_explicit(&s->next, memory_order_relaxed);
		segment_unlist(log, s);
	}
	segment_unref(t->tail);
	free(t);
}

void topiclog_free(struct topiclog *log)
{
	struct topic *t, *next;

	if (!log)
		return;
	HASH_ITER(hh, log->topics, t, next)
		topic_free(log, t);
	free(log);
}

struct topic *topiclog_find(struct topiclog *log, struct slice group)
{
	struct topic *t;

	HASH_FIND(hh, log->topics, group.at, group.len, t);
	return t;
}

struct topic *topiclog_topic(struct topiclog *log, struct slice group)
{
	struct topic *t = topiclog_find(log, group);

	if (t)
		return t;
	t = mem_new(sizeof(*t) + group.len + 1);
	memcpy(t->name, group.at, group.len);
	t->name_len = group.len;
	t->dropped = log->newborn;
	HASH_ADD_KEYPTR(hh, log->topics, t->name, t->name_len, t);
	topic_add_segment(log, t, 0, 0);
	return t;
}

void topiclog_each(struct topiclog *log, void (*one)(void *ctx, struct topic *t), void *ctx)
{
	struct topic *t, *next;

	HASH_ITER(hh, log->topics, t, next)
		one(ctx, t);
}

struct slice topic_name(const struct topic *t)
{
	return (struct slice){ t->name, t->name_len };
}

void topic_subscribe(struct topic *t, unsigned hub)
{
	assert(hub < HUBS_MAX);
	t->heard[hub]++;
	t->n_heard++;
}

void topic_unsubscribe(struct topic *t, unsigned hub)
{
	assert(t->heard[hub] > 0);
	t->heard[hub]--;
	t->n_heard--;
}

unsigned topic_listeners(const struct topic *t)
{
	return t->n_heard;
}

bool topic_heard_by(const struct topic *t, unsigned hub)
{
	return t->heard[hub] > 0;
}

bool topic_mark_dirty(struct topic *t, uint64_t round)
{
	if (t->dirty_round == round)
		return false;
	t->dirty_round = round;
	return true;
}

/* --- appending and dropping ----------------------------------------------------------------------------------- */

/* Twice what the last one took: one that age closed says how little its group needs. */
static size_t next_room(const struct topiclog *log, const struct topic *t, size_t need)
{
	size_t room = 2 * (t->head->room - segment_free_room(t->head));

	if (room < SEGMENT_MIN)
		room = SEGMENT_MIN;
	if (room > log->segment_max)
		room = log->segment_max;
	return room > need ? room : need;
}

static void keep_within(struct topiclog *log, struct topic *t)
{
	while (t->bytes > log->limits.group_bytes && t->tail != t->head)
		topic_drop_tail(log, t);
	/* The oldest of all is its topic's tail: an emptied topic's roomless segment is dropped as soon as it has a successor. */
	while (log->bytes > log->limits.log_bytes && log->segments != t->head)
		topic_drop_tail(log, log->segments->topic);
}

/* The head, with room for `len` bytes of one more entry. */
static struct segment *head_with_room(struct topiclog *log, struct topic *t, size_t len, int64_t now)
{
	size_t need = len + sizeof(struct entry);
	struct segment *s = t->head;

	if (segment_free_room(s) < need || now - s->opened > log->limits.age / AGE_PARTS) {
		topic_add_segment(log, t, next_room(log, t, need), now);
		if (t->tail->room == 0)
			topic_drop_tail(log, t);
		keep_within(log, t);
	}
	return t->head;
}

static void add_bytes(struct segment *s, struct slice bytes)
{
	memcpy(s->data + s->used, bytes.at, bytes.len);
	s->used += bytes.len;
}

/* `tag` is empty for most. */
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
	t->is_idle = false;
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

lsn_t topiclog_published(const struct topiclog *log)
{
	return atomic_load_explicit(&log->published, memory_order_acquire);
}

void topiclog_reset(struct topiclog *log, lsn_t floor)
{
	struct topic *t, *next;

	/* First, so that who finds a segment dropped by this finds the position gone back. */
	atomic_store_explicit(&log->published, floor, memory_order_release);
	HASH_ITER(hh, log->topics, t, next) {
		while (t->tail != t->head || t->head->room > 0)
			topic_drop_tail(log, t);
		t->dropped = (struct event_id){ 0 };
	}
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
	return log->bytes;
}

size_t topiclog_count(const struct topiclog *log)
{
	return HASH_COUNT(log->topics);
}

void topiclog_tidy(struct topiclog *log, int64_t now)
{
	struct segment *s;
	struct topic *t, *next;

	while ((s = log->segments) && now - s->last > log->limits.age)
		topic_drop_tail(log, s->topic);
	HASH_ITER(hh, log->topics, t, next) {
		if (t->n_heard > 0 || t->bytes > 0 || now - t->dropped_at <= log->limits.age)
			continue;
		if (!t->is_idle) { /* who wrote to it may still hold it */
			t->is_idle = true;
			continue;
		}
		/* What was dropped cannot be resumed, should the topic be made again. The others are not touched by that. */
		if (event_id_compare(t->dropped, log->newborn) > 0)
			log->newborn = t->dropped;
		topic_free(log, t);
	}
}

/* --- placing --------------------------------------------------------------------------------------------------- */

/* The first entry greater than `after`; the count if none is. */
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

bool topic_place(struct topiclog *log, struct topic *t, struct event_id after, struct cursor *out)
{
	struct segment *s = t->tail;
	uint32_t count, at;

	if (after.lsn < log->floor || event_id_compare(after, t->dropped) < 0)
		return false;
	for (;;) {
		struct segment *next = atomic_load_explicit(&s->next, memory_order_relaxed);

		count = atomic_load_explicit(&s->count, memory_order_relaxed);
		at = segment_search(s, count, after);
		if (at < count || !next)
			break;
		s = next;
	}
	segment_ref(s);
	*out = (struct cursor){ s, at };
	return true;
}
