/* Which messages a hub has written: counted by run, found by id and log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "sent.h"

static char topics[3]; /* their addresses */
#define TOPIC(i) ((struct topic *)(void *)&topics[i])

static void note(struct sent *s, int topic, lsn_t first, lsn_t last)
{
	struct run run = { .first = { first, 1 }, .last = { last, 1 } };

	sent_note(s, TOPIC(topic), &run);
}

static struct mail_traced find(const struct sent *s, lsn_t lsn, int n, const int *in)
{
	struct mail_trace *trace = calloc(1, sizeof(*trace) + 3 * sizeof(struct topic *));
	struct mail_traced found;

	trace->id = (struct event_id){ lsn, 1 };
	for (int i = 0; i < n; i++)
		trace->topics[trace->n++] = TOPIC(in[i]);
	sent_find(s, trace, &found);
	free(trace);
	return found;
}

static void a_run_to_many_is_one_cell(void **state)
{
	struct sent s = { 0 };
	struct mail_traced found;

	(void)state;
	sent_begin(&s, true);
	for (int i = 0; i < 1000; i++)
		note(&s, 0, 5, 7);
	assert_int_equal(s.n, 1);
	note(&s, 1, 6, 6);
	sent_end(&s);
	sent_begin(&s, true);
	note(&s, 0, 5, 7); /* one that read later */
	sent_end(&s);
	found = find(&s, 6, 1, (int[]){ 0 });
	assert_int_equal(found.n, 1001);
	assert_true(found.first > 0 && found.first <= found.last);
	assert_int_equal(find(&s, 6, 2, (int[]){ 0, 1 }).n, 1002);
	assert_int_equal(find(&s, 6, 1, (int[]){ 1 }).n, 1);
	sent_fini(&s);
}

/* An id between two others of a run that is of another log was not in this run. */
static void other_logs_and_other_ids_do_not_count(void **state)
{
	struct sent s = { 0 };

	(void)state;
	assert_int_equal(find(&s, 6, 1, (int[]){ 0 }).n, 0);
	sent_begin(&s, true);
	note(&s, 0, 5, 7);
	sent_end(&s);
	assert_int_equal(find(&s, 6, 1, (int[]){ 2 }).n, 0);
	assert_int_equal(find(&s, 4, 1, (int[]){ 0 }).n, 0);
	assert_int_equal(find(&s, 8, 1, (int[]){ 0 }).n, 0);
	assert_int_equal(find(&s, 8, 1, (int[]){ 0 }).last, 0);
	sent_fini(&s);
}

static void the_oldest_are_forgotten(void **state)
{
	struct sent s = { 0 };

	(void)state;
	for (lsn_t i = 1; i <= SENT_RUNS + 3; i++) {
		sent_begin(&s, true);
		note(&s, 0, i, i);
		sent_end(&s);
	}
	assert_int_equal(find(&s, 3, 1, (int[]){ 0 }).n, 0);
	assert_int_equal(find(&s, 4, 1, (int[]){ 0 }).n, 1);
	assert_int_equal(find(&s, SENT_RUNS + 3, 1, (int[]){ 0 }).n, 1);
	sent_fini(&s);
}

static void nothing_is_noted_while_it_is_off(void **state)
{
	struct sent s = { 0 };

	(void)state;
	sent_begin(&s, false);
	note(&s, 0, 5, 7);
	sent_end(&s);
	assert_null(s.runs);
	sent_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_to_many_is_one_cell),
		cmocka_unit_test(other_logs_and_other_ids_do_not_count),
		cmocka_unit_test(the_oldest_are_forgotten),
		cmocka_unit_test(nothing_is_noted_while_it_is_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
