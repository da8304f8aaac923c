/* Queries over a connection to a server that the test plays: what is sent again, what is given up, and whom a cancel hits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "played.h"
#include "walpush/base/mem.h"
#include "walpush/pg/sqlpipe.h"

#define LOOKUP "lookup of requests"

static struct played server, other; /* of `sql`, and of `watch`; one loop */
static struct conf_database conf, other_conf;
static struct resolve *names;
static struct suspects *suspects;
static struct sqlpipe *sql, *watch;
static struct buf told; /* of the answers: "a=1; b!57014; " */

static void on_state(void *ctx, bool up, const struct fail *why)
{
	(void)ctx;
	(void)up;
	(void)why;
}

static void on_answer(void *ctx, struct sqlrows *rows, const struct fail *why)
{
	if (rows)
		buf_addf(&told, "%s=%s; ", (const char *)ctx, sqlrows_get(rows, 0, 0));
	else
		buf_addf(&told, "%s!%s; ", (const char *)ctx, why->sqlstate);
	sqlrows_free(rows);
}

/* --- the servers -------------------------------------------------------------------------------------------------- */

/* What came up to the next Sync: "SQL|value", or "|value" if it was prepared before. NULL: the client hung up. */
static const char *next_query(struct played *p)
{
	static struct buf query;
	char kind;

	buf_clear(&query);
	buf_add_text(&query, "");
	while ((kind = played_take(p, true)) && kind != 'S') {
		const char *at = p->message.data;

		at += strlen(at) + 1; /* of P the statement's name, of B the portal's */
		if (kind == 'P')
			buf_add_text(&query, at);
		if (kind != 'B')
			continue;
		at += strlen(at) + 1 + 2; /* the statement's name, no formats */
		buf_add_char(&query, '|');
		if (at[1]) /* the number of values */
			buf_add(&query, at + 6, played_number(at + 2));
	}
	return kind ? query.data : NULL;
}

static bool is_prepared(const char *query)
{
	return *query == '|';
}

static void say_row(struct played *p, bool prepared, size_t n_columns, const char *row)
{
	if (!prepared)
		played_say(p, '1', NULL, 0);
	played_say(p, '2', NULL, 0);
	played_rows(p, n_columns, row);
}

static void expect_query(struct played *p, const char *wanted)
{
	const char *query = next_query(p);

	if (!query || strcmp(query, wanted) != 0)
		fail_msg("came \"%s\", wanted \"%s\"", query ? query : "the end", wanted);
}

/* The next query is this one, and its answer has this row. */
static void answer(struct played *p, const char *wanted, const char *row)
{
	expect_query(p, wanted);
	say_row(p, is_prepared(wanted), 1, row);
}

static void refuse(struct played *p, const char *sqlstate)
{
	played_error(p, "ERROR", sqlstate, "the server refuses");
	played_ready(p);
}

static void notice(struct played *p, const char *sqlstate)
{
	struct buf out = { 0 };

	buf_addf(&out, "SWARNING%cVWARNING%cC%s%cMterminating connection%c", 0, 0, sqlstate, 0, 0);
	buf_add_char(&out, '\0');
	played_say(p, 'N', out.data, out.len);
	buf_fini(&out);
}

/* Somebody connects, and is told the pid. */
static void greet(struct played *p, const char *pid)
{
	const char *query;

	played_let_in(p);
	query = next_query(p);
	assert_non_null(query);
	assert_non_null(strstr(query, "pg_backend_pid()"));
	say_row(p, false, 3, pid);
}

/* --- the clients -------------------------------------------------------------------------------------------------- */

static struct sqlpipe_query *ask(struct sqlpipe *p, const char *statement, const char *name)
{
	return sqlpipe_ask(p, statement, "SELECT $1", 1, &name, on_answer, (char *)name);
}

/* Turns the loop until this was told, and nothing else. */
static void expect(const char *wanted)
{
	int64_t until = clock_us() + PLAYED_PATIENCE;

	while (told.len < strlen(wanted) && clock_us() < until)
		played_turn(&server);
	if (strcmp(told.data, wanted) != 0)
		fail_msg("told   \"%s\"\nwanted \"%s\"", told.data, wanted);
	buf_clear(&told);
	buf_add_text(&told, "");
}

static void turn_until_pid(struct sqlpipe *p, int pid)
{
	int64_t until = clock_us() + PLAYED_PATIENCE;

	while (sqlpipe_pid(p) != pid && clock_us() < until)
		played_turn(&server);
	assert_int_equal(sqlpipe_pid(p), pid);
}

static int open_pipes(void **state)
{
	static char zone[] = "UTC";

	(void)state;
	played_open(&server);
	played_open(&other);
	event_base_free(other.loop);
	other.loop = server.loop;
	conf = (struct conf_database){
		.url = server.url, .timezone = zone, .connect_timeout = 60000, .statement_timeout = 60000
	};
	other_conf = conf;
	other_conf.url = other.url;
	names = resolve_new(server.loop, false);
	suspects = suspects_new();
	buf_clear(&told);
	buf_add_text(&told, "");
	sql = sqlpipe_new(server.loop, names, "lookups", &conf, suspects, on_state, NULL);
	greet(&server, "4711|100|0");
	watch = sqlpipe_new(server.loop, names, "watch", &other_conf, suspects, on_state, NULL);
	greet(&other, "4712|100|0");
	turn_until_pid(sql, 4711);
	turn_until_pid(watch, 4712);
	return 0;
}

static int close_pipes(void **state)
{
	(void)state;
	sqlpipe_free(sql);
	sqlpipe_free(watch);
	suspects_free(suspects);
	resolve_free(names);
	other.loop = event_base_new();
	played_close(&other);
	played_close(&server);
	buf_fini(&told);
	return 0;
}

/* Another server process has crashed, so this session is told, and ends. */
static void tell_other(void)
{
	notice(&other, "57P02");
	greet(&other, "4712|100|0"); /* hangs up first */
	turn_until_pid(watch, 4712);
}

/* --- the stream's server -------------------------------------------------------------------------------------------- */

static unsigned n_astray;

static void on_astray(void *ctx)
{
	(void)ctx;
	n_astray++;
}

/* "100" is the stream's server. What was asked waits, and nothing is asked elsewhere. */
static void a_session_on_another_server_is_over(void **state)
{
	struct anchor anchor = { .astray = on_astray };

	(void)state;
	n_astray = 0;
	anchor_set(&anchor, "100");
	sqlpipe_anchor(sql, &anchor);
	played_hang_up(&server);
	ask(sql, LOOKUP, "a");
	for (int i = 0; i < 2; i++) {
		greet(&server, "4713|99|0");
		expect_query(&server, "SELECT $1|a");
	}
	greet(&server, "4715|100|0");
	answer(&server, "SELECT $1|a", "1");
	expect("a=1; ");
	assert_int_equal(n_astray, 2);
	/* The stream begins on another one, and so must the session. Where no stream runs, each server will do. */
	anchor_set(&anchor, "100");
	assert_int_equal(sqlpipe_pid(sql), 4715);
	anchor_set(&anchor, "");
	assert_int_equal(sqlpipe_pid(sql), 4715);
	anchor_set(&anchor, "101");
	assert_int_equal(sqlpipe_pid(sql), 0);
	greet(&server, "4716|101|0");
	turn_until_pid(sql, 4716);
	assert_int_equal(n_astray, 2);
	sqlpipe_free(sql);
	sql = NULL;
	assert_null(anchor.ears);
}

/* --- losses ------------------------------------------------------------------------------------------------------- */

static void answers_come_in_order(void **state)
{
	(void)state;
	ask(sql, LOOKUP, "a");
	ask(sql, LOOKUP, "b");
	assert_int_equal(sqlpipe_turn(sql), 0);
	answer(&server, "SELECT $1|a", "1");
	answer(&server, "|b", "2");
	expect("a=1; b=2; ");
	assert_int_equal(sqlpipe_turn(sql), 0);
}

static void a_network_that_is_cut_gives_nothing_up(void **state)
{
	(void)state;
	ask(sql, LOOKUP, "a");
	ask(sql, LOOKUP, "b");
	for (int i = 0; i < 5; i++) {
		expect_query(&server, "SELECT $1|a");
		expect_query(&server, "|b");
		greet(&server, "4711|100|0");
	}
	answer(&server, "SELECT $1|a", "1");
	answer(&server, "|b", "2");
	expect("a=1; b=2; ");
}

/* Others may be asked meanwhile, and what was asked behind it is answered. */
static void a_question_that_ends_its_server_process_is_sent_once_more(void **state)
{
	(void)state;
	ask(sql, LOOKUP, "a");
	ask(sql, LOOKUP, "b");
	for (int i = 0; i < 2; i++) {
		expect_query(&server, "SELECT $1|a");
		expect_query(&server, "|b");
		played_hang_up(&server);
		tell_other();
		greet(&server, "4711|100|0");
	}
	answer(&server, "SELECT $1|b", "2");
	expect("a!57P02; b=2; ");
	/* It fails in its turn from now on, in every session; with other values it is asked. */
	ask(watch, LOOKUP, "c");
	ask(watch, LOOKUP, "a");
	ask(watch, LOOKUP, "d");
	answer(&other, "SELECT $1|c", "3");
	answer(&other, "|d", "4");
	expect("c=3; a!57P02; d=4; ");
	assert_int_equal(suspects_given_up(suspects), 1);
	assert_string_equal(suspects_last(suspects), LOOKUP);
}

/* PgBouncer says that the server's connection has ended, and does not know why. */
static void what_a_pooler_says_is_not_the_servers_word(void **state)
{
	(void)state;
	ask(sql, LOOKUP, "a");
	for (int i = 0; i < 2; i++) {
		expect_query(&server, "SELECT $1|a");
		played_error(&server, "FATAL", "08P01", "server conn crashed?");
		played_hang_up(&server);
		tell_other();
		greet(&server, "4711|100|0");
	}
	expect("a!57P02; ");
}

/* The session is up again before another one is told: nothing is sent until it is decided, what stands behind it neither. */
static void what_others_are_told_late_counts_too(void **state)
{
	(void)state;
	ask(sql, LOOKUP, "a");
	expect_query(&server, "SELECT $1|a");
	played_hang_up(&server);
	tell_other();
	greet(&server, "4711|100|0");
	expect_query(&server, "SELECT $1|a");
	/* Five seconds have passed since the first, as far as the count knows. */
	suspects_crash(suspects, clock_us() - SUSPECTS_NEAR - 1);
	greet(&server, "4713|100|0");
	turn_until_pid(sql, 4713);
	ask(sql, LOOKUP, "b");
	for (int i = 0; i < 100; i++)
		played_turn(&server);
	expect("");
	assert_int_equal(sqlpipe_turn(sql), 0); /* nothing is with the server */
	tell_other();
	answer(&server, "SELECT $1|b", "2");
	expect("a!57P02; b=2; ");
}

/* A session that is told is not the one that has crashed. */
static void who_is_told_why_is_no_suspect(void **state)
{
	static const char *const words[] = { "57P02", "57P01", "57P02" };

	(void)state;
	ask(sql, LOOKUP, "a");
	for (size_t i = 0; i < 3; i++) {
		expect_query(&server, "SELECT $1|a");
		notice(&server, words[i]);
		played_hang_up(&server);
		tell_other();
		greet(&server, "4711|100|0");
	}
	expect_query(&server, "SELECT $1|a");
	played_error(&server, "FATAL", "57P01", "terminating connection due to administrator command");
	played_hang_up(&server);
	tell_other();
	greet(&server, "4711|100|0");
	answer(&server, "SELECT $1|a", "1");
	expect("a=1; ");
}

static void only_the_oldest_question_is_a_suspect(void **state)
{
	(void)state;
	ask(sql, LOOKUP, "a");
	ask(sql, LOOKUP, "b");
	answer(&server, "SELECT $1|a", "1");
	expect("a=1; ");
	for (int i = 0; i < 2; i++) {
		expect_query(&server, i ? "SELECT $1|b" : "|b");
		played_hang_up(&server);
		tell_other();
		if (!i)
			ask(sql, LOOKUP, "a");
		greet(&server, "4711|100|0");
	}
	answer(&server, "SELECT $1|a", "1");
	expect("b!57P02; a=1; ");
}

/* They must be answered, or nothing goes on; and they end no server process. */
static void walpushs_own_queries_are_sent_as_often_as_it_takes(void **state)
{
	(void)state;
	ask(sql, "snapshot", "a");
	for (int i = 0; i < 4; i++) {
		expect_query(&server, "SELECT $1|a");
		played_hang_up(&server);
		tell_other();
		greet(&server, "4711|100|0");
	}
	answer(&server, "SELECT $1|a", "1");
	expect("a=1; ");
}

/* Where nobody would be told of a second crash, it is not risked. */
static void once_counted_it_waits_for_a_witness(void **state)
{
	(void)state;
	ask(sql, LOOKUP, "a");
	expect_query(&server, "SELECT $1|a");
	played_hang_up(&server);
	notice(&other, "57P02");
	played_hang_up(&other);
	greet(&server, "4711|100|0");
	turn_until_pid(sql, 4711);
	assert_int_equal(sqlpipe_turn(sql), 0);
	greet(&other, "4712|100|0");
	answer(&server, "SELECT $1|a", "1");
	expect("a=1; ");
}

static void without_suspects_nothing_is_given_up(void **state)
{
	(void)state;
	sqlpipe_free(sql);
	sql = sqlpipe_new(server.loop, names, "lookups", &conf, NULL, on_state, NULL);
	greet(&server, "4711|100|0");
	ask(sql, LOOKUP, "a");
	for (int i = 0; i < 3; i++) {
		expect_query(&server, "SELECT $1|a");
		played_hang_up(&server);
		tell_other();
		greet(&server, "4711|100|0");
	}
	answer(&server, "SELECT $1|a", "1");
	expect("a=1; ");
}

/* --- cancels ------------------------------------------------------------------------------------------------------ */

#define CANCEL "SELECT pg_catalog.pg_cancel_backend($1)|4711"

static void a_cancel_ends_the_query_that_was_meant(void **state)
{
	struct sqlpipe_query *a = ask(sql, LOOKUP, "a");

	(void)state;
	ask(sql, LOOKUP, "b");
	expect_query(&server, "SELECT $1|a");
	assert_true(sqlpipe_runs(sql, a));
	assert_in_range(sqlpipe_turn(sql), clock_us() - PLAYED_PATIENCE, clock_us());
	assert_true(sqlpipe_cancel(sql, watch));
	answer(&other, CANCEL, "t");
	refuse(&server, "57014");
	expect_query(&server, "|b");
	say_row(&server, true, 1, "2");
	expect("a!57014; b=2; ");
}

/* `a` was answered before the cancel arrived. */
static void a_cancel_that_hits_the_next_query_asks_it_again(void **state)
{
	struct sqlpipe_query *a = ask(sql, LOOKUP, "a");

	(void)state;
	ask(sql, LOOKUP, "b");
	ask(sql, LOOKUP, "c");
	expect_query(&server, "SELECT $1|a");
	sqlpipe_cancel(sql, watch);
	sqlpipe_forget(sql, a);
	answer(&other, CANCEL, "t");
	say_row(&server, false, 1, "1");
	expect_query(&server, "|b");
	refuse(&server, "57014");
	answer(&server, "|c", "old"); /* its answer could be older than b's */
	answer(&server, "|b", "2");
	answer(&server, "|c", "3");
	expect("b=2; c=3; ");
	/* Once for each cancel. */
	ask(sql, LOOKUP, "d");
	expect_query(&server, "|d");
	refuse(&server, "57014");
	expect("d!57014; ");
}

/* A standby ends what is in the way of its recovery: the query says nothing of it. */
static void a_conflict_with_recovery_asks_again(void **state)
{
	(void)state;
	ask(sql, LOOKUP, "a");
	ask(sql, LOOKUP, "b");
	expect_query(&server, "SELECT $1|a");
	refuse(&server, "40001");
	answer(&server, "|b", "old");
	answer(&server, "SELECT $1|a", "1");
	answer(&server, "|b", "2");
	expect("a=1; b=2; ");
	ask(sql, LOOKUP, "c");
	for (int i = 0; i < 6; i++) {
		expect_query(&server, "|c");
		refuse(&server, "40001");
	}
	expect("c!40001; ");
}

/* The next one is forgotten meanwhile; and one that is forgotten behind it is not asked again. */
static void a_forgotten_query_may_take_the_cancel(void **state)
{
	struct sqlpipe_query *a = ask(sql, LOOKUP, "a"), *b = ask(sql, LOOKUP, "b");

	(void)state;
	ask(sql, LOOKUP, "c");
	expect_query(&server, "SELECT $1|a");
	expect_query(&server, "|b");
	sqlpipe_forget(sql, a);
	sqlpipe_forget(sql, b);
	sqlpipe_cancel(sql, watch);
	answer(&other, CANCEL, "t");
	say_row(&server, false, 1, "1");
	refuse(&server, "57014");
	answer(&server, "|c", "3");
	expect("c=3; ");
}

/* And what is behind it is not asked again either. */
static void a_query_that_was_let_go_takes_the_cancel_and_is_told_of(void **state)
{
	struct sqlpipe_query *a = ask(sql, LOOKUP, "a"), *b = ask(sql, LOOKUP, "b");

	(void)state;
	ask(sql, LOOKUP, "c");
	expect_query(&server, "SELECT $1|a");
	sqlpipe_let_go(sql, a);
	sqlpipe_let_go(sql, b);
	sqlpipe_cancel(sql, watch);
	answer(&other, CANCEL, "t");
	say_row(&server, false, 1, "1");
	expect_query(&server, "|b");
	refuse(&server, "57014");
	answer(&server, "|c", "3");
	expect("a=1; b!57014; c=3; ");
	ask(sql, LOOKUP, "d");
	answer(&server, "|d", "4");
	expect("d=4; ");
}

static void a_query_that_was_let_go_is_not_sent_again(void **state)
{
	struct sqlpipe_query *b;

	(void)state;
	ask(sql, LOOKUP, "a");
	b = ask(sql, LOOKUP, "b");
	expect_query(&server, "SELECT $1|a");
	expect_query(&server, "|b");
	sqlpipe_let_go(sql, b);
	played_hang_up(&server);
	while (sqlpipe_is_up(sql))
		played_turn(&server);
	b = ask(sql, LOOKUP, "b");
	ask(sql, LOOKUP, "c");
	sqlpipe_let_go(sql, b); /* before it was sent */
	greet(&server, "4711|100|0");
	answer(&server, "SELECT $1|a", "1");
	answer(&server, "|c", "3");
	expect("a=1; b!57014; c=3; ");
}

/* What the server still runs of it ends the server process; so it is not sent twice more. */
static void what_is_asked_again_is_suspected_the_first_time_too(void **state)
{
	struct sqlpipe_query *a = ask(sql, LOOKUP, "a");

	(void)state;
	ask(sql, LOOKUP, "b");
	ask(sql, LOOKUP, "c");
	expect_query(&server, "SELECT $1|a");
	sqlpipe_cancel(sql, watch);
	sqlpipe_forget(sql, a);
	answer(&other, CANCEL, "t");
	say_row(&server, false, 1, "1");
	expect_query(&server, "|b");
	refuse(&server, "57014");
	expect_query(&server, "|c");
	expect_query(&server, "|b");
	played_hang_up(&server);
	tell_other();
	greet(&server, "4711|100|0");
	answer(&server, "SELECT $1|b", "2");
	expect_query(&server, "|c");
	played_hang_up(&server);
	tell_other();
	greet(&server, "4711|100|0");
	expect("b=2; c!57P02; ");
}

static void a_timeout_of_the_next_query_is_reported(void **state)
{
	(void)state;
	conf.statement_timeout = 0; /* so every query has run for as long */
	ask(sql, LOOKUP, "a");
	ask(sql, LOOKUP, "b");
	expect_query(&server, "SELECT $1|a");
	sqlpipe_cancel(sql, watch);
	answer(&other, CANCEL, "t");
	say_row(&server, false, 1, "1");
	expect_query(&server, "|b");
	refuse(&server, "57014");
	expect("a=1; b!57014; ");
}

static void what_cannot_be_cancelled_is_left_alone(void **state)
{
	(void)state;
	assert_false(sqlpipe_cancel(sql, watch)); /* it runs nothing */
	ask(sql, LOOKUP, "a");
	expect_query(&server, "SELECT $1|a");
	assert_false(sqlpipe_cancel(sql, sql));
	played_hang_up(&other);
	while (sqlpipe_is_up(watch))
		played_turn(&server);
	assert_false(sqlpipe_cancel(sql, watch));
	greet(&other, "4712|100|0");
	ask(watch, LOOKUP, "w");
	answer(&other, "SELECT $1|w", "9");
	expect("w=9; ");
	say_row(&server, false, 1, "1");
	ask(sql, LOOKUP, "b");
	answer(&server, "|b", "2");
	expect("a=1; b=2; ");
	/* The pid of a new session is not known before it is answered. */
	played_let_in(&server);
	while (!sqlpipe_is_up(sql))
		played_turn(&server);
	assert_int_equal(sqlpipe_pid(sql), 0);
	assert_false(sqlpipe_cancel(sql, watch));
}

/* The pid may be somebody else's by then. */
static void a_cancel_is_not_sent_in_another_session(void **state)
{
	(void)state;
	ask(sql, LOOKUP, "a");
	expect_query(&server, "SELECT $1|a");
	sqlpipe_cancel(sql, watch);
	expect_query(&other, CANCEL);
	greet(&other, "4712|100|0");
	ask(watch, LOOKUP, "w");
	answer(&other, "SELECT $1|w", "1");
	expect("w=1; ");
}

/* --- prepared statements ------------------------------------------------------------------------------------------ */

/* The text is prepared with the first query. If that fails, the others have no statement; they are asked again in the same session. */
static void queries_whose_text_was_not_prepared_are_asked_again(void **state)
{
	(void)state;
	ask(sql, LOOKUP, "a");
	ask(sql, LOOKUP, "b");
	ask(sql, LOOKUP, "c");
	expect_query(&server, "SELECT $1|a");
	refuse(&server, "55P03");
	expect_query(&server, "|b");
	refuse(&server, "26000");
	expect_query(&server, "|c");
	refuse(&server, "26000");
	answer(&server, "SELECT $1|b", "2");
	answer(&server, "|c", "3");
	expect("a!55P03; b=2; c=3; ");
}

#define PIPES(test) cmocka_unit_test_setup_teardown(test, open_pipes, close_pipes)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PIPES(a_session_on_another_server_is_over),
		PIPES(answers_come_in_order),
		PIPES(a_network_that_is_cut_gives_nothing_up),
		PIPES(a_question_that_ends_its_server_process_is_sent_once_more),
		PIPES(what_a_pooler_says_is_not_the_servers_word),
		PIPES(what_others_are_told_late_counts_too),
		PIPES(who_is_told_why_is_no_suspect),
		PIPES(only_the_oldest_question_is_a_suspect),
		PIPES(walpushs_own_queries_are_sent_as_often_as_it_takes),
		PIPES(once_counted_it_waits_for_a_witness),
		PIPES(without_suspects_nothing_is_given_up),
		PIPES(a_cancel_ends_the_query_that_was_meant),
		PIPES(a_cancel_that_hits_the_next_query_asks_it_again),
		PIPES(a_conflict_with_recovery_asks_again),
		PIPES(a_forgotten_query_may_take_the_cancel),
		PIPES(a_query_that_was_let_go_takes_the_cancel_and_is_told_of),
		PIPES(a_query_that_was_let_go_is_not_sent_again),
		PIPES(what_is_asked_again_is_suspected_the_first_time_too),
		PIPES(a_timeout_of_the_next_query_is_reported),
		PIPES(what_cannot_be_cancelled_is_left_alone),
		PIPES(a_cancel_is_not_sent_in_another_session),
		PIPES(queries_whose_text_was_not_prepared_are_asked_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
