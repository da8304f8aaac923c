/* What becomes of records, by scripts of what comes, what is asked and what is answered: see held.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "held.h"

/* --- visible first ------------------------------------------------------------------------------------------------ */

static void a_transaction_is_published_when_a_snapshot_sees_it(void **state)
{
	static const struct held_case cases[] = {
		/* The snapshot is asked at the first row, and answered before, between or behind what else comes. */
		{ "B7@1 p1 C | s8:8:", "?snapshot | publish-1: p_1;" },
		{ "B7@1 p1 s8:8: | C", "?snapshot | publish-1: p_1;" },
		{ "B7@1 p1 s8:8: p2 | C", "?snapshot | publish-1: p_1 p_2;" },
		{ "B7@1 p1 p2 C | s8:8:", "?snapshot | publish-1: p_1 p_2;" },
		/* It is running in the first snapshot, ends in the second. */
		{ "B7@1 p1 C s7:8:7 | s8:8:", "?snapshot ?snapshot | publish-1: p_1;" },
		/* Not begun in the first. */
		{ "B7@1 p1 C s7:7: | s8:8:", "?snapshot ?snapshot | publish-1: p_1;" },
		/* No rows: nobody can notice, so nothing is asked. */
		{ "B7@1 C", "handled-140;" },
		/* Rows that nobody listed: it is asked for all the same, and published as nothing. */
		{ "B7@1 u1 C | s8:8:", "?snapshot | handled-140;" },
		/* The snapshot may know more than was received when it was asked: a finished transaction stays finished. */
		{ "B7@1 p1 C B8@2 p2 C | s9:9:", "?snapshot | publish-1: p_1; publish-2: p_2;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

static void commits_and_visibility_have_orders_of_their_own(void **state)
{
	static const struct held_case cases[] = {
		/* The second is visible first: it waits for the first, and is not asked about again. */
		{ "B7@1 p1 C B8@2 p2 C s7:9:7 | s9:9:", "?snapshot ?snapshot | publish-1: p_1; publish-2: p_2;" },
		/* The first is visible first. */
		{ "B7@1 p1 C B8@2 p2 C s8:9:8 | s9:9:", "?snapshot ?snapshot publish-1: p_1; | publish-2: p_2;" },
		/* A higher xid commits first. */
		{ "B9@1 p1 C B8@2 p2 C s10:10:", "?snapshot publish-1: p_1; publish-2: p_2;" },
		/* One without rows passes when it is its turn. */
		{ "B7@1 p1 C B8@2 C B9@3 C | s10:10:", "?snapshot | publish-1: p_1; handled-240; handled-340;" },
		{ "B7@1 C B8@2 p2 C | s10:10:", "handled-140; ?snapshot | publish-2: p_2;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

/* A transaction that no snapshot sees is looked for at once a few times, and then more and more seldom. */
static void a_commit_that_stays_invisible_is_asked_for_seldom(void **state)
{
	static const unsigned waits[] = { 1, 2, 4, 8, 16, 32, 32, 32 };

	(void)state;
	held_expect("B7@1 p1 C", "?snapshot");
	for (int i = 0; i < 7; i++)
		held_expect("s7:7:", "?snapshot");
	for (size_t i = 0; i < sizeof(waits) / sizeof(*waits); i++) {
		char wait[16];

		snprintf(wait, sizeof(wait), "wait-%u", waits[i]);
		held_expect("s7:7:", wait);
		held_expect("w", "?snapshot");
	}
	assert_true(intake_blind_since(held.intake) > 0);
	held_expect("s8:8:", "publish-1: p_1;");
	assert_int_equal(intake_blind_since(held.intake), 0);
	/* Progress: the next one is asked for at once again. */
	held_expect("B8@2 p1 C s8:8:", "?snapshot ?snapshot");
}

static void a_snapshot_that_fails_is_asked_for_again(void **state)
{
	static const struct held_case cases[] = {
		{ "B7@1 p1 C s! | w | s8:8:", "?snapshot wait-32 | ?snapshot | publish-1: p_1;" },
		{ "B7@1 p1 C snonsense w s8:8:", "?snapshot wait-32 ?snapshot publish-1: p_1;" },
		{ "B7@1 p1 C s w s8:8:", "?snapshot wait-32 ?snapshot publish-1: p_1;" },
		/* What was asked behind it may have seen less: again as well. */
		{ "B7@1 a5 C s! | w s8:8: | l=6", "?snapshot ?known ?lookup(5) wait-32 forget-question wait-known-32 | "
						  "?snapshot ?known ?lookup(5) | publish-1: a_6;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

/* xids have 32 bits, and a snapshot is of use for 10 s. */
static void an_old_snapshot_proves_what_a_backlog_did(void **state)
{
	static const struct held_case cases[] = {
		{ "B7@1 p1 C s9:9: | B8@2 p2 C", "?snapshot publish-1: p_1; | publish-2: p_2;" },
		{ "B7@1 p1 C s9:9: +9999999 | B8@2 p2 C", "?snapshot publish-1: p_1; | publish-2: p_2;" },
		{ "B7@1 p1 C s9:9: +10000000 | B8@2 p2 C", "?snapshot publish-1: p_1; | ?snapshot" },
		{ "B7@1 p1 C s8:9:8 | B8@2 p2 C", "?snapshot publish-1: p_1; | ?snapshot" },
		{ "B7@1 p1 C s9:9: X | B8@2 p2 C", "?snapshot publish-1: p_1; | ?snapshot" },
	};

	(void)state;
	HELD_PLAY(cases);
}

/* --- questions ------------------------------------------------------------------------------------------------- */

static void a_row_waits_for_its_answers_and_so_does_what_is_behind(void **state)
{
	static const struct held_case cases[] = {
		/* The question goes out behind the snapshot, not behind its answer. */
		{ "B7@1 a5 C | s8:8: | l=6", "?snapshot ?known ?lookup(5) | | publish-1: a_6;" },
		{ "B7@1 a5 p1 C B8@2 p2 C | s9:9: | l=6",
		  "?snapshot ?known ?lookup(5) | | publish-1: a_6 p_1; publish-2: p_2;" },
		{ "B7@1 h5 C s8:8: l={\"x\":1}", "?snapshot ?known ?data-query(5) publish-1: s_5=1;" },
		{ "B7@1 n5 C s8:8: l=asha", "?snapshot ?known ?query(5) publish-1: n_5=asha;" },
		/* A head that is visible already asks by itself, and waits. */
		{ "B7@1 p1 C s9:9: | B8@2 a5 C | v9:9: l=6",
		  "?snapshot publish-1: p_1; | ?known ?lookup(5) | publish-2: a_6;" },
		/* No row, or none at all: the groups that it would have named refetch. */
		{ "B7@1 a5 C s8:8: l=", "?snapshot ?known ?lookup(5) handled-140;" },
		{ "B7@1 a5 C s8:8: l!", "?snapshot ?known ?lookup(5) publish-1: lookup-asks;" },
		{ "B7@1 a5 a6 C s8:8: l~6 l~7", "?snapshot ?known ?lookup(5) ?lookup(6) handled-140;" },
		{ "B7@1 h5 C s8:8: l!", "?snapshot ?known ?data-query(5) publish-1: s_5=0;" },
		{ "B7@1 h5 C s8:8: l=nonsense", "?snapshot ?known ?data-query(5) publish-1: s_5=0;" },
		{ "B7@1 n5 C s8:8: l!", "?snapshot ?known ?query(5) publish-1: n_5=null;" },
		/* Two that ask the same share an answer, also of two transactions that one snapshot covers. */
		{ "B7@1 a5 a5 C s8:8: l=6", "?snapshot ?known ?lookup(5) publish-1: a_6 a_6;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

/* A transaction that was not visible to a snapshot is asked about again behind the next one, and the first answer counts for nobody. */
/* The rows are of another timeline, so they are not published in this epoch. */
static void a_standby_that_was_promoted_publishes_nothing(void **state)
{
	static const struct held_case cases[] = {
		{ "N B9@1 p1 C s9:10:* B10@2 p2 C | s11:11: | w | s11:11:",
		  "?snapshot publish-1: p_1; ?snapshot | promoted wait-32 | ?snapshot | promoted wait-32" },
	};

	(void)state;
	HELD_PLAY(cases);
}

/* It does not name what runs there, and shows each commit before the walsender sends it. */
static void a_standbys_snapshot_proves_what_was_received_before_it(void **state)
{
	static const struct held_case cases[] = {
		{ "N B9@1 p1 C s9:10:* | B8@2 p2 C | s9:10:*",
		  "?snapshot publish-1: p_1; | ?snapshot | publish-2: p_2;" },
		/* 8 still ran when the first snapshot was taken. */
		{ "N B9@1 p1 C B8@2 p2 C s9:10:* | s9:10:*", "?snapshot ?snapshot publish-1: p_1; | publish-2: p_2;" },
		{ "N B9@1 p1 C s! w s9:10:*", "?snapshot wait-32 ?snapshot publish-1: p_1;" },
		/* The answer for the first is not taken for the second, which changes it. */
		{ "N B9@1 n5 C s9:10:* B8@2 n5 C | l=old s9:10:* l=new",
		  "?snapshot ?known ?query(5) ?snapshot ?known ?query(5) | publish-1: n_5=old; publish-2: n_5=new;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

static void an_answer_from_before_the_commit_was_visible_is_void(void **state)
{
	static const struct held_case cases[] = {
		{ "B7@1 a5 C | s7:7: | s8:8: l=new",
		  "?snapshot ?known ?lookup(5) | ?snapshot forget-question ?known | ?lookup(5) publish-1: a_new;" },
		/* Two transactions share the question, and the snapshot before it saw one of them: the answer counts for that one. */
		{ "B6@1 p1 C B7@2 a5 C B8@3 a5 C s7:7: | s8:8: | l=one s9:9: | l=two",
		  "?snapshot ?snapshot publish-1: p_1; ?known ?lookup(5) | ?snapshot ?known | publish-2: a_one; "
		  "?lookup(5) | publish-3: a_two;" },
		/* The answer that is void comes first, the question being with the server: nobody is told. */
		{ "B7@1 a5 C s7:7: s7:7: s8:8: l=new", "?snapshot ?known ?lookup(5) ?snapshot forget-question ?known "
						       "?snapshot ?known ?lookup(5) publish-1: a_new;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

/* A row received behind the question for the snapshot is not asked about ahead: the next snapshot may be the first that sees it. */
static void nothing_is_asked_before_the_snapshot_that_may_see_it(void **state)
{
	(void)state;
	held_expect("B7@1 a5 C B8@2 a6 C", "?snapshot ?known ?lookup(5)");
	held_expect("s8:9:8", "?snapshot ?known ?lookup(6)");
	held_expect("l=five", "publish-1: a_five;");
	held_expect("s9:9: l=six", "publish-2: a_six;");
}

static void a_transaction_asks_limits_bulk_times(void **state)
{
	(void)state;
	held_expect("B7@1 a1 a2 a3 a4 C s8:8: l=1 l=2 l=3",
		    "?snapshot ?known ?lookup(1) ?lookup(2) ?lookup(3) publish-1: a_1 a_2 a_3 lookup-asks;");
	held_expect("B8@2 h1 h2 h3 h4 C s9:9: l={\"x\":1} l={\"x\":2} l={\"x\":3}",
		    "?snapshot ?known ?data-query(1) ?data-query(2) ?data-query(3) publish-2: s_1=1 s_2=2 s_3=3 "
		    "bulk-shows;");
	/* What was asked and let go counts once. */
	held_expect(
		"B9@3 h1 h2 h3 h4 C v! r10:10: W",
		"?snapshot ?known ?data-query(1) ?data-query(2) ?data-query(3) forget-question forget-question "
		"forget-question wait-known-32 replace ?known probe-in-1000 probe-in-0 publish-3: s_1=0 s_2=0 s_3=0 "
		"bulk-shows;");
}

/* What the other decoding left to the commit's end depended on the answers that it got. */
static void a_commit_of_two_decodings_is_told_at_once(void **state)
{
	static const struct held_case cases[] = {
		{ "%1 B7@1 p1 a5 C s8:8: l=6", "?snapshot ?known ?lookup(5) publish-1: skipped-asks;" },
		{ "%1 B7@1 p1 C B8@2 a5 C s9:9: | v9:9: l=6",
		  "?snapshot publish-1: p_1; ?known ?lookup(5) | publish-2: a_6;" },
		{ "%1 B7@1 p1 d7 h5 C s8:8: l!", "?snapshot ?known ?data-query(5) publish-1: member-7 skipped;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

static void so_many_questions_are_out_and_no_more(void **state)
{
	char word[16];

	(void)state;
	for (unsigned i = 1; i <= 300; i++) {
		snprintf(word, sizeof(word), "B%u@%u n%u C", i, i, i);
		held_play(word);
	}
	/* The first snapshot covers the first transaction alone; the next one all. */
	assert_int_equal(held_n_asked(), 3);
	held_play("s400:400:");
	assert_int_equal(held_n_asked(), INTAKE_ASKED);
	held_play("l=asha");
	assert_int_equal(held_n_asked(), INTAKE_ASKED);
	while (held.n_questions)
		held_play("l=asha");
	assert_true(intake_is_idle(held.intake));
	assert_non_null(strstr(held.told.data, "publish-300: n_300=asha;"));
}

/* --- what takes too long, or fails again and again ------------------------------------------------------------------ */

static void a_row_waits_for_limits_answer_and_no_longer(void **state)
{
	static const struct held_case cases[] = {
		/* Its groups refetch, what is behind it follows at once, and the next row does not ask. */
		{ "B7@1 a5 C B8@2 p1 C s9:9: | W | B9@3 a6 C s10:10:",
		  "?snapshot ?known ?lookup(5) | forget-question replace ?known probe-in-1000 publish-1: lookup-asks; "
		  "publish-2: p_1; | ?snapshot publish-3: lookup-asks;" },
		{ "B7@1 h5 C s8:8: | W",
		  "?snapshot ?known ?data-query(5) | forget-question replace ?known probe-in-1000 publish-1: s_5=0;" },
		{ "B7@1 n5 C s8:8: | W",
		  "?snapshot ?known ?query(5) | forget-question replace ?known probe-in-1000 publish-1: n_5=null;" },
		/* What is answered counts, also if the other question of the row is late. */
		{ "B7@1 a5 a6 C s8:8: l=one | W", "?snapshot ?known ?lookup(5) ?lookup(6) | forget-question replace "
						  "?known probe-in-1000 publish-1: a_one lookup-asks;" },
		/* The session is stuck before the question: the oldest one counts as the reason all the same. */
		{ "B7@1 a5 C r8:8: | W | B8@2 n6 C s9:9:",
		  "?snapshot ?known ?lookup(5) | forget-question forget-known replace ?known probe-in-1000 publish-1: "
		  "lookup-asks; | ?snapshot ?query(6)" },
		/* Not before the transaction is visible, nor for a row that has been handled. */
		{ "B7@1 a5 C v8:8: | r8:8: l=6", "?snapshot ?known ?lookup(5) | publish-1: a_6;" },
		{ "B7@1 a5 a6 C s8:8: l=1 l=2 | W", "?snapshot ?known ?lookup(5) ?lookup(6) publish-1: a_1 a_2; |" },
		/* The oldest open question is the reason, whoever asked it. */
		{ "B7@1 a5 n6 C s8:8: l=1 | W", "?snapshot ?known ?lookup(5) ?query(6) | forget-question replace "
						"?known probe-in-1000 publish-1: a_1 n_6=null;" },
		/* During a look nothing is handled, and afterwards the limit begins again. */
		{ "B7@1 a5 C s8:8: H W E | W", "?snapshot ?known ?lookup(5) | forget-question replace ?known "
					       "probe-in-1000 publish-1: lookup-asks;" },
		/* A question of an earlier configuration has no breaker. It fails for all that share it. */
		{ "B7@1 a5 C B8@2 a5 C s9:9: Z | W", "?snapshot ?known ?lookup(5) | forget-question replace ?known "
						     "publish-1: lookup-asks; publish-2: lookup-asks;" },
		/* The limit begins again for each row. */
		{ "B7@1 a5 C B8@2 a6 C s9:9: | l=1 | W",
		  "?snapshot ?known ?lookup(5) ?lookup(6) | publish-1: a_1; | forget-question replace ?known "
		  "probe-in-1000 publish-2: lookup-asks;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

static void a_query_that_fails_is_not_asked_for_a_while(void **state)
{
	static const struct held_case cases[] = {
		/* By a lock, a timeout, or because it ended its server process; not by its own error. */
		{ "B7@1 a5 C B8@2 a6 C s9:9: l!55P03 | P | o=6 | B9@3 a7 C s10:10: l=8",
		  "?snapshot ?known ?lookup(5) ?lookup(6) forget-question replace ?known probe-in-1000 publish-1: "
		  "lookup-asks; publish-2: lookup-asks; | ?spare-lookup(5) probe-in-1000 | | ?snapshot ?lookup(7) "
		  "publish-3: a_8;" },
		{ "B7@1 a5 C s8:8: l!57014 | B8@2 a6 C s9:9:",
		  "?snapshot ?known ?lookup(5) probe-in-1000 publish-1: lookup-asks; | ?snapshot "
		  "publish-2: lookup-asks;" },
		{ "B7@1 a5 C s8:8: l!57P02 | B8@2 a6 C s9:9:",
		  "?snapshot ?known ?lookup(5) probe-in-1000 publish-1: lookup-asks; | ?snapshot "
		  "publish-2: lookup-asks;" },
		{ "B7@1 a5 C s8:8: l!42501 | B8@2 a6 C s9:9:",
		  "?snapshot ?known ?lookup(5) publish-1: lookup-asks; | ?snapshot ?known ?lookup(6)" },
		/* The probe fails: twice as long. It takes longer than limits.answer: the same. */
		{ "B7@1 a5 C s8:8: l!55P03 | P o!55P03 | P o!42501",
		  "?snapshot ?known ?lookup(5) probe-in-1000 publish-1: lookup-asks; | ?spare-lookup(5) probe-in-1000 "
		  "probe-in-2000 | ?spare-lookup(5) probe-in-1000" },
		{ "B7@1 a5 C s8:8: l!55P03 | P P | P o=1",
		  "?snapshot ?known ?lookup(5) probe-in-1000 publish-1: lookup-asks; | ?spare-lookup(5) probe-in-1000 "
		  "forget-probe cancel-spare probe-in-2000 | ?spare-lookup(5) probe-in-1000" },
		/* Other texts are asked as before, on the other session if this one holds a question that was given up. */
		{ "B7@1 a5 n6 a7 C s8:8: l!55P03 | s8:8: l=asha",
		  "?snapshot ?known ?lookup(5) ?query(6) ?lookup(7) forget-question forget-question replace ?known "
		  "?query(6) probe-in-1000 | publish-1: n_6=asha lookup-asks;" },
		{ "B7@1 a5 n6 C s8:8: l!55P03 | l=asha",
		  "?snapshot ?known ?lookup(5) ?query(6) probe-in-1000 | publish-1: n_6=asha lookup-asks;" },
		/* The snapshot of the session before says nothing about the new one. */
		{ "B7@1 a5 a6 n7 C s8:8: l!55P03 | v7:7: | v8:8: l=asha",
		  "?snapshot ?known ?lookup(5) ?lookup(6) ?query(7) forget-question forget-question replace ?known "
		  "?query(7) probe-in-1000 | forget-question ?known | ?query(7) publish-1: n_7=asha lookup-asks;" },
		/* A reload: asked again. */
		{ "B7@1 a5 C s8:8: l!55P03 | Z B8@2 a6 C s9:9: l=6",
		  "?snapshot ?known ?lookup(5) probe-in-1000 publish-1: lookup-asks; | ?snapshot ?known ?lookup(6) "
		  "publish-2: a_6;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

/* A transaction may be long, and all its rows with the same values share an answer. */
static void what_failed_for_a_while_is_asked_again(void **state)
{
	(void)state;
	held_expect("B7@1 a5 s8:8: l!55P03", "?snapshot ?known ?lookup(5) probe-in-1000");
	held_expect("+1000000 P o=6", "?spare-lookup(5) probe-in-1000");
	held_expect("a5 l=7 C", "?lookup(5) publish-1: a_7 lookup-asks;");
}

static void queries_of_a_common_table_fail_together(void **state)
{
	(void)state;
	held.is_shared = true;
	held_expect("B7@1 a5 n6 C s8:8: l!55P03 | B8@2 h7 C s9:9: | P | P",
		    "?snapshot ?known ?lookup(5) ?query(6) forget-question replace ?known probe-in-1000 publish-1: "
		    "n_6=null lookup-asks; | ?snapshot probe-in-0 publish-2: s_7=0; | probe-in-1000 | ?spare-lookup(5) "
		    "probe-in-1000");
	held_expect("o=1 | o={\"x\":1} | o=asha | B9@3 n8 C s10:10: l=ravi",
		    "?spare-data-query(7) probe-in-1000 | ?spare-query(6) probe-in-1000 | | ?snapshot ?known ?query(8) "
		    "publish-3: n_8=ravi;");
}

static void a_lost_session_is_replaced(void **state)
{
	static const struct held_case cases[] = {
		{ "B7@1 a5 C s8:8: J | v8:8: l=6",
		  "?snapshot ?known ?lookup(5) forget-question replace ?known ?lookup(5) | publish-1: a_6;" },
		{ "B7@1 a5 C J | s8:8: l=6", "?snapshot ?known ?lookup(5) forget-question forget-known replace ?known "
					     "?lookup(5) | publish-1: a_6;" },
		{ "B7@1 a5 C s8:8: J | v7:7: v8:8: l=6",
		  "?snapshot ?known ?lookup(5) forget-question replace ?known ?lookup(5) | forget-question ?known "
		  "?lookup(5) publish-1: a_6;" },
		{ "B7@1 p1 C J s8:8:", "?snapshot replace publish-1: p_1;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

/* --- rows and tables -------------------------------------------------------------------------------------------- */

static void each_kind_of_row_has_its_way(void **state)
{
	static const struct held_case cases[] = {
		{ "B7@1 d5 C s8:8:", "?snapshot publish-1: member-5;" },
		{ "B7@1 c5 C s8:8:", "?snapshot publish-1: q_5;" },
		{ "B7@1 t C s8:8:", "?snapshot publish-1: truncate-plain;" },
		{ "B7@1 T C s8:8:", "?snapshot publish-1: member-everybody;" },
		{ "B7@1 u5 p1 C s8:8:", "?snapshot publish-1: p_1;" },
		/* It goes out as the first parent's; who listens to another is told to refetch. */
		{ "B7@1 b5 C s8:8:", "?snapshot publish-1: q_5 unknown-closing member-everybody;" },
		/* Messages leave nothing, inside and outside of a transaction. */
		{ "M B7@1 M p1 M C M s8:8:", "?snapshot publish-1: p_1;" },
		{ "m B7@1 M C", "handled-140;" },
		/* The order of the rows is that of the messages. */
		{ "B7@1 p2 p1 c3 C s8:8:", "?snapshot publish-1: p_2 p_1 q_3;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

static void a_catalog_that_does_not_fit_is_read_again(void **state)
{
	static const struct held_case cases[] = {
		/* It is asked for once; the row goes out as far as it fits. */
		{ "B7@1 e1 p2 C s8:8: | R", "?snapshot stale | publish-1: p_1 p_2;" },
		/* Nothing is handled meanwhile. */
		{ "B7@1 e1 C B8@2 p2 C s9:9: | k9 | R",
		  "?snapshot stale | | publish-1: p_1; publish-2: p_2; handled-900;" },
		/* A row that came after the catalog was asked for has it read once more. */
		{ "B7@1 e1 C s9:9: | B8@2 e2 C | R | R",
		  "?snapshot stale | | publish-1: p_1; stale | publish-2: p_2;" },
		/* Rows before the one that does not fit are handled before. */
		{ "B7@1 p1 C B8@2 e2 C s9:9: R", "?snapshot publish-1: p_1; stale publish-2: p_2;" },
		/* A table in the schema of a parent that nobody knew: it may be a child, and is gone again if it is not found. */
		{ "B7@1 y1 C s8:8: | R",
		  "?snapshot stale | publish-1: unknown-parent unknown-closing member-everybody;" },
		/* Behind a head that waits, it has its turn as the head. */
		{ "B7@1 a5 e1 C s8:8: | l=6 | R", "?snapshot ?known ?lookup(5) | stale | publish-1: a_6 p_1;" },
		/* The connection is lost meanwhile. */
		{ "B7@1 e1 C s8:8: X | R", "?snapshot stale |" },
	};

	(void)state;
	HELD_PLAY(cases);
}

/* The world is a struct of functions: none of them is called for a row that asks nothing, but for the first of its transaction. */
static void rows_cost_no_call_of_the_world(void **state)
{
	unsigned n;

	(void)state;
	held_play("B7@1 p1 s8:8:");
	n = held.n_calls;
	for (int i = 0; i < 1000; i++)
		held_play("p1 u1 c1");
	held_play("C");
	assert_int_equal(held.n_calls, n);
}

/* --- what cannot be read ---------------------------------------------------------------------------------------- */

static void what_cannot_be_read_breaks_the_stream(void **state)
{
	static const struct held_case cases[] = {
		{ "p1", "broken-unreadable-0-first" },
		{ "C", "broken-unreadable-0-first" },
		{ "B7@1 B8@2", "broken-unreadable-1-first" },
		/* A row is read when it has its turn, so what is before it has been handled. */
		{ "B7@1 p1 C B8@2 ? | s9:9:", "?snapshot | publish-1: p_1; broken-unreadable-2-first" },
		{ "B7@1 p1 C B8@2 B9@3", "?snapshot broken-unreadable-2" },
		/* Asking ahead passes it by. */
		{ "B7@1 a5 ? a6 C | s8:8: | l=1",
		  "?snapshot ?known ?lookup(5) ?lookup(6) | | broken-unreadable-1-first" },
	};

	(void)state;
	HELD_PLAY(cases);
	held_again();
	held_play("B7@1");
	held.xid = held.commit = 9;
	held_expect("C", "broken-unreadable-1-first");
	held_again();
	held_send("{\"action\":\"B\",nonsense", 22);
	held_send("", 0);
	assert_string_equal(held.told.data, "broken-unreadable-0-first broken-unreadable-0-first ");
}

static void a_truncate_of_several_tables_is_one_for_each(void **state)
{
	static const char *const tables[] = { "plain", "deciders" };

	(void)state;
	held_expect("B7@1 t T C s8:8:", "?snapshot publish-1: truncate-plain member-everybody;");
	if (!held_is_pgoutput)
		return;
	held_again();
	held_play("B7@1");
	as_pgoutput_truncate(tables, 2, 2, held_send_bytes);
	held_expect("C s8:8:", "publish-1: truncate-plain member-everybody;");
	held_again();
	held_play("B7@1");
	as_pgoutput_truncate(tables, 2, 1, held_send_bytes);
	assert_non_null(strstr(held.told.data, "broken-unreadable-1-first"));
}

/* Of pgoutput: what nobody asked for, and what must come first. */
static void what_is_no_message_breaks_the_stream(void **state)
{
	static const char *const messages[] = { "S", "R", "I", "" };

	(void)state;
	if (!held_is_pgoutput)
		return;
	for (size_t i = 0; i < sizeof(messages) / sizeof(*messages); i++) {
		held_again();
		held_play("B7@1");
		held_send_bytes(messages[i], strlen(messages[i]));
		if (*messages[i] != 'R')
			held_play("C s8:8:");
		assert_non_null(strstr(held.told.data, "broken-unreadable"));
	}
	held_again();
	held_play("B7@1");
	held_send_bytes("O", 1);
	held_send_bytes("Y", 1);
	held_expect("p1 C s8:8:", "?snapshot publish-1: p_1;");
}

/* --- reconnects -------------------------------------------------------------------------------------------------- */

static void what_was_not_published_comes_again(void **state)
{
	static const struct held_case cases[] = {
		/* In the middle of a transaction, with a snapshot on its way. */
		{ "B7@1 p1 | X | B7@1 p1 C s8:8:", "?snapshot | forget-snapshot | ?snapshot publish-1: p_1;" },
		/* With answers on their way. */
		{ "B7@1 a5 C s8:8: | X | B7@1 a5 C s8:8: l=6",
		  "?snapshot ?known ?lookup(5) | | ?snapshot forget-question ?known ?lookup(5) publish-1: a_6;" },
		/* The first was published; it comes once more, is skipped, and asks nothing. */
		{ "B7@1 p1 C B8@2 a2 s8:8: X | #2 B7@1 a1 C B8@2 p2 C s9:9:",
		  "?snapshot ?snapshot publish-1: p_1; ?known ?lookup(2) forget-snapshot forget-known | ?snapshot "
		  "publish-2: p_2;" },
		{ "#2 B7@1 p1 m t ? C", "" },
		/* A position from before it is void. */
		{ "B7@1 p1 C k5 X | R", "?snapshot forget-snapshot |" },
	};

	(void)state;
	HELD_PLAY(cases);
}

static void the_place_is_that_of_the_transaction_that_is_received(void **state)
{
	struct intake_place place;

	(void)state;
	place = intake_place(held.intake);
	assert_int_equal(place.commit, 0);
	assert_true(place.is_first);
	held_play("B7@1 p1");
	place = intake_place(held.intake);
	assert_int_equal(place.commit, 0x100);
	assert_int_equal(place.xid, 7);
	assert_true(place.is_first);
	assert_false(intake_owes(held.intake));
	held_play("C");
	assert_true(intake_owes(held.intake));
	held_play("B8@2");
	place = intake_place(held.intake);
	assert_int_equal(place.commit, 0x200);
	assert_false(place.is_first);
	assert_false(intake_is_idle(held.intake));
	held_play("C s9:9:");
	assert_true(intake_is_idle(held.intake));
	assert_false(intake_owes(held.intake));
	assert_int_equal(intake_bytes(held.intake), 0);
}

static void a_position_waits_for_what_is_queued(void **state)
{
	static const struct held_case cases[] = {
		{ "k1", "handled-100;" },
		{ "B7@1 p1 C k2 | s8:8:", "?snapshot | publish-1: p_1; handled-200;" },
		{ "B7@1 k2 p1 C s8:8:", "?snapshot publish-1: p_1;" }, /* inside it says nothing */
		{ "B7@1 p1 C k2 B8@3 p2 C | s8:8: | s9:9:",
		  "?snapshot | ?snapshot publish-1: p_1; | publish-3: p_2; handled-200;" },
	};

	(void)state;
	HELD_PLAY(cases);
}

static void nothing_is_handled_before_there_are_rules(void **state)
{
	(void)state;
	intake_free(held.intake);
	held.intake =
		intake_new_in(&held.outside, &held.rules.conf->limits, metrics_of_tap(held.metrics), &held_calls, NULL);
	held_expect("B7@1 C B8@2 p1 C s9:9:", "?snapshot");
	held_expect("R", "handled-140; publish-2: p_1;");
}

/* --- DDL --------------------------------------------------------------------------------------------------------- */

static void ddl_waits_for_the_owners_look(void **state)
{
	static const struct held_case cases[] = {
		/* It must be visible first, as if it had rows. */
		{ "B7@1 m C | s8:8: | L E", "?snapshot | look | publish-1: member-everybody;" },
		{ "B7@1 p1 m C s8:8: | L E", "?snapshot look | publish-1: p_1 member-everybody;" },
		/* What is behind it waits. The look covers what is visible when it begins. */
		{ "B7@1 m C B8@2 m C s9:9: | L E",
		  "?snapshot look | publish-1: member-everybody; publish-2: member-everybody;" },
		{ "B7@1 m C B8@2 m C s8:9:8 | L s9:9: E | L E",
		  "?snapshot ?snapshot look | publish-1: member-everybody; look | publish-2: member-everybody;" },
		/* The one that is still being received may have more to say. */
		{ "B7@1 m C s8:8: B8@2 | L | m C s9:9: | E | L E",
		  "?snapshot look | | ?snapshot | publish-1: member-everybody; look | publish-2: member-everybody;" },
		/* One that holds: nothing at all is handled until it is over. */
		{ "H B7@1 p1 C s8:8: | E", "?snapshot | publish-1: p_1;" },
		/* A look from before it came does not cover it. */
		{ "B7@1 p1 C s8:8: L E | B8@2 m C s9:9: | L E",
		  "?snapshot publish-1: p_1; | ?snapshot look | publish-2: member-everybody;" },
		/* Behind a reconnect what a look saw is not looked at again. */
		{ "B7@1 m C s8:8: L X E | B7@1 m C s8:8:", "?snapshot look | ?snapshot publish-1: member-everybody;" },
		/* But another history's positions say nothing. */
		{ "B7@1 m C s8:8: L X E F | B7@1 m C s8:8:", "?snapshot look | ?snapshot look" },
		{ "B7@1 m C s8:8: X | B7@1 m C s8:8:", "?snapshot look | ?snapshot look" },
	};

	(void)state;
	HELD_PLAY(cases);
}

/* The owner may look from within the call that asks for it. */
static void look_now(void *ctx)
{
	(void)ctx;
	held_tell("look");
	intake_looks(held.intake, false);
	intake_looked(held.intake);
}

static void a_look_may_be_over_at_once(void **state)
{
	struct intake_calls calls = held_calls;

	(void)state;
	calls.look = look_now;
	intake_free(held.intake);
	held.intake =
		intake_new_in(&held.outside, &held.rules.conf->limits, metrics_of_tap(held.metrics), &calls, NULL);
	held_play("R");
	held_expect("B7@1 m C s8:8:", "?snapshot look");
	/* It is the next thing that happens that goes on. */
	held_expect("B8@2 C", "publish-1: member-everybody; handled-240;");
}

/* --- size -------------------------------------------------------------------------------------------------------- */

#define MIB ((size_t)1 << 20)

static void beyond_8_mib_the_source_pauses_until_half_is_gone(void **state)
{
	(void)state;
	held_play("B7@1");
	for (unsigned i = 0; i < 8; i++) {
		held_row("others", i, NULL, 0, MIB - 1024);
		held_expect("", "");
	}
	assert_false(intake_is_full(held.intake));
	buf_clear(&held.told);
	held_row("plain", 9, NULL, 0, MIB);
	assert_string_equal(held.told.data, "pause ");
	assert_true(intake_is_full(held.intake));
	held_expect("s8:8:", "stale go-on");
}

/* Not as soon as one record is gone: the pauses would follow each other. */
static void a_pause_lasts_until_half_is_gone(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 3; i++) {
		char begin[16];

		snprintf(begin, sizeof(begin), "B%u@%u", 6 + i, i);
		held_play(begin);
		for (unsigned k = 0; k < 3; k++)
			held_row("others", k, NULL, 0, MIB);
		held_play("C");
	}
	assert_true(intake_is_full(held.intake));
	held_expect("s8:10:8,9", "?snapshot handled-140;");
	held_expect("s9:10:9", "?snapshot handled-240; go-on");
	held_expect("s10:10:", "handled-340;");
}

static void a_transaction_of_any_size_passes_through(void **state)
{
	(void)state;
	held_play("B7@1 p1 s8:8:");
	for (unsigned i = 0; i < 20; i++)
		held_row("others", i, NULL, 0, MIB);
	held_expect("C", "publish-1: p_1;");
	assert_int_equal(intake_bytes(held.intake), 0);
}

static void a_row_that_is_too_large_is_stepped_over(void **state)
{
	static const struct {
		const char *table, *told;
	} cases[] = {
		{ "plain", "publish-1: skipped-plain;" },
		{ "part", "publish-1: skipped-parent;" },
		{ "closing", "publish-1: member-everybody skipped-closing;" },
		{ "deciders", "publish-1: p_1 member-everybody;" },
		{ "others", "publish-1: p_1;" },
		{ "made", "publish-1: member-everybody skipped;" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		held_again();
		held_play("B7@1 p1");
		held_row(cases[i].table, 5, NULL, 0, 2 * MIB);
		assert_true(intake_bytes(held.intake) < MIB);
		held_expect("C s8:8:", cases[i].told);
	}
	assert_int_equal(intake_skipped(held.intake), 1);
}

/* Where its name cannot be told, it may have been anybody's. */
static void a_large_row_without_a_name_is_everybodys(void **state)
{
	struct buf text = { 0 };

	(void)state;
	if (held_is_pgoutput)
		return; /* its rows have no names */
	buf_add_text(&text, "{\"action\":\"I\",");
	memset(buf_reserve(&text, 3 * MIB), ' ', 3 * MIB);
	text.len += 3 * MIB;
	held_play("B7@1");
	held_send(text.data, text.len);
	buf_fini(&text);
	held_expect("C s8:8:", "publish-1: member-everybody skipped;");
}

static void a_large_row_of_a_repeated_transaction_is_none(void **state)
{
	(void)state;
	held_play("#2 B7@1");
	held_row("plain", 5, NULL, 0, 3 * MIB);
	held_expect("C", "");
	assert_int_equal(intake_skipped(held.intake), 0);
}

/* Memory may come back: so often, and for so long. */
static void a_row_for_which_there_is_no_memory_comes_again(void **state)
{
	(void)state;
	held.has_memory = false;
	for (int i = 0; i < 4; i++) {
		held_play("X B7@1 p1");
		held_row("plain", 5, NULL, 0, 3 * MIB / 2);
		assert_non_null(strstr(held.told.data, "broken-memory-1-first"));
		held.now += INTAKE_PATIENCE / 4;
		buf_clear(&held.told);
	}
	held_play("X B7@1 p1");
	held_row("plain", 5, NULL, 0, 3 * MIB / 2);
	held_expect("C s8:8:", "publish-1: skipped-plain;");
	/* What is small is not asked for. */
	held_play("B8@2");
	held_row("others", 5, NULL, 0, MIB / 2);
	held_expect("C s9:9:", "handled-240;");
	/* With memory it is a row as any other. */
	held.has_memory = true;
	held_play("B9@3");
	held_row("others", 5, NULL, 0, 3 * MIB / 2);
	held_expect("C s10:10:", "handled-340;");
}

/* The connection keeps a buffer of its size. */
static void the_end_of_a_transaction_with_a_very_large_record_is_known(void **state)
{
	(void)state;
	held_play("B7@1");
	held_row("others", 1, NULL, 0, 16 * MIB - 1024);
	held_play("C");
	assert_int_equal(intake_large(held.intake), 0);
	held_play("B8@2");
	held_row("others", 1, NULL, 0, 16 * MIB);
	held_play("C");
	assert_int_equal(intake_large(held.intake), 0x240);
	held_play("X");
	assert_int_equal(intake_large(held.intake), 0);
}

static void the_limit_of_a_record_may_change(void **state)
{
	struct conf_limits limits = held.rules.conf->limits;

	(void)state;
	limits.record_bytes = 1000;
	intake_reload(held.intake, &limits);
	held_play("B7@1");
	held_row("plain", 5, NULL, 0, 1000);
	held_expect("C s8:8:", "publish-1: skipped-plain;");
}

#define HELD(test) cmocka_unit_test_setup_teardown(test, held_open, held_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HELD(a_transaction_is_published_when_a_snapshot_sees_it),
		HELD(commits_and_visibility_have_orders_of_their_own),
		HELD(a_commit_that_stays_invisible_is_asked_for_seldom),
		HELD(a_snapshot_that_fails_is_asked_for_again),
		HELD(an_old_snapshot_proves_what_a_backlog_did),
		HELD(a_standbys_snapshot_proves_what_was_received_before_it),
		HELD(a_standby_that_was_promoted_publishes_nothing),
		HELD(a_row_waits_for_its_answers_and_so_does_what_is_behind),
		HELD(an_answer_from_before_the_commit_was_visible_is_void),
		HELD(nothing_is_asked_before_the_snapshot_that_may_see_it),
		HELD(a_transaction_asks_limits_bulk_times),
		HELD(a_commit_of_two_decodings_is_told_at_once),
		HELD(so_many_questions_are_out_and_no_more),
		HELD(a_row_waits_for_limits_answer_and_no_longer),
		HELD(a_query_that_fails_is_not_asked_for_a_while),
		HELD(what_failed_for_a_while_is_asked_again),
		HELD(queries_of_a_common_table_fail_together),
		HELD(a_lost_session_is_replaced),
		HELD(each_kind_of_row_has_its_way),
		HELD(a_catalog_that_does_not_fit_is_read_again),
		HELD(rows_cost_no_call_of_the_world),
		HELD(what_cannot_be_read_breaks_the_stream),
		HELD(a_truncate_of_several_tables_is_one_for_each),
		HELD(what_is_no_message_breaks_the_stream),
		HELD(what_was_not_published_comes_again),
		HELD(the_place_is_that_of_the_transaction_that_is_received),
		HELD(a_position_waits_for_what_is_queued),
		HELD(nothing_is_handled_before_there_are_rules),
		HELD(ddl_waits_for_the_owners_look),
		HELD(a_look_may_be_over_at_once),
		HELD(beyond_8_mib_the_source_pauses_until_half_is_gone),
		HELD(a_pause_lasts_until_half_is_gone),
		HELD(a_transaction_of_any_size_passes_through),
		HELD(a_row_that_is_too_large_is_stepped_over),
		HELD(a_large_row_without_a_name_is_everybodys),
		HELD(a_large_row_of_a_repeated_transaction_is_none),
		HELD(a_row_for_which_there_is_no_memory_comes_again),
		HELD(the_end_of_a_transaction_with_a_very_large_record_is_known),
		HELD(the_limit_of_a_record_may_change),
	};

	return HELD_RUN(tests);
}
