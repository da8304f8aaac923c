/*
 * The topic logs with millions of groups: what the process takes of the machine's memory is what the limit says, and tidying what nothing
 * expires in costs nothing. Alone in its process, whose memory is the log's.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "pattern.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#endif

#define MIB ((size_t)1 << 20)
#define LIMIT (256 * MIB)
#define AGE 300000000 /* µs */
#ifdef IS_SANITIZED
#define GROUPS 240000
#else
#define GROUPS 2400000
#endif
#define MESSAGE 250
#define TIDIES 1000

static int64_t cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static size_t resident(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	size_t all, pages;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%zu %zu", &all, &pages), 2);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void append_to_many(struct topiclog *log, uint32_t groups, lsn_t lsn, int64_t now)
{
	char name[32];

	for (uint32_t i = 1; i <= groups; i++) {
		struct pattern p = { .id = { lsn, i }, .group = i, .len = MESSAGE - sizeof(p) };
		int n = snprintf(name, sizeof(name), "requests_unit_{%u}", i);

		pattern_append(log, topiclog_topic(log, (struct slice){ name, (size_t)n }), p, now);
		if (topiclog_bytes(log) > LIMIT)
			fail_msg("%zu bytes after %u groups", topiclog_bytes(log), i);
	}
	topiclog_publish(log, lsn + 1);
}

static void assert_within(size_t before)
{
	size_t took = resident() - before;

	print_message("%zu MiB resident\n", took / MIB);
#ifndef IS_SANITIZED
	assert_in_range(took, 0, LIMIT + LIMIT / 5);
#endif
}

/* A walk over all topics takes a thousand times as long. */
static void assert_tidying_is_cheap(struct topiclog *log, int64_t now)
{
	size_t count = topiclog_count(log);
	int64_t began = cpu_us();

	for (unsigned i = 0; i < TIDIES; i++)
		topiclog_tidy(log, now);
	print_message("%" PRId64 " us for %d tidyings of %zu groups\n", cpu_us() - began, TIDIES, count);
	assert_in_range(cpu_us() - began, 0, 1000000);
	assert_int_equal(topiclog_count(log), count);
}

/* It is done in parts, so that nothing waits long for it. */
static void assert_all_ends(struct topiclog *log, int64_t now)
{
	size_t count = topiclog_count(log), parts = 0;

	for (; topiclog_count(log) > 0; parts++)
		topiclog_tidy(log, now);
	assert_in_range(parts, count / 20000, count / 10000);
	assert_int_equal(topiclog_bytes(log), 0);
}

static void millions_of_groups_stay_within_the_limit(void **state)
{
	struct topic_limits limits = { MIB, LIMIT, AGE };
	struct topiclog *log = topiclog_new(&limits);
	size_t before = resident();
	int64_t now = 2 * (int64_t)AGE, began = cpu_us();

	(void)state;
	append_to_many(log, GROUPS, 100, now);
	print_message("%" PRId64 " ms for %d groups, %zu kept\n", (cpu_us() - began) / 1000, GROUPS,
		      topiclog_count(log));
	assert_within(before);
	assert_tidying_is_cheap(log, now + AGE - 1);
	append_to_many(log, GROUPS / 4, 200, now + AGE / 2);
	assert_within(before);
	assert_all_ends(log, now + 2 * (int64_t)AGE);
	topiclog_free(log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(millions_of_groups_stay_within_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
