/* A connection for queries that is opened on demand and closed when it is idle, against a server that the test plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "played.h"
#include "walpush/base/log.h"
#include "walpush/pg/sqlpipe.h"

#define IDLE_US 30000

static struct played server;
static struct conf_database conf;
static struct resolve *names;
static struct sqlpipe *sql;
static unsigned ups, downs, answers;

static void on_state(void *ctx, bool up, const struct fail *why)
{
	(void)ctx;
	(void)why;
	ups += up;
	downs += !up;
}

static void on_answer(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	(void)ctx;
	(void)why;
	sqlrows_free(rows);
	answers++;
}

static int open_pipe(void **state)
{
	static char zone[] = "UTC";

	(void)state;
	played_open(&server);
	conf = (struct conf_database){
		.url = server.url, .timezone = zone, .connect_timeout = 60000, .statement_timeout = 60000
	};
	names = resolve_new(server.loop, false);
	sql = sqlpipe_new_on_demand(server.loop, names, "test", &conf, NULL, IDLE_US, on_state, NULL);
	ups = downs = answers = 0;
	return 0;
}

static int close_pipe(void **state)
{
	(void)state;
	sqlpipe_free(sql);
	resolve_free(names);
	played_close(&server);
	return 0;
}

/* Time in which something does not happen. */
static void turn_for(int64_t us)
{
	int64_t until = clock_us() + us;

	while (clock_us() < until)
		played_turn(&server);
}

static void turn_until(const unsigned *count, unsigned n)
{
	int64_t until = clock_us() + PLAYED_PATIENCE;

	while (*count < n) {
		played_turn(&server);
		if (clock_us() > until)
			fail_msg("what the test waits for does not happen");
	}
}

static bool somebody_connects(void)
{
	int fd = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Each query ends with its own Sync. */
static void take_a_query(void)
{
	char kind;

	while ((kind = played_take(&server, true)) != 'S')
		assert_int_not_equal(kind, 0);
}

static void answer_a_query(void)
{
	played_error(&server, "ERROR", "22012", "division by zero");
	played_ready(&server);
}

/* What the pipe asks first, however many queries that are. */
static void answer_the_first(void)
{
	do {
		take_a_query();
		answer_a_query();
		turn_for(1000);
	} while (recv(server.peer, &(char){ 0 }, 1, MSG_PEEK | MSG_DONTWAIT) > 0 || server.in.len);
}

static void it_is_opened_when_it_is_wanted_and_closed_when_it_is_not(void **state)
{
	(void)state;
	turn_for(IDLE_US);
	assert_false(somebody_connects());
	sqlpipe_hurry(sql);
	sqlpipe_renew(sql);
	turn_for(IDLE_US / 3);
	assert_false(somebody_connects());
	sqlpipe_open(sql);
	sqlpipe_open(sql);
	played_let_in(&server);
	turn_until(&ups, 1);
	answer_the_first();
	assert_int_equal(played_take(&server, true), 'X'); /* it says goodbye */
	turn_until(&downs, 1);
	assert_false(sqlpipe_is_up(sql));
	assert_null(sqlpipe_trouble(sql));
	turn_for(IDLE_US);
	assert_false(somebody_connects());
	sqlpipe_open(sql);
	played_let_in(&server);
	turn_until(&ups, 2);
}

static void a_query_keeps_it_open(void **state)
{
	(void)state;
	sqlpipe_open(sql);
	played_let_in(&server);
	turn_until(&ups, 1);
	answer_the_first();
	sqlpipe_ask(sql, "x", "SELECT 1", 0, NULL, on_answer, NULL);
	take_a_query();
	turn_for(3 * IDLE_US);
	assert_int_equal(downs, 0);
	answer_a_query();
	turn_until(&answers, 1);
	turn_until(&downs, 1);
	assert_int_equal(played_take(&server, true), 'X');
}

/* As where max_connections is reached: whoever asks for it again and again makes no storm. */
static void one_that_fails_is_not_tried_again_before_the_wait_is_over(void **state)
{
	int64_t until = clock_us() + 10 * IDLE_US;
	unsigned tries = 0;

	(void)state;
	while (clock_us() < until) {
		sqlpipe_open(sql);
		tries += somebody_connects();
		played_turn(&server);
	}
	assert_non_null(sqlpipe_trouble(sql));
	assert_in_range(tries, 1, 30); /* each turn of the loop, if nothing waited */
	assert_int_equal(ups, 0);
	turn_for(2 * IDLE_US); /* nobody wants it */
	assert_false(somebody_connects());
}

/* Their answers are not wanted; the connection is, and is free for the next. */
static void all_are_forgotten(void **state)
{
	(void)state;
	sqlpipe_open(sql);
	played_let_in(&server);
	turn_until(&ups, 1);
	answer_the_first();
	sqlpipe_ask(sql, "x", "SELECT 1", 0, NULL, on_answer, NULL);
	take_a_query();
	sqlpipe_ask(sql, "x", "SELECT 1", 0, NULL, on_answer, NULL);
	sqlpipe_forget_all(sql);
	sqlpipe_ask(sql, "x", "SELECT 2", 0, NULL, on_answer, NULL);
	answer_a_query();
	take_a_query();
	assert_int_equal(answers, 0);
	answer_a_query();
	turn_until(&answers, 1);
}

/* It is counted once and suspected again, so it waits; the connection would be idle meanwhile. */
static struct sqlpipe_query *ask_a_suspect(struct suspects *suspects)
{
	uint64_t id = suspects_id(suspects, "SELECT 3", 0, NULL);
	int64_t before = clock_us() - 2 * SUSPECTS_NEAR;

	suspects_add(suspects, id, before);
	suspects_crash(suspects, before);
	suspects_add(suspects, id, clock_us());
	return sqlpipe_ask(sql, "x of y", "SELECT 3", 0, NULL, on_answer, NULL);
}

static void what_is_given_up_or_forgotten_does_not_keep_it_open(void **state)
{
	(void)state;
	for (unsigned is_forgotten = 0; is_forgotten < 2; is_forgotten++) {
		struct suspects *suspects = suspects_new();
		struct sqlpipe_query *q;

		sqlpipe_free(sql);
		sql = sqlpipe_new_on_demand(server.loop, names, "test", &conf, suspects, IDLE_US, on_state, NULL);
		ups = downs = answers = 0;
		sqlpipe_open(sql);
		played_let_in(&server);
		turn_until(&ups, 1);
		q = ask_a_suspect(suspects);
		answer_the_first();
		turn_for(3 * IDLE_US);
		assert_int_equal(downs, 0);
		if (is_forgotten)
			sqlpipe_forget(sql, q);
		else
			suspects_crash(suspects, clock_us());
		turn_until(&downs, 1);
		assert_int_equal(answers, !is_forgotten);
		sqlpipe_free(sql);
		sql = NULL;
		suspects_free(suspects);
	}
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_pipe, close_pipe)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(it_is_opened_when_it_is_wanted_and_closed_when_it_is_not),  CASE(a_query_keeps_it_open),
		CASE(one_that_fails_is_not_tried_again_before_the_wait_is_over), CASE(all_are_forgotten),
		CASE(what_is_given_up_or_forgotten_does_not_keep_it_open),
	};

	log_setup("error", "logfmt");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
