/* Batches: how the queue is cut into them, what each names as its predecessor, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fedlink.h"
#include "relay_append.h"
#include "relay_queue.h"

static struct event_base *loop;
static struct relay_env env;
static struct relay_queue *queue;
static struct relay_append *append;
static struct redislink *link;
static struct relay_verdict verdicts[32];
static size_t n_verdicts;

static void on_filled(void *ctx)
{
	(void)ctx;
}

static void on_pause(void *ctx, bool paused)
{
	(void)ctx;
	(void)paused;
}

static const struct relay_queue_calls calls = { on_filled, on_pause };

static void on_link(void *ctx, bool up)
{
	(void)ctx;
	(void)up;
}

static void on_verdict(void *ctx, const struct relay_verdict *v)
{
	(void)ctx;
	assert_true(n_verdicts < 32);
	verdicts[n_verdicts] = *v;
	verdicts[n_verdicts++].error = v->error ? "said" : NULL;
}

static int open_append(void **state)
{
	(void)state;
	n_verdicts = 0;
	loop = event_base_new();
	env = (struct relay_env){ .loop = loop, .clock = fed_clock };
	queue = relay_queue_new(&env, &calls, NULL);
	link = redislink_new(loop, NULL, "append", NULL, 5000000, on_link, NULL);
	append = relay_append_new(queue, link, on_verdict, NULL);
	fed_up(link);
	return 0;
}

static int close_append(void **state)
{
	(void)state;
	redislink_free(link);
	relay_append_free(append);
	relay_queue_free(queue);
	event_base_free(loop);
	return 0;
}

/* For the next case of a table. */
static void again(void)
{
	close_append(NULL);
	open_append(NULL);
}

static void add(lsn_t lsn, lsn_t end, struct slice payload)
{
	struct relay_entry e = { .kind = RELAY_MESSAGE,
				 .id = { lsn, 1 },
				 .end = end,
				 .payload = payload,
				 .groups = { "g", 2 },
				 .n_groups = 1 };

	relay_queue_add(queue, &e);
}

static void send_behind(lsn_t tail, unsigned most)
{
	relay_append_send(append, "key", (struct event_id){ tail, 1 }, most);
}

static unsigned n_open(void)
{
	unsigned n = 0;

	for (const struct fed_question *q = link->first; q; q = q->next)
		n++;
	return n;
}

static void a_batch_names_its_predecessor(void **state)
{
	const struct fed_question *q;

	(void)state;
	add(10, 0, SLICE("a"));
	add(20, 21, SLICE("b"));
	send_behind(5, 16);
	add(30, 31, SLICE("c"));
	send_behind(5, 16);
	assert_open(link, "APPEND key 5-1: 10-1 20-1; APPEND key 20-1: 30-1");
	/* The entry's own fields end with it: each names the entry before it. */
	q = link->first;
	assert_string_equal(q->arguments[q->n - 2], "p");
	assert_string_equal(q->arguments[q->n - 1], "10-1");
	assert_string_equal(q->next->arguments[q->next->n - 1], "20-1");
	fed_answer(link, ":1\r\n");
	assert_int_equal(verdicts[0].kind, RELAY_APPENDED);
	assert_int_equal(verdicts[0].n, 2);
	assert_int_equal(verdicts[0].tail.lsn, 20);
	assert_int_equal(verdicts[0].end, 21);
	assert_true(relay_append_is_busy(append));
	fed_answer(link, ":1\r\n");
	assert_int_equal(verdicts[1].tail.lsn, 30);
	assert_int_equal(relay_queue_bytes(queue), 0);
	assert_false(relay_append_is_busy(append));
}

static void batches_are_bounded(void **state)
{
	static char large[RELAY_BATCH_BYTES / 2];

	(void)state;
	for (lsn_t i = 0; i < 2 * RELAY_BATCH_ENTRIES + 1; i++)
		add(10 + i, 11 + i, SLICE("a"));
	send_behind(5, 2);
	assert_int_equal(n_open(), 2);
	fed_answer(link, ":1\r\n");
	assert_int_equal(verdicts[0].n, RELAY_BATCH_ENTRIES);
	send_behind(verdicts[0].tail.lsn, 2);
	assert_int_equal(n_open(), 2);
	fed_answer(link, ":1\r\n");
	fed_answer(link, ":1\r\n");
	assert_int_equal(verdicts[1].n, RELAY_BATCH_ENTRIES);
	assert_int_equal(verdicts[2].n, 1);
	memset(large, 'x', sizeof(large));
	for (lsn_t i = 0; i < 5; i++)
		add(10000 + i, 10001 + i, (struct slice){ large, sizeof(large) });
	send_behind(verdicts[2].tail.lsn, 16);
	assert_int_equal(n_open(), 3); /* of two, two and one */
	fed_answer(link, ":1\r\n");
	assert_int_equal(verdicts[3].n, 2);
}

/* The end of a batch is the last of its entries' that has one; without one the stream's stays. */
static void a_batch_inside_of_a_transaction_has_no_end(void **state)
{
	(void)state;
	add(10, 0, SLICE("a"));
	send_behind(5, 1);
	fed_answer(link, ":1\r\n");
	assert_int_equal(verdicts[0].kind, RELAY_APPENDED);
	assert_int_equal(verdicts[0].end, 0);
}

static const struct {
	const char *wire; /* NULL: the connection is lost */
	bool forgotten;   /* before the answer */
	int kind;
	const char *error;
	bool lost;
	const char *again; /* what is sent next, behind 7-1 */
} answers[] = {
	{ ":1\r\n", false, RELAY_APPENDED, NULL, false, "" },
	{ "*2\r\n$3\r\n9-1\r\n$2\r\n10\r\n", false, RELAY_ELSEWHERE, NULL, false, "APPEND key 7-1: 10-1 20-1" },
	{ "-OOM command not allowed\r\n", false, RELAY_ERROR, "said", false, "APPEND key 7-1: 10-1 20-1" },
	{ "-NOSCRIPT no\r\n", false, RELAY_ERROR, "said", false, "APPEND key 7-1: 10-1 20-1" },
	{ "$-1\r\n", false, RELAY_ELSEWHERE, NULL, false, "APPEND key 7-1: 10-1 20-1" },
	{ ":1\r\n", true, RELAY_VOID, NULL, false, "APPEND key 7-1: 10-1 20-1" },
	{ "-OOM command not allowed\r\n", true, RELAY_VOID, NULL, false, "APPEND key 7-1: 10-1 20-1" },
	{ "*2\r\n$3\r\n9-1\r\n$2\r\n10\r\n", true, RELAY_VOID, NULL, false, "APPEND key 7-1: 10-1 20-1" },
	/* The owner learns of the loss from the connection, and forgets then. */
	{ NULL, false, RELAY_VOID, NULL, true, "" },
	{ NULL, true, RELAY_VOID, NULL, true, "APPEND key 7-1: 10-1 20-1" },
};

static void each_answer_has_a_verdict(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		again();
		add(10, 11, SLICE("a"));
		add(20, 21, SLICE("b"));
		send_behind(5, 1);
		if (answers[i].forgotten)
			relay_append_forget(append);
		if (answers[i].wire)
			fed_answer(link, answers[i].wire);
		else
			fed_lose(link, "gone", false);
		assert_int_equal(n_verdicts, 1);
		assert_int_equal(verdicts[0].kind, answers[i].kind);
		assert_int_equal(verdicts[0].lost, answers[i].lost);
		assert_int_equal(!verdicts[0].error, !answers[i].error);
		assert_false(relay_append_is_busy(append));
		send_behind(7, 1);
		if (link->up) {
			assert_open(link, answers[i].again);
		} else {
			assert_open(link, "");
		}
		fed_up(link);
		send_behind(7, 1);
		assert_open(link, answers[i].again);
	}
}

/* The first refusal makes void what was sent behind it. */
static void what_follows_a_refusal_is_void(void **state)
{
	(void)state;
	add(10, 11, SLICE("a"));
	send_behind(5, 2);
	add(20, 21, SLICE("b"));
	send_behind(5, 2);
	fed_answer(link, "-OOM no\r\n");
	fed_answer(link, ":1\r\n"); /* Redis cannot, but it would not matter */
	assert_int_equal(verdicts[0].kind, RELAY_ERROR);
	assert_int_equal(verdicts[1].kind, RELAY_VOID);
	send_behind(5, 16);
	assert_open(link, "APPEND key 5-1: 10-1 20-1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_append, close_append)
		TEST(a_batch_names_its_predecessor),
		TEST(batches_are_bounded),
		TEST(a_batch_inside_of_a_transaction_has_no_end),
		TEST(each_answer_has_a_verdict),
		TEST(what_follows_a_refusal_is_void),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
