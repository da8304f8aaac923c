/* The last messages: what is kept of each, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/watch/ledger.h"

static void add(struct ledger *l, uint64_t lsn, const char *key, const char *groups, size_t n)
{
	struct audit_change change = { .id = { lsn, 0 },
				       .table = "requests",
				       .action = "approved",
				       .key = slice_of(key),
				       .groups = groups,
				       .n_groups = n,
				       .receivers = 3 };

	ledger_add(l, (int64_t)lsn * 10, &change);
}

static void what_was_added_is_found(void **state)
{
	struct ledger *l = ledger_new();
	struct ledger_event e;

	(void)state;
	assert_false(ledger_at(l, 0, &e));
	add(l, 7, "123", "a\0bb\0", 2);
	add(l, 8, "\"x\"", "c\0", 1);
	assert_true(ledger_at(l, 0, &e) && e.id.lsn == 8);
	assert_false(ledger_at(l, 2, &e));
	assert_false(ledger_find(l, (struct event_id){ 7, 1 }, &e));
	assert_true(ledger_find(l, (struct event_id){ 7, 0 }, &e));
	assert_true(e.has_texts && e.at == 70 && e.receivers == 3 && e.n_groups == 2 && e.n_kept == 2);
	assert_string_equal(e.table, "requests");
	assert_string_equal(e.action, "approved");
	assert_string_equal(e.key, "123");
	assert_string_equal(e.groups, "a");
	assert_string_equal(e.groups + 2, "bb");
	ledger_free(l);
}

static void the_oldest_are_forgotten(void **state)
{
	struct ledger *l = ledger_new();
	struct ledger_event e;

	(void)state;
	for (uint64_t i = 1; i <= LEDGER_EVENTS + 5; i++)
		add(l, i, "1", "g\0", 1);
	assert_false(ledger_find(l, (struct event_id){ 5, 0 }, &e));
	assert_true(ledger_find(l, (struct event_id){ 6, 0 }, &e));
	assert_string_equal(e.groups, "g");
	assert_false(ledger_at(l, LEDGER_EVENTS, &e));
	ledger_free(l);
}

/* Names of old messages make room for those of new ones; the numbers stay. */
static void names_go_before_numbers(void **state)
{
	struct ledger *l = ledger_new();
	char key[901];
	struct ledger_event e;
	size_t without = 0;

	(void)state;
	memset(key, 'k', 900);
	key[900] = '\0';
	for (uint64_t i = 1; i <= LEDGER_EVENTS; i++)
		add(l, i, key, "g\0", 1);
	for (size_t i = 0; ledger_at(l, i, &e); i++) {
		assert_int_equal(e.receivers, 3);
		if (!e.has_texts)
			without++;
		else
			assert_true(without == 0 && strcmp(e.key, key) == 0 && strcmp(e.groups, "g") == 0);
	}
	assert_in_range(without, 7000, 8500);
	ledger_free(l);
}

static void what_is_too_long_is_counted(void **state)
{
	struct ledger *l = ledger_new();
	char many[200 * 10], *key = malloc(LEDGER_TEXT + 1);
	struct ledger_event e;

	(void)state;
	for (unsigned i = 0; i < 200; i++)
		snprintf(many + i * 10, 10, "group_%03u", i);
	add(l, 1, "1", many, 200);
	assert_true(ledger_find(l, (struct event_id){ 1, 0 }, &e));
	assert_int_equal(e.n_groups, 200);
	assert_in_range(e.n_kept, 90, 102);
	memset(key, 'k', LEDGER_TEXT);
	key[LEDGER_TEXT] = '\0';
	add(l, 2, key, "g\0", 1);
	assert_true(ledger_find(l, (struct event_id){ 2, 0 }, &e));
	assert_true(!e.has_texts && e.n_groups == 1);
	free(key);
	ledger_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_added_is_found),
		cmocka_unit_test(the_oldest_are_forgotten),
		cmocka_unit_test(names_go_before_numbers),
		cmocka_unit_test(what_is_too_long_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
