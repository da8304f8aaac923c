/* What a process may have, and what a record takes of it. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "walpush/base/mem.h"
#include "walpush/base/memory.h"

#define MIB (UINT64_C(1) << 20)

static void the_cgroup_is_found_in_what_the_kernel_prints(void **state)
{
	static const struct {
		const char *text, *path; /* NULL: none */
		bool v2;
	} cases[] = {
		{ "0::/\n", "/", true },
		{ "0::/kubepods.slice/pod1/x.scope\n", "/kubepods.slice/pod1/x.scope", true },
		{ "9:name=systemd:/a\n4:memory:/b/c\n0::/d\n", "/b/c", false },
		{ "4:cpu,memory,pids:/b\n", "/b", false },
		{ "4:cpu,memory:/with:colon\n", "/with:colon", false },
		{ "4:memoryx:/b\n5:cpu:/c\n", NULL, false },
		{ "0::/d\n4:memory:/b", "/b", false }, /* both, and no newline at the end */
		{ "garbage\n", NULL, false },
		{ "\n\n:\n", NULL, false },
		{ "", NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct slice path = { 0 };
		bool v2 = false, found = memory_cgroup_path(slice_of(cases[i].text), &path, &v2);

		if (found != (cases[i].path != NULL))
			fail_msg("case %zu: %d", i, found);
		if (found && (!slice_equal(path, slice_of(cases[i].path)) || v2 != cases[i].v2))
			fail_msg("case %zu: %.*s, %d", i, (int)path.len, path.at, v2);
	}
}

static void a_record_takes_the_next_power_of_two_and_itself_and_a_tenth(void **state)
{
	(void)state;
	assert_int_equal(memory_for_record(100 * MIB), 128 * MIB + 110 * MIB);
	assert_int_equal(memory_for_record(128 * MIB), 128 * MIB + 128 * MIB + 128 * MIB / 10);
	assert_int_equal(memory_for_record(1), MIB + 1);
}

static void what_is_configured_counts(void **state)
{
	(void)state;
	assert_int_equal(memory_record_bytes(7), 7);
	assert_true(memory_record_bytes(0) <= MEMORY_RECORD_BYTES);
	assert_true(memory_limit() == MEMORY_UNLIMITED || memory_record_bytes(0) <= memory_limit() / 3 + 1);
}

/* --- relief --------------------------------------------------------------------------------------------------------- */

static unsigned calls;

static bool lifts(void)
{
	struct rlimit limit;

	calls++;
	getrlimit(RLIMIT_DATA, &limit);
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_DATA, &limit) == 0;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMITS_ARE_OURS                                                                                                \
	false /* the sanitizer's own memory would be under the limit too, and it ends the process then */
#else
#define LIMITS_ARE_OURS true
#endif

/* Malloc keeps what is small; this is not. */
static void an_allocation_that_fails_is_tried_again_behind_the_relief(void **state)
{
	struct rlimit before, low;
	void *p, *q;

	(void)state;
	if (!LIMITS_ARE_OURS)
		skip();
	getrlimit(RLIMIT_DATA, &before);
	if (before.rlim_cur != RLIM_INFINITY)
		skip();
	mem_set_relief(lifts);
	low = (struct rlimit){ 64 * MIB, before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_DATA, &low), 0);
	p = mem_new_array(256, MIB);
	assert_int_equal(calls, 1);
	assert_int_equal(setrlimit(RLIMIT_DATA, &low), 0);
	q = mem_resize(NULL, 256, MIB);
	assert_int_equal(calls, 2);
	free(p);
	free(q);
	setrlimit(RLIMIT_DATA, &before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_cgroup_is_found_in_what_the_kernel_prints),
		cmocka_unit_test(a_record_takes_the_next_power_of_two_and_itself_and_a_tenth),
		cmocka_unit_test(what_is_configured_counts),
		cmocka_unit_test(an_allocation_that_fails_is_tried_again_behind_the_relief),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
