/*
 * topic_impl: the segments of the topic logs. topic.c writes them and topic_cursor.c reads them. topic.h says which
 * thread may touch what.
 */
#ifndef WALPUSH_TOPIC_IMPL_H
#define WALPUSH_TOPIC_IMPL_H

#include <stdlib.h>

#include "walpush/share/topic.h"

struct entry {
	lsn_t lsn;
	uint32_t index; /* with IS_TAGGED if a struct entry_tag is before its frame */
	uint32_t end;   /* offset of the end of its frame */
};

#define IS_TAGGED (1u << 31)

struct segment {
	atomic_uint refs;
	atomic_uint count;
	atomic_bool dropped;
	struct segment *_Atomic next;

	/* Only for the tap. */
	struct topic *topic;
	struct segment *older, *newer; /* of all topics, by age */
	int64_t opened, last;          /* µs */
	size_t used;                   /* bytes of frames */

	size_t room; /* bytes for frames and entries; immutable */
	char data[];
};

static inline struct entry *entry_at(const struct segment *s, uint32_t i)
{
	/* The room is a multiple of the entry's size, and data is aligned for it. */
	return (struct entry *)(void *)(s->data + s->room) - 1 - i;
}

static inline void segment_ref(struct segment *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

static inline void segment_unref(struct segment *s)
{
	/* The last reference on a chain frees it link by link, without recursion. */
	while (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1) {
		struct segment *next = atomic_load_explicit(&s->next, memory_order_relaxed);

		free(s);
		s = next;
	}
}

static inline struct event_id entry_id(const struct segment *s, uint32_t i)
{
	const struct entry *e = entry_at(s, i);

	return (struct event_id){ e->lsn, e->index & ~IS_TAGGED };
}

#endif
