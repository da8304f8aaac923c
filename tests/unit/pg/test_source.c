/* The replication connection against a server that the test plays: what is asked, what becomes of errors, and what is confirmed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "played.h"
#include "walpush/base/mem.h"
#include "walpush/pg/source.h"

static struct played server;
static struct conf_database conf;
static struct resolve *names;
static struct source *source;

/* What the owner is told, in one line: "start 7123 1 0/4000; streaming; record x; ". */
static struct buf told;
static lsn_t start_at, may_confirm;
static void (*during_record)(void); /* NULL: nothing */

static lsn_t on_start(void *ctx, const struct source_start *s)
{
	char confirmed[LSN_TEXT_MAX];

	(void)ctx;
	lsn_format(confirmed, s->confirmed);
	buf_addf(&told, "start %s %s %s; ", s->system_id, s->timeline, confirmed);
	return start_at;
}

static void on_streaming(void *ctx)
{
	(void)ctx;
	buf_add_text(&told, "streaming; ");
}

static void on_record(void *ctx, char *bytes, struct slice record)
{
	(void)ctx;
	buf_add_text(&told, "record ");
	buf_add_slice(&told, record);
	buf_add_text(&told, "; ");
	source_free_record(bytes);
	if (during_record)
		during_record();
}

static void on_keepalive(void *ctx, lsn_t end, bool reply_demanded)
{
	char text[LSN_TEXT_MAX];

	(void)ctx;
	lsn_format(text, end);
	buf_addf(&told, "keepalive %s%s; ", text, reply_demanded ? " reply" : "");
}

static void on_lost(void *ctx, enum source_loss loss, const struct fail *why)
{
	(void)ctx;
	buf_addf(&told, "lost %s%s%s; ", loss == SOURCE_POISON ? "poison" : "gone", why->text[0] ? " " : "", why->text);
}

static void on_ended(void *ctx)
{
	(void)ctx;
	buf_add_text(&told, "ended; ");
}

static const char *on_add_tables(void *ctx)
{
	(void)ctx;
	return "public.requests";
}

static const char *on_filter_tables(void *ctx)
{
	(void)ctx;
	return "";
}

static const char *on_message_prefix(void *ctx)
{
	(void)ctx;
	return NULL;
}

static lsn_t on_confirm(void *ctx)
{
	(void)ctx;
	return may_confirm;
}

static const struct source_calls calls = { on_start, on_streaming,  on_record,        on_keepalive,      on_lost,
					   on_ended, on_add_tables, on_filter_tables, on_message_prefix, on_confirm };

static int open_source(void **state)
{
	static char slot[] = "walpush", plugin[] = "wal2json", zone[] = "UTC";

	(void)state;
	played_open(&server);
	conf = (struct conf_database){ .url = server.url,
				       .slot = slot,
				       .plugin = plugin,
				       .timezone = zone,
				       .connect_timeout = 60000,
				       .status_interval = 60000 };
	names = resolve_new(server.loop, false);
	source = source_new(server.loop, names, &conf, &calls, NULL);
	start_at = may_confirm = 0x4000;
	during_record = NULL;
	buf_clear(&told);
	buf_add_text(&told, "");
	return 0;
}

static int close_source(void **state)
{
	(void)state;
	source_free(source);
	resolve_free(names);
	played_close(&server);
	buf_fini(&told);
	return 0;
}

/* Turns the loop until the owner was told all of this, and nothing else. */
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

static void expect_trouble(const char *wanted, const char *fix_wanted)
{
	int64_t until = clock_us() + PLAYED_PATIENCE;
	const char *fix, *said;

	while (!(said = source_trouble(source, &fix)) && clock_us() < until)
		played_turn(&server);
	assert_string_equal(said, wanted);
	if (!fix_wanted)
		assert_null(fix);
	else
		assert_true(fix && strncmp(fix, fix_wanted, strlen(fix_wanted)) == 0);
}

enum question { SETTINGS, IDENTITY, SLOT, START, STREAMS };

/* Answers as far as this question, which it takes and leaves open. */
static void come_to(enum question question)
{
	played_let_in(&server);
	assert_non_null(memmem(server.message.data, server.message.len, "replication\0database", 20));
	assert_non_null(strstr(played_query(&server), "set_config"));
	if (question == SETTINGS)
		return;
	played_rows(&server, 1, "0");
	assert_string_equal(played_query(&server), "IDENTIFY_SYSTEM");
	if (question == IDENTITY)
		return;
	played_rows(&server, 4, "7123|1|0/5000|app");
	assert_non_null(strstr(played_query(&server), "pg_replication_slots WHERE slot_name = 'walpush'"));
	if (question == SLOT)
		return;
	played_rows(&server, 8, "wal2json|logical|t|0/4000|reserved|UTF8|1700000000000|-");
	assert_non_null(strstr(played_query(&server), "START_REPLICATION SLOT \"walpush\" LOGICAL "));
	assert_non_null(strstr(server.message.data, "\"add-tables\" 'public.requests')"));
	if (question == START)
		return;
	played_say(&server, 'W', "\0\0\0", 3);
}

/* The loop's timers run, so that what waits to try again does so now. */
static void go_again(void)
{
	source_stop(source);
	source_go(source);
}

static void stream(void)
{
	struct played_status status;

	source_go(source);
	come_to(STREAMS);
	status = played_status(&server);
	assert_true(status.demands_reply);
	expect("start 7123 1 0/4000; streaming; ");
	assert_true(source_is_streaming(source));
	assert_int_equal(source_down_since(source), 0);
}

/* --- starts ----------------------------------------------------------------------------------------------------- */

static void it_streams_from_where_the_owner_says(void **state)
{
	static const struct {
		lsn_t from;
		const char *said;
	} cases[] = { { 0x4000, "LOGICAL 0/4000 (" }, { 0x4800, "LOGICAL 0/4800 (" }, { 0, "LOGICAL 0/0 (" } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		start_at = cases[i].from;
		go_again();
		come_to(START);
		assert_non_null(strstr(server.message.data, cases[i].said));
		expect("start 7123 1 0/4000; ");
		assert_false(source_is_streaming(source));
		assert_true(source_down_since(source) > 0);
	}
}

/* Messages are wanted by nobody: the prefix is one that nobody can guess. */
static void without_a_prefix_it_names_one_that_nobody_uses(void **state)
{
	const char *prefix;

	(void)state;
	source_go(source);
	come_to(START);
	prefix = strstr(server.message.data, "\"add-msg-prefixes\" '");
	assert_non_null(prefix);
	assert_int_equal(strspn(prefix + 20, "0123456789abcdef"), 32);
}

static void a_refusal_is_said_with_its_fix(void **state)
{
	static const struct {
		enum question at;
		const char *sqlstate, *text, *fix;
		bool held_by_other;
	} cases[] = {
		{ START, "55006", "replication slot \"walpush\" is active for PID 7", "another process holds the slot",
		  true },
		{ START, "55000", "can no longer get changes from replication slot \"walpush\"",
		  "the slot cannot be used", false },
		{ START, "0A000", "logical decoding cannot be used while in recovery", "the server is too old", false },
		{ START, "42501", "permission denied", "the role lacks a privilege", false },
		{ SLOT, "57P03", "the database system is starting up", "the server is starting", false },
		{ IDENTITY, "42601", "syntax error", NULL, false },
		{ SETTINGS, "57014", "canceling statement due to statement timeout", "a statement_timeout", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		close_source(state);
		open_source(state);
		source_go(source);
		come_to(cases[i].at);
		played_error(&server, "ERROR", cases[i].sqlstate, cases[i].text);
		played_ready(&server);
		expect_trouble(cases[i].text, cases[i].fix);
		assert_int_equal(source_is_held_by_other(source), cases[i].held_by_other);
		expect(cases[i].at == START ? "start 7123 1 0/4000; "
					    : ""); /* and is not told that a stream was lost */
		assert_int_equal(source_deaths(source), 0);
		assert_int_equal(played_take(&server, true), 'X');
	}
}

static void a_missing_slot_is_said(void **state)
{
	(void)state;
	source_go(source);
	come_to(SLOT);
	played_rows(&server, 6, NULL);
	expect_trouble("slot \"walpush\" does not exist", "the slot does not exist");
	assert_null(source_plugin(source));
	expect("");
}

static void whoever_is_not_let_in_is_told_why(void **state)
{
	const char *fix, *said = NULL;

	(void)state;
	source_go(source);
	played_accept(&server);
	played_error(&server, "FATAL", "28P01", "password authentication failed for user \"walpush\"");
	while (!said) {
		played_turn(&server);
		said = source_trouble(source, &fix);
	}
	assert_non_null(strstr(said, "password authentication failed"));
}

/* At each question: the server goes away, or sends what is no protocol. */
static void a_connection_may_end_at_any_question(void **state)
{
	(void)state;
	for (enum question at = SETTINGS; at <= START; at++) {
		const char *fix;

		close_source(state);
		open_source(state);
		source_go(source);
		come_to(at);
		played_hang_up(&server);
		while (!source_trouble(source, &fix))
			played_turn(&server);
		assert_null(fix);
		assert_false(source_is_held_by_other(source));
	}
}

/* --- the stream ------------------------------------------------------------------------------------------------- */

static void records_come_in_order(void **state)
{
	(void)state;
	stream();
	played_record(&server, 0x4100, "one");
	played_record(&server, 0x4200, "two");
	played_keepalive(&server, 0x4300, false);
	expect("record one; record two; keepalive 0/4300; ");
	assert_int_equal(source_received(source), 0x4300);
	assert_int_equal(source_server_end(source), 0x5000); /* as it said before */
	played_keepalive(&server, 0x6000, false);
	expect("keepalive 0/6000; ");
	assert_int_equal(source_server_end(source), 0x6000);
	assert_int_equal(source_furthest(source), 0x6000);
	assert_true(source_spoke(source) > 0);
}

static void what_is_confirmed_never_goes_back(void **state)
{
	static const struct {
		lsn_t may, flushed;
	} cases[] = { { 0x4100, 0x4100 }, { 0x4050, 0x4100 }, { 0, 0x4100 }, { 0x4200, 0x4200 } };

	(void)state;
	stream();
	played_keepalive(&server, 0x4800, false);
	expect("keepalive 0/4800; ");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct played_status status;

		may_confirm = cases[i].may;
		source_send_status(source);
		status = played_status(&server);
		assert_int_equal(status.flushed, cases[i].flushed);
		assert_int_equal(status.written, 0x4800);
		assert_false(status.demands_reply);
	}
	source_ask(source);
	assert_true(played_status(&server).demands_reply);
}

static void a_reply_that_is_demanded_is_sent(void **state)
{
	(void)state;
	stream();
	may_confirm = 0x4900;
	played_keepalive(&server, 0x4900, true);
	assert_int_equal(played_status(&server).flushed, 0x4900);
	expect("keepalive 0/4900 reply; ");
}

static void a_segment_is_confirmed_at_once(void **state)
{
	(void)state;
	stream();
	may_confirm = 0x4000 + (16 << 20) - 1;
	source_moved(source, may_confirm);
	may_confirm++;
	source_moved(source, may_confirm);
	assert_int_equal(played_status(&server).flushed, 0x4000 + (16 << 20)); /* the first that was sent */
}

static void a_pause_stops_the_reading(void **state)
{
	(void)state;
	stream();
	source_pause(source, true);
	played_record(&server, 0x4100, "one");
	for (int i = 0; i < 5; i++)
		played_turn(&server);
	expect("");
	source_pause(source, true);
	source_pause(source, false);
	expect("record one; ");
}

static void pause_now(void)
{
	source_pause(source, true);
}

/* libpq has read both records by then: the second one waits in it, and no event of the socket will tell. */
static void a_pause_between_two_records_loses_none(void **state)
{
	(void)state;
	stream();
	during_record = pause_now;
	played_record(&server, 0x4100, "one");
	played_record(&server, 0x4200, "two");
	expect("record one; ");
	source_pause(source, false);
	expect("record two; ");
}

static void each_end_of_a_stream_is_told(void **state)
{
	static const struct {
		const char *sqlstate, *text, *told;
	} cases[] = {
		{ "54000", "out of memory", "lost poison out of memory; " },
		{ "XX000", "invalid memory alloc request size 1073741824",
		  "lost poison invalid memory alloc request size 1073741824; " },
		{ "XX000", "cache lookup failed", "lost gone cache lookup failed; " },
		{ "57P01", "terminating connection due to administrator command",
		  "lost gone terminating connection due to administrator command; " },
		{ NULL, NULL, "lost gone the server ended the stream; " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		close_source(state);
		open_source(state);
		stream();
		if (cases[i].sqlstate)
			played_error(&server, "ERROR", cases[i].sqlstate, cases[i].text);
		else
			played_say(&server, 'c', NULL, 0);
		expect(cases[i].told);
		assert_false(source_is_streaming(source));
		assert_int_equal(source_deaths(source), 1);
		assert_true(source_down_since(source) > 0);
	}
}

static void a_server_that_is_gone_ends_the_stream(void **state)
{
	(void)state;
	stream();
	played_record(&server, 0x4100, "one");
	played_hang_up(&server);
	expect("record one; lost gone server closed the connection unexpectedly; ");
}

static void bytes_that_are_no_frame_are_poison(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *told;
	} cases[] = {
		{ "w123", 4, "lost poison XLogData of 4 bytes, at least 25 expected; " },
		{ "k12345678123456782", 18, "lost poison keepalive with 50 where 0 or 1 says whether to reply; " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		close_source(state);
		open_source(state);
		stream();
		played_say(&server, 'd', cases[i].bytes, cases[i].len);
		expect(cases[i].told);
	}
}

/* The server says it when it decodes the first row, long after START_REPLICATION. */
static void a_publication_of_later_is_said(void **state)
{
	(void)state;
	assert_null(source_plugin(source));
	stream();
	assert_string_equal(source_plugin(source), "wal2json");
	played_error(&server, "ERROR", "42704", "publication \"walpush\" does not exist");
	expect("lost gone publication \"walpush\" does not exist; ");
	expect_trouble("publication \"walpush\" does not exist", "the slot has changes from a time without");
}

/* --- trying again ----------------------------------------------------------------------------------------------- */

static void die(void)
{
	played_hang_up(&server);
	expect("lost gone server closed the connection unexpectedly; ");
}

/* A stream that brings what earlier ones brought, and ends, is no success. */
static void only_what_is_new_is_progress(void **state)
{
	const char *fix;

	(void)state;
	stream();
	played_record(&server, 0x5100, "one");
	expect("record one; ");
	die();
	go_again();
	stream();
	played_record(&server, 0x5100, "one");
	expect("record one; ");
	assert_int_equal(source_deaths(source), 1);
	assert_non_null(source_trouble(source, &fix));
	die();
	assert_int_equal(source_deaths(source), 2);
	go_again();
	stream();
	played_record(&server, 0x5200, "two");
	expect("record two; ");
	assert_int_equal(source_deaths(source), 0);
	assert_null(source_trouble(source, &fix));
}

/* Nor is there anything to come behind the server's end: a keepalive from there is progress. */
static void a_keepalive_from_the_end_is_progress(void **state)
{
	(void)state;
	stream();
	played_keepalive(&server, 0x5000, false);
	expect("keepalive 0/5000; ");
	die();
	go_again();
	stream();
	played_keepalive(&server, 0x4fff, false);
	expect("keepalive 0/4FFF; ");
	assert_int_equal(source_deaths(source), 1);
	played_keepalive(&server, 0x5000, false);
	expect("keepalive 0/5000; ");
	assert_int_equal(source_deaths(source), 0);
}

static void refuse_now(void)
{
	struct fail why = { 0 };

	fail_set(&why, "no JSON");
	source_refuse(source, &why);
}

/* What is refused comes early enough to be received with what is behind it: only a position handled is progress. */
static void a_refused_record_is_poison_until_it_is_handled(void **state)
{
	(void)state;
	stream();
	during_record = refuse_now;
	played_record(&server, 0x5100, "bad");
	played_record(&server, 0x5200, "behind");
	expect("record bad; lost poison no JSON; ");
	during_record = NULL;
	go_again();
	stream();
	played_record(&server, 0x5300, "new");
	expect("record new; ");
	assert_int_equal(source_deaths(source), 1);
	source_moved(source, 0x5150);
	played_record(&server, 0x5400, "newer");
	expect("record newer; ");
	assert_int_equal(source_deaths(source), 0);
}

static void restart_now(void)
{
	source_restart(source, "other rules");
}

static void a_restart_hangs_up(void **state)
{
	(void)state;
	stream();
	source_restart(source, "other rules");
	expect("lost gone other rules; ");
	go_again();
	stream();
	during_record = restart_now;
	played_record(&server, 0x5100, "one");
	played_record(&server, 0x5200, "two");
	expect("record one; lost gone other rules; ");
	source_stop(source);
	source_restart(source, "other rules");
	expect("");
}

static void a_renewed_connection_is_dialled_at_once(void **state)
{
	(void)state;
	source_renew(source);
	stream();
	source_renew(source);
	expect("lost gone; ");
	assert_int_equal(source_deaths(source), 0);
	come_to(STREAMS);
	expect("start 7123 1 0/4000; streaming; ");
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

static void it_ends_in_good_order(void **state)
{
	(void)state;
	stream();
	may_confirm = 0x4700;
	source_end(source);
	assert_int_equal(played_status(&server).flushed, 0x4700);
	assert_int_equal(played_take(&server, true), 'c');
	played_record(&server, 0x5000, "late");
	expect("");
	played_say(&server, 'c', NULL, 0);
	played_say(&server, 'C', "COPY 0", 7);
	played_ready(&server);
	expect("ended; ");
	assert_int_equal(played_take(&server, true), 'X');
	assert_false(source_is_streaming(source));
}

static void an_end_may_be_cut_short(void **state)
{
	(void)state;
	source_end(source);
	expect("ended; ");
	stream();
	source_end(source);
	played_hang_up(&server);
	expect("ended; ");
	stream();
	source_end(source);
	source_restart(source, "too late");
	expect("ended; ");
}

static void a_stop_sends_the_last_status(void **state)
{
	(void)state;
	stream();
	may_confirm = 0x4700;
	source_stop(source);
	assert_int_equal(played_status(&server).flushed, 0x4700);
	assert_int_equal(played_take(&server, true), 'X');
	expect("");
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, open_source, close_source)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SERVER(it_streams_from_where_the_owner_says),
		WITH_SERVER(without_a_prefix_it_names_one_that_nobody_uses),
		WITH_SERVER(a_refusal_is_said_with_its_fix),
		WITH_SERVER(a_missing_slot_is_said),
		WITH_SERVER(whoever_is_not_let_in_is_told_why),
		WITH_SERVER(a_connection_may_end_at_any_question),
		WITH_SERVER(records_come_in_order),
		WITH_SERVER(what_is_confirmed_never_goes_back),
		WITH_SERVER(a_reply_that_is_demanded_is_sent),
		WITH_SERVER(a_segment_is_confirmed_at_once),
		WITH_SERVER(a_pause_stops_the_reading),
		WITH_SERVER(a_pause_between_two_records_loses_none),
		WITH_SERVER(each_end_of_a_stream_is_told),
		WITH_SERVER(a_server_that_is_gone_ends_the_stream),
		WITH_SERVER(bytes_that_are_no_frame_are_poison),
		WITH_SERVER(a_publication_of_later_is_said),
		WITH_SERVER(only_what_is_new_is_progress),
		WITH_SERVER(a_keepalive_from_the_end_is_progress),
		WITH_SERVER(a_refused_record_is_poison_until_it_is_handled),
		WITH_SERVER(a_restart_hangs_up),
		WITH_SERVER(a_renewed_connection_is_dialled_at_once),
		WITH_SERVER(it_ends_in_good_order),
		WITH_SERVER(an_end_may_be_cut_short),
		WITH_SERVER(a_stop_sends_the_last_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
