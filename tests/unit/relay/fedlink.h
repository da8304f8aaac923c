/*
 * fedlink: the port to Redis, fed by hand.
 *
 * It stands where redislink.c stands in the program: redislink.h says what it does. Questions wait in their order until the test answers the first
 * of them; an answer is what Redis writes on the wire, read by hiredis' own reader. No socket, no thread, no time.
 */
#ifndef TEST_FEDLINK_H
#define TEST_FEDLINK_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redislink.h"
#include "relay_env.h"
#include "relay_script.h"
#include "walpush/base/buf.h"
#include "walpush/base/mem.h"
#include "walpush/relay/relay_entry.h"

struct fed_question {
	struct fed_question *next;
	size_t n;
	char **arguments;
	redislink_done *done;
	void *ctx;
};

struct redislink {
	char name[16];
	redislink_state *state;
	void *ctx;
	bool up, refused;
	char trouble[256];
	struct fed_question *first, **last;
	unsigned drops;
};

/* By their names: "append", "read". */
#define FED_LINKS 4
static struct redislink *fed_links[FED_LINKS];

static int64_t fed_now = 1000000; /* µs: the clock that the test holds */

static inline int64_t fed_clock(void)
{
	return fed_now;
}

/* --- redislink.h ------------------------------------------------------------------------------------------------------ */

static void fed_ended(struct redislink *l, const redisReply *reply)
{
	struct fed_question *q = l->first;

	l->first = q->next;
	if (!l->first)
		l->last = &l->first;
	q->done(q->ctx, reply);
	for (size_t i = 0; i < q->n; i++)
		free(q->arguments[i]);
	free(q->arguments);
	free(q);
}

struct redislink *redislink_new(struct event_base *loop, struct resolve *names, const char *name, const char *url,
				int64_t patience, redislink_state *state, void *ctx)
{
	struct redislink *l = mem_new(sizeof(*l));
	size_t at = 0;

	(void)loop;
	(void)names;
	(void)url;
	assert_true(patience > 1000000);
	mem_copy_text(l->name, sizeof(l->name), name);
	l->state = state;
	l->ctx = ctx;
	l->last = &l->first;
	while (at < FED_LINKS && fed_links[at])
		at++;
	assert_true(at < FED_LINKS);
	fed_links[at] = l;
	return l;
}

void redislink_free(struct redislink *l)
{
	l->up = false;
	while (l->first)
		fed_ended(l, NULL);
	for (size_t i = 0; i < FED_LINKS; i++)
		if (fed_links[i] == l)
			fed_links[i] = NULL;
	free(l);
}

bool redislink_is_up(const struct redislink *l)
{
	return l->up;
}

const char *redislink_trouble(const struct redislink *l)
{
	return l->trouble[0] ? l->trouble : NULL;
}

bool redislink_is_refused(const struct redislink *l)
{
	return l->refused;
}

void redislink_ask(struct redislink *l, size_t n, const struct slice *arguments, redislink_done *done, void *ctx)
{
	struct fed_question *q = mem_new(sizeof(*q));

	assert_true(l->up);
	q->n = n;
	q->arguments = mem_new_array(n, sizeof(*q->arguments));
	for (size_t i = 0; i < n; i++)
		q->arguments[i] = mem_text_of(arguments[i]);
	q->done = done;
	q->ctx = ctx;
	*l->last = q;
	l->last = &q->next;
}

/* What was asked is answered with NULL, and then the state is told: the order of redislink.c. */
static inline void fed_lose(struct redislink *l, const char *why, bool refused)
{
	bool was_up = l->up;

	l->up = false;
	l->refused = refused;
	mem_copy_text(l->trouble, sizeof(l->trouble), why);
	while (l->first)
		fed_ended(l, NULL);
	if (was_up)
		l->state(l->ctx, false);
}

void redislink_drop(struct redislink *l, const char *why)
{
	l->drops++;
	fed_lose(l, why, false);
}

/* --- the other end ------------------------------------------------------------------------------------------------------ */

static inline void fed_up(struct redislink *l)
{
	l->up = true;
	l->refused = false;
	l->trouble[0] = '\0';
	l->state(l->ctx, true);
}

static inline struct redislink *fed_link(const char *name)
{
	for (size_t i = 0; i < FED_LINKS; i++)
		if (fed_links[i] && strcmp(fed_links[i]->name, name) == 0)
			return fed_links[i];
	fail_msg("no link %s", name);
	return NULL;
}

/* The question in a line; of a script its name, and of an append the ids alone: "APPEND key 1-1: 2-1 3-1". */
static inline void fed_say(const struct fed_question *q, struct buf *out)
{
	struct slice append = relay_script_append();
	bool is_append = q->n > 4 && strcmp(q->arguments[0], "EVAL") == 0;

	if (is_append) {
		assert_int_equal(strlen(q->arguments[1]), append.len);
		assert_string_equal(q->arguments[2], "1");
		buf_addf(out, "APPEND %s %s:", q->arguments[3], q->arguments[4]);
		for (size_t i = 5; i < q->n; i += 2 + (size_t)atoi(q->arguments[i + 1]))
			buf_addf(out, " %s", q->arguments[i]);
	} else if (strcmp(q->arguments[0], "EVAL") == 0) {
		buf_addf(out, "TAIL %s", q->arguments[3]);
	} else {
		for (size_t i = 0; i < q->n; i++)
			buf_addf(out, "%s%s", i ? " " : "", q->arguments[i]);
	}
}

/* All that waits for an answer, without what nobody waits for. */
static inline void fed_open(const struct redislink *l, char *out, size_t cap)
{
	struct buf b = { 0 };

	for (const struct fed_question *q = l->first; q; q = q->next) {
		if (strcmp(q->arguments[0], "SET") == 0)
			continue;
		buf_add_text(&b, b.len ? "; " : "");
		fed_say(q, &b);
	}
	mem_copy_text(out, cap, b.data ? b.data : "");
	buf_fini(&b);
}

#define assert_open(link, expected)                                                                                    \
	do {                                                                                                           \
		char open[4096];                                                                                       \
                                                                                                                       \
		fed_open(link, open, sizeof(open));                                                                    \
		assert_string_equal(open, expected);                                                                   \
	} while (0)

/* What Redis writes, to the first question. */
static inline void fed_answer(struct redislink *l, const char *wire)
{
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;

	assert_non_null(l->first);
	redisReaderFeed(reader, wire, strlen(wire));
	assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
	assert_non_null(reply);
	fed_ended(l, reply);
	freeReplyObject(reply);
	redisReaderFree(reader);
}

/* The same, after the leader's name, to which nobody listens. */
static inline void fed_reply(struct redislink *l, const char *verb, const char *wire)
{
	struct buf line = { 0 };

	while (l->first && strcmp(l->first->arguments[0], "SET") == 0)
		fed_answer(l, "+OK\r\n");
	assert_non_null(l->first);
	fed_say(l->first, &line);
	if (strncmp(line.data, verb, strlen(verb)) != 0)
		fail_msg("'%s' is asked, not %s", line.data, verb);
	buf_fini(&line);
	fed_answer(l, wire);
}

static inline void fed_bulk(struct buf *out, const char *text)
{
	buf_addf(out, "$%zu\r\n%s\r\n", strlen(text), text);
}

/* The answer of the tail script. end 0: no entry has one. */
static inline void fed_tail(struct redislink *l, const char *id, uint64_t end)
{
	struct buf wire = { 0 };
	char text[24] = "";

	if (end)
		snprintf(text, sizeof(text), "%llu", (unsigned long long)end);
	buf_add_text(&wire, "*2\r\n");
	fed_bulk(&wire, id);
	fed_bulk(&wire, text);
	fed_reply(l, "TAIL", wire.data);
	buf_fini(&wire);
}

/* --- the loop --------------------------------------------------------------------------------------------------------- */

/* What is due runs; nothing is waited for. */
static inline void fed_run(struct event_base *loop)
{
	event_base_loop(loop, EVLOOP_NONBLOCK);
}

struct fed_timers {
	struct event *at[16];
	size_t n;
};

static inline int fed_collect(const struct event_base *loop, const struct event *e, void *arg)
{
	struct fed_timers *t = arg;

	(void)loop;
	if (event_pending(e, EV_TIMEOUT, NULL) && t->n < 16)
		t->at[t->n++] = (struct event *)e;
	return 0;
}

/* Every timer that runs is due now. */
static inline void fed_timers_fire(struct event_base *loop)
{
	struct fed_timers t = { .n = 0 };

	event_base_foreach_event(loop, fed_collect, &t);
	for (size_t i = 0; i < t.n; i++)
		event_active(t.at[i], EV_TIMEOUT, 0);
	fed_run(loop);
}

#endif
