/* The topic logs on one thread: what a cursor sees, what is dropped and when, and from where a reader may go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "pattern.h"

#define FRAME sizeof(struct pattern) /* the shortest */
#define AGE 8000                     /* µs */

static const struct event_id start = { 0, 0 };
static const struct event_id no_bound = { UINT64_MAX, UINT32_MAX };
static const struct topic_limits roomy = { 1 << 30, 1 << 30, AGE };

static struct topiclog *topics;
static struct topic *unit5, *unit6;
static size_t emptied; /* what two topics cost that are heard and have no history */
static int64_t now;

/* Two topics as the connections leave them that read to the end. */
static void hear(struct topic *t)
{
	struct cursor c;

	topic_subscribe(topics, t, 0);
	topic_place_at_head(topics, t, &c);
	cursor_release(&c);
}

static void open_with(struct topic_limits limits)
{
	topics = topiclog_new(&limits);
	unit5 = topiclog_topic(topics, SLICE("requests_unit_{5}"));
	unit6 = topiclog_topic(topics, SLICE("requests_unit_{6}"));
	hear(unit5);
	hear(unit6);
	emptied = topiclog_bytes(topics);
	now = 1000000;
}

static int open_roomy(void **state)
{
	(void)state;
	open_with(roomy);
	return 0;
}

static int close_log(void **state)
{
	(void)state;
	topiclog_free(topics);
	return 0;
}

static struct event_id id_of(lsn_t lsn, uint32_t index)
{
	return (struct event_id){ lsn, index };
}

static void append(struct topic *t, lsn_t lsn, uint32_t index, uint32_t len)
{
	pattern_append(topics, t, (struct pattern){ .id = id_of(lsn, index), .len = len }, now);
}

static size_t history(void)
{
	return topiclog_bytes(topics) - emptied;
}

/* One message a transaction, its LSNs 100, 200, … */
static void append_commits(struct topic *t, unsigned first, unsigned last, uint32_t len)
{
	for (unsigned i = first; i <= last; i++)
		append(t, 100 * i, 1, len);
}

static struct cursor placed(struct topic *t, struct event_id after)
{
	struct cursor c;

	assert_true(topic_place(topics, t, after, &c));
	return c;
}

static void assert_reaches_back(struct topic *t, struct event_id after, bool wanted)
{
	struct cursor c;
	bool got = topic_place(topics, t, after, &c);

	if (got)
		cursor_release(&c);
	if (got != wanted)
		fail_msg("%" PRIx64 "-%u: %d", after.lsn, after.index, got);
}

/* The frames of a run are whole, in order, and those that it says. */
static void assert_run(const struct run *run)
{
	const char *at = run->bytes, *end = at + run->len;
	struct event_id last = start;
	uint32_t n = 0;
	struct pattern p;

	for (; at < end; n++, last = p.id) {
		assert_true(pattern_take(&at, end, &p));
		assert_true(event_id_compare(p.id, last) > 0);
		if (n == 0)
			assert_int_equal(event_id_compare(p.id, run->first), 0);
	}
	assert_int_equal(n, run->entries);
	assert_int_equal(event_id_compare(last, run->last), 0);
}

static void assert_next(struct cursor *c, struct event_id before, size_t most, lsn_t first, uint32_t entries)
{
	struct run run;

	assert_int_equal(cursor_run(c, topiclog_published(topics), before, most, &run), CURSOR_HAS_RUN);
	assert_run(&run);
	assert_int_equal(run.first.lsn, first);
	assert_int_equal(run.entries, entries);
	cursor_advance(c, run.entries);
}

static void assert_state(struct cursor *c, enum cursor_state wanted)
{
	struct run run;

	assert_int_equal(cursor_run(c, topiclog_published(topics), no_bound, SIZE_MAX, &run), wanted);
}

/* Everything from the cursor to the published position; returns how many entries. */
static unsigned read_all(struct cursor *c, unsigned *runs)
{
	struct event_id last = start;
	unsigned n = 0;
	struct run run;

	*runs = 0;
	while (cursor_run(c, topiclog_published(topics), no_bound, SIZE_MAX, &run) == CURSOR_HAS_RUN) {
		assert_run(&run);
		assert_true(event_id_compare(run.first, last) > 0);
		last = run.last;
		n += run.entries;
		++*runs;
		cursor_advance(c, run.entries);
	}
	return n;
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static void frames_come_back_as_they_went_in(void **state)
{
	struct cursor c = placed(unit5, start);

	(void)state;
	assert_state(&c, CURSOR_AT_END);
	append(unit5, 100, 1, 0);
	append(unit5, 100, 3, 60);
	append(unit5, 200, 1, 7);
	append(unit6, 200, 2, 7);
	topiclog_publish(topics, 300);
	assert_next(&c, no_bound, SIZE_MAX, 100, 3);
	assert_state(&c, CURSOR_AT_END);
	cursor_release(&c);
	assert_null(c.segment);
}

static void a_tagged_entry_is_a_run_of_its_own(void **state)
{
	struct pattern p = { .id = id_of(100, 3), .group = 5, .number = 9, .len = 20 };
	struct cursor c = placed(unit5, start), behind;
	struct run run;

	(void)state;
	append(unit5, 100, 1, 10);
	append(unit5, 100, 2, 10);
	pattern_append_tagged(topics, unit5, p, 0);
	p.id.index = 4;
	pattern_append_tagged(topics, unit5, p, 0);
	append(unit5, 100, 5, 10);
	topiclog_publish(topics, 300);
	behind = placed(unit5, id_of(100, 3));
	assert_next(&c, no_bound, SIZE_MAX, 100, 2);
	for (uint32_t i = 3; i <= 4; i++) {
		assert_int_equal(cursor_run(&c, 300, no_bound, SIZE_MAX, &run), CURSOR_HAS_RUN);
		assert_run(&run);
		assert_int_equal(run.first.index, i);
		assert_int_equal(run.entries, 1);
		assert_int_equal(run.tag.kind, ENTRY_REFETCH);
		assert_int_equal(run.tag.reason, 9);
		assert_int_equal(run.tag.close, 109);
		cursor_advance(&c, 1);
	}
	assert_int_equal(cursor_run(&c, 300, no_bound, SIZE_MAX, &run), CURSOR_HAS_RUN);
	assert_int_equal(run.first.index, 5);
	assert_int_equal(run.tag.kind, ENTRY_MESSAGE);
	assert_int_equal(run.tag.close, 0);
	assert_int_equal(cursor_run(&behind, 300, no_bound, SIZE_MAX, &run), CURSOR_HAS_RUN);
	assert_int_equal(run.first.index, 4);
	cursor_release(&behind);
	cursor_release(&c);
}

static void nothing_above_the_published_position_is_seen(void **state)
{
	struct cursor c = placed(unit5, start);

	(void)state;
	append(unit5, 100, 1, 9);
	append(unit5, 100, 2, 9);
	append(unit5, 200, 1, 9);
	assert_int_equal(topiclog_published(topics), 0);
	assert_state(&c, CURSOR_AT_END);
	topiclog_publish(topics, 100);
	assert_state(&c, CURSOR_AT_END);
	topiclog_publish(topics, 101);
	assert_next(&c, no_bound, SIZE_MAX, 100, 2);
	assert_state(&c, CURSOR_AT_END);
	topiclog_publish(topics, 200);
	assert_state(&c, CURSOR_AT_END);
	topiclog_publish(topics, 250);
	assert_next(&c, no_bound, SIZE_MAX, 200, 1);
	cursor_release(&c);
}

static void a_run_ends_before_an_id(void **state)
{
	struct cursor c = placed(unit5, start);
	struct run run;

	(void)state;
	append(unit5, 100, 1, 9);
	append(unit5, 100, 4, 9);
	append(unit5, 200, 1, 9);
	topiclog_publish(topics, 300);
	assert_int_equal(cursor_run(&c, 300, id_of(100, 1), SIZE_MAX, &run), CURSOR_AT_END);
	assert_next(&c, id_of(100, 3), SIZE_MAX, 100, 1);
	assert_int_equal(cursor_run(&c, 300, id_of(100, 4), SIZE_MAX, &run), CURSOR_AT_END);
	assert_next(&c, id_of(200, 1), SIZE_MAX, 100, 1);
	assert_next(&c, no_bound, SIZE_MAX, 200, 1);
	cursor_release(&c);
}

static void a_run_has_at_most_so_many_bytes_but_one_entry(void **state)
{
	struct cursor c = placed(unit5, start);

	(void)state;
	for (unsigned i = 1; i <= 6; i++)
		append(unit5, i, 1, 10);
	topiclog_publish(topics, 100);
	assert_next(&c, no_bound, 0, 1, 1);
	assert_next(&c, no_bound, 2 * FRAME + 19, 2, 1);
	assert_next(&c, no_bound, 2 * FRAME + 20, 3, 2);
	assert_next(&c, no_bound, 100000, 5, 2);
	cursor_release(&c);
}

static void segments_grow(void **state)
{
	struct cursor c = placed(unit5, start);
	size_t last = 0, quiet;
	unsigned runs, doubled = 0;
	struct run run;

	(void)state;
	append(unit5, 1, 1, 100);
	quiet = history();
	assert_in_range(quiet, FRAME + 100, 4096);
	for (unsigned i = 2; i <= 10000; i++)
		append(unit5, i, 1, 100);
	topiclog_publish(topics, 10001);
	while (cursor_run(&c, 10001, no_bound, SIZE_MAX, &run) == CURSOR_HAS_RUN) {
		doubled += run.len > last + last / 2;
		last = run.len;
		cursor_advance(&c, run.entries);
	}
	assert_in_range(doubled, 5, 9);
	cursor_release(&c);
	c = placed(unit5, start);
	assert_int_equal(read_all(&c, &runs), 10000);
	assert_in_range(runs, 10, 25);
	cursor_release(&c);
}

static void a_message_may_be_larger_than_a_segment(void **state)
{
	static const uint32_t sizes[] = { 10, 300000, 10, 131072, PATTERN_PAYLOAD_MAX, 2048 - FRAME - 16, 2048, 10 };
	struct cursor c = placed(unit5, start);
	size_t n = sizeof(sizes) / sizeof(*sizes);

	(void)state;
	for (unsigned i = 0; i < n; i++)
		append(unit5, i + 1, 1, sizes[i]);
	topiclog_publish(topics, n + 1);
	for (unsigned i = 0; i < n; i++)
		assert_next(&c, no_bound, 0, i + 1, 1);
	assert_state(&c, CURSOR_AT_END);
	cursor_release(&c);
}

static void the_head_is_the_first_unpublished_commit(void **state)
{
	struct cursor c = placed(unit5, start), far = placed(unit5, start);

	(void)state;
	append_commits(unit5, 1, 100, 300);
	cursor_to_head(&c, 5000, NULL);
	topiclog_publish(topics, 5001);
	assert_next(&c, no_bound, 0, 5000, 1);
	assert_state(&c, CURSOR_AT_END);
	cursor_to_head(&far, UINT64_MAX, NULL);
	topiclog_publish(topics, 10001);
	assert_state(&far, CURSOR_AT_END);
	append_commits(unit5, 101, 101, 10);
	topiclog_publish(topics, 10101);
	assert_next(&far, no_bound, 0, 10100, 1);
	cursor_release(&c);
	cursor_release(&far);
}

/* --- placing ---------------------------------------------------------------------------------------------------- */

static void a_cursor_is_placed_behind_any_id(void **state)
{
	struct cursor c;

	(void)state;
	for (unsigned i = 1; i <= 200; i++)
		for (uint32_t index = 2; index <= 6; index += 2)
			append(unit5, 100 * i, index, 40);
	topiclog_publish(topics, 20001);
	for (unsigned i = 1; i < 200; i++)
		for (uint32_t index = 0; index <= 6; index++) {
			struct run run;

			c = placed(unit5, id_of(100 * i, index));
			assert_int_equal(cursor_run(&c, 20001, no_bound, 0, &run), CURSOR_HAS_RUN);
			assert_int_equal(run.first.lsn, index < 6 ? 100 * i : 100 * i + 100);
			assert_int_equal(run.first.index, index < 6 ? index / 2 * 2 + 2 : 2);
			cursor_release(&c);
		}
	c = placed(unit5, id_of(20000, 6));
	assert_state(&c, CURSOR_AT_END);
	append(unit5, 20100, 1, 0);
	topiclog_publish(topics, 20101);
	assert_next(&c, no_bound, 0, 20100, 1);
	cursor_release(&c);
}

static void placing_ends_at_what_was_dropped(void **state)
{
	(void)state;
	append(unit5, 100, 1, 10);
	append(unit5, 100, 2, 10);
	now += AGE + 1;
	topiclog_tidy(topics, now);
	append(unit5, 200, 1, 10);
	topiclog_publish(topics, 201);
	assert_reaches_back(unit5, start, false);
	assert_reaches_back(unit5, id_of(100, 1), false);
	assert_reaches_back(unit5, id_of(100, 2), true);
	assert_reaches_back(unit5, id_of(150, 0), true);
	assert_reaches_back(unit6, start, true);
}

static bool is_empty(const struct topic *t, struct event_id after, struct event_id upto)
{
	return topic_is_empty_between(topics, t, after, upto);
}

static void what_stands_between_two_ids(void **state)
{
	(void)state;
	assert_true(is_empty(topiclog_topic(topics, SLICE("new")), start, id_of(900, 0)));
	append_commits(unit5, 1, 200, 1000); /* several segments */
	for (unsigned i = 1; i < 200; i++) {
		struct event_id last = id_of(100 * i, 1), next = id_of(100 * i + 100, 1);

		assert_true(is_empty(unit5, last, last));
		assert_true(is_empty(unit5, last, id_of(next.lsn, 0)));
		assert_false(is_empty(unit5, last, next));
		assert_false(is_empty(unit5, id_of(last.lsn, 0), last));
	}
	assert_true(is_empty(unit5, id_of(20000, 1), id_of(30000, 0)));
	assert_true(is_empty(unit6, start, id_of(30000, 0)));
}

/* What was dropped may have stood there. */
static void nobody_knows_what_stood_where_it_was_dropped(void **state)
{
	(void)state;
	append_commits(unit5, 1, 2, 10);
	now += AGE + 1;
	topiclog_tidy(topics, now);
	assert_false(is_empty(unit5, id_of(100, 1), id_of(300, 0)));
	assert_true(is_empty(unit5, id_of(200, 1), id_of(300, 0)));
	topiclog_reset(topics, 500);
	assert_false(is_empty(unit6, id_of(400, 0), id_of(600, 0)));
	assert_true(is_empty(unit6, id_of(500, 0), id_of(600, 0)));
}

static void the_floor_is_where_the_history_begins(void **state)
{
	(void)state;
	assert_int_equal(topiclog_floor(topics), 0);
	topiclog_reset(topics, 500);
	assert_int_equal(topiclog_floor(topics), 500);
	assert_int_equal(topiclog_published(topics), 500);
	assert_reaches_back(unit5, id_of(499, UINT32_MAX), false);
	assert_reaches_back(unit5, id_of(500, 0), true);
	assert_reaches_back(topiclog_topic(topics, SLICE("new")), id_of(499, 1), false);
	assert_reaches_back(topiclog_topic(topics, SLICE("new")), id_of(500, 1), true);
}

static void a_mark_bounds_the_topics_made_later(void **state)
{
	struct topic *made_later;

	(void)state;
	topiclog_mark(topics, id_of(300, 2));
	made_later = topiclog_topic(topics, SLICE("made later"));
	assert_reaches_back(unit5, start, true);
	assert_reaches_back(made_later, id_of(300, 1), false);
	assert_reaches_back(made_later, id_of(300, 2), true);
	topiclog_reset(topics, 200);
	assert_reaches_back(made_later, id_of(200, 0), true);
	assert_reaches_back(topiclog_topic(topics, SLICE("of another history")), id_of(200, 0), true);
}

/* --- dropping --------------------------------------------------------------------------------------------------- */

static void a_group_keeps_its_bytes(void **state)
{
	struct cursor old, c;
	unsigned runs;

	(void)state;
	open_with((struct topic_limits){ 20000, 1 << 30, AGE });
	append(unit6, 1, 1, 10);
	old = placed(unit5, start);
	for (unsigned i = 1; i <= 3000; i++) {
		append(unit5, i, 1, 100);
		assert_true(history() <= 20000 + 4096);
	}
	topiclog_publish(topics, 3001);
	assert_state(&old, CURSOR_LOST);
	cursor_release(&old);
	assert_reaches_back(unit5, start, false);
	assert_reaches_back(unit5, id_of(2800, 0), false);
	/* Half of the bytes are always there. */
	c = placed(unit5, id_of(3000 - 10000 / (100 + FRAME + 16), 1));
	assert_int_equal(read_all(&c, &runs), 10000 / (100 + FRAME + 16));
	cursor_release(&c);
	assert_reaches_back(unit6, start, true);
}

static void a_message_larger_than_the_group_stays_until_the_next(void **state)
{
	struct cursor c;

	(void)state;
	open_with((struct topic_limits){ 4096, 1 << 30, AGE });
	append(unit5, 1, 1, 10);
	append(unit5, 2, 1, 100000);
	topiclog_publish(topics, 3);
	assert_reaches_back(unit5, start, false);
	c = placed(unit5, id_of(1, 1));
	assert_next(&c, no_bound, 0, 2, 1);
	append(unit5, 3, 1, 10);
	topiclog_publish(topics, 4);
	assert_next(&c, no_bound, 0, 3, 1);
	cursor_release(&c);
	/* The next segment is no larger for it. */
	assert_in_range(history(), FRAME + 10, 4096);
}

/* The oldest of all goes, whoever it is that needs the room. */
static void all_groups_share_the_logs_bytes(void **state)
{
	struct cursor read, unread;

	(void)state;
	open_with((struct topic_limits){ 1 << 30, 40000, INT32_MAX });
	read = placed(unit6, start);
	unread = placed(unit6, start);
	append(unit6, 1, 1, 100);
	topiclog_publish(topics, 2);
	assert_next(&read, no_bound, 0, 1, 1);
	for (unsigned i = 2; i <= 1000; i++) {
		append(unit5, i, 1, 100);
		assert_true(topiclog_bytes(topics) <= 40000);
	}
	topiclog_publish(topics, 1001);
	assert_state(&read, CURSOR_AT_END);
	assert_state(&unread, CURSOR_LOST);
	assert_reaches_back(unit6, start, false);
	append(unit6, 1001, 1, 100);
	topiclog_publish(topics, 1002);
	assert_next(&read, no_bound, 0, 1001, 1);
	assert_true(cursor_fell_off(&unread, 1001, NULL));
	assert_next(&unread, no_bound, 0, 1001, 1);
	cursor_release(&read);
	cursor_release(&unread);
}

static void age_is_judged_in_parts(void **state)
{
	(void)state;
	append(unit5, 1, 1, 10);
	now += AGE / 8; /* still the same segment */
	append(unit5, 2, 1, 10);
	now += 1;
	append(unit5, 3, 1, 10);
	topiclog_publish(topics, 4);
	topiclog_tidy(topics, now + AGE - 1);
	assert_reaches_back(unit5, start, true);
	topiclog_tidy(topics, now + AGE);
	assert_reaches_back(unit5, id_of(2, 0), false);
	assert_reaches_back(unit5, id_of(2, 1), true);
	topiclog_tidy(topics, now + AGE + 1);
	assert_reaches_back(unit5, id_of(2, 1), false);
	assert_reaches_back(unit5, id_of(3, 1), true);
	assert_int_equal(history(), 0);
}

/* A segment that age closed says how little its group needs. */
static void a_quiet_group_costs_little(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 100; i++) {
		append(unit5, i, 1, 100);
		now += AGE / 4;
		topiclog_tidy(topics, now);
		assert_in_range(history(), 2048, 5 * 2200);
	}
}

static void drop_everything(void)
{
	now += AGE + 1;
	topiclog_tidy(topics, now);
	assert_int_equal(history(), 0);
}

static void who_had_read_it_all_lost_nothing(void **state)
{
	struct cursor none = placed(unit5, start), some = none, all = none;
	struct cursor late;

	(void)state;
	some = placed(unit5, start);
	all = placed(unit5, start);
	append_commits(unit5, 1, 3, 10);
	topiclog_publish(topics, 301);
	assert_next(&some, no_bound, 0, 100, 1);
	assert_next(&all, no_bound, SIZE_MAX, 100, 3);
	assert_false(cursor_fell_off(&none, 301, NULL));
	drop_everything();
	late = placed(unit5, id_of(300, 1));
	assert_state(&none, CURSOR_LOST);
	assert_state(&some, CURSOR_LOST);
	assert_state(&all, CURSOR_AT_END);
	assert_true(cursor_fell_off(&none, 301, NULL));
	assert_true(cursor_fell_off(&some, 301, NULL));
	assert_false(cursor_fell_off(&some, 301, NULL));
	assert_false(cursor_fell_off(&all, 301, NULL));
	append_commits(unit5, 4, 4, 10);
	topiclog_publish(topics, 401);
	assert_next(&none, no_bound, SIZE_MAX, 400, 1);
	assert_next(&some, no_bound, SIZE_MAX, 400, 1);
	assert_next(&all, no_bound, SIZE_MAX, 400, 1);
	assert_next(&late, no_bound, SIZE_MAX, 400, 1);
	cursor_release(&none);
	cursor_release(&some);
	cursor_release(&all);
	cursor_release(&late);
}

/* A transaction larger than the group's log: nothing is said of it before it is published. */
static void what_is_dropped_unpublished_is_lost_when_published(void **state)
{
	struct cursor c;

	(void)state;
	open_with((struct topic_limits){ 8192, 1 << 30, AGE });
	c = placed(unit5, start);
	append(unit5, 100, 1, 10);
	topiclog_publish(topics, 101);
	assert_next(&c, no_bound, 0, 100, 1);
	for (uint32_t i = 1; i <= 500; i++)
		append(unit5, 200, i, 100);
	assert_state(&c, CURSOR_AT_END);
	topiclog_publish(topics, 200);
	assert_state(&c, CURSOR_AT_END);
	topiclog_publish(topics, 201);
	assert_state(&c, CURSOR_LOST);
	cursor_to_head(&c, 201, NULL);
	assert_state(&c, CURSOR_AT_END);
	cursor_release(&c);
}

static void a_run_outlives_its_segment(void **state)
{
	struct cursor c = placed(unit5, start);
	struct run run;

	(void)state;
	append_commits(unit5, 1, 3, 10);
	topiclog_publish(topics, 301);
	assert_int_equal(cursor_run(&c, 301, no_bound, SIZE_MAX, &run), CURSOR_HAS_RUN);
	drop_everything();
	append_commits(unit5, 4, 400, 100);
	assert_run(&run);
	assert_int_equal(run.entries, 3);
	cursor_release(&c);
}

/* Segments that nothing but a forgotten cursor holds, one by the other: a long chain, let go at once. */
static void a_cursor_holds_a_chain_until_it_is_released(void **state)
{
	struct cursor c = placed(unit5, start);

	(void)state;
	for (unsigned i = 1; i <= 3000; i++) {
		append(unit5, i, 1, 10);
		drop_everything();
	}
	topiclog_publish(topics, 3001);
	assert_true(cursor_fell_off(&c, 3001, NULL));
	assert_state(&c, CURSOR_AT_END);
	cursor_release(&c);
}

static void a_reset_empties_all(void **state)
{
	struct cursor read = placed(unit5, start), unread = placed(unit5, start);
	struct topic *empty = topiclog_topic(topics, SLICE("empty"));
	size_t before = topiclog_bytes(topics);

	(void)state;
	append_commits(unit5, 1, 50, 100);
	append_commits(unit6, 1, 5, 100);
	topiclog_publish(topics, 5001);
	cursor_to_head(&read, 5001, NULL);
	topiclog_reset(topics, 40);
	assert_int_equal(topiclog_bytes(topics), before);
	assert_reaches_back(unit5, id_of(40, 0), true);
	assert_reaches_back(unit6, id_of(40, 0), true);
	assert_reaches_back(empty, id_of(40, 0), true);
	/* Ids may be lower than before: another server's. */
	append(unit5, 50, 1, 10);
	append(unit5, 200, 1, 10);
	topiclog_publish(topics, 60);
	assert_next(&read, no_bound, SIZE_MAX, 50, 1);
	/* One that had not read the old history is above the new position: it must not wait for it there. */
	assert_state(&unread, CURSOR_AT_END);
	cursor_restart(&unread);
	assert_next(&unread, no_bound, SIZE_MAX, 50, 1);
	topiclog_publish(topics, 201);
	assert_next(&read, no_bound, SIZE_MAX, 200, 1);
	assert_next(&unread, no_bound, SIZE_MAX, 200, 1);
	cursor_release(&read);
	cursor_release(&unread);
}

/* --- topics ----------------------------------------------------------------------------------------------------- */

static void count_one(void *ctx, struct topic *t)
{
	unsigned *seen = ctx;

	if (t == unit5)
		seen[0]++;
	else if (t == unit6)
		seen[1]++;
	else
		seen[2]++;
}

static void topics_are_found_by_name(void **state)
{
	unsigned seen[3] = { 0 };

	(void)state;
	assert_ptr_equal(topiclog_topic(topics, SLICE("requests_unit_{5}")), unit5);
	assert_ptr_equal(topiclog_find(topics, SLICE("requests_unit_{6}")), unit6);
	assert_null(topiclog_find(topics, SLICE("requests_unit_{")));
	assert_null(topiclog_find(topics, SLICE("requests_unit_{5}6")));
	assert_true(slice_equal(topic_name(unit6), SLICE("requests_unit_{6}")));
	topiclog_topic(topics, SLICE("requests_unit_{7}"));
	topiclog_each(topics, count_one, seen);
	assert_int_equal(seen[0], 1);
	assert_int_equal(seen[1], 1);
	assert_int_equal(seen[2], 1);
	topic_unsubscribe(topics, unit5, 0);
	topiclog_each_heard(topics, count_one, seen);
	assert_int_equal(seen[0], 1);
	assert_int_equal(seen[1], 2);
	assert_int_equal(seen[2], 1);
}

static void hubs_subscribe_each_for_itself(void **state)
{
	(void)state;
	topic_subscribe(topics, unit5, 1);
	topic_subscribe(topics, unit5, 1);
	topic_subscribe(topics, unit5, HUBS_MAX - 1);
	assert_true(topic_heard_by(unit5, 1));
	assert_false(topic_heard_by(unit5, 2));
	assert_true(topic_heard_by(unit5, HUBS_MAX - 1));
	assert_false(topic_heard_by(unit6, 1));
	topic_unsubscribe(topics, unit5, 1);
	assert_true(topic_heard_by(unit5, 1));
	topic_unsubscribe(topics, unit5, 1);
	assert_false(topic_heard_by(unit5, 1));
	assert_true(topic_heard_by(unit5, HUBS_MAX - 1));
}

static void a_topic_is_dirty_until_it_is_cleaned(void **state)
{
	(void)state;
	assert_true(topic_mark_dirty(unit5));
	assert_false(topic_mark_dirty(unit5));
	assert_true(topic_mark_dirty(unit6));
	topic_clean(topics, unit5);
	assert_true(topic_mark_dirty(unit5));
	assert_false(topic_mark_dirty(topiclog_topic(topics, SLICE("of interest to nobody"))));
}

static void what_is_unpublished_is_known(void **state)
{
	(void)state;
	assert_false(topic_has_unpublished(topics, unit5));
	append(unit5, 100, 1, 10);
	assert_true(topic_has_unpublished(topics, unit5));
	assert_false(topic_has_unpublished(topics, unit6));
	topiclog_publish(topics, 100);
	assert_true(topic_has_unpublished(topics, unit5));
	topiclog_publish(topics, 101);
	assert_false(topic_has_unpublished(topics, unit5));
	append(unit5, 200, 1, 10);
	drop_everything();
	assert_true(topic_has_unpublished(topics, unit5)); /* who reads it must notice that it is gone */
	topiclog_publish(topics, 201);
	assert_false(topic_has_unpublished(topics, unit5));
}

/* --- what is forgotten ------------------------------------------------------------------------------------------ */

/* Topics that nobody hears go, but not before nobody could resume in them anyhow. */
static void tidy_frees_unheard_topics(void **state)
{
	(void)state;
	topic_unsubscribe(topics, unit5, 0);
	append(unit5, 100, 1, 10);
	append(unit6, 100, 2, 10);
	topiclog_publish(topics, 101);
	topiclog_tidy(topics, now + AGE);
	assert_non_null(topiclog_find(topics, SLICE("requests_unit_{5}")));
	now += AGE + 1;
	topiclog_tidy(topics, now);
	assert_null(topiclog_find(topics, SLICE("requests_unit_{5}")));
	assert_non_null(topiclog_find(topics, SLICE("requests_unit_{6}")));
	topic_unsubscribe(topics, unit6, 0);
	topiclog_tidy(topics, now);
	assert_null(topiclog_find(topics, SLICE("requests_unit_{6}")));
	assert_int_equal(topiclog_bytes(topics), 0);
}

/* The tap still has to tell the hubs of a topic that it wrote to, though nobody hears it any more and nothing is kept of it. */
static void a_dirty_topic_is_not_forgotten(void **state)
{
	(void)state;
	open_with((struct topic_limits){ 1 << 30, 20000, AGE });
	append(unit5, 100, 1, 10);
	assert_true(topic_mark_dirty(unit5));
	topic_unsubscribe(topics, unit5, 0);
	now += AGE + 1;
	topiclog_tidy(topics, now);
	for (uint32_t i = 1; i <= 500; i++)
		append(unit6, 200, i, 100);
	topiclog_tidy(topics, now + AGE);
	assert_ptr_equal(topiclog_find(topics, SLICE("requests_unit_{5}")), unit5);
	topic_clean(topics, unit5);
	topiclog_tidy(topics, now);
	assert_null(topiclog_find(topics, SLICE("requests_unit_{5}")));
}

/* One message each to groups whose names are made of `prefix` and a number. */
static void append_to_many(struct slice prefix, unsigned groups, lsn_t lsn, uint32_t len)
{
	char name[300];

	for (unsigned i = 1; i <= groups; i++) {
		int n = snprintf(name, sizeof(name), "%.*s_{%u}", (int)prefix.len, prefix.at, i);

		append(topiclog_topic(topics, (struct slice){ name, (size_t)n }), lsn, i, len);
		assert_in_range(topiclog_bytes(topics), 0, 1 << 20);
	}
}

static void a_small_history_costs_little(void **state)
{
	(void)state;
	append_to_many(SLICE("sendbacks_unit"), 1000, 100, 250 - FRAME);
	assert_int_equal(topiclog_count(topics), 1002);
	assert_in_range(history(), 1000 * 250, 1000 * (250 + 290));
}

static const char long_name[] = "a_name_that_is_much_longer_than_what_is_said_to_the_group_"
				"so_that_names_are_all_that_the_history_costs_and_a_limit_that_counted_"
				"messages_alone_would_let_it_take_many_times_as_much_memory_as_it_may";

static void names_and_positions_count(void **state)
{
	(void)state;
	open_with((struct topic_limits){ 1 << 20, 1 << 20, AGE });
	append_to_many(slice_of(long_name), 20000, 100, 0);
	/* The newest are there. */
	assert_in_range(topiclog_count(topics), (1 << 20) / 600, (1 << 20) / sizeof(long_name));
	assert_in_range(topiclog_bytes(topics), (1 << 20) - 600, 1 << 20);
}

static void visit(unsigned groups)
{
	char name[24];

	for (unsigned i = 0; i < groups; i++) {
		snprintf(name, sizeof(name), "visited_{%u}", i);
		topiclog_topic(topics, slice_of(name));
	}
}

static struct topic *last_written;

static void append_one(void *ctx, struct topic *t)
{
	(void)ctx;
	append(t, 100, 1, 0);
	last_written = t;
}

/* Nothing else is handled meanwhile. */
static void a_tidying_has_an_end(void **state)
{
	(void)state;
	visit(25000);
	topiclog_tidy(topics, now);
	assert_int_equal(topiclog_count(topics), 2 + 5000);
	topiclog_tidy(topics, now);
	assert_int_equal(topiclog_count(topics), 2);
	visit(25000);
	topiclog_each(topics, append_one, NULL);
	now += AGE + 1;
	topiclog_tidy(topics, now);
	assert_reaches_back(last_written, start, true);
	topiclog_tidy(topics, now);
	assert_int_equal(topiclog_count(topics), 2);
}

/* The topics that somebody visited and nothing is in are the first to go. */
static void visits_cost_no_history(void **state)
{
	(void)state;
	open_with((struct topic_limits){ 1 << 20, 100000, AGE });
	append_commits(unit5, 1, 100, 100);
	visit(5000);
	assert_true(topiclog_bytes(topics) > 100000);
	append(unit6, 10100, 1, 10);
	assert_in_range(topiclog_bytes(topics), 90000, 100000);
	assert_reaches_back(unit5, start, true);
	assert_ptr_equal(topiclog_find(topics, SLICE("requests_unit_{5}")), unit5);
}

/* Who comes back to a group that the limit forgot is not told that nothing happened. Those that exist are not touched by it. */
static void a_forgotten_group_does_not_reach_back(void **state)
{
	struct topic *again;

	(void)state;
	open_with((struct topic_limits){ 1 << 20, 1 << 20, AGE });
	append_to_many(SLICE("sendbacks_unit"), 100, 100, 0);
	append_to_many(SLICE("storages_unit"), 10000, 200, 100);
	topiclog_publish(topics, 201);
	assert_null(topiclog_find(topics, SLICE("sendbacks_unit_{7}")));
	again = topiclog_topic(topics, SLICE("sendbacks_unit_{7}"));
	assert_reaches_back(again, start, false);
	assert_reaches_back(again, id_of(100, 6), false);
	assert_reaches_back(again, id_of(201, 0), true);
	assert_reaches_back(unit5, start, true);
	assert_reaches_back(unit6, start, true);
	assert_reaches_back(topiclog_find(topics, SLICE("storages_unit_{10000}")), id_of(200, 9999), true);
}

static void a_heard_group_is_never_forgotten(void **state)
{
	struct cursor c;

	(void)state;
	open_with((struct topic_limits){ 1 << 20, 1 << 20, AGE });
	append(unit5, 50, 1, 10);
	topiclog_publish(topics, 51);
	c = placed(unit5, id_of(50, 1));
	for (unsigned i = 1; i <= 3; i++) {
		append_to_many(SLICE("storages_unit"), 5000, 100 * i, 100);
		now += AGE + 1;
		topiclog_tidy(topics, now);
	}
	topiclog_publish(topics, 301);
	assert_ptr_equal(topiclog_find(topics, SLICE("requests_unit_{5}")), unit5);
	assert_ptr_equal(topiclog_find(topics, SLICE("requests_unit_{6}")), unit6);
	assert_reaches_back(unit5, id_of(50, 1), true);
	assert_reaches_back(unit6, start, true);
	append(unit5, 400, 1, 10);
	topiclog_publish(topics, 401);
	assert_next(&c, no_bound, 0, 400, 1);
	cursor_release(&c);
}

/* Groups that cannot be forgotten do not take all of the history from those that read it. */
static void an_eighth_is_always_history(void **state)
{
	char name[24];
	struct cursor c;

	(void)state;
	open_with((struct topic_limits){ 1 << 20, 64 << 10, AGE });
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "heard_{%u}", i);
		topic_subscribe(topics, topiclog_topic(topics, slice_of(name)), 0);
	}
	assert_true(topiclog_bytes(topics) > 64 << 10);
	c = placed(unit5, start);
	append_commits(unit5, 1, 10, 100);
	append_commits(unit6, 11, 20, 100);
	topiclog_publish(topics, 2001);
	for (unsigned i = 1, run; i <= 10; i += run) {
		struct run r;

		assert_int_equal(cursor_run(&c, 2001, no_bound, 0, &r), CURSOR_HAS_RUN);
		assert_int_equal(r.first.lsn, 100 * i);
		run = r.entries;
		cursor_advance(&c, run);
	}
	cursor_release(&c);
}

/* Whatever its head holds when a transaction begins, and however its messages fill the segments. */
static void a_group_holds_a_transaction_of_seven_eighths(void **state)
{
	static const uint32_t sizes[] = { 100, 1000, 3500, 4000, 4400, 7400, 9000, 22000, 33000, 60000 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		for (unsigned before = 1; before < 900; before += 29) {
			unsigned n = (unsigned)((1 << 20) / 8 * 7 / (sizes[i] + FRAME + 16)), read = 0;
			struct cursor c;
			struct run r;

			open_with((struct topic_limits){ 1 << 20, 256 << 20, AGE });
			topic_subscribe(topics, unit5, 0);
			append_commits(unit5, 1, before, 400);
			topiclog_publish(topics, 100 * before + 1);
			c = placed(unit5, start);
			cursor_to_head(&c, 100 * before + 1, NULL);
			for (unsigned k = 1; k <= n; k++)
				append(unit5, 1000000, k, sizes[i]);
			topiclog_publish(topics, 1000001);
			while (cursor_run(&c, 1000001, no_bound, 0, &r) == CURSOR_HAS_RUN) {
				read += r.entries;
				cursor_advance(&c, r.entries);
			}
			assert_int_equal(read, n);
			assert_in_range(topiclog_bytes(topics), 0, (1 << 20) + 4096);
			cursor_release(&c);
			topiclog_free(topics);
		}
	open_with(roomy);
}

static void a_close_that_is_passed_over_is_noted(void **state)
{
	static const struct missed cases[] = {
		{ 0, LSN_MAX, 4003 }, { 150, 250, 4001 }, { 100, 100, 4000 },
		{ 101, 399, 4001 },   { 201, 399, 0 },    { 500, LSN_MAX, 0 },
	};
	struct cursor c;

	(void)state;
	for (unsigned i = 1; i <= 4; i++) {
		struct entry_tag tag = { .close = i == 3 ? 0 : (uint16_t)(3999 + i) };

		topic_append_tagged(topics, unit5, id_of(100 * i, 1), tag, SLICE("h"), SLICE("payload"), now);
	}
	topiclog_publish(topics, 500);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct missed missed = { cases[i].from, cases[i].to, 0 };

		c = placed(unit5, start);
		cursor_to_head(&c, 500, &missed);
		cursor_release(&c);
		if (missed.close != cases[i].close)
			fail_msg("case %zu: %u", i, missed.close);
	}
}

static void append_resync(void *ctx, struct topic *t)
{
	unsigned *visits = ctx;

	++*visits;
	append(t, 200, 1, 300);
}

/* All topics are written to, more than the limit holds: none of them goes while they are walked. */
static void appending_to_each_keeps_the_limit(void **state)
{
	unsigned visits = 0;
	size_t count;

	(void)state;
	open_with((struct topic_limits){ 1 << 20, 1 << 20, AGE });
	append_to_many(SLICE("storages_unit"), 2000, 100, 100);
	count = topiclog_count(topics);
	topiclog_each(topics, append_resync, &visits);
	assert_int_equal(visits, count);
	topiclog_publish(topics, 201);
	assert_in_range(topiclog_bytes(topics), (1 << 20) - 1000, 1 << 20);
	assert_ptr_equal(topiclog_find(topics, SLICE("requests_unit_{5}")), unit5);
	assert_reaches_back(topiclog_topic(topics, SLICE("storages_unit_{1}")), start, false);
}

/* Where the unpublished is dropped already, its rest is what there is. */
static void the_head_is_there_whatever_was_dropped(void **state)
{
	struct cursor c;
	struct run run;

	(void)state;
	open_with((struct topic_limits){ 8192, 1 << 20, AGE });
	topiclog_publish(topics, 150);
	for (uint32_t i = 1; i <= 500; i++)
		append(unit5, 200, i, 100);
	assert_reaches_back(unit5, id_of(150, 0), false);
	topic_place_at_head(topics, unit5, &c);
	assert_state(&c, CURSOR_AT_END);
	topiclog_publish(topics, 201);
	assert_int_equal(cursor_run(&c, 201, no_bound, 0, &run), CURSOR_HAS_RUN);
	assert_run(&run);
	assert_in_range(run.first.index, 400, 500);
	cursor_release(&c);
}

/* A topic that is made again under the name of a freed one does not pretend to hold what that one had. */
static void assert_last(const struct topic *t, lsn_t lsn, uint32_t index)
{
	assert_int_equal(event_id_compare(topic_last(t), (struct event_id){ lsn, index }), 0);
}

/* Whether it is heard or not, and whether what was appended is still there or not. */
static void the_last_that_was_appended_is_known(void **state)
{
	struct topic *unheard = topiclog_topic(topics, SLICE("unheard"));

	(void)state;
	assert_last(unit5, 0, 0);
	assert_last(unheard, 0, 0);
	append(unit5, 7, 1, 100);
	append(unheard, 7, 2, 100);
	append(unheard, 8, 1, 100);
	assert_last(unit5, 7, 1);
	assert_last(unheard, 8, 1);
	drop_everything();
	assert_last(unit5, 7, 1);
	/* It was forgotten, and who is made anew knows no less. */
	assert_null(topiclog_find(topics, SLICE("unheard")));
	assert_last(topiclog_topic(topics, SLICE("unheard")), 8, 1);
}

static void a_freed_topic_does_not_come_back_complete(void **state)
{
	(void)state;
	topic_unsubscribe(topics, unit5, 0);
	append(unit5, 100, 1, 10);
	topiclog_publish(topics, 101);
	now += AGE + 1;
	topiclog_tidy(topics, now);
	assert_null(topiclog_find(topics, SLICE("requests_unit_{5}")));
	unit5 = topiclog_topic(topics, SLICE("requests_unit_{5}"));
	assert_reaches_back(unit5, start, false);
	assert_reaches_back(unit5, id_of(100, 0), false);
	assert_reaches_back(unit5, id_of(101, 0), true);
}

/* An unheard topic that goes says nothing of what the others still have. */
static void a_freed_topic_takes_nothing_from_the_others(void **state)
{
	struct topic *visited;

	(void)state;
	append(unit5, 100, 1, 10);
	topiclog_publish(topics, 101);
	topiclog_mark(topics, id_of(200, 1));
	topiclog_publish(topics, 201);
	visited = topiclog_topic(topics, SLICE("visited for a moment"));
	topic_subscribe(topics, visited, 0);
	topic_unsubscribe(topics, visited, 0);
	topiclog_tidy(topics, now + 1);
	assert_null(topiclog_find(topics, SLICE("visited for a moment")));
	assert_reaches_back(unit5, start, true);
	assert_reaches_back(topiclog_topic(topics, SLICE("visited for a moment")), id_of(200, 0), false);
}

#define ON_ROOMY_LOG(test) cmocka_unit_test_setup_teardown(test, open_roomy, close_log)
#define ON_ITS_OWN_LOG(test) cmocka_unit_test_teardown(test, close_log)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_ROOMY_LOG(frames_come_back_as_they_went_in),
		ON_ROOMY_LOG(a_tagged_entry_is_a_run_of_its_own),
		ON_ROOMY_LOG(nothing_above_the_published_position_is_seen),
		ON_ROOMY_LOG(a_run_ends_before_an_id),
		ON_ROOMY_LOG(a_run_has_at_most_so_many_bytes_but_one_entry),
		ON_ROOMY_LOG(segments_grow),
		ON_ROOMY_LOG(a_message_may_be_larger_than_a_segment),
		ON_ROOMY_LOG(the_head_is_the_first_unpublished_commit),
		ON_ROOMY_LOG(a_cursor_is_placed_behind_any_id),
		ON_ROOMY_LOG(placing_ends_at_what_was_dropped),
		ON_ROOMY_LOG(what_stands_between_two_ids),
		ON_ROOMY_LOG(nobody_knows_what_stood_where_it_was_dropped),
		ON_ROOMY_LOG(the_floor_is_where_the_history_begins),
		ON_ROOMY_LOG(a_mark_bounds_the_topics_made_later),
		ON_ITS_OWN_LOG(a_group_keeps_its_bytes),
		ON_ITS_OWN_LOG(a_message_larger_than_the_group_stays_until_the_next),
		ON_ITS_OWN_LOG(all_groups_share_the_logs_bytes),
		ON_ROOMY_LOG(age_is_judged_in_parts),
		ON_ROOMY_LOG(a_quiet_group_costs_little),
		ON_ROOMY_LOG(who_had_read_it_all_lost_nothing),
		ON_ITS_OWN_LOG(what_is_dropped_unpublished_is_lost_when_published),
		ON_ROOMY_LOG(a_run_outlives_its_segment),
		ON_ROOMY_LOG(a_cursor_holds_a_chain_until_it_is_released),
		ON_ROOMY_LOG(a_reset_empties_all),
		ON_ROOMY_LOG(topics_are_found_by_name),
		ON_ROOMY_LOG(hubs_subscribe_each_for_itself),
		ON_ROOMY_LOG(a_topic_is_dirty_until_it_is_cleaned),
		ON_ROOMY_LOG(what_is_unpublished_is_known),
		ON_ROOMY_LOG(tidy_frees_unheard_topics),
		ON_ITS_OWN_LOG(a_dirty_topic_is_not_forgotten),
		ON_ROOMY_LOG(a_small_history_costs_little),
		ON_ITS_OWN_LOG(names_and_positions_count),
		ON_ROOMY_LOG(a_tidying_has_an_end),
		ON_ITS_OWN_LOG(visits_cost_no_history),
		ON_ITS_OWN_LOG(a_forgotten_group_does_not_reach_back),
		ON_ROOMY_LOG(the_last_that_was_appended_is_known),
		ON_ITS_OWN_LOG(a_heard_group_is_never_forgotten),
		ON_ITS_OWN_LOG(an_eighth_is_always_history),
		ON_ROOMY_LOG(a_close_that_is_passed_over_is_noted),
		ON_ITS_OWN_LOG(a_group_holds_a_transaction_of_seven_eighths),
		ON_ITS_OWN_LOG(appending_to_each_keeps_the_limit),
		ON_ITS_OWN_LOG(the_head_is_there_whatever_was_dropped),
		ON_ROOMY_LOG(a_freed_topic_does_not_come_back_complete),
		ON_ROOMY_LOG(a_freed_topic_takes_nothing_from_the_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
