/* topic_cursor: the hubs' side of the topic logs: reads entries, and moves cursors. */
#include "topic_impl.h"

#include <string.h>

/* Moves over segments that were read to their end. Returns the count of the segment where the cursor is now. */
static uint32_t cursor_settle(struct cursor *c)
{
	for (;;) {
		/* `next` before `count`: once there is a successor, the count is final. */
		struct segment *next = atomic_load_explicit(&c->segment->next, memory_order_acquire);
		uint32_t count = atomic_load_explicit(&c->segment->count, memory_order_acquire);

		if (c->entry < count || !next)
			return count;
		segment_ref(next);
		segment_unref(c->segment);
		*c = (struct cursor){ next, 0 };
	}
}

static bool is_tagged(const struct segment *s, uint32_t i)
{
	return entry_at(s, i)->index & IS_TAGGED;
}

/* Where the frame of entry i begins, and its tag. */
static size_t frame_start(const struct segment *s, uint32_t i, struct entry_tag *tag)
{
	size_t start = i ? entry_at(s, i - 1)->end : 0;

	*tag = (struct entry_tag){ 0 };
	if (!is_tagged(s, i))
		return start;
	memcpy(tag, s->data + start, sizeof(*tag));
	return start + sizeof(*tag);
}

enum cursor_state cursor_run(struct cursor *c, lsn_t published, struct event_id before, size_t most, struct run *out)
{
	uint32_t count = cursor_settle(c), at = c->entry;
	const struct segment *s = c->segment;
	size_t start;

	if (at == count || entry_at(s, at)->lsn >= published)
		return CURSOR_AT_END;
	if (atomic_load_explicit(&s->dropped, memory_order_acquire))
		return CURSOR_LOST;
	start = frame_start(s, at, &out->tag);
	out->first = out->last = entry_id(s, at);
	for (; at < count; at++) {
		struct event_id id = entry_id(s, at);

		if (id.lsn >= published || event_id_compare(id, before) >= 0)
			break;
		if (at > c->entry && (entry_at(s, at)->end - start > most || is_tagged(s, at) || is_tagged(s, at - 1)))
			break;
		out->last = id;
	}
	if (at == c->entry)
		return CURSOR_AT_END;
	out->bytes = s->data + start;
	out->len = entry_at(s, at - 1)->end - start;
	out->entries = at - c->entry;
	return CURSOR_HAS_RUN;
}

void cursor_advance(struct cursor *c, uint32_t entries)
{
	c->entry += entries;
}

static void note_close(const struct cursor *c, struct missed *missed)
{
	lsn_t lsn = entry_at(c->segment, c->entry)->lsn;
	struct entry_tag tag;

	frame_start(c->segment, c->entry, &tag);
	if (tag.close && lsn >= missed->from && lsn <= missed->to)
		missed->close = tag.close;
}

/* A dropped segment exists as long as a cursor is in it or before it. */
void cursor_to_head(struct cursor *c, lsn_t published, struct missed *missed)
{
	uint32_t count;

	while ((count = cursor_settle(c)), c->entry < count && entry_at(c->segment, c->entry)->lsn < published) {
		if (missed)
			note_close(c, missed);
		c->entry++;
	}
}

void cursor_restart(struct cursor *c)
{
	uint32_t count;

	while ((count = cursor_settle(c)),
	       c->entry < count && atomic_load_explicit(&c->segment->dropped, memory_order_acquire))
		c->entry = count;
}

bool cursor_fell_off(struct cursor *c, lsn_t published, struct missed *missed)
{
	uint32_t count = cursor_settle(c);

	if (c->entry == count || !atomic_load_explicit(&c->segment->dropped, memory_order_acquire))
		return false;
	cursor_to_head(c, published, missed);
	return true;
}

struct cursor cursor_copy(const struct cursor *c)
{
	segment_ref(c->segment);
	return *c;
}

void cursor_release(struct cursor *c)
{
	segment_unref(c->segment);
	*c = (struct cursor){ 0 };
}
