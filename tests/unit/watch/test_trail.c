/* The last minutes for a person, and what is said once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/base/repeat.h"
#include "walpush/watch/trail.h"

static void a_sample_holds_what_was_gained_in_its_second(void **state)
{
	struct metrics *m = metrics_new(1);
	struct metrics_counts *hub = metrics_of_hub(m, 0);
	struct trail *t = trail_new();

	(void)state;
	metrics_add(hub, METRICS_DELIVERIES, 1000); /* before anybody looked */
	trail_tick(t, m, 0);
	assert_int_equal(trail_n_samples(t), 0);
	metrics_add(hub, METRICS_DELIVERIES, 3);
	metrics_event(m, "requests", "created");
	metrics_observe(hub, METRICS_COMMIT_TO_WRITTEN, 900, 99);
	metrics_observe(hub, METRICS_COMMIT_TO_WRITTEN, 40900, 1);
	trail_tick(t, m, 17);
	trail_tick(t, m, 0);
	assert_int_equal(trail_n_samples(t), 2);
	assert_true(trail_sample(t, 0)->deliveries == 3 && trail_sample(t, 0)->messages == 1);
	assert_true(trail_sample(t, 0)->behind_bytes == 17);
	assert_true(trail_sample(t, 0)->written_ms > 1.29 && trail_sample(t, 0)->written_ms < 1.31);
	assert_true(trail_sample(t, 0)->written_p99_ms == 1);
	assert_true(trail_sample(t, 1)->deliveries == 0 && trail_sample(t, 1)->written_ms < 0);
	/* What was fast before says nothing of this second. */
	metrics_observe(hub, METRICS_COMMIT_TO_WRITTEN, 40900, 1);
	trail_tick(t, m, 0);
	assert_true(trail_sample(t, 2)->written_p99_ms > 40);
	trail_free(t);
	metrics_free(m);
}

static void the_oldest_samples_go(void **state)
{
	struct metrics *m = metrics_new(1);
	struct trail *t = trail_new();

	(void)state;
	for (int i = 0; i <= TRAIL_SAMPLES + 7; i++)
		trail_tick(t, m, i);
	assert_int_equal(trail_n_samples(t), TRAIL_SAMPLES);
	assert_true(trail_sample(t, 0)->behind_bytes == 8);
	assert_true(trail_sample(t, TRAIL_SAMPLES - 1)->behind_bytes == TRAIL_SAMPLES + 7);
	trail_free(t);
	metrics_free(m);
}

static void the_last_events_stand_there_cut_between_characters(void **state)
{
	struct audit_change change = { .table = "t", .action = "updated", .groups = "g", .n_groups = 1 };
	struct trail *t = trail_new();
	char key[200];

	(void)state;
	assert_null(trail_last(t, 0));
	for (unsigned i = 1; i <= TRAIL_EVENTS + 3; i++) {
		change.id.index = i;
		snprintf(key, sizeof(key), "%*s", (int)(56 + i), "");
		for (char *c = key; *c; c++)
			*c = 'k';
		strcat(key, "äöüß");
		change.key = slice_of(key);
		trail_event(t, i, &change);
	}
	assert_int_equal(trail_last(t, 0)->id.index, TRAIL_EVENTS + 3);
	assert_int_equal(trail_last(t, TRAIL_EVENTS - 1)->id.index, 4);
	assert_null(trail_last(t, TRAIL_EVENTS));
	for (size_t i = 0; i < TRAIL_EVENTS; i++) {
		const char *text = trail_last(t, i)->key;
		size_t len = strlen(text);

		assert_true(len < TRAIL_TEXT);
		assert_string_equal(text + len - 3, "…");
		assert_int_equal((len - 3 - strspn(text, "k")) % 2, 0); /* each of the others has two bytes */
	}
	trail_free(t);
}

static void the_same_trouble_is_said_now_and_again(void **state)
{
	struct repeat r = { 0 };
	unsigned times;

	(void)state;
	assert_int_equal(repeat_level(&r, LOG_LEVEL_WARN, "down", 1, &times), LOG_LEVEL_WARN);
	assert_int_equal(times, 1);
	assert_int_equal(repeat_level(&r, LOG_LEVEL_WARN, "down", 2, &times), LOG_LEVEL_DEBUG);
	assert_int_equal(repeat_level(&r, LOG_LEVEL_WARN, "down", REPEAT_EVERY, &times), LOG_LEVEL_DEBUG);
	assert_int_equal(repeat_level(&r, LOG_LEVEL_WARN, "down", REPEAT_EVERY + 1, &times), LOG_LEVEL_WARN);
	assert_int_equal(times, 3);
	assert_int_equal(repeat_level(&r, LOG_LEVEL_ERROR, "gone", REPEAT_EVERY + 2, &times), LOG_LEVEL_ERROR);
	repeat_end(&r);
	assert_int_equal(repeat_level(&r, LOG_LEVEL_WARN, "gone", REPEAT_EVERY + 3, &times), LOG_LEVEL_WARN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sample_holds_what_was_gained_in_its_second),
		cmocka_unit_test(the_oldest_samples_go),
		cmocka_unit_test(the_last_events_stand_there_cut_between_characters),
		cmocka_unit_test(the_same_trouble_is_said_now_and_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
