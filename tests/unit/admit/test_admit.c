/* Admission, event by event: what is asked, and what the hubs are told. No case waits: the clock is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

#define START WORLD_FROM_START
#define SINCE(lsn, index) (&(struct event_id){ lsn, index })

static struct world w;

static int open_world(void **state)
{
	(void)state;
	world_open(&w, WORLD_MEMBERSHIP);
	return 0;
}

static int close_world(void **state)
{
	(void)state;
	world_close(&w);
	return 0;
}

static void reopen(const char *more)
{
	world_close(&w);
	world_open(&w, more);
}

/* --- what was said and asked ------------------------------------------------------------------------------------------ */

static void add_limit(struct buf *out, lsn_t limit)
{
	if (limit != LSN_MAX)
		buf_addf(out, " up to %" PRIu64, limit);
}

static void add_place(struct buf *out, const struct mail *mail)
{
	const struct mail_given *given = &mail->given;

	buf_addf(out, " at %" PRIu64 "-%u in %zu", given->id.lsn, given->id.index, given->n_seats);
	if (given->resumed)
		buf_add_text(out, " resumed");
	if (given->resync)
		buf_add_text(out, " resync");
	if (given->resync && mail->kind != MAIL_ADMITTED)
		buf_addf(out, " for %s", resync_name(given->reason));
	add_limit(out, given->limit);
}

static void add_mail(struct buf *out, const struct mail *mail)
{
	uint64_t n = mail->connection;

	switch (mail->kind) {
	case MAIL_ADMITTED:
		buf_addf(out, "%" PRIu64 " admitted", n);
		add_place(out, mail);
		return;
	case MAIL_MOVED:
		buf_addf(out, "%" PRIu64 " moved", n);
		add_place(out, mail);
		return;
	case MAIL_RENEWED:
		buf_addf(out, "%" PRIu64 " renewed by %u", n, mail->number);
		if (mail->given.resync)
			add_place(out, mail);
		return;
	case MAIL_LIMIT:
		buf_addf(out, "%" PRIu64 " hears", n);
		add_limit(out, mail->limit);
		return;
	case MAIL_CHANGED:
		buf_addf(out, "%" PRIu64 " changed by %" PRIu64, n, mail->limit);
		return;
	case MAIL_REFUSED:
		buf_addf(out, "%" PRIu64 " refused %u", n, mail->code);
		return;
	default:
		fail_msg("a mail of kind %d", (int)mail->kind);
	}
}

/* All that the hubs were told since the last look, in the order in which they were told: nothing else was. */
static void assert_said(const char *expected)
{
	struct buf said = { 0 };

	for (size_t i = 0; i < w.n_mails; i++) {
		buf_add_text(&said, i ? "; " : "");
		add_mail(&said, &w.mails[i]);
		world_drop_mail(&w, &w.mails[i]);
	}
	w.n_mails = 0;
	assert_string_equal(buf_slice(&said).at, expected);
	buf_fini(&said);
}

/* The questions that are with the server, by their users. */
static void assert_asked(const char *expected)
{
	struct buf asked = { 0 };

	for (size_t i = 0; i < w.n_asked; i++)
		if (!w.asked[i]->is_forgotten)
			buf_addf(&asked, "%s%s", asked.len ? " " : "",
				 *w.asked[i]->user ? w.asked[i]->user : "position");
	assert_string_equal(buf_slice(&asked).at, expected);
	buf_fini(&asked);
}

/* Those of them that must not be asked again, because their answers are not wanted. */
static void assert_let_go(const char *expected)
{
	struct buf users = { 0 };

	for (size_t i = 0; i < w.n_asked; i++)
		if (w.asked[i]->is_let_go)
			buf_addf(&users, "%s%s", users.len ? " " : "", w.asked[i]->user);
	assert_string_equal(buf_slice(&users).at, expected);
	buf_fini(&users);
}

/* --- the shortest ways ------------------------------------------------------------------------------------------------- */

static void come(uint64_t connection, const char *user)
{
	world_come(&w, connection, world_ticket(&w, user, "r"), NULL);
}

static void come_back(uint64_t connection, const char *user, struct event_id since)
{
	world_come(&w, connection, world_ticket(&w, user, "r"), &since);
}

/* Those units, by a question that is with the server; none: no. */
static void answer(const char *units)
{
	world_answer(&w, world_units(units), NULL);
}

/* Flushed and inserted up to there. */
static void position(lsn_t at)
{
	world_answer(&w, world_position(at, at), NULL);
}

/* It is admitted to these units by an answer as old as the log. */
static void admitted(uint64_t connection, const char *user, const char *units)
{
	char expected[64];
	size_t n = 1;

	for (const char *c = units; *c; c++)
		n += *c == ',';
	come(connection, user);
	world_turn(&w);
	answer(units);
	position(topiclog_published(w.present.log));
	snprintf(expected, sizeof(expected), "%" PRIu64 " admitted at %" PRIu64 "-0 in %zu", connection,
		 topiclog_published(w.present.log), n);
	assert_said(expected);
}

/* A membership of this user changes in the commit, which the log then has; NULL: of everybody. */
static void change(lsn_t commit, const char *user)
{
	admit_changed(w.all, commit, user);
	world_reach(&w, commit + 1);
	world_turn(&w);
}

/* So many turns of the loop, a tick apart. */
static void pass_ticks(unsigned n)
{
	while (n--) {
		world_pass(&w, ADMIT_TICK);
		world_turn(&w);
	}
}

/* The lanes of the questions that are with the server and wanted, in the order of asking. */
static void assert_lanes(const char *expected)
{
	struct buf lanes = { 0 };

	for (size_t i = 0; i < w.n_asked; i++)
		if (!w.asked[i]->is_forgotten)
			buf_addf(&lanes, "%s%u", lanes.len ? " " : "", w.asked[i]->lane);
	assert_string_equal(buf_slice(&lanes).at, expected);
	buf_fini(&lanes);
}

/* --- who comes ----------------------------------------------------------------------------------------------------------- */

static void who_comes_is_asked_about_once_and_placed_where_the_stream_stood(void **state)
{
	(void)state;
	come(1, "7");
	assert_asked("");
	world_turn(&w);
	assert_asked("7 position");
	world_reach(&w, START + 50);
	answer("5,6");
	assert_said("");
	position(START + 50);
	assert_int_equal(topic_listeners(world_group(&w, 5)), 1);
	assert_said("1 admitted at 1000-0 in 2");
	assert_asked("");
}

/* The answer says nothing of what was committed behind it: who comes when it is under way waits for the next. */
static void one_question_for_all_who_ask_in_one_turn(void **state)
{
	(void)state;
	come(1, "7");
	come(2, "7");
	come(3, "8");
	world_turn(&w);
	assert_asked("7 8 position");
	come(4, "7");
	come(5, "7");
	world_turn(&w);
	assert_asked("7 8 position");
	answer("5");
	world_turn(&w);
	assert_asked("8 position 7 position");
	answer("");
	assert_said("3 refused 4403");
	position(START);
	assert_said("1 admitted at 1000-0 in 1; 2 admitted at 1000-0 in 1");
	answer("5");
	position(START);
	assert_said("4 admitted at 1000-0 in 1; 5 admitted at 1000-0 in 1");
}

static void what_an_answer_may_be(void **state)
{
	static const struct {
		const char *sqlstate, *said;
	} cases[] = {
		{ NULL, "1 refused 4403" },    /* no row */
		{ "22P02", "1 refused 4403" }, /* a value that does not fit its type names nothing */
		{ "42501", "1 refused 1013" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		come(1, "7");
		world_turn(&w);
		world_answer(&w, cases[i].sqlstate ? NULL : world_units(""), cases[i].sqlstate);
		assert_said(cases[i].said);
		world_end(&w, 1);
		position(START);
		assert_asked("");
	}
	come(1, "7");
	world_turn(&w);
	answer("5");
	world_answer(&w, NULL, "42501"); /* nobody knows how far the answer reaches */
	assert_said("1 refused 1013");
}

static void a_user_has_so_many_connections(void **state)
{
	(void)state;
	reopen(WORLD_MEMBERSHIP "limits = { per-user = 2 }\n");
	admitted(1, "7", "5");
	admitted(2, "007", "5");
	come(3, " +7"); /* one user, however the claim is spelled */
	assert_said("3 refused 4429");
	world_end(&w, 3);
	world_end(&w, 1);
	admitted(4, "7", "5");
}

static void who_goes_finds_no_answer(void **state)
{
	(void)state;
	come(1, "7");
	world_end(&w, 1);
	world_turn(&w);
	assert_asked("");
	come(1, "7");
	world_turn(&w);
	world_end(&w, 1);
	answer("5");
	position(START);
	come(2, "7");
	world_turn(&w);
	answer("5");
	world_end(&w, 2);
	position(START);
	world_end(&w, 2);
	assert_said("");
	assert_int_equal(topic_listeners(world_group(&w, 5)), 0);
}

static void a_stranger_decides_nothing(void **state)
{
	struct rules_stream *bound = (struct rules_stream *)(uintptr_t)rules_stream(w.m.rules, 0);

	(void)state;
	bound->strangers = mem_text("function public.f() of role x");
	come(1, "7");
	world_turn(&w);
	assert_asked("");
	assert_said("1 refused 1013");
}

static void a_stream_that_a_reload_took_away_admits_nobody(void **state)
{
	const struct rules *before = w.present.plain;
	struct mapping other;

	(void)state;
	mapping_open(&other, MAPPING_CONF);
	come(1, "7");
	world_turn(&w);
	answer("5");
	w.present.plain = other.rules;
	position(START);
	assert_said("1 refused 1012");
	w.present.plain = before;
	come(2, "7");
	w.present.plain = other.rules;
	world_pass(&w, 6 * WORLD_S);
	assert_said("2 refused 1012");
	w.present.plain = before;
	mapping_close(&other);
}

/* --- the connections for the questions --------------------------------------------------------------------------------------- */

/* As a user with several paths: other values, so another question. */
static void come_as(uint64_t connection, const char *user, const char *role)
{
	world_come(&w, connection, world_ticket(&w, user, role), NULL);
}

static void a_lock_or_a_timeout_is_asked_again_until_it_is_too_late(void **state)
{
	static const char *const states[] = { "55P03", "57014" };

	(void)state;
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
		come(1, "7");
		world_turn(&w);
		world_answer(&w, NULL, states[i]);
		position(START);
		world_turn(&w);
		assert_asked(""); /* with the next tick: a lock that fails at once must not make a busy loop */
		pass_ticks(1);
		assert_asked("7 position");
		world_answer(&w, NULL, states[i]);
		position(START);
		assert_said("");
		pass_ticks(1);
		answer("5");
		position(START);
		assert_said("1 admitted at 1000-0 in 1");
		world_end(&w, 1);
		come(1, "7");
		world_turn(&w);
		for (unsigned k = 0; k < 51; k++) {
			world_answer(&w, NULL, states[i]);
			position(START);
			pass_ticks(1);
		}
		assert_said("1 refused 1013");
		assert_asked("");
		world_end(&w, 1);
	}
}

/* They were sent behind it in one turn, when nobody knew that it is slow. */
static void others_do_not_wait_behind_a_slow_question(void **state)
{
	(void)state;
	come(1, "6");
	come(2, "7");
	come(3, "8");
	world_turn(&w);
	assert_asked("6 7 8 position");
	assert_lanes("0 0 0 0");
	answer("5"); /* and its position waits behind the slow one */
	assert_said("");
	pass_ticks(6);
	assert_asked("7 8 position 8 6 position position"); /* 8 and the position over lane 0 cannot be unsaid */
	assert_lanes("0 0 0 1 2 1 2");
	assert_let_go("8");
	world_answer_nth(&w, 3, world_units(""), NULL);
	assert_said("3 refused 4403");
	world_answer_nth(&w, 3, world_units("5"), NULL);
	world_answer_nth(&w, 3, world_position(START, START), NULL);
	world_answer_nth(&w, 3, world_position(START, START), NULL);
	assert_said("1 admitted at 1000-0 in 1");
	answer("5");
	answer("5"); /* for 8, and nobody wants to know */
	position(START);
	assert_said("2 admitted at 1000-0 in 1");
}

/* With a single lane that is open, what was sent over it would only be sent there once more. */
static void what_is_behind_a_slow_question_is_taken_back_when_there_is_another_lane(void **state)
{
	(void)state;
	for (unsigned is_opened = 0; is_opened < 2; is_opened++) {
		reopen(WORLD_MEMBERSHIP);
		for (unsigned i = 1; i < 4; i++)
			admit_lane(w.all, i, false);
		come(1, "6");
		come(2, "7");
		come(3, "8");
		world_turn(&w);
		answer("5");
		pass_ticks(6);
		assert_asked("7 8 position");
		assert_let_go("");
		assert_int_equal(w.opened[1] > 0, true);
		if (is_opened)
			admit_lane(w.all, 1, true);
		pass_ticks(1);
		assert_asked(is_opened ? "7 8 position 8 position" : "7 8 position");
		answer("5");
		answer("5");
		position(START);
		if (is_opened) {
			assert_said("2 admitted at 1000-0 in 1");
			continue;
		}
		assert_said("1 admitted at 1000-0 in 1; 2 admitted at 1000-0 in 1; 3 admitted at 1000-0 in 1");
		world_turn(&w);
		assert_asked("");
	}
}

/* The answer that is there waits for the position. */
static void an_answer_that_waits_behind_a_slow_question_opens_a_lane(void **state)
{
	(void)state;
	for (unsigned i = 1; i < 4; i++)
		admit_lane(w.all, i, false);
	come(1, "7");
	world_turn(&w);
	pass_ticks(6);
	assert_int_equal(w.opened[1], 0); /* it is alone there */
	answer("5");
	position(START);
	assert_said("1 admitted at 1000-0 in 1");
	w.all->lanes.batch = LANE_QUESTIONS;
	come(2, "8");
	come(3, "9");
	world_turn(&w);
	answer("5");
	pass_ticks(6);
	assert_true(w.opened[1] > 0);
}

/* It is known by then: one of its questions at a time, alone on its lane, while others pass. */
static void a_slow_user_has_one_lane(void **state)
{
	(void)state;
	come(1, "7");
	world_turn(&w);
	pass_ticks(6);
	come_as(2, "7", "s");
	come_as(3, "7", "t");
	come(4, "8");
	world_turn(&w);
	assert_asked("7 position 8 position");
	answer("5");
	position(START);
	assert_said("1 admitted at 1000-0 in 1");
	world_turn(&w);
	come(5, "9");
	world_turn(&w);
	assert_asked("8 position 7 position 9 position");
	assert_lanes("1 1 0 0 2 2");
}

/* The server is where the log is. */
static void position_nth(size_t n)
{
	lsn_t at = topiclog_published(w.present.log);

	world_answer_nth(&w, n, world_position(at, at), NULL);
}

/* The query that the lane runs, its oldest, which it has begun as soon as the one before ended; w.n_asked: none. */
static size_t running(unsigned lane)
{
	size_t n = 0;

	while (n < w.n_asked && w.asked[n]->lane != lane)
		n++;
	if (n < w.n_asked && !w.asked[n]->runs_since) {
		w.asked[n]->runs_since = w.now;
		w.cancelled[lane] = 0;
	}
	return n;
}

/* One step of a server that runs a question for so long, and a position for no time. A cancel ends what the lane runs. */
static void serve_lane(unsigned lane, int64_t query_us)
{
	size_t n = running(lane);

	if (n == w.n_asked)
		return;
	if (w.cancelled[lane])
		world_answer_nth(&w, n, NULL, "57014");
	else if (!*w.asked[n]->user)
		position_nth(n);
	else if (w.now - w.asked[n]->runs_since >= query_us)
		world_answer_nth(&w, n, world_units("5"), NULL);
	(void)running(lane);
}

static void serve(unsigned ms, int64_t query_us)
{
	while (ms--) {
		world_turn(&w);
		for (unsigned lane = 0; lane < w.all->lanes.n; lane++)
			serve_lane(lane, query_us);
		if (ms % 100 == 0)
			world_pass(&w, 0);
		w.now += 1000;
	}
}

static size_t count_mails(enum mail_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < w.n_mails; i++)
		n += w.mails[i].kind == kind;
	return n;
}

/* How many of 128 who come in one moment are admitted by four lanes? */
static size_t admitted_of_many(int64_t query_us)
{
	char user[16];

	for (unsigned i = 0; i < 128; i++) {
		snprintf(user, sizeof(user), "%u", 100 + i);
		come(i, user);
	}
	serve(5200, query_us);
	return count_mails(MAIL_ADMITTED);
}

/* Four questions run at a time, for five seconds. Before it is known that all are slow, 32 have been sent over each lane. */
static void who_comes_to_a_slow_database_is_admitted_as_fast_as_it_answers(void **state)
{
	static const struct {
		int64_t query_us;
		bool is_known;
		size_t least;
	} cases[] = { { 600000, true, 32 }, { 600000, false, 24 }, { 200000, false, 80 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		reopen(WORLD_MEMBERSHIP);
		w.all->lanes.batch = cases[i].is_known ? 1 : LANE_QUESTIONS;
		assert_in_range(admitted_of_many(cases[i].query_us), cases[i].least, 128);
	}
}

/* The queries of users from 900 on take four seconds, those of others a millisecond. */
static void serve_mixed(unsigned ms)
{
	while (ms--) {
		world_turn(&w);
		for (unsigned lane = 0; lane < w.all->lanes.n; lane++) {
			size_t n = running(lane);
			bool is_slow = n < w.n_asked && strtoul(w.asked[n]->user, NULL, 10) >= 900;

			serve_lane(lane, is_slow ? 4 * WORLD_S : 1000);
		}
		if (ms % 100 == 0)
			world_pass(&w, 0);
		w.now += 1000;
	}
}

/* Of whom nobody knows yet that they are slow. While others are quick each holds a lane for half a second, and only one for longer. */
static void slow_strangers_do_not_keep_the_quick_out(void **state)
{
	(void)state;
	come(1, "7");
	serve_mixed(300);
	for (unsigned i = 0; i < 12; i++) {
		char user[16];

		snprintf(user, sizeof(user), "%u", 900 + i);
		come(100 + i, user);
	}
	serve_mixed(100);
	come(2, "8");
	serve_mixed(2600); /* twelve, over the three other lanes */
	assert_int_equal(count_mails(MAIL_ADMITTED), 2);
	come(3, "9");
	serve_mixed(200);
	assert_int_equal(count_mails(MAIL_ADMITTED), 3);
	serve_mixed(2000);
	assert_int_equal(count_mails(MAIL_ADMITTED), 4); /* the first slow one */
}

static void what_nobody_waits_for_is_dropped_or_cancelled(void **state)
{
	(void)state;
	come(1, "7");
	come_as(2, "7", "s");
	come_as(3, "7", "t");
	world_turn(&w);
	assert_asked("7 position");
	world_end(&w, 1);
	world_end(&w, 2);
	world_end(&w, 3);
	world_turn(&w);
	assert_int_equal(w.cancelled[0], 0);
	w.cannot_cancel = true; /* with another tick, perhaps */
	pass_ticks(1);
	w.cannot_cancel = false;
	pass_ticks(1);
	assert_int_equal(w.cancelled[0], 1);
	assert_int_equal(w.by, 1);
	pass_ticks(5);
	assert_int_equal(w.cancelled[0], 1); /* once */
	world_answer(&w, NULL, "57014");
	position(START);
	pass_ticks(2);
	assert_asked("");
	come(4, "8"); /* somebody waits for this one */
	world_turn(&w);
	pass_ticks(3);
	assert_int_equal(w.cancelled[0], 1);
}

/* As a cancel does that came too late for the question before: what it hit is asked again, perhaps behind the position. */
static void a_position_counts_for_what_was_answered_before_it(void **state)
{
	(void)state;
	come(1, "7");
	come(2, "8");
	world_turn(&w);
	answer("5");
	world_answer_nth(&w, 1, world_position(START, START), NULL);
	assert_said("");
	assert_asked("8 position");
	answer("5");
	position(START + 10);
	assert_said("1 admitted at 1000-0 in 1 up to 1000; 2 admitted at 1000-0 in 1 up to 1000");
}

/* As of an administrator, who meant something else. */
static void a_look_at_the_position_that_is_cancelled_is_taken_again(void **state)
{
	static const char *const states[] = { "57014", "55P03" };

	(void)state;
	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++) {
		come(1, "7");
		come(2, "8");
		world_turn(&w);
		answer("5");
		answer("6");
		world_answer(&w, NULL, states[i]);
		assert_said("");
		assert_asked("position");
		position(START);
		assert_said("1 admitted at 1000-0 in 1; 2 admitted at 1000-0 in 1");
		world_end(&w, 1);
		world_end(&w, 2);
	}
	come(1, "7");
	world_turn(&w);
	answer("5");
	for (unsigned i = 0; i <= 50; i++) {
		assert_asked("position");
		pass_ticks(1);
		world_answer(&w, NULL, "57014");
	}
	assert_said("1 refused 1013");
	assert_asked(""); /* nobody waits for it */
}

static void what_a_lost_lane_had_goes_over_another_one(void **state)
{
	(void)state;
	come(1, "7");
	come(2, "8");
	world_turn(&w);
	answer("5");
	admit_lane(w.all, 0, false);
	world_turn(&w);
	assert_asked("8 7 position");
	assert_lanes("1 1 1");
	while (w.asked[0]->lane == 0)
		world_free_question(world_take_question(&w, 0));
	answer("5");
	answer("6");
	position(START);
	assert_said("2 admitted at 1000-0 in 1; 1 admitted at 1000-0 in 1");
}

/* The second look at what is flushed is lost with its lane, and taken again. */
static void a_second_look_survives_its_lane(void **state)
{
	(void)state;
	come(1, "7");
	world_turn(&w);
	answer("5");
	world_answer(&w, world_position(START, START + 50), NULL);
	assert_said("1 admitted at 1000-0 in 1 up to 1000");
	world_pass(&w, 7 * WORLD_S / 10);
	assert_lanes("0");
	admit_lane(w.all, 0, false);
	world_turn(&w);
	world_free_question(world_take_question(&w, 0));
	pass_ticks(1);
	assert_lanes("1");
	world_answer(&w, world_position(START, START + 50), NULL);
	assert_said("1 hears");
}

static void without_a_lane_all_wait_and_with_one_they_share_it(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		admit_lane(w.all, i, false);
	come(1, "7");
	world_turn(&w);
	assert_asked("");
	assert_true(w.opened[0] > 0);
	admit_lane(w.all, 0, true);
	world_turn(&w);
	assert_asked("7 position");
	assert_int_equal(w.opened[1], 0);
	come(2, "8");
	world_turn(&w);
	assert_asked("7 position");
	assert_true(w.opened[1] > 0); /* it is asked for, and does not come */
	answer("5");
	position(START);
	world_turn(&w);
	assert_lanes("0 0");
	answer("5");
	position(START);
	assert_said("1 admitted at 1000-0 in 1; 2 admitted at 1000-0 in 1");
	assert_int_equal(w.opened[2], 0);
}

static void who_is_held_back_goes_before_who_comes(void **state)
{
	(void)state;
	admitted(1, "6", "5");
	admitted(2, "7", "5");
	for (unsigned i = 1; i < 4; i++)
		admit_lane(w.all, i, false);
	come(3, "8");
	world_turn(&w);
	come(4, "9");
	admit_changed(w.all, START + 10, "7");
	admit_changed(w.all, START + 10, "6");
	world_turn(&w);
	assert_asked("8 position");
	answer("5");
	position(START);
	world_turn(&w);
	assert_asked("7 6 9 position");
}

/* One question for all of them: it waits in the name of the first, and when that one leaves in the name of the next. */
static void a_shared_question_is_the_one_of_who_waits_longest(void **state)
{
	(void)state;
	come(1, "7");
	world_turn(&w);
	world_come(&w, 2, world_ticket_for(&w, "shared", "{\"user_id\":\"7\",\"role\":\"r\"}"), NULL);
	world_come(&w, 3, world_ticket_for(&w, "shared", "{\"user_id\":\"8\",\"role\":\"r\"}"), NULL);
	world_turn(&w);
	assert_asked("7 position"); /* it waits, because 7 has one with the server */
	world_end(&w, 2);
	world_turn(&w);
	assert_asked("7 position r position");
	world_answer_nth(&w, 2, world_units("7"), NULL);
	world_answer_nth(&w, 2, world_position(START, START), NULL);
	assert_said("3 admitted at 1000-0 in 1");
}

/* Of a round. The others have their answers, and the next round begins, while one is slow. */
static void a_round_does_not_wait_for_the_slow(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	admitted(2, "8", "5");
	change(START + 10, NULL);
	assert_said("1 hears up to 1010; 2 hears up to 1010");
	assert_asked("7 8 position");
	pass_ticks(6);
	assert_asked("7 8 position 8 position");
	world_answer_nth(&w, 3, world_units("5"), NULL);
	world_answer_nth(&w, 3, world_position(START + 11, START + 11), NULL);
	assert_said("2 hears");
	change(START + 20, NULL);
	assert_said("1 changed by 1020; 2 hears up to 1020");
	for (unsigned i = 0; i < 45; i++)
		pass_ticks(1);
	assert_asked("7 8 position 8 position");
	assert_said("1 refused 1013");
}

/* Nor for a connection that joins a question which is slow already: 1 one that runs, 4 one that waits for the lane of the slow ones. */
static void a_round_does_not_wait_for_who_joins_the_slow(void **state)
{
	(void)state;
	reopen(WORLD_MEMBERSHIP "limits = { admit-timeout = 100 }\n");
	admitted(1, "7", "5");
	admitted(2, "8", "5");
	come(4, "9");
	world_turn(&w);
	pass_ticks(6);
	answer("5");
	position(START);
	assert_said("4 admitted at 1000-0 in 1");
	come(3, "7");
	world_turn(&w);
	pass_ticks(6);
	come(5, "9");
	change(START + 10, NULL);
	assert_said("1 hears up to 1010; 2 hears up to 1010; 4 hears up to 1010");
	assert_asked("7 position 8 position");
	assert_int_equal(w.all->rounds.left, 1);
	world_answer_nth(&w, 2, world_units("5"), NULL);
	world_answer_nth(&w, 2, world_position(START + 11, START + 11), NULL);
	assert_said("2 hears");
	assert_int_equal(w.all->rounds.left, 0);
	change(START + 20, NULL);
	assert_said("1 changed by 1020; 2 hears up to 1020; 4 changed by 1020");
	pass_ticks(50);
	assert_asked("7 position 8 position");
}

static void drop_mails(void)
{
	for (size_t i = 0; i < w.n_mails; i++)
		world_drop_mail(&w, &w.mails[i]);
	w.n_mails = 0;
}

/* All that runs over other lanes than the first, and what follows. */
static void answer_the_other_lanes(void)
{
	size_t n = 0;

	while (n < w.n_asked) {
		if (w.asked[n]->lane == 0) {
			n++;
			continue;
		}
		world_answer_nth(&w, n, *w.asked[n]->user ? world_units("5") : world_position(START + 11, START + 11),
				 NULL);
		world_turn(&w);
		n = 0;
	}
}

/* They were let go with the same share. */
static void a_share_does_not_wait_for_the_other_questions_of_the_slow(void **state)
{
	static const char *const roles[] = { "r", "s", "t" };
	char user[16];

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		snprintf(user, sizeof(user), "%u", i < 3 ? 7 : 100 + i);
		come_as(i, user, i < 3 ? roles[i] : "r");
		world_turn(&w);
		answer("5");
		position(START);
		world_turn(&w);
	}
	change(START + 10, NULL);
	drop_mails();
	assert_string_equal(w.asked[0]->user, "7");
	pass_ticks(6); /* 7 is slow */
	answer_the_other_lanes();
	assert_int_equal(admit_waiting(w.all), 1); /* the third of 7; the second waits for the first */
	assert_int_equal(w.n_mails, 37);
	drop_mails();
}

/* They are asked one after the other, and limits.admit-timeout does not run while they wait for each other. Who comes is not behind them. */
static void slow_connections_of_a_round_are_all_asked(void **state)
{
	/* It is known that each of 20 users is slow, or one is, with 20 other questions, and it is not known yet. */
	static const struct {
		bool is_one, is_known;
	} cases[] = { { false, true }, { true, false } };
	char text[16];

	(void)state;
	for (size_t c = 0; c < 2; c++) {
		reopen(WORLD_MEMBERSHIP);
		for (unsigned i = 0; i < 20; i++) {
			snprintf(text, sizeof(text), "%u", 100 + i);
			come_as(i, cases[c].is_one ? "7" : text, text);
			serve(cases[c].is_known ? 700 : 2, cases[c].is_known ? 600000 : 0);
		}
		assert_int_equal(count_mails(MAIL_ADMITTED), 20);
		change(START + 10, NULL);
		drop_mails();
		serve(3000, 600000);
		come_as(99, cases[c].is_one ? "7" : "100", "x");
		serve(2000, 600000);
		assert_int_equal(count_mails(MAIL_ADMITTED), 1);
		serve(10000, 600000);
		assert_int_equal(count_mails(MAIL_LIMIT), 20);
		assert_int_equal(w.n_mails, 21);
		drop_mails();
	}
}

/* However long that takes, as long as the database answers. */
static void slow_connections_of_a_round_wait_as_long_as_there_are_answers(void **state)
{
	char user[16];

	(void)state;
	for (unsigned i = 0; i < 16; i++) {
		snprintf(user, sizeof(user), "%u", 100 + i);
		come(i, user);
		serve(700, 600000);
	}
	change(START + 10, NULL);
	drop_mails();
	serve(16 * 4100, 4000000);
	assert_int_equal(count_mails(MAIL_LIMIT), 16);
	assert_int_equal(w.n_mails, 16);
	drop_mails();
}

/* Nor do they wait for ever for a database that does not answer. */
static void slow_connections_of_a_round_do_not_wait_for_ever(void **state)
{
	char user[16];

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		snprintf(user, sizeof(user), "%u", 100 + i);
		come(i, user);
		serve(700, 600000);
	}
	change(START + 10, NULL);
	drop_mails();
	serve(1000 * (VERDICT_PATIENCE * 5 + 1), INT64_MAX);
	assert_int_equal(count_mails(MAIL_REFUSED), 20);
	assert_int_equal(admit_waiting(w.all), 0);
	drop_mails();
}

/* --- until the stream is there --------------------------------------------------------------------------------------------- */

static void nobody_is_asked_about_before_the_logs_are_filled(void **state)
{
	(void)state;
	w.is_fed = false;
	come(1, "7");
	world_turn(&w);
	assert_asked("");
	w.is_fed = true;
	world_reach(&w, START);
	world_turn(&w);
	assert_asked("7 position");
}

static void an_admission_has_so_much_time(void **state)
{
	(void)state;
	come(1, "7");
	world_turn(&w);
	world_pass(&w, 4 * WORLD_S);
	assert_said("");
	world_pass(&w, 1 * WORLD_S + 1);
	assert_said("1 refused 1013"); /* the database does not answer */
	w.is_fed = false;
	come(2, "8");
	world_pass(&w, 5 * WORLD_S + 1);
	assert_said("2 refused 1013"); /* there is no stream */
	answer("5");
	position(START);
	assert_said("");
}

/* From another replica, or from the process that had the slot before. */
static void who_has_heard_of_what_comes_waits_for_it(void **state)
{
	(void)state;
	come_back(1, "7", (struct event_id){ START + 10, 1 });
	world_turn(&w);
	assert_asked("");
	world_reach(&w, START + 11);
	world_turn(&w);
	assert_asked("7 position");
	come_back(2, "8", (struct event_id){ START + 90, 1 });
	world_turn(&w);
	assert_asked("7 position");
	world_pass(&w, 2 * WORLD_S); /* it does not come */
	world_turn(&w);
	assert_asked("7 position 8 position");
}

/* --- an answer that knows more than the log ---------------------------------------------------------------------------------- */

static void the_hello_comes_at_once_and_what_follows_when_the_log_is_there(void **state)
{
	(void)state;
	come(1, "7");
	world_turn(&w);
	answer("5");
	position(START + 50);
	assert_said("1 admitted at 1000-0 in 1 up to 1000");
	world_reach(&w, START + 49);
	assert_said("");
	world_reach(&w, START + 50);
	assert_said("1 hears");
	world_pass(&w, 60 * WORLD_S);
	assert_said("");
}

/* WAL that somebody has inserted and nobody flushes, as of an open transaction: after three wal_writer_delay it cannot be visible. */
static void what_nobody_flushes_is_not_waited_for(void **state)
{
	(void)state;
	come(1, "7");
	world_turn(&w);
	answer("5");
	world_answer(&w, world_position(START, START + 50), NULL);
	assert_said("1 admitted at 1000-0 in 1 up to 1000");
	world_pass(&w, WORLD_S / 2);
	assert_asked("");
	world_pass(&w, WORLD_S / 5);
	assert_asked("position");
	world_answer(&w, NULL, "42501"); /* then the log is waited for */
	world_reach(&w, START + 50);
	assert_said("1 hears");
}

static void a_later_look_at_what_is_flushed_ends_the_wait(void **state)
{
	(void)state;
	come(1, "7");
	world_turn(&w);
	answer("5");
	world_answer(&w, world_position(START, START + 50), NULL);
	assert_said("1 admitted at 1000-0 in 1 up to 1000");
	world_pass(&w, 7 * WORLD_S / 10);
	world_answer(&w, NULL, "57014"); /* as of an administrator, who meant something else */
	assert_asked("");
	pass_ticks(1);
	world_answer(&w, world_position(START, START + 50), NULL);
	assert_said("1 hears");
}

/* Where the url names several servers: one that is behind has nothing that is not flushed, and has not seen what the answer has. */
static void a_later_look_at_a_server_that_is_behind_counts_for_nothing(void **state)
{
	(void)state;
	come(1, "7");
	world_turn(&w);
	answer("5");
	world_answer(&w, world_position(START, START + 50), NULL);
	assert_said("1 admitted at 1000-0 in 1 up to 1000");
	world_pass(&w, 7 * WORLD_S / 10);
	world_answer(&w, world_position(START, START), NULL);
	assert_said("");
	pass_ticks(1);
	world_answer(&w, world_position(START + 60, START + 60), NULL);
	assert_said("");
	world_reach(&w, START + 50);
	assert_said("1 hears");
}

/* Its groups are those of later: a message from between gives what was not allowed then. */
static void a_grant_that_the_log_has_yet_to_meet_gives_nothing_of_before(void **state)
{
	(void)state;
	world_message(&w, 5, START + 10);
	world_reach(&w, START + 11);
	come_back(1, "7", (struct event_id){ START + 1, 1 });
	world_turn(&w);
	answer("5");
	position(START + 50);
	assert_said("1 admitted at 1001-1 in 1 resumed up to 1001");
	change(START + 40, "7");
	assert_said("1 changed by 1040");
	answer("5");
	position(START + 41);
	world_reach(&w, START + 50);
	assert_said("1 moved at 1040-0 in 1 resync for membership");
}

/* The answer may know the commit whose record is applied at this moment. It begins where the standby has come to. */
static void a_grant_that_a_standby_still_applies_gives_nothing_of_before(void **state)
{
	(void)state;
	world_message(&w, 5, START + 10);
	world_reach(&w, START + 11);
	come_back(1, "7", (struct event_id){ START + 1, 1 });
	world_turn(&w);
	answer("5");
	world_answer(&w, world_standby(START + 11, START + 200), NULL);
	assert_said("1 admitted at 1001-1 in 1 resumed up to 1001");
	change(START + 11, "7");
	assert_said("1 changed by 1011");
	answer("5");
	world_answer(&w, world_standby(START + 60, START + 60), NULL);
	world_reach(&w, START + 60);
	assert_said("1 moved at 1011-0 in 1 resync for membership");
}

static void a_standby_that_applies_nothing_is_waited_for_no_longer(void **state)
{
	(void)state;
	come(1, "7");
	world_turn(&w);
	answer("5");
	world_answer(&w, world_standby(START, START), NULL);
	assert_said("1 admitted at 1000-0 in 1");
	come(2, "8");
	world_turn(&w);
	answer("5");
	world_answer(&w, world_standby(START, START + 200), NULL);
	assert_said("2 admitted at 1000-0 in 1 up to 1000");
	for (unsigned i = 0; i < 3; i++) {
		world_pass(&w, WORLD_S / 5);
		assert_asked("position");
		world_answer(&w, i < 2 ? world_standby(START, 0) : world_standby(START, START), NULL);
	}
	assert_said("2 hears");
}

/* --- a change of permission ---------------------------------------------------------------------------------------------------- */

static void a_change_limits_before_it_is_answered(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	admitted(2, "8", "5");
	admit_changed(w.all, START + 10, "7");
	assert_said("1 hears up to 1010");
	world_reach(&w, START + 11);
	world_turn(&w);
	assert_asked("7 position");
	answer("5");
	position(START + 11);
	assert_said("1 hears");
	change(START + 20, "7");
	answer("5,6");
	position(START + 21);
	assert_said("1 hears up to 1020; 1 moved at 1020-0 in 2 resync for membership");
	change(START + 30, "7");
	answer("");
	assert_said("1 hears up to 1030; 1 refused 4403");
}

static void an_answer_that_may_be_older_or_newer_than_a_change_is_void(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	change(START + 10, "7");
	assert_said("1 hears up to 1010");
	answer("5");
	admit_changed(w.all, START + 20, "7"); /* below the position, and the answer may have seen it */
	assert_said("1 changed by 1020");
	position(START + 50);
	world_turn(&w);
	assert_asked("7 position");
	assert_said("");
	answer("5");
	position(START + 50);
	assert_said("");
	world_reach(&w, START + 50);
	assert_said("1 moved at 1020-0 in 1 resync for membership");
}

static void an_answer_counts_up_to_the_change_behind_its_position(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	change(START + 10, "7");
	answer("5");
	change(START + 20, "7");
	assert_said("1 hears up to 1010; 1 changed by 1020");
	position(START + 15);
	assert_said("1 hears up to 1020; 1 changed by 1020");
	world_turn(&w);
	answer("5");
	position(START + 21);
	assert_said("1 hears");
}

/* Everything below the change was told, so the answer, whose position lies there, counts before it. */
static void a_change_behind_the_position_settles_what_waits(void **state)
{
	(void)state;
	come(1, "7");
	world_turn(&w);
	answer("5");
	position(START + 20);
	assert_said("1 admitted at 1000-0 in 1 up to 1000");
	admit_changed(w.all, START + 30, "7");
	assert_said("1 hears; 1 hears up to 1030");
	world_reach(&w, START + 31);
	world_turn(&w);
	assert_asked("7 position");
	answer("5");
	position(START + 31);
	assert_said("1 hears");
}

static void a_no_counts_unless_the_user_was_changed_since(void **state)
{
	(void)state;
	come(1, "7");
	world_turn(&w);
	change(START + 10, "7");
	answer("");
	assert_said("");
	position(START + 11);
	world_turn(&w);
	assert_asked("7 position");
	answer("5");
	position(START + 11);
	assert_said("1 admitted at 1011-0 in 1");
}

static void what_lies_between_a_change_and_the_answers_piece_is_skipped(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	change(START + 10, "7");
	assert_said("1 hears up to 1010");
	world_message(&w, 5, START + 15);
	change(START + 20, "7");
	assert_said("1 changed by 1020");
	answer("5");
	position(START + 50);
	world_turn(&w);
	answer("5");
	position(START + 21);
	assert_said("1 moved at 1020-0 in 1 resync for membership");
}

static void since_from_before_a_change_is_not_resumed(void **state)
{
	static const struct {
		const char *changed; /* NULL: everybody */
		const char *said;
	} cases[] = {
		{ "7", "1 admitted at 1011-0 in 1 resync" },
		{ "007", "1 admitted at 1011-0 in 1 resync" },
		{ "8", "1 admitted at 1001-1 in 1 resumed" },
		{ NULL, "1 admitted at 1011-0 in 1 resync" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		reopen(WORLD_MEMBERSHIP);
		change(START + 10, cases[i].changed);
		come_back(1, "7", (struct event_id){ START + 1, 1 });
		world_turn(&w);
		answer("5");
		position(START + 11);
		assert_said(cases[i].said);
	}
}

static void half_a_commit_of_another_process_is_not_resumed(void **state)
{
	static const struct {
		lsn_t told_before;
		struct event_id since;
		const char *said;
	} cases[] = {
		{ START + 6, { START + 5, 1 }, "1 admitted at 1020-0 in 1 resync" },
		{ START + 6, { START + 5, 0 }, "1 admitted at 1020-0 in 1 resync" },
		{ START + 6, { START + 5, 2 }, "1 admitted at 1005-2 in 1 resumed" },
		{ START + 6, { START + 4, 7 }, "1 admitted at 1004-7 in 1 resumed" },
		/* One that only this process has told. */
		{ START + 5, { START + 5, 1 }, "1 admitted at 1005-1 in 1 resumed" },
		{ 0, { START + 5, 1 }, "1 admitted at 1005-1 in 1 resumed" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		reopen(WORLD_MEMBERSHIP);
		world_message(&w, 5, START + 5);
		topic_append(w.present.log, world_group(&w, 5), (struct event_id){ START + 5, 2 }, SLICE("h"),
			     SLICE("m"), w.now);
		world_message(&w, 6, START + 5); /* of a unit that is not the user's */
		world_message(&w, 5, START + 8);
		world_reach(&w, START + 20);
		w.present.told_before = cases[i].told_before;
		come_back(1, "7", cases[i].since);
		world_turn(&w);
		answer("5");
		position(START + 20);
		assert_said(cases[i].said);
	}
}

/* Rows that decide do not come: nobody can know who may listen. */
static void while_permission_is_withheld_nobody_is_admitted(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	w.present.is_withheld = true;
	change(START + 10, NULL);
	world_pass(&w, WORLD_S);
	pass_ticks(60);
	assert_said("1 hears up to 1010; 1 refused 1013");
	come(2, "8");
	world_turn(&w);
	assert_said("2 refused 1013");
	assert_asked("");
	w.present.is_withheld = false;
	change(START + 20, NULL);
	admitted(3, "8", "5");
}

/* Which unit it was is not known: the answer names the same as before. */
static void what_came_and_went_between_two_answers_is_said(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	admit_changed(w.all, START + 10, "7");
	admit_changed(w.all, START + 12, "7");
	world_reach(&w, START + 13);
	world_turn(&w);
	assert_said("1 hears up to 1010; 1 changed by 1012");
	answer("5");
	position(START + 13);
	assert_said("1 moved at 1012-0 in 1 resync for membership");
	/* One change is what the answer says of it. */
	change(START + 20, "7");
	answer("5");
	position(START + 21);
	assert_said("1 hears up to 1020; 1 hears");
}

/* Of users who are not here only the last changes are known; before those everybody counts as changed. */
static void changes_of_more_users_than_are_remembered_are_everybodys(void **state)
{
	char user[16];

	(void)state;
	for (unsigned i = 0; i <= MEMBERS_REMEMBERED; i++) {
		snprintf(user, sizeof(user), "%u", 100 + i);
		admit_changed(w.all, START + 10 + i, user);
	}
	world_reach(&w, START + 10000);
	come_back(1, "7", (struct event_id){ START + 9, 1 });
	come_back(2, "7", (struct event_id){ START + 10, 1 });
	world_turn(&w);
	answer("5");
	position(START + 10000);
	assert_said("1 admitted at 11000-0 in 1 resync; 2 admitted at 1010-1 in 1 resumed");
}

static void another_history_asks_about_everybody(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	admitted(2, "8", "5");
	come(3, "9");
	world_turn(&w);
	topiclog_reset(w.present.log, START + 500);
	admit_anew(w.all, START + 500, "gap");
	world_turn(&w);
	assert_asked("9 position 7 8 position");
	answer("5");
	position(START);
	world_turn(&w);
	answer("5");
	answer("");
	assert_said("2 refused 4403");
	position(START + 500);
	assert_said("1 moved at 1500-0 in 1 resync for gap");
}

/* --- everybody ---------------------------------------------------------------------------------------------------------------- */

static void a_change_without_a_user_asks_everybody_in_a_round(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	admitted(2, "8", "5");
	change(START + 10, NULL);
	assert_said("1 hears up to 1010; 2 hears up to 1010");
	assert_asked("7 8 position");
	change(START + 20, NULL); /* during the round: the answers count up to here */
	assert_said("1 changed by 1020; 2 changed by 1020");
	answer("5");
	answer("5");
	position(START + 15);
	world_turn(&w);
	assert_said("1 hears up to 1020; 1 changed by 1020; 2 hears up to 1020; 2 changed by 1020");
	assert_asked("");
	assert_int_equal(admit_waiting(w.all), 2);
	world_pass(&w, 4 * WORLD_S);
	world_turn(&w);
	assert_asked("");
	world_pass(&w, 1 * WORLD_S);
	world_turn(&w);
	assert_asked("7 8 position");
	answer("5");
	answer("5");
	position(START + 21);
	assert_said("1 hears; 2 hears");
}

/* To queue everybody takes its time: what came meanwhile is read first, or it would make the first answers void. */
static void what_came_while_a_round_began_is_read_before_it_asks(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	admit_changed(w.all, START + 10, NULL);
	w.wanted[ADMIT_SOON] = false;
	admissions_soon(w.all);
	assert_asked("");
	assert_true(w.wanted[ADMIT_WHEN_READ]);
	change(START + 20, NULL);
	assert_said("1 hears up to 1010; 1 changed by 1020");
	assert_asked("7 position");
	answer("5");
	position(START + 21);
	assert_said("1 hears");
}

static void a_round_asks_in_shares_and_who_comes_passes_it_by(void **state)
{
	char user[16];

	(void)state;
	for (unsigned i = 1; i <= 40; i++) {
		snprintf(user, sizeof(user), "%u", 100 + i);
		admitted(i, user, "5");
	}
	change(START + 10, NULL);
	for (size_t i = 0; i < w.n_mails; i++)
		world_drop_mail(&w, &w.mails[i]);
	w.n_mails = 0;
	assert_int_equal(w.n_asked, SHARE_QUERIES + 1);
	assert_int_equal(admit_waiting(w.all), 40 - SHARE_QUERIES);
	come(50, "7");
	world_turn(&w);
	assert_int_equal(w.n_asked, SHARE_QUERIES + 3);
	while (w.n_asked) {
		if (*w.asked[0]->user)
			answer("5");
		else
			position(START + 11);
		world_turn(&w);
		assert_true(w.n_asked <= SHARE_QUERIES + 4); /* a share, who came, and two positions */
	}
	assert_int_equal(admit_waiting(w.all), 0);
	assert_int_equal(w.n_mails, 41);
}

/* Nobody waits for ever for a database that does not answer. */
static void a_round_that_stands_ends_those_who_wait(void **state)
{
	char user[16];

	(void)state;
	for (unsigned i = 1; i <= 20; i++) {
		snprintf(user, sizeof(user), "%u", 100 + i);
		admitted(i, user, "5");
	}
	change(START + 10, NULL);
	for (unsigned i = 0; i < 400 && w.n_mails < 40; i++) {
		world_pass(&w, 100000);
		world_turn(&w);
	}
	for (size_t i = 20; i < 40; i++) {
		assert_int_equal(w.mails[i].kind, MAIL_REFUSED);
		assert_int_equal(w.mails[i].code, 1013);
	}
	assert_true(w.now <= (1000 + VERDICT_PATIENCE * 5 + 1) * (int64_t)WORLD_S);
}

/* --- as time passes ----------------------------------------------------------------------------------------------------------- */

static void timed(uint64_t connection, const char *user)
{
	char claims[64], expected[64];

	snprintf(claims, sizeof(claims), "{\"user_id\":\"%s\",\"role\":\"r\"}", user);
	world_come(&w, connection, world_ticket_for(&w, "timed", claims), NULL);
	world_turn(&w);
	answer("7");
	position(topiclog_published(w.present.log));
	snprintf(expected, sizeof(expected), "%" PRIu64 " admitted at %" PRIu64 "-0 in 1", connection,
		 topiclog_published(w.present.log));
	assert_said(expected);
}

/* Of the timed stream, second by second. */
static void pass_the_interval(void)
{
	for (unsigned i = 0; i < 61; i++) {
		world_pass(&w, WORLD_S);
		world_turn(&w);
	}
}

static void a_stream_is_asked_again_as_time_passes(void **state)
{
	(void)state;
	timed(1, "7");
	admitted(2, "8", "5");
	assert_int_equal(admit_rechecks(w.all, rules_stream(w.present.plain, 1)->identity), 60 * (int64_t)WORLD_S);
	assert_int_equal(admit_rechecks(w.all, rules_stream(w.present.plain, 0)->identity), 0);
	pass_the_interval();
	assert_asked("7 position");
	assert_said(""); /* it hears on meanwhile */
	answer("7");
	position(START);
	assert_said("");
	pass_the_interval();
	world_message(&w, 7, START + 5);
	world_reach(&w, START + 10);
	answer("");
	assert_said("1 hears up to 1010; 1 refused 4403");
	/* Should it be allowed again, what lies between is not told. */
	world_end(&w, 1);
	position(START);
	w.before = START + 100;
	world_come(&w, 3, world_ticket_for(&w, "timed", "{\"user_id\":\"7\",\"role\":\"r\"}"), SINCE(START + 4, 1));
	world_turn(&w);
	answer("7");
	position(START + 10);
	assert_said("3 admitted at 1010-0 in 1 resync");
}

/* Time has taken the permission away, and no change tells of it. */
static void what_time_took_away_is_not_resumed(void **state)
{
	(void)state;
	timed(1, "7");
	world_pass(&w, WORLD_S);
	pass_the_interval();
	world_reach(&w, START + 10);
	answer("");
	assert_said("1 hears up to 1010; 1 refused 4403");
	position(START + 10);
	w.before = START + 1; /* of the interval nothing is missing */
	world_come(&w, 2, world_ticket_for(&w, "timed", "{\"user_id\":\"7\",\"role\":\"r\"}"), SINCE(START + 5, 1));
	world_turn(&w);
	answer("7");
	position(START + 10);
	assert_said("2 admitted at 1010-0 in 1 resync");
}

/* It may have been taken away and given again unseen, so only what lies within the last interval is resumed. */
static void who_comes_back_to_a_timed_stream_resumes_a_short_stretch(void **state)
{
	(void)state;
	world_message(&w, 7, START + 5);
	world_message(&w, 7, START + 20);
	world_reach(&w, START + 21);
	w.before = START + 10;
	world_come(&w, 1, world_ticket_for(&w, "timed", "{\"user_id\":\"7\",\"role\":\"r\"}"), SINCE(START + 1, 1));
	world_come(&w, 2, world_ticket_for(&w, "timed", "{\"user_id\":\"7\",\"role\":\"r\"}"), SINCE(START + 5, 1));
	world_turn(&w);
	answer("7");
	position(START + 21);
	assert_said("1 admitted at 1021-0 in 1 resync; 2 admitted at 1005-1 in 1 resumed");
}

/* Of what decides, the log does not hold all: an answer counts from its own position on. */
static void where_a_table_is_mute_an_answer_says_nothing_of_before(void **state)
{
	(void)state;
	w.present.has_mute = true;
	admit_recheck(w.all);
	assert_true(admit_rechecks(w.all, rules_stream(w.present.plain, 0)->identity) > 0);
	admitted(1, "7", "5");
	change(START + 10, "7");
	world_message(&w, 5, START + 15);
	world_reach(&w, START + 30);
	assert_said("1 hears up to 1010");
	answer("5");
	position(START + 30);
	assert_said("1 moved at 1030-0 in 1 resync for membership");
	w.present.has_mute = false;
	admit_recheck(w.all);
	assert_int_equal(admit_rechecks(w.all, rules_stream(w.present.plain, 0)->identity), 0);
}

/* --- a token in place of the one before ---------------------------------------------------------------------------------------- */

static void renew(uint64_t connection, uint32_t number, uint32_t holds, const char *role)
{
	admit_renewed(w.all, &(struct mail){ .kind = MAIL_RENEW,
					     .connection = connection,
					     .number = number,
					     .asked = { .holds = holds, .ticket = world_ticket(&w, "7", role) } });
	world_turn(&w);
}

static void other_claims_are_asked_about_while_the_ones_in_force_hear(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	renew(1, 1, 0, "s");
	assert_asked("7 position");
	assert_said("");
	answer("5");
	position(START);
	assert_said("1 renewed by 1");
	renew(1, 2, 1, "t");
	answer("5,6");
	position(START);
	assert_said("1 renewed by 2 at 1000-0 in 2 resync for membership");
	renew(1, 3, 2, "u");
	answer("");
	assert_said("1 refused 4403");
}

static void the_newest_token_counts(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	renew(1, 1, 0, "s");
	renew(1, 2, 0, "t");
	renew(1, 3, 0, "t"); /* asks what the one before asks already */
	assert_asked("7 position");
	answer(""); /* of the first, which has left its question */
	position(START);
	world_turn(&w);
	assert_asked("7 position");
	assert_said("");
	answer("5");
	position(START);
	assert_said("1 renewed by 3");
	renew(1, 4, 3, "s");
	renew(1, 5, 3, "t"); /* back to what is in force */
	assert_said("1 renewed by 5");
	answer("");
	position(START);
	assert_said("");
}

static void before_it_is_admitted_the_newest_takes_the_place(void **state)
{
	(void)state;
	come(1, "7");
	world_turn(&w);
	renew(1, 1, 0, "s");
	answer("");
	position(START);
	assert_said("");
	world_turn(&w);
	answer("5");
	position(START);
	assert_said("1 admitted at 1000-0 in 1");
}

static void a_change_asks_about_both_tokens(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	renew(1, 1, 0, "s");
	answer("5");
	change(START + 10, "7");
	assert_said("1 hears up to 1010");
	position(START + 5);
	world_turn(&w);
	assert_asked("7 position");
	answer(""); /* the one in force is no good any more: the newer one decides */
	position(START + 11);
	world_turn(&w);
	assert_asked("7 position");
	assert_said("");
	world_message(&w, 5, START + 20);
	world_reach(&w, START + 21);
	answer("5");
	position(START + 21);
	assert_said("1 renewed by 1 at 1021-0 in 1 resync for membership");
}

/* The hub has read the next token by then, and gives nothing by what it is told of the one before. */
static void who_did_not_take_what_it_was_told_needs_new_seats(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	renew(1, 1, 0, "s");
	answer("5");
	position(START);
	assert_said("1 renewed by 1");
	renew(1, 2, 0, "t"); /* it still goes by the first */
	answer("5");
	position(START);
	assert_said("1 renewed by 2 at 1000-0 in 1 resync for membership");
}

static void a_renewal_of_who_is_gone_is_nobodys(void **state)
{
	(void)state;
	renew(9, 1, 0, "s");
	assert_asked("");
	admitted(1, "7", "5");
	renew(1, 1, 0, "s");
	world_end(&w, 1);
	answer("5");
	position(START);
	assert_said("");
}

/* --- what is known ------------------------------------------------------------------------------------------------------------ */

static void the_status_counts(void **state)
{
	json_t *status;

	(void)state;
	admitted(1, "7", "5");
	come(2, "8");
	world_turn(&w);
	answer("5");
	position(START + 50);
	come(3, "9");
	status = admit_status(w.all);
	assert_int_equal(json_integer_value(json_object_get(status, "connections")), 3);
	assert_int_equal(json_integer_value(json_object_get(status, "unanswered")), 1);
	assert_int_equal(json_integer_value(json_object_get(status, "held")), 1);
	assert_int_equal(json_integer_value(json_object_get(status, "asked")), 3);
	assert_int_equal(json_integer_value(json_object_get(status, "queries")), 2);
	json_decref(status);
}

/* Where nothing decides permission but the token, no position is asked for: the log need not be anywhere. */
static void without_memberships_no_position_is_asked_for(void **state)
{
	(void)state;
	reopen("");
	come(1, "7");
	world_turn(&w);
	assert_asked("7");
	answer("5");
	assert_said("1 admitted at 1000-0 in 1");
}

static void an_end_in_the_middle_of_everything_frees_all(void **state)
{
	(void)state;
	admitted(1, "7", "5");
	renew(1, 1, 0, "s");
	come(2, "8");
	world_turn(&w);
	answer("5");
	come(3, "9");
	change(START + 10, NULL);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(who_comes_is_asked_about_once_and_placed_where_the_stream_stood),
		CASE(one_question_for_all_who_ask_in_one_turn),
		CASE(what_an_answer_may_be),
		CASE(a_user_has_so_many_connections),
		CASE(who_goes_finds_no_answer),
		CASE(a_stranger_decides_nothing),
		CASE(a_stream_that_a_reload_took_away_admits_nobody),
		CASE(a_lock_or_a_timeout_is_asked_again_until_it_is_too_late),
		CASE(others_do_not_wait_behind_a_slow_question),
		CASE(a_slow_user_has_one_lane),
		CASE(what_is_behind_a_slow_question_is_taken_back_when_there_is_another_lane),
		CASE(an_answer_that_waits_behind_a_slow_question_opens_a_lane),
		CASE(who_comes_to_a_slow_database_is_admitted_as_fast_as_it_answers),
		CASE(slow_strangers_do_not_keep_the_quick_out),
		CASE(what_nobody_waits_for_is_dropped_or_cancelled),
		CASE(a_position_counts_for_what_was_answered_before_it),
		CASE(a_look_at_the_position_that_is_cancelled_is_taken_again),
		CASE(what_a_lost_lane_had_goes_over_another_one),
		CASE(a_second_look_survives_its_lane),
		CASE(without_a_lane_all_wait_and_with_one_they_share_it),
		CASE(who_is_held_back_goes_before_who_comes),
		CASE(a_shared_question_is_the_one_of_who_waits_longest),
		CASE(a_round_does_not_wait_for_the_slow),
		CASE(a_round_does_not_wait_for_who_joins_the_slow),
		CASE(a_share_does_not_wait_for_the_other_questions_of_the_slow),
		CASE(slow_connections_of_a_round_are_all_asked),
		CASE(slow_connections_of_a_round_wait_as_long_as_there_are_answers),
		CASE(slow_connections_of_a_round_do_not_wait_for_ever),
		CASE(nobody_is_asked_about_before_the_logs_are_filled),
		CASE(an_admission_has_so_much_time),
		CASE(who_has_heard_of_what_comes_waits_for_it),
		CASE(the_hello_comes_at_once_and_what_follows_when_the_log_is_there),
		CASE(what_nobody_flushes_is_not_waited_for),
		CASE(a_later_look_at_what_is_flushed_ends_the_wait),
		CASE(a_later_look_at_a_server_that_is_behind_counts_for_nothing),
		CASE(a_grant_that_the_log_has_yet_to_meet_gives_nothing_of_before),
		CASE(a_grant_that_a_standby_still_applies_gives_nothing_of_before),
		CASE(a_standby_that_applies_nothing_is_waited_for_no_longer),
		CASE(a_change_limits_before_it_is_answered),
		CASE(an_answer_that_may_be_older_or_newer_than_a_change_is_void),
		CASE(an_answer_counts_up_to_the_change_behind_its_position),
		CASE(a_change_behind_the_position_settles_what_waits),
		CASE(a_no_counts_unless_the_user_was_changed_since),
		CASE(what_lies_between_a_change_and_the_answers_piece_is_skipped),
		CASE(since_from_before_a_change_is_not_resumed),
		CASE(half_a_commit_of_another_process_is_not_resumed),
		CASE(what_came_and_went_between_two_answers_is_said),
		CASE(while_permission_is_withheld_nobody_is_admitted),
		CASE(changes_of_more_users_than_are_remembered_are_everybodys),
		CASE(another_history_asks_about_everybody),
		CASE(a_change_without_a_user_asks_everybody_in_a_round),
		CASE(what_came_while_a_round_began_is_read_before_it_asks),
		CASE(a_round_asks_in_shares_and_who_comes_passes_it_by),
		CASE(a_round_that_stands_ends_those_who_wait),
		CASE(a_stream_is_asked_again_as_time_passes),
		CASE(what_time_took_away_is_not_resumed),
		CASE(who_comes_back_to_a_timed_stream_resumes_a_short_stretch),
		CASE(where_a_table_is_mute_an_answer_says_nothing_of_before),
		CASE(other_claims_are_asked_about_while_the_ones_in_force_hear),
		CASE(the_newest_token_counts),
		CASE(before_it_is_admitted_the_newest_takes_the_place),
		CASE(a_change_asks_about_both_tokens),
		CASE(who_did_not_take_what_it_was_told_needs_new_seats),
		CASE(a_renewal_of_who_is_gone_is_nobodys),
		CASE(the_status_counts),
		CASE(without_memberships_no_position_is_asked_for),
		CASE(an_end_in_the_middle_of_everything_frees_all),
	};

	log_setup("error", "logfmt");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
