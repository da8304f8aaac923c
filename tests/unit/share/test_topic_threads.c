/*
 * The topic logs between threads: one writes and publishes transactions and hands cursors over, others read. The limits are small, so
 * that segments are dropped under the readers all the time.
 *
 * The keen readers are waited for now and then, so that they read most of it. The idle one looks only every so often, so that it loses
 * its place each time. Nobody sleeps.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "pattern.h"

#define TOPICS 4
#define READERS 3
#define COMMITS 6000
#define COMMIT_STEP 16   /* WAL bytes between commits */
#define COMMIT_SIZE 8    /* of the commit record: published is behind it */
#define IDLE_COMMITS 300 /* the idle reader's naps */
#define OPEN_MAX 16      /* cursors of a reader */
#define RECENT 64        /* ids a group remembers, to place cursors behind */
#define ANY_NUMBER UINT32_MAX

struct reading { /* a cursor, and what must come next in it */
	struct cursor cursor;
	uint32_t group;
	uint32_t next; /* number of the message; ANY_NUMBER: after a loss */
	struct event_id last;
};

struct reader {
	pthread_t thread;
	bool idle;
	pthread_mutex_t lock;
	struct reading handed[OPEN_MAX];
	size_t n_handed;
	bool done;             /* no more is written or handed over */
	_Atomic lsn_t reached; /* the published position up to which it has read */

	/* The reader's own. */
	struct reading open[OPEN_MAX];
	size_t n_open;
	uint64_t frames, losses;
	const char *wrong; /* the first thing that must not be */
};

static struct topiclog *topics;
static struct topic *groups[TOPICS];
static struct reader readers[READERS];

/* --- readers ---------------------------------------------------------------------------------------------------- */

static void must(struct reader *r, bool holds, const char *what)
{
	if (!holds && !r->wrong)
		r->wrong = what;
}

static void check_frame(struct reader *r, struct reading *c, const struct pattern *p, lsn_t published)
{
	must(r, p->group == c->group, "a frame of another group");
	must(r, event_id_compare(p->id, c->last) > 0, "ids do not grow");
	must(r, p->id.lsn + COMMIT_SIZE <= published, "a transaction was seen before it was published");
	must(r, c->next == ANY_NUMBER || p->number == c->next, "a frame is missing, or came twice");
	c->last = p->id;
	c->next = p->number + 1;
	r->frames++;
}

static bool is_tagged(const struct pattern *p)
{
	return p->number % 16 == 5;
}

static void check_run(struct reader *r, struct reading *c, const struct run *run, lsn_t published, struct pattern *last)
{
	const char *at = run->bytes, *end = run->bytes + run->len;
	struct entry_tag tag = { 0 };
	uint32_t n = 0;

	for (; at < end; n++) {
		if (!pattern_take(&at, end, last)) {
			must(r, false, "a damaged frame");
			return;
		}
		if (n == 0)
			must(r, event_id_compare(last->id, run->first) == 0, "run.first is another");
		check_frame(r, c, last, published);
	}
	must(r, n == run->entries && event_id_compare(last->id, run->last) == 0, "run.last or run.entries is another");
	if (is_tagged(last))
		tag = pattern_tag(last);
	must(r, !is_tagged(last) || n == 1, "a tagged entry is not alone");
	must(r, run->tag.kind == tag.kind && run->tag.reason == tag.reason && run->tag.close == tag.close,
	     "the tag is another");
}

/* Everything up to `published`, in runs of different sizes. */
static void read_one(struct reader *r, struct reading *c, lsn_t published)
{
	static const struct event_id no_bound = { UINT64_MAX, UINT32_MAX };
	struct pattern last = { 0 };
	struct run run;

	for (;;) {
		switch (cursor_run(&c->cursor, published, no_bound, r->frames % 5 * 200, &run)) {
		case CURSOR_AT_END:
			must(r, last.left == 0, "half a transaction");
			return;
		case CURSOR_LOST:
			r->losses++;
			cursor_to_head(&c->cursor, published, NULL);
			c->next = ANY_NUMBER;
			last.left = 0;
			break;
		case CURSOR_HAS_RUN:
			check_run(r, c, &run, published, &last);
			cursor_advance(&c->cursor, run.entries);
			break;
		}
	}
}

/* The oldest goes when there is no room. */
static void keep(struct reading *readings, size_t *n, struct reading one)
{
	if (*n == OPEN_MAX) {
		cursor_release(&readings[0].cursor);
		memmove(readings, readings + 1, --*n * sizeof(*readings));
	}
	readings[(*n)++] = one;
}

static bool take_cursors(struct reader *r)
{
	bool done;

	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < r->n_handed; i++)
		keep(r->open, &r->n_open, r->handed[i]);
	r->n_handed = 0;
	done = r->done;
	pthread_mutex_unlock(&r->lock);
	return done;
}

/* What a hub does at its wake-up with a connection that cannot be written to. */
static void let_go(struct reader *r, lsn_t published)
{
	for (size_t i = 0; i < r->n_open; i++)
		if (cursor_fell_off(&r->open[i].cursor, published, NULL)) {
			r->open[i].next = ANY_NUMBER;
			r->losses++;
		}
}

static void *reader_thread(void *arg)
{
	struct reader *r = arg;
	lsn_t published = 0, wake = 0;
	bool done = false;

	while (!done) {
		done = take_cursors(r);
		published = topiclog_published(topics);
		if (!done && published < wake) {
			sched_yield();
			continue;
		}
		if (r->idle && r->frames % 2)
			let_go(r, published);
		for (size_t i = 0; i < r->n_open; i++)
			read_one(r, &r->open[i], published);
		atomic_store(&r->reached, published);
		wake = r->idle ? published + IDLE_COMMITS * COMMIT_STEP : published + 1;
	}
	return NULL;
}

/* --- the writer ------------------------------------------------------------------------------------------------- */

struct history { /* of one group */
	uint32_t written;
	struct event_id recent[RECENT]; /* of message i at i % RECENT */
};

static struct history histories[TOPICS];
static uint32_t seed = 12345;

static uint32_t chance(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

static void hand_over(struct reader *r, struct reading reading)
{
	pthread_mutex_lock(&r->lock);
	keep(r->handed, &r->n_handed, reading);
	pthread_mutex_unlock(&r->lock);
}

/* Behind one of the last messages, or where the stream stands. */
static void place_somewhere(struct reader *r)
{
	uint32_t group = chance(TOPICS);
	const struct history *h = &histories[group];
	struct reading reading = { .group = group, .next = h->written };
	struct event_id after = { topiclog_published(topics), 0 };

	if (chance(3) && h->written) {
		reading.next -= chance(h->written < RECENT ? h->written : RECENT);
		after = h->recent[(reading.next - 1) % RECENT];
	}
	reading.last = after;
	if (topic_place(topics, groups[group], after, &reading.cursor))
		hand_over(r, reading);
}

static void write_commit(unsigned n)
{
	lsn_t lsn = (lsn_t)n * COMMIT_STEP;
	uint32_t left[TOPICS] = { 0 }, messages = 1 + chance(8), index = 0;

	for (uint32_t i = 0; i < TOPICS; i++)
		left[i] = i == n % TOPICS ? messages : chance(3);
	for (uint32_t round = 0; round < messages + 2; round++)
		for (uint32_t g = 0; g < TOPICS; g++) {
			struct history *h = &histories[g];
			struct pattern p = { { lsn, ++index }, g, h->written, left[g] - 1, chance(300) };

			if (left[g] == 0)
				continue;
			left[g]--;
			if (is_tagged(&p))
				pattern_append_tagged(topics, groups[g], p, n);
			else
				pattern_append(topics, groups[g], p, n);
			h->recent[h->written++ % RECENT] = p.id;
		}
	topiclog_publish(topics, lsn + COMMIT_SIZE);
}

/* Not without end: a reader that never has a turn would prove nothing. */
static void wait_for_readers(void)
{
	for (size_t i = 0; i < READERS; i++) {
		lsn_t behind = readers[i].idle ? 2 * IDLE_COMMITS * COMMIT_STEP : 0;

		while (atomic_load(&readers[i].reached) + behind < topiclog_published(topics))
			sched_yield();
	}
}

static void write_history(void)
{
	unsigned burst = 1;

	for (unsigned n = 1; n <= COMMITS; n++) {
		write_commit(n);
		if (chance(4) == 0)
			place_somewhere(&readers[chance(READERS)]);
		if (chance(50) == 0)
			topiclog_tidy(topics, n);
		if (--burst == 0) {
			wait_for_readers();
			burst = 1 + chance(20);
		}
	}
}

/* --- the test --------------------------------------------------------------------------------------------------- */

static void open_log(void)
{
	static const struct topic_limits limits = { 16384, 50000, 60 };

	topics = topiclog_new(&limits);
	for (uint32_t i = 0; i < TOPICS; i++) {
		char name[16];

		snprintf(name, sizeof(name), "group_{%u}", i);
		groups[i] = topiclog_topic(topics, slice_of(name));
		topic_subscribe(topics, groups[i], 0);
	}
}

static void start_reader(struct reader *r)
{
	pthread_mutex_init(&r->lock, NULL);
	for (uint32_t g = 0; g < TOPICS; g++) {
		struct reading reading = { .group = g };

		assert_true(topic_place(topics, groups[g], (struct event_id){ 0, 0 }, &reading.cursor));
		hand_over(r, reading);
	}
	assert_int_equal(pthread_create(&r->thread, NULL, reader_thread, r), 0);
}

static void end_reader(struct reader *r)
{
	pthread_mutex_lock(&r->lock);
	r->done = true;
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	if (r->wrong)
		fail_msg("reader %td: %s", r - readers, r->wrong);
	for (size_t i = 0; i < r->n_open; i++)
		if (r->open[i].next != ANY_NUMBER)
			assert_int_equal(r->open[i].next, histories[r->open[i].group].written);
	while (r->n_open)
		cursor_release(&r->open[--r->n_open].cursor);
	pthread_mutex_destroy(&r->lock);
}

static void readers_see_whole_transactions_in_order(void **state)
{
	(void)state;
	open_log();
	readers[READERS - 1].idle = true;
	for (size_t i = 0; i < READERS; i++)
		start_reader(&readers[i]);
	write_history();
	for (size_t i = 0; i < READERS; i++)
		end_reader(&readers[i]);
	/* What was meant to be tried was tried. */
	for (size_t i = 0; i < READERS; i++) {
		if (readers[i].idle)
			assert_true(readers[i].losses > 10);
		else
			assert_true(readers[i].frames > COMMITS);
	}
	topiclog_free(topics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_see_whole_transactions_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
