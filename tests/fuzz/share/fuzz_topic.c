/*
 * Any order of appends, publications, marks, resets, tidying, placements and readings on three topics, against a model that keeps every
 * entry: an array, and for each cursor how far it has read. Each byte of the input chooses a step, the next ones its numbers.
 *
 * The model does not know what was dropped. So it asks of the log: what comes is the next entry of the model, whole; a loss is
 * told only by who had something unread that the retention allows to go; a place is refused only where something behind it may be
 * gone; and the bytes stay within the limits.
 */
#include <stdlib.h>

#include "pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TOPICS 3
#define CURSORS 6
#define ENTRIES 2048      /* of the model, in all */
#define GROUP_BYTES 16384 /* so little that segments do not grow */
#define LOG_BYTES 36000
#define AGE 1000
#define SEGMENT 2048
#define ENTRY_COST 20    /* with a tag */
#define SEGMENT_COST 128 /* besides its entries */
#define TOPICS_COST 3000 /* names, and all that a log without history has */
#define LARGEST 3000     /* a payload, and what a segment may exceed the limits by */

struct entry {
	struct pattern pattern;
	int64_t at;
	bool reset; /* of a history that has ended */
};

struct reader {
	bool open;
	unsigned topic;
	struct cursor cursor;
	size_t next; /* the first entry of the model that it has not read, of any topic */
};

static struct topiclog *topics;
static bool heard[TOPICS];
static struct topic *dirty[TOPICS];
static struct event_id unknown[TOPICS]; /* what a topic may count as dropped since it was made */
static struct event_id behind[TOPICS];  /* the mark at that time, which it must count as dropped */
static struct entry entries[ENTRIES];
static size_t n_entries;
static struct reader readers[CURSORS];
static struct event_id last, marked;
static lsn_t published, history; /* where the present history began */
static int64_t now;
static const uint8_t *input;
static size_t left;

static unsigned take(void)
{
	if (left == 0)
		return 0;
	left--;
	return *input++;
}

static void must(bool holds)
{
	if (!holds)
		abort();
}

static size_t size_of(size_t i)
{
	return sizeof(struct pattern) + entries[i].pattern.len + ENTRY_COST;
}

/* What an entry may add to the bytes: itself, the rest of a segment into which it did not fit, and a segment's own cost; or, if time passed
 * since the one before it, whatever that one's segment has left. */
static size_t cost_of(size_t i)
{
	size_t before = i;

	while (before > 0 && entries[before - 1].pattern.group != entries[i].pattern.group)
		before--;
	if (before > 0 && entries[before - 1].at == entries[i].at && size_of(i) <= SEGMENT / 2)
		return 2 * size_of(i) + SEGMENT_COST;
	return 2 * size_of(i) + SEGMENT + SEGMENT_COST;
}

/* The oldest entry that may be written since the segment of entry i was opened. */
static size_t segment_start(size_t i)
{
	size_t start = i, size = 0;

	for (size_t k = i + 1; k-- > 0 && size <= SEGMENT;)
		if (entries[k].pattern.group == entries[i].pattern.group) {
			size += size_of(k);
			start = k;
		}
	return start;
}

/* May entry i be gone? Only if it is old, of an ended history, or enough was written since, besides the segment of each topic that is
 * not full yet. Who may not is followed by none that may. */
static bool may_be_gone(size_t i)
{
	size_t group = 2 * SEGMENT, all = (1 + TOPICS) * SEGMENT + TOPICS_COST;

	if (entries[i].reset || now - entries[i].at > AGE)
		return true;
	for (size_t k = segment_start(i); k < n_entries; k++) {
		size_t cost = cost_of(k);

		all += cost;
		if (entries[k].pattern.group == entries[i].pattern.group)
			group += cost;
	}
	return group > GROUP_BYTES || all > LOG_BYTES;
}

/* What a topic made now must not pretend to have: the newest of what may be gone, or the mark. */
static struct event_id newest_gone(void)
{
	for (size_t i = n_entries; i-- > 0 && !entries[i].reset;)
		if (may_be_gone(i))
			return event_id_compare(entries[i].pattern.id, marked) > 0 ? entries[i].pattern.id : marked;
	return marked;
}

static struct topic *topic_of(unsigned i)
{
	static const char *const names[TOPICS] = { "a_{1}", "a_{2}", "b" };
	struct topic *found = topiclog_find(topics, slice_of(names[i])), *t;

	must(!heard[i] || found);
	must(!dirty[i] || found == dirty[i]);
	t = topiclog_topic(topics, slice_of(names[i]));
	must((!found || found == t) && slice_equal(topic_name(t), slice_of(names[i])));
	if (!found) {
		unknown[i] = newest_gone();
		behind[i] = marked;
	}
	return t;
}

/* From before a cursor is placed until it is released its topic is heard, as the tap does it. */
static void hear(unsigned i, bool yes)
{
	struct topic *t = topic_of(i);

	if (yes)
		topic_subscribe(topics, t, 0);
	else
		topic_unsubscribe(topics, t, 0);
	heard[i] = topic_heard_by(t, 0);
}

/* The index of the next entry of that topic at or behind `from`; n_entries: none. */
static size_t next_entry(unsigned topic, size_t from)
{
	while (from < n_entries && entries[from].pattern.group != topic)
		from++;
	return from;
}

/* --- the steps -------------------------------------------------------------------------------------------------- */

static bool is_tagged(const struct pattern *p)
{
	return p->number % 4 == 1;
}

static void append(void)
{
	unsigned topic = take() % TOPICS;
	struct pattern p = { .group = topic, .len = take() * take() % LARGEST };

	if (n_entries == ENTRIES)
		return;
	if (take() % 2 || last.lsn < published)
		last = (struct event_id){ (last.lsn < published ? published : last.lsn) + 1, 0 };
	last.index += 1 + take() % 3;
	p.id = last;
	p.number = (uint32_t)n_entries;
	entries[n_entries++] = (struct entry){ p, now, false };
	if (is_tagged(&p))
		pattern_append_tagged(topics, topic_of(topic), p, now);
	else
		pattern_append(topics, topic_of(topic), p, now);
	if (topic_mark_dirty(topic_of(topic)))
		dirty[topic] = topic_of(topic);
	must(topiclog_bytes(topics) <= LOG_BYTES + LARGEST + SEGMENT);
}

static void publish(void)
{
	published = last.lsn + 1 > published ? last.lsn + 1 : published;
	topiclog_publish(topics, published);
	must(topiclog_published(topics) == published);
	for (unsigned i = 0; i < TOPICS; i++) {
		if (dirty[i])
			topic_clean(topics, dirty[i]);
		dirty[i] = NULL;
	}
}

static void mark(void)
{
	last = (struct event_id){ (last.lsn < published ? published : last.lsn) + 1, 1 };
	marked = last;
	topiclog_mark(topics, last);
	publish();
}

static void reset(void)
{
	history = take();
	topiclog_reset(topics, history);
	must(topiclog_bytes(topics) <= TOPICS_COST && topiclog_floor(topics) == history);
	for (size_t i = 0; i < n_entries; i++)
		entries[i].reset = true;
	for (size_t i = 0; i < CURSORS; i++) {
		struct reader *r = &readers[i];

		if (!r->open)
			continue;
		cursor_to_head(&r->cursor, UINT64_MAX, NULL);
		r->next = n_entries;
	}
	memset(unknown, 0, sizeof(unknown));
	memset(behind, 0, sizeof(behind));
	published = history;
	last = marked = (struct event_id){ history, 0 };
}

static void tidy(void)
{
	now += take() * 8;
	topiclog_tidy(topics, now);
	for (size_t i = 0; i < n_entries; i++)
		if (!entries[i].reset && now - entries[i].at <= AGE)
			return;
	/* One part of the age more: segments go as a whole. */
	now += AGE / 4;
	topiclog_tidy(topics, now);
	must(topiclog_bytes(topics) <= TOPICS_COST);
}

static void let_go(struct reader *r)
{
	if (!r->open)
		return;
	cursor_release(&r->cursor);
	r->open = false;
	hear(r->topic, false);
}

/* The first entry of this history in that topic behind `after`, and whether all from there on must be there. */
static size_t place_in_model(unsigned topic, struct event_id after, bool *must_work)
{
	size_t first = n_entries;

	*must_work = after.lsn >= history && event_id_compare(after, unknown[topic]) >= 0;
	for (size_t i = n_entries; i-- > 0 && !entries[i].reset;) {
		if (event_id_compare(entries[i].pattern.id, after) <= 0)
			break;
		if (entries[i].pattern.group != topic)
			continue;
		first = i;
	}
	*must_work = *must_work && (first == n_entries || !may_be_gone(first));
	return first;
}

static void place(struct reader *r)
{
	struct event_id after = { published, 0 };
	unsigned back = take();
	bool must_work, worked;
	struct topic *t;

	let_go(r);
	r->topic = take() % TOPICS;
	if (back % 4 && back <= n_entries && back > 0)
		after = entries[n_entries - back].pattern.id;
	after.index -= after.index && take() % 2;
	t = topic_of(r->topic);
	hear(r->topic, true);
	r->next = place_in_model(r->topic, after, &must_work);
	worked = topic_place(topics, t, after, &r->cursor);
	must(worked || !must_work);
	must(!worked || (after.lsn >= history && event_id_compare(after, behind[r->topic]) >= 0));
	r->open = worked;
	if (!worked)
		hear(r->topic, false);
}

/* To the first that is not below the published position; something unread there must be allowed to be gone. */
static void lost(struct reader *r)
{
	size_t i = next_entry(r->topic, r->next);

	must(i < n_entries && may_be_gone(i));
	while (i < n_entries && entries[i].pattern.id.lsn < published)
		i = next_entry(r->topic, i + 1);
	r->next = i;
}

static void check_run(struct reader *r, const struct run *run, struct event_id before, size_t most)
{
	const char *at = run->bytes, *end = at + run->len;
	struct entry_tag tag = { 0 };
	struct pattern p = { 0 };

	must(run->entries > 0 && (run->entries == 1 || run->len <= most));
	for (uint32_t n = 0; n < run->entries; n++) {
		r->next = next_entry(r->topic, r->next);
		must(r->next < n_entries && pattern_take(&at, end, &p) && p.number == r->next);
		must(memcmp(&p, &entries[r->next++].pattern, sizeof(p)) == 0);
		must(p.id.lsn < published && event_id_compare(p.id, before) < 0);
		must(n > 0 || event_id_compare(p.id, run->first) == 0);
	}
	must(at == end && event_id_compare(p.id, run->last) == 0);
	if (is_tagged(&p))
		tag = pattern_tag(&p);
	must(run->entries == 1 || !is_tagged(&p));
	must(run->tag.kind == tag.kind && run->tag.reason == tag.reason && run->tag.close == tag.close);
}

static void read_on(struct reader *r)
{
	struct event_id before = { UINT64_MAX, UINT32_MAX };
	size_t most = take() * 16;
	struct run run;
	size_t next;

	if (take() % 4 == 0 && n_entries)
		before = entries[n_entries - 1 - take() % n_entries].pattern.id;
	if (!r->open)
		return;
	switch (cursor_run(&r->cursor, published, before, most, &run)) {
	case CURSOR_AT_END:
		next = next_entry(r->topic, r->next);
		must(next == n_entries || entries[next].pattern.id.lsn >= published ||
		     event_id_compare(entries[next].pattern.id, before) >= 0);
		break;
	case CURSOR_LOST:
		cursor_to_head(&r->cursor, published, NULL);
		lost(r);
		break;
	case CURSOR_HAS_RUN:
		check_run(r, &run, before, most);
		cursor_advance(&r->cursor, run.entries);
		break;
	}
}

static void fall_off(struct reader *r)
{
	if (r->open && cursor_fell_off(&r->cursor, published, NULL))
		lost(r);
}

static void step(void)
{
	unsigned choice = take();
	struct reader *r = &readers[choice / 16 % CURSORS];

	switch (choice % 16) {
	case 0:
		now += take();
		break;
	case 1:
		tidy();
		break;
	case 2:
		mark();
		break;
	case 3:
		reset();
		break;
	case 4:
		let_go(r);
		break;
	case 5:
		fall_off(r);
		break;
	case 6:
	case 7:
		place(r);
		break;
	case 8:
	case 9:
		publish();
		break;
	case 10:
	case 11:
	case 12:
		read_on(r);
		break;
	default:
		append();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct topic_limits limits = { GROUP_BYTES, LOG_BYTES, AGE };

	topics = topiclog_new(&limits);
	n_entries = 0;
	last = marked = (struct event_id){ 0 };
	published = history = 0;
	now = 5000;
	input = data;
	left = size;
	memset(heard, 0, sizeof(heard));
	memset(dirty, 0, sizeof(dirty));
	memset(unknown, 0, sizeof(unknown));
	memset(behind, 0, sizeof(behind));
	while (left)
		step();
	publish();
	for (size_t i = 0; i < CURSORS; i++) {
		read_on(&readers[i]);
		let_go(&readers[i]);
	}
	topiclog_free(topics);
	return 0;
}
