/* Content is not newer than its permission, by scripts of what comes, what the answers may know and what was received: see held.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "held.h"

#define X "l={\"x\":1}"
#define ASKS "?snapshot ?known ?data-query(5) "
#define PAIRS "?snapshot ?known ?lookup(5) ?data-query(5) "

static void an_answer_waits_until_all_is_received_that_it_may_know(void **state)
{
	static const struct held_case cases[] = {
		/* Nothing was written since the row's own commit. */
		{ "f1 B7@1 h5 C s8:8: " X, ASKS "publish-1: s_5=1;" },
		/* The next commit comes, or a later one begins, or there was nothing for walpush. */
		{ "f2 B7@1 h5 C s8:8: " X " | B8@2 C", ASKS "hear | publish-1: s_5=1; handled-240;" },
		{ "f2 B7@1 h5 C s8:8: " X " | B8@3", ASKS "hear | publish-1: s_5=1;" },
		{ "f2 B7@1 h5 C s8:8: " X " | B8@2 |", ASKS "hear | |" },
		{ "f2 B7@1 h5 C s8:8: " X " | k2 | k3", ASKS "hear | | publish-1: s_5=1; handled-300;" },
		/* It came before the answer. */
		{ "f2 B7@1 h5 C B8@2 C s9:9: " X, ASKS "publish-1: s_5=1; handled-240;" },
		/* The row's transaction is not complete yet: what commits later is not there. */
		{ "f2 B7@1 h5 s8:8: " X " | C B8@2 C", ASKS "hear | publish-1: s_5=1; handled-240;" },
		/* What asks nothing waits for nothing, and what is behind a row waits with it. */
		{ "f2 B7@1 p1 h5 C B8@2 p2 s9:9: " X " | C", ASKS "hear | publish-1: p_1 s_5=1; publish-2: p_2;" },
		/* The server is asked again while it has not come so far. */
		{ "f2 B7@1 h5 C s8:8: " X " | V | V | B8@2 C",
		  ASKS "hear | hear | hear | publish-1: s_5=1; handled-240;" },
		/* A question that failed knows nothing. */
		{ "f9 B7@1 h5 C s8:8: l!", ASKS "publish-1: s_5=0;" },
		/* Another session asks for the position again, and what was answered stays. */
		{ "f2 B7@1 h5 C s8:8: " X " J | B8@2 C", ASKS "hear replace ?known | publish-1: s_5=1; handled-240;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

static void content_that_may_be_newer_than_a_permission_is_left_out(void **state)
{
	static const struct held_case cases[] = {
		/* A member came or went after the row and before the answer. */
		{ "f2 B7@1 h5 C B8@2 d5 C s9:9: " X, ASKS "publish-1: s_5=0; publish-2: member-5;" },
		{ "f2 B7@1 h5 C B8@2 T C s9:9: " X, ASKS "publish-1: s_5=0; publish-2: member-everybody;" },
		{ "f2 B7@1 h5 C B8@2 p1 m C s9:9: " X " | L E |",
		  ASKS "publish-1: s_5=0; look | publish-2: p_1 member-everybody; |" },
		/* With the row: its readers are those of its commit. After the answer: it does not know it. */
		{ "f1 B7@1 h5 d5 C s8:8: " X, ASKS "publish-1: s_5=1 member-5;" },
		{ "f1 B7@1 h5 C B8@2 d5 C s9:9: " X, ASKS "publish-1: s_5=1; publish-2: member-5;" },
		/* The row was deleted, or moved; another one was, or it stayed where it is. */
		{ "f2 B7@1 h5 C B8@2 D5 C s9:9: " X, ASKS "publish-1: s_5=0; publish-2: s_5=0;" },
		{ "f2 B7@1 h5 C B8@2 O5 C s9:9: " X " l!",
		  ASKS "?data-query(6) publish-1: s_5=0; publish-2: s_5=0 s_6=0;" },
		{ "f2 B7@1 h5 C B8@2 D6 C s9:9: " X, ASKS "publish-1: s_5=1; publish-2: s_6=0;" },
		{ "f2 B7@1 h5 C B8@2 U5 C s9:9: " X, ASKS "publish-1: s_5=1; publish-2: s_5=1;" },
		{ "f1 B7@1 h5 C B8@2 D5 C s9:9: " X, ASKS "publish-1: s_5=1; publish-2: s_5=0;" },
		/* The same in its own transaction: the answer knows all of it. */
		{ "f1 B7@1 h5 D5 C s8:8: " X, ASKS "publish-1: s_5=0 s_5=0;" },
		{ "f1 B7@1 h5 p1 O5 C s8:8: " X " " X, ASKS "?data-query(6) publish-1: s_5=0 p_1 s_5=0 s_6=1;" },
		{ "f1 B7@1 h5 U5 C s8:8: " X, ASKS "publish-1: s_5=1 s_5=1;" },
		{ "f1 B7@1 D5 h5 C s8:8: " X, ASKS "publish-1: s_5=0 s_5=1;" },
		/* Another row has its key by then. */
		{ "f2 B7@1 h5 C B8@2 D5 h5 C s9:9: " X, ASKS "publish-1: s_5=0; publish-2: s_5=0 s_5=1;" },
		/* Two transactions later, and the last one is not concerned. */
		{ "f3 B7@1 h5 C B8@2 D5 C B9@3 p1 C s10:10: " X,
		  ASKS "publish-1: s_5=0; publish-2: s_5=0; publish-3: p_1;" },
		{ "f3 B7@1 h5 C B8@2 d6 C B9@3 p1 C s10:10: " X,
		  ASKS "publish-1: s_5=0; publish-2: member-6; publish-3: p_1;" },
		/* Nobody can tell what these did. */
		{ "f2 B7@1 h5 C B8@2 b1 C s9:9: " X,
		  ASKS "publish-1: s_5=0; publish-2: q_1 unknown-closing member-everybody;" },
		{ "f2 B7@1 h5 C B8@2 y1 C s9:9: " X " | R",
		  ASKS "publish-1: s_5=0; stale | publish-2: unknown-parent unknown-closing member-everybody;" },
		/* A table that nobody listed decides nothing. */
		{ "f2 B7@1 h5 C B8@2 u1 C s9:9: " X, ASKS "publish-1: s_5=1; handled-240;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

static void what_is_left_out_is_what_queries_made(void **state)
{
	static const struct held_case cases[] = {
		/* A name. */
		{ "f2 B7@1 n5 C B8@2 d5 C s9:9: l=asha",
		  "?snapshot ?known ?query(5) publish-1: n_5=null; publish-2: member-5;" },
		/* Not the groups of a lookup: who may read them is decided at the commit. */
		{ "f2 B7@1 a5 C B8@2 d5 C s9:9: l=6",
		  "?snapshot ?known ?lookup(5) publish-1: a_6; publish-2: member-5;" },
		/* Not the columns. */
		{ "f2 B7@1 p5 C B8@2 d5 C s9:9:", "?snapshot publish-1: p_5; publish-2: member-5;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

/* Another row may have the values with which the query asked. */
static void content_of_a_row_that_gave_its_values_away_is_left_out(void **state)
{
	static const struct held_case cases[] = {
		/* The parameter, as far as is known: its old value was not sent. */
		{ "f2 B7@1 z5 C B8@2 u1 C s9:9: l=6 " X, PAIRS "publish-1: z_6=1; handled-240;" },
		{ "f2 B7@1 z5 C B8@2 Z5 C s9:9: l=6 " X, PAIRS "publish-1: z_6=0 bulk; publish-2: z_6=1;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

/* The lookup answers, then somebody moves by whom it names receivers, then the data query answers. */
static void content_is_left_out_where_its_receivers_may_have_changed(void **state)
{
	static const struct held_case cases[] = {
		{ "f2 B7@1 z5 C B8@2 p1 C s9:9: l=6 " X, PAIRS "publish-1: z_6=0; publish-2: p_1;" },
		{ "f1 B7@1 z5 C B8@2 p1 C s9:9: l=6 " X, PAIRS "publish-1: z_6=1; publish-2: p_1;" },
		{ "f1 B7@1 z5 p1 C s8:8: l=6 " X, PAIRS "publish-1: z_6=1 p_1;" },
		{ "f2 B7@1 z5 C B8@2 c1 C s9:9: l=6 " X, PAIRS "publish-1: z_6=1; publish-2: q_1;" },
		{ "f2 B7@1 h5 C B8@2 p1 C s9:9: " X, ASKS "publish-1: s_5=1; publish-2: p_1;" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		held_again();
		held.reads_table = "plain";
		held_expect(cases[i].script, cases[i].told);
	}
}

#define LOOKS_UP "?snapshot ?known ?lookup(5) "

/* The lookup answers as of the later edit, and the message shows what was edited away. */
static void receivers_are_not_those_of_a_later_edit(void **state)
{
	static const struct held_case cases[] = {
		{ "f2 B7@1 q5 C B8@2 Q5 C s9:9: l=6", LOOKS_UP "publish-1: lookup-asks; publish-2: a_6;" },
		{ "f3 B7@1 q5 C B8@2 p1 C B9@3 Q5 C s10:10: l=6",
		  LOOKS_UP "publish-1: lookup-asks; publish-2: p_1; publish-3: a_6;" },
		/* They wait for the log like content, and as long. */
		{ "f2 B7@1 q5 C s8:8: l=6 | B8@2 C", LOOKS_UP "hear | publish-1: a_6; handled-240;" },
		{ "f9 B7@1 q5 C s8:8: l=6 | +1000000 V", LOOKS_UP "hear | publish-1: lookup-asks;" },
		/* Also in its own transaction. */
		{ "f1 B7@1 q5 Q5 C s8:8: l=6", LOOKS_UP "publish-1: a_6 lookup-asks;" },
		/* Of another row, or of an edit that the answer does not know. */
		{ "f2 B7@1 q5 C B8@2 Q6 C s9:9: l=6 l=7", LOOKS_UP "?lookup(6) publish-1: a_6; publish-2: a_7;" },
		{ "f1 B7@1 q5 C B8@2 Q5 C s9:9: l=6", LOOKS_UP "publish-1: a_6; publish-2: a_6;" },
		/* Nobody can tell what this did. */
		{ "f2 B7@1 q5 C B8@2 b1 C s9:9: l=6",
		  LOOKS_UP "publish-1: lookup-asks; publish-2: q_1 unknown-closing member-everybody;" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		held_again();
		held.reads_itself = true;
		held_expect(cases[i].script, cases[i].told);
	}
}

/* Who could see the row before the edit can still see it, as far as the lookup tells. */
static void receivers_that_do_not_depend_on_the_row_refetch(void **state)
{
	static const struct held_case cases[] = {
		{ "f2 B7@1 q5 C B8@2 Q5 C s9:9: l=6", LOOKS_UP "publish-1: a_6 bulk; publish-2: a_6;" },
		{ "f2 B7@1 q5 q5 C B8@2 Q5 C s9:9: l=6", LOOKS_UP "publish-1: a_6 bulk; publish-2: a_6;" },
		{ "f2 B7@1 q5 C B8@2 Q5 C s9:9: l=", LOOKS_UP "handled-140; handled-240;" },
		/* They wait for the log, but not for long, and what came is judged. */
		{ "f2 B7@1 q5 C s8:8: l=6 | B8@2 Q5 C",
		  LOOKS_UP "hear | ?snapshot ?known ?lookup(5) publish-1: a_6 bulk;" },
		{ "f9 B7@1 q5 C s8:8: l=6 | +10000 V", LOOKS_UP "hear | publish-1: a_6;" },
		{ "f9 B7@1 q5 C B8@2 Q5 C s9:9: l=6 | +10000 V",
		  LOOKS_UP "hear | publish-1: a_6 bulk; publish-2: a_6;" },
		/* Nor again for what did not come, while content still waits for it. */
		{ "f9 B7@1 q5 C s8:8: l=6 | +10000 V | B8@2 q6 C s9:9: l=7 | B9@3 h5 C s10:10: " X,
		  LOOKS_UP "hear | publish-1: a_6; | ?snapshot ?known ?lookup(6) publish-2: a_7; | " ASKS "hear" },
		{ "f1 B7@1 q5 C B8@2 Q5 C s9:9: l=6", LOOKS_UP "publish-1: a_6; publish-2: a_6;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

/* The answer of the first row may know commit 4, and nothing comes. */
#define IN_VAIN "f4 B7@1 h5 C s8:8: " X " | +1000000 V | "
#define ASKED_IN_VAIN ASKS "hear | publish-1: s_5=0; | "

static void what_would_be_in_vain_is_not_asked(void **state)
{
	static const struct held_case cases[] = {
		{ IN_VAIN "B8@2 h6 n7 C s9:9:", ASKED_IN_VAIN "?snapshot publish-2: s_6=0 n_7=null;" },
		/* Receivers hardly wait for the log. */
		{ IN_VAIN "B8@2 h6 a5 C s9:9: v9:9: l=6 | +10000 V",
		  ASKED_IN_VAIN "?snapshot ?known ?lookup(5) hear | publish-2: s_6=0 a_6;" },
		/* The log may have come on when it is the row's turn. */
		{ IN_VAIN "B8@2 p1 h6 C B9@5 p2 C s10:10: v10:10: " X,
		  ASKED_IN_VAIN "?snapshot ?known ?data-query(6) publish-2: p_1 s_6=1; publish-5: p_2;" },
		{ IN_VAIN "B8@2 h6 C B9@3 h7 C s10:10: B10@5 h8 C s11:11: " X,
		  ASKED_IN_VAIN "?snapshot publish-2: s_6=0; publish-3: s_7=0; ?snapshot ?known ?data-query(8) "
				"publish-5: s_8=1;" },
		/* Also that of a row whose receivers were asked for ahead. */
		{ IN_VAIN "B8@2 z6 C r9:9: v9:9: l=6 | +10000 V",
		  ASKED_IN_VAIN "?snapshot ?known ?lookup(6) hear | publish-2: z_6=0;" },
		{ IN_VAIN "B8@2 z6 C B9@5 p2 C r10:10: v10:10: l=6 " X,
		  ASKED_IN_VAIN "?snapshot ?known ?lookup(6) ?data-query(6) publish-2: z_6=1; publish-5: p_2;" },
	};

	(void)state;
	HELD_PLAY(cases);
	held_again();
	held.reads_itself = true;
	held_expect(IN_VAIN "B8@2 q5 C s9:9:", ASKED_IN_VAIN "?snapshot publish-2: lookup-asks;");
}

static void the_wait_is_bounded(void **state)
{
	static const struct held_case cases[] = {
		/* A second. What is waited for in vain is not waited for again, until the log has come that far. */
		{ IN_VAIN "B8@2 h6 C s9:9: | B9@5 p1 h7 C s10:10: " X,
		  ASKED_IN_VAIN "?snapshot publish-2: s_6=0; | ?snapshot ?known ?data-query(7) publish-5: p_1 s_7=1;" },
		{ "f4 B7@1 h5 C s8:8: " X " | +998000 V | V", ASKS "hear | hear | publish-1: s_5=0;" },
		/* Nobody can tell which commits it knows. */
		{ "f! B7@1 h5 C s8:8: " X, ASKS "publish-1: s_5=0;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

static void a_commit_may_be_visible_before_it_is_flushed(void **state)
{
	static const struct held_case cases[] = {
		{ "g1,3 B7@1 h5 C s8:8: " X " | B8@3 C", ASKS "settled-in-600 hear | publish-1: s_5=1; handled-340;" },
		/* Nobody flushes that far: after three times wal_writer_delay all is flushed that others saw. */
		{ "g1,3 B7@1 h5 C s8:8: " X " | S", ASKS "settled-in-600 hear | publish-1: s_5=1;" },
		{ "g1,1 B7@1 h5 C s8:8: " X, ASKS "publish-1: s_5=1;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

/* A commit is visible there before it counts as replayed. */
static void a_standby_may_be_applying_what_an_answer_knows(void **state)
{
	static const struct held_case cases[] = {
		{ "N j1,1 B7@1 h5 C s8:8:* " X, ASKS "publish-1: s_5=1;" },
		{ "N j1,2 B7@1 h5 C s8:8:* " X " | B8@2 C",
		  ASKS "settled-in-100 hear | publish-1: s_5=1; handled-240;" },
		{ "N j1,2 B7@1 h5 C s8:8:* " X " | S | j1,1 S",
		  ASKS "settled-in-100 hear | settled-in-100 | publish-1: s_5=1;" },
		/* What is applied may come from the archive. */
		{ "N j1,0 B7@1 h5 C s8:8:* " X " | B8@2 C",
		  ASKS "settled-in-100 hear | publish-1: s_5=1; handled-240;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

static void nothing_is_waited_for_while_the_queue_is_full(void **state)
{
	(void)state;
	held_expect("f9 B7@1 h5 C s8:8: " X, ASKS "hear");
	held_play("B8@2");
	for (int i = 0; i < 10; i++)
		held_row("plain", 1, NULL, 0, 1 << 20);
	assert_non_null(strstr(held.told.data, "pause publish-1: s_5=0;"));
}

/* What one kind of wait was for is not taken for the other's: they share a timer. */
static void a_wait_that_became_another_kind_is_over(void **state)
{
	(void)state;
	held.reads_itself = true;
	held_expect("f9 B7@1 q5 C s8:8: l=6", LOOKS_UP "hear");
	held.reads_itself = false;
	held_expect("B8@2 h5 C | +10000 V | s9:9: " X, "hear ?snapshot ?known ?data-query(5) | publish-1: a_6; | hear");
}

static void a_second_look_is_taken_again_in_another_session(void **state)
{
	(void)state;
	held_expect("g1,3 B7@1 h5 C s8:8: " X, ASKS "settled-in-600 hear");
	assert_true(held_fire(OUTSIDE_TIMER_SETTLED));
	intake_session_lost(held.intake, NULL);
	held_expect("v8:8: S", "publish-1: s_5=1;");
}

/* database.async-commits: the server does not know what sessions set by themselves. */
static void the_configuration_may_say_so(void **state)
{
	(void)state;
	intake_async_commits(held.intake, true);
	held_expect("i1,3 B7@1 h5 C s8:8: " X " | S", ASKS "settled-in-600 hear | publish-1: s_5=1;");
	intake_async_commits(held.intake, false);
	held_expect("i2,3 B8@2 h6 C s9:9: " X, "?snapshot ?known ?data-query(6) publish-2: s_6=1;");
}

/* Each question has its position, also those of a long turn. */
static void a_long_turn_has_several_positions(void **state)
{
	(void)state;
	held_play("f1 B7@1");
	for (unsigned i = 0; i < 3 * 64; i++) {
		char word[16];

		snprintf(word, sizeof(word), "n%u", i);
		held_play(word);
	}
	held_play("C s8:8:");
	for (unsigned i = 0; i < 3 * 64; i++)
		held_play("l=asha");
	assert_non_null(strstr(held.told.data, "n_191=asha"));
	assert_null(strstr(held.told.data, "null"));
}

#define HELD(test) cmocka_unit_test_setup_teardown(test, held_open, held_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HELD(an_answer_waits_until_all_is_received_that_it_may_know),
		HELD(content_that_may_be_newer_than_a_permission_is_left_out),
		HELD(what_is_left_out_is_what_queries_made),
		HELD(content_of_a_row_that_gave_its_values_away_is_left_out),
		HELD(content_is_left_out_where_its_receivers_may_have_changed),
		HELD(receivers_are_not_those_of_a_later_edit),
		HELD(receivers_that_do_not_depend_on_the_row_refetch),
		HELD(what_would_be_in_vain_is_not_asked),
		HELD(the_wait_is_bounded),
		HELD(a_commit_may_be_visible_before_it_is_flushed),
		HELD(a_standby_may_be_applying_what_an_answer_knows),
		HELD(a_wait_that_became_another_kind_is_over),
		HELD(a_second_look_is_taken_again_in_another_session),
		HELD(the_configuration_may_say_so),
		HELD(nothing_is_waited_for_while_the_queue_is_full),
		HELD(a_long_turn_has_several_positions),
	};

	return HELD_RUN(tests);
}
