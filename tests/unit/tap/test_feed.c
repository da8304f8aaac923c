/* What gets into the logs: resync of a section, of rows that were skipped, and what may be dropped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "mapping.h"
#include "parts.h"
#include "walpush/base/resync.h"

#define S 1000000
#define UNIT_1 SLICE("requests_unit_{1}")
#define CRATES_1 SLICE("crates_unit_{1}")

struct world {
	struct mapping mapping;
	struct tap tap;
};

static void open_with(struct world *w, const char *more)
{
	struct buf conf = { 0 };

	*w = (struct world){ 0 };
	buf_addf(&conf, MAPPING_CONF "%s", more);
	mapping_open(&w->mapping, conf.data);
	buf_fini(&conf);
	w->tap.loop = event_base_new();
	w->tap.metrics = metrics_new(1);
	w->tap.counts = metrics_of_tap(w->tap.metrics);
	w->tap.now.conf = w->mapping.conf;
	w->tap.now.plain = w->mapping.rules;
	tap_feed_init(&w->tap);
}

static void close_world(struct world *w)
{
	tap_feed_fini(&w->tap);
	metrics_free(w->tap.metrics);
	event_base_free(w->tap.loop);
	mapping_close(&w->mapping);
}

static void append(struct world *w, struct slice group, struct event_id id, int64_t now)
{
	struct topiclog *log = w->tap.now.log;

	topic_append(log, topiclog_topic(log, group), id, SLICE("h"), SLICE("p"), now);
}

/* How many entries the log has, and the tag of its last one. */
static unsigned entries(struct world *w, struct slice group, struct entry_tag *last)
{
	struct topiclog *log = w->tap.now.log;
	struct topic *topic = topiclog_find(log, group);
	struct cursor c = { 0 };
	struct run run;
	unsigned n = 0;

	*last = (struct entry_tag){ 0 };
	if (!topic)
		return 0;
	topic_subscribe(log, topic, 0);
	assert_true(topic_place(log, topic, (struct event_id){ 0 }, &c));
	while (cursor_run(&c, LSN_MAX, (struct event_id){ LSN_MAX, 0 }, 1 << 20, &run) == CURSOR_HAS_RUN) {
		n += run.entries;
		*last = run.tag;
		cursor_advance(&c, run.entries);
	}
	cursor_release(&c);
	topic_unsubscribe(log, topic, 0);
	return n;
}

static void assert_entries(struct world *w, struct slice group, unsigned n, enum entry_kind kind, unsigned reason,
			   unsigned close)
{
	struct entry_tag last;

	assert_int_equal(entries(w, group, &last), n);
	assert_int_equal(last.kind, kind);
	assert_int_equal(last.reason, reason);
	assert_int_equal(last.close, close);
}

static void a_mark_is_in_the_logs_that_the_section_could_name(void **state)
{
	struct feed_mark mark = { .id = { 100, 2 }, .section = "requests", .reason = "unknown" };
	struct world w;

	(void)state;
	open_with(&w, "");
	append(&w, UNIT_1, (struct event_id){ 90, 1 }, S);
	append(&w, CRATES_1, (struct event_id){ 90, 2 }, S);
	tap_feed_mark(&w.tap, &mark, S);
	assert_entries(&w, UNIT_1, 2, ENTRY_REFETCH, resync_reason("unknown"), 0);
	assert_entries(&w, CRATES_1, 1, ENTRY_MESSAGE, 0, 0);
	mark = (struct feed_mark){ .id = { 101, 2 }, .section = "requests", .reason = "unknown", .lookup_only = true };
	tap_feed_mark(&w.tap, &mark, S); /* its template names no {lookup.x} */
	assert_entries(&w, UNIT_1, 2, ENTRY_REFETCH, resync_reason("unknown"), 0);
	close_world(&w);
}

static void a_skipped_row_is_in_the_logs_of_its_sections(void **state)
{
	struct feed_skipped skipped = { .id = { 100, 2 }, .sections = SLICE("requests\0") };
	struct world w;

	(void)state;
	open_with(&w, "");
	append(&w, UNIT_1, (struct event_id){ 90, 1 }, S);
	append(&w, CRATES_1, (struct event_id){ 90, 2 }, S);
	assert_true(tap_feed_skipped(&w.tap, &skipped, S));
	assert_entries(&w, UNIT_1, 2, ENTRY_REFETCH, RESYNC_SKIPPED, 0);
	assert_entries(&w, CRATES_1, 1, ENTRY_MESSAGE, 0, 0);
	close_world(&w);
}

/* Of several sections, and of everything, each log gets it once: the ids of a log grow. */
static void a_log_that_has_it_does_not_get_it_again(void **state)
{
	struct feed_skipped skipped = {
		.id = { 100, 2 },
		.everything = true,
		.sections = SLICE("requests\0crates\0"),
		.closes = SLICE("4001\0requests_unit_{1}\0"),
	};
	struct world w;

	(void)state;
	open_with(&w, "");
	append(&w, UNIT_1, (struct event_id){ 90, 1 }, S);
	append(&w, CRATES_1, (struct event_id){ 100, 5 }, S);
	append(&w, SLICE("other"), (struct event_id){ 80, 1 }, S);
	assert_true(tap_feed_skipped(&w.tap, &skipped, S));
	assert_entries(&w, UNIT_1, 2, ENTRY_REFETCH, RESYNC_SKIPPED, 4001);
	assert_entries(&w, CRATES_1, 1, ENTRY_MESSAGE, 0, 0); /* it has a later message of this transaction */
	assert_entries(&w, SLICE("other"), 2, ENTRY_REFETCH, RESYNC_SKIPPED, 0);
	close_world(&w);
}

static void a_section_that_is_unknown_changes_nothing(void **state)
{
	struct feed_skipped skipped = { .id = { 100, 2 }, .everything = true, .sections = SLICE("requests\0gone\0") };
	struct world w;

	(void)state;
	open_with(&w, "");
	append(&w, UNIT_1, (struct event_id){ 90, 1 }, S);
	assert_false(tap_feed_skipped(&w.tap, &skipped, S));
	assert_entries(&w, UNIT_1, 1, ENTRY_MESSAGE, 0, 0);
	close_world(&w);
}

/* A hub that the scheduler delays, or a connection that waits for its answer, still needs them. */
static void without_replay_messages_live_for_ten_seconds(void **state)
{
	struct topiclog *log;
	struct cursor c;
	struct world w;

	(void)state;
	open_with(&w, "replay = { seconds = 0 }\n");
	log = w.tap.now.log;
	append(&w, UNIT_1, (struct event_id){ 90, 1 }, 1 * S);
	topiclog_tidy(log, 10 * S);
	assert_entries(&w, UNIT_1, 1, ENTRY_MESSAGE, 0, 0);
	topic_subscribe(log, topiclog_find(log, UNIT_1), 0); /* or it would be forgotten */
	topiclog_tidy(log, 12 * S);
	assert_false(topic_place(log, topiclog_find(log, UNIT_1), (struct event_id){ 0 }, &c));
	close_world(&w);
}

static void with_replay_they_live_as_long_as_it_says(void **state)
{
	struct world w;

	(void)state;
	open_with(&w, "replay = { seconds = 60 }\n");
	append(&w, UNIT_1, (struct event_id){ 90, 1 }, 1 * S);
	topiclog_tidy(w.tap.now.log, 60 * S);
	assert_entries(&w, UNIT_1, 1, ENTRY_MESSAGE, 0, 0);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mark_is_in_the_logs_that_the_section_could_name),
		cmocka_unit_test(a_skipped_row_is_in_the_logs_of_its_sections),
		cmocka_unit_test(a_log_that_has_it_does_not_get_it_again),
		cmocka_unit_test(a_section_that_is_unknown_changes_nothing),
		cmocka_unit_test(without_replay_messages_live_for_ten_seconds),
		cmocka_unit_test(with_replay_they_live_as_long_as_it_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
