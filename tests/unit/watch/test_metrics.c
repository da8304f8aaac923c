#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <pthread.h>

#include "metrics_impl.h"

#define DOCUMENT "docs/metrics.md"

static char *rendered(const struct metrics *m)
{
	struct buf out = { 0 };

	metrics_render(m, &out);
	return buf_steal(&out);
}

static void assert_has_line(const char *text, const char *line)
{
	size_t len = strlen(line);

	for (const char *at = text; (at = strstr(at, line)); at += len)
		if ((at == text || at[-1] == '\n') && at[len] == '\n')
			return;
	fail_msg("no line \"%s\" in:\n%s", line, text);
}

static void every_row_is_sound(void **state)
{
	(void)state;
	for (unsigned f = 0; f < METRICS_FAMILIES; f++) {
		const struct metrics_row *row = &metrics_rows[f];
		size_t len;

		assert_non_null(row->name);
		assert_non_null(row->help);
		len = strlen(row->name);
		assert_int_equal(row->type == METRICS_COUNTER, len > 6 && strcmp(row->name + len - 6, "_total") == 0);
		assert_null(row->values[METRICS_WIDTH - 1]);
		assert_int_equal(row->help[strlen(row->help) - 1], '.');
		assert_null(strchr(row->help, '\n'));
		assert_null(strchr(row->help, '|'));
		for (unsigned other = 0; other < f; other++)
			assert_string_not_equal(row->name, metrics_rows[other].name);
	}
}

static void counters_of_all_threads_are_added_up(void **state)
{
	struct metrics *m = metrics_new(2);
	char *text;

	(void)state;
	metrics_add(metrics_of_hub(m, 0), METRICS_DELIVERIES, 40);
	metrics_add(metrics_of_hub(m, 1), METRICS_DELIVERIES, 2);
	metrics_count(metrics_of_hub(m, 1), METRICS_REFUSALS, "origin");
	metrics_count(metrics_of_tap(m), METRICS_REFUSALS, "origin");
	metrics_count(metrics_of_tap(m), METRICS_REFUSALS, "of a kind that nobody thought of");
	metrics_count_number(metrics_of_hub(m, 0), METRICS_CLOSES, 4401);
	metrics_count_number(metrics_of_hub(m, 0), METRICS_CLOSES, 4000);
	text = rendered(m);
	assert_has_line(text, "walpush_deliveries_total 42");
	assert_has_line(text, "walpush_refusals_total{reason=\"origin\"} 2");
	assert_has_line(text, "walpush_refusals_total{reason=\"other\"} 1");
	assert_has_line(text, "walpush_refusals_total{reason=\"path\"} 0");
	assert_has_line(text, "walpush_closes_total{code=\"4401\"} 1");
	assert_has_line(text, "walpush_closes_total{code=\"other\"} 1");
	assert_int_equal(metrics_total(m, METRICS_REFUSALS), 3);
	free(text);
	metrics_free(m);
}

static void gauges_of_hubs_stand_side_by_side(void **state)
{
	struct metrics *m = metrics_new(2);
	unsigned requests = metrics_stream(m, "requests"), crates = metrics_stream(m, "crates");
	char *text;

	(void)state;
	assert_int_equal(metrics_stream(m, "requests"), requests);
	metrics_add_at(metrics_of_hub(m, 0), METRICS_CONNECTIONS, requests, 3);
	metrics_add_at(metrics_of_hub(m, 0), METRICS_CONNECTIONS, requests, -1);
	metrics_add_at(metrics_of_hub(m, 1), METRICS_CONNECTIONS, crates, 1);
	metrics_set(metrics_of_hub(m, 1), METRICS_READER_LAG_SECONDS, 1500000);
	text = rendered(m);
	assert_has_line(text, "walpush_connections{stream=\"requests\",hub=\"0\"} 2");
	assert_has_line(text, "walpush_connections{stream=\"crates\",hub=\"0\"} 0");
	assert_has_line(text, "walpush_connections{stream=\"crates\",hub=\"1\"} 1");
	assert_has_line(text, "walpush_reader_lag_seconds{hub=\"1\"} 1.500000");
	free(text);
	metrics_free(m);
}

static void histograms_are_cumulative(void **state)
{
	struct metrics *m = metrics_new(1);
	struct metrics_counts *c = metrics_of_tap(m);
	char *text;

	(void)state;
	metrics_observe(c, METRICS_LOOKUP_SECONDS, -7, 1);
	metrics_observe(c, METRICS_LOOKUP_SECONDS, 250, 1); /* a bound belongs to its bucket */
	metrics_observe(c, METRICS_LOOKUP_SECONDS, 251, 2);
	metrics_observe(c, METRICS_LOOKUP_SECONDS, 11000000, 1);
	text = rendered(m);
	assert_has_line(text, "walpush_lookup_seconds_bucket{le=\"0.00025\"} 2");
	assert_has_line(text, "walpush_lookup_seconds_bucket{le=\"0.0005\"} 4");
	assert_has_line(text, "walpush_lookup_seconds_bucket{le=\"10\"} 4");
	assert_has_line(text, "walpush_lookup_seconds_bucket{le=\"+Inf\"} 5");
	assert_has_line(text, "walpush_lookup_seconds_sum 11.000752");
	assert_has_line(text, "walpush_lookup_seconds_count 5");
	assert_int_equal(metrics_total(m, METRICS_LOOKUP_SECONDS), 5);
	free(text);
	metrics_free(m);
}

static void what_is_not_known_is_left_out(void **state)
{
	struct metrics *m = metrics_new(1);
	char *text;

	(void)state;
	metrics_gauge(m, METRICS_SLOT_RETAINED, 0, 16777216);
	metrics_gauge(m, METRICS_BEHIND_BYTES, 2, 0.5);
	text = rendered(m);
	assert_has_line(text, "walpush_slot_retained_bytes 16777216");
	assert_has_line(text, "walpush_behind_bytes{position=\"confirmed\"} 0.5");
	assert_null(strstr(text, "position=\"received\""));
	assert_null(strstr(text, "\nwalpush_slot_safe_wal_bytes "));
	assert_has_line(text, "walpush_build_info{version=\"" WALPUSH_VERSION "\"} 1");
	metrics_gauge(m, METRICS_SLOT_RETAINED, 0, NAN);
	free(text);
	text = rendered(m);
	assert_null(strstr(text, "\nwalpush_slot_retained_bytes "));
	free(text);
	metrics_free(m);
}

/* A reload may bring new names again and again; what is printed stays bounded. */
static void names_are_bounded(void **state)
{
	struct metrics *m = metrics_new(1);
	char name[32], *text;

	(void)state;
	metrics_event(m, "a \"b\"\\\n", "created");
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "name%u", i);
		metrics_event(m, name, "updated");
		metrics_add_at(metrics_of_hub(m, 0), METRICS_CONNECTIONS, metrics_stream(m, name), 1);
	}
	text = rendered(m);
	assert_has_line(text, "walpush_events_total{table=\"a \\\"b\\\"\\\\\\n\",action=\"created\"} 1");
	assert_has_line(text, "walpush_events_total{table=\"name253\",action=\"updated\"} 1");
	assert_has_line(text, "walpush_events_total{table=\"other\",action=\"other\"} 746");
	assert_int_equal(metrics_total(m, METRICS_MESSAGES), 1001);
	assert_has_line(text, "walpush_connections{stream=\"name30\",hub=\"0\"} 1");
	assert_has_line(text, "walpush_connections{stream=\"other\",hub=\"0\"} 969");
	free(text);
	metrics_free(m);
}

#define INCREMENTS 200000

static void *count_much(void *block)
{
	for (unsigned i = 0; i < INCREMENTS; i++)
		metrics_add(block, METRICS_DELIVERIES, 1);
	return NULL;
}

/* ThreadSanitizer looks on. */
static void hubs_count_while_the_tap_reads(void **state)
{
	struct metrics *m = metrics_new(2);
	pthread_t threads[2];
	uint64_t before = 0;

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_much, metrics_of_hub(m, i)), 0);
	while (before < INCREMENTS) {
		uint64_t now = metrics_total(m, METRICS_DELIVERIES);

		assert_true(now >= before);
		before = now;
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(metrics_total(m, METRICS_DELIVERIES), 2 * INCREMENTS);
	assert_int_equal((uintptr_t)metrics_of_hub(m, 1) % 64, 0);
	metrics_free(m);
}

static void the_document_is_current(void **state)
{
	struct buf now = { 0 }, kept = { 0 };
	FILE *f;

	(void)state;
	metrics_document(&now);
	if (getenv("WALPUSH_UPDATE_DOCS")) {
		f = fopen(DOCUMENT, "w");
		assert_non_null(f);
		assert_int_equal(fwrite(now.data, 1, now.len, f), now.len);
		assert_int_equal(fclose(f), 0);
	}
	f = fopen(DOCUMENT, "r");
	assert_non_null(f);
	kept.len = fread(buf_reserve(&kept, 65536), 1, 65535, f);
	kept.data[kept.len] = '\0';
	fclose(f);
	if (strcmp(kept.data, now.data) != 0)
		fail_msg(DOCUMENT " is not current: run WALPUSH_UPDATE_DOCS=1 build/dev/unit/watch/test_metrics");
	buf_fini(&now);
	buf_fini(&kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_is_sound),
		cmocka_unit_test(counters_of_all_threads_are_added_up),
		cmocka_unit_test(gauges_of_hubs_stand_side_by_side),
		cmocka_unit_test(histograms_are_cumulative),
		cmocka_unit_test(what_is_not_known_is_left_out),
		cmocka_unit_test(names_are_bounded),
		cmocka_unit_test(hubs_count_while_the_tap_reads),
		cmocka_unit_test(the_document_is_current),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
