/* The table of names: what went in is found, what was removed is not, at every size, and no call moves more than a slot. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "walpush/base/nametab.h"

#define NAMES 5000
#define BYTES_EACH 10 /* 8 for its slot, and a share of what the blocks cost */
#define BYTES_LEAST 2000

struct thing {
	struct nametab_node node;
	char name[24];
};

static struct thing things[NAMES];
static struct nametab tab;

static struct thing *find(const char *name)
{
	struct nametab_node *node = nametab_chain(&tab, nametab_hash(slice_of(name)));

	while (node && strcmp(((struct thing *)(void *)node)->name, name) != 0)
		node = node->next;
	return (struct thing *)(void *)node;
}

static void add(size_t i)
{
	snprintf(things[i].name, sizeof(things[i].name), "requests_unit_{%zu}", i);
	nametab_add(&tab, &things[i].node, nametab_hash(slice_of(things[i].name)));
}

/* Those from `first` to before `end` are in it, and no others. */
static void assert_holds(size_t first, size_t end)
{
	size_t seen = 0;

	assert_int_equal(tab.n, end - first);
	for (size_t i = 0; i < NAMES; i++)
		if (things[i].name[0])
			assert_ptr_equal(find(things[i].name), i >= first && i < end ? &things[i] : NULL);
	for (size_t i = 0; i < tab.n; i++)
		for (const struct nametab_node *node = nametab_slot(&tab, i); node; node = node->next)
			seen++;
	assert_int_equal(seen, end - first);
	assert_in_range(nametab_bytes(&tab), 0, (end - first) * BYTES_EACH + (end > first ? BYTES_LEAST : 0));
}

static int forget_all(void **state)
{
	(void)state;
	for (size_t i = 0; i < NAMES; i++)
		if (things[i].name[0] && find(things[i].name))
			nametab_remove(&tab, &things[i].node);
	memset(things, 0, sizeof(things));
	return 0;
}

static void an_empty_one_holds_nothing(void **state)
{
	(void)state;
	assert_null(find("requests_unit_{1}"));
	assert_int_equal(nametab_bytes(&tab), 0);
}

static void it_grows_and_shrinks(void **state)
{
	(void)state;
	for (size_t i = 0; i < NAMES; i++) {
		add(i);
		if (i < 300 || i % 577 == 0)
			assert_holds(0, i + 1);
	}
	for (size_t i = 0; i < NAMES; i++) {
		nametab_remove(&tab, &things[i].node);
		if (NAMES - i < 300 || i % 577 == 0)
			assert_holds(i + 1, NAMES);
	}
	assert_int_equal(nametab_bytes(&tab), 0);
}

static void names_of_one_hash_stand_side_by_side(void **state)
{
	(void)state;
	for (size_t i = 0; i < 9; i++)
		nametab_add(&tab, &things[i].node, 77);
	for (size_t i = 0; i < 9; i += 2)
		nametab_remove(&tab, &things[i].node);
	for (size_t i = 1; i < 9; i += 2) {
		const struct nametab_node *node = nametab_chain(&tab, 77);

		while (node && node != &things[i].node)
			node = node->next;
		assert_ptr_equal(node, &things[i].node);
	}
	for (size_t i = 1; i < 9; i += 2)
		nametab_remove(&tab, &things[i].node);
	assert_int_equal(tab.n, 0);
}

/* A name that is added moves those of one slot: few, whatever the table holds. */
static void growing_moves_few(void **state)
{
	size_t longest = 0;

	(void)state;
	for (size_t i = 0; i < NAMES; i++)
		add(i);
	for (size_t i = 0; i < tab.n; i++) {
		size_t length = 0;

		for (const struct nametab_node *node = nametab_slot(&tab, i); node; node = node->next)
			length++;
		longest = length > longest ? length : longest;
	}
	assert_in_range(longest, 1, 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_one_holds_nothing),
		cmocka_unit_test_teardown(it_grows_and_shrinks, forget_all),
		cmocka_unit_test(names_of_one_hash_stand_side_by_side),
		cmocka_unit_test_teardown(growing_moves_few, forget_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
