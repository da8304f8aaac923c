/*
 * Which connection takes which question, by scripts: words of what happens, and what was sent for it.
 *
 *   cold          nothing is known of how quick the server is; otherwise it has been quick
 *   batch?        how many questions are a batch
 *   up0 down0     the lane opens, closes
 *   c7 n7 n7b     a question of user 7 waits: of a change, of a newcomer, of a newcomer to stream b
 *   !             what can be sent is sent, in one turn; said as user>lane
 *   a0            the oldest of lane 0 is answered
 *   p0            the position is asked for on lane 0
 *   x7            the oldest question of user 7 that waits is abandoned
 *   b7            the question of user 7 that was sent is taken back
 *   t600          600 ms pass
 *   late0         does lane 0 run something for too long? said as late7; long7 if the batch does, and not the question
 *   run0          what is worth a cancel there; said as run7, run? if nobody waits for it
 *   k0            what lane 0 runs is cancelled
 *   open?         which lane is to be opened; said as open1, open-
 *   spare? by?    lanes_spare, lanes_canceller
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "lanes.h"
#include "walpush/base/buf.h"

#define MS ((int64_t)1000)
#define ITEMS 512

static struct lanes l;
static struct lanes_item items[ITEMS];
static unsigned n_items;
static int64_t now;

static struct lanes_item *new_item(enum lanes_kind kind, uint64_t user, uint64_t pair)
{
	struct lanes_item *i = &items[n_items++];

	assert_true(n_items <= ITEMS);
	*i = (struct lanes_item){ .kind = kind, .user = user, .pair = pair };
	return i;
}

static void wait_for(enum lanes_kind kind, const char *who)
{
	char *end;
	uint64_t user = strtoull(who, &end, 10);

	lanes_wait(&l, new_item(kind, user, user * 256 + (uint64_t)(unsigned char)*end), now);
}

static void send_all(struct buf *out)
{
	struct lanes_item *i;
	unsigned lane;

	while ((i = lanes_next(&l, &lane))) {
		lanes_send(&l, i, lane, now);
		buf_addf(out, " %u>%u", (unsigned)i->user, lane);
	}
	for (lane = 0; lane < l.n; lane++)
		lanes_seal(&l, lane);
}

static void abandon(uint64_t user)
{
	for (unsigned i = 0; i < n_items; i++) {
		if (items[i].user == user && items[i].waits) {
			lanes_leave(&l, &items[i]);
			return;
		}
	}
	fail_msg("user %u has no question that waits", (unsigned)user);
}

static void take_back(uint64_t user)
{
	for (unsigned i = 0; i < n_items; i++)
		if (items[i].user == user && items[i].sent)
			lanes_leave(&l, &items[i]);
}

static void go_down(unsigned lane)
{
	lanes_up(&l, lane, false, now);
	lanes_clear(&l, lane);
}

static void say_sent(struct buf *out, const char *what, const struct lanes_sent *s)
{
	if (s && s->item)
		buf_addf(out, " %s%u", what, (unsigned)s->item->user);
	else
		buf_addf(out, " %s%s", what, s ? "?" : "-");
}

static void say_late(struct buf *out, unsigned lane)
{
	const struct lanes_sent *s = lanes_late(&l, lane, now);

	say_sent(out, s && !l.lane[lane].is_slow ? "long" : "late", s);
}

static void say_open(struct buf *out)
{
	int lane = lanes_to_open(&l);

	if (lane < 0)
		buf_add_text(out, " open-");
	else
		buf_addf(out, " open%d", lane);
}

static bool starts(const char *word, const char *with, unsigned *lane)
{
	size_t n = strlen(with);

	*lane = strncmp(word, with, n) == 0 ? (unsigned)strtoul(word + n, NULL, 10) : 0;
	return strncmp(word, with, n) == 0 && word[n] >= '0' && word[n] <= '9';
}

static void happen(const char *word, struct buf *out)
{
	unsigned n;

	if (starts(word, "up", &n))
		lanes_up(&l, n, true, now);
	else if (starts(word, "down", &n))
		go_down(n);
	else if (starts(word, "late", &n))
		say_late(out, n);
	else if (starts(word, "run", &n))
		say_sent(out, "run", lanes_running(&l, n, now));
	else if (starts(word, "c", &n))
		wait_for(LANES_CHANGE, word + 1);
	else if (starts(word, "n", &n))
		wait_for(LANES_NEWCOMER, word + 1);
	else if (starts(word, "a", &n))
		lanes_done(&l, l.lane[n].sent, now);
	else if (starts(word, "p", &n))
		lanes_send(&l, new_item(LANES_POSITION, 0, 0), n, now);
	else if (starts(word, "b", &n))
		take_back(n);
	else if (starts(word, "k", &n))
		lanes_cancelled(&l, l.lane[n].sent);
	else if (starts(word, "x", &n))
		abandon(n);
	else if (starts(word, "t", &n))
		now += n * MS;
	else if (strcmp(word, "!") == 0)
		send_all(out);
	else if (strcmp(word, "cold") == 0)
		l.batch = 0;
	else if (strcmp(word, "batch?") == 0)
		buf_addf(out, " batch%u", l.batch ? l.batch : 1);
	else if (strcmp(word, "open?") == 0)
		say_open(out);
	else if (strcmp(word, "spare?") == 0)
		buf_addf(out, " spare%d", lanes_spare(&l));
	else if (strcmp(word, "by?") == 0)
		buf_addf(out, " by%d", lanes_canceller(&l));
	else
		fail_msg("what is %s?", word);
}

static void play(unsigned lanes, const char *script, const char *expected)
{
	struct buf said = { 0 };
	char text[1024], *at, *word;

	memset(&l, 0, sizeof(l));
	l.n = lanes;
	l.batch = LANE_QUESTIONS;
	n_items = 0;
	now = 1000 * MS;
	snprintf(text, sizeof(text), "%s", script);
	for (word = strtok_r(text, " ", &at); word; word = strtok_r(NULL, " ", &at))
		happen(word, &said);
	if (strcmp(buf_slice(&said).at, expected) != 0)
		fail_msg("%s:\n%s, and not\n%s", script, buf_slice(&said).at, expected);
	buf_fini(&said);
	lanes_fini(&l);
}

struct script {
	unsigned lanes;
	const char *words, *said;
};

#define PLAY(...)                                                                                                      \
	do {                                                                                                           \
		const struct script all[] = __VA_ARGS__;                                                               \
		for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)                                                \
			play(all[i].lanes, all[i].words, all[i].said);                                                 \
	} while (0)

/* --- lanes ------------------------------------------------------------------------------------------------------------ */

static void a_lane_takes_what_is_there_in_one_turn_and_then_no_more(void **state)
{
	(void)state;
	PLAY({ { 2, "up0 up1 n1 n2 ! n3 !", " 1>0 2>0 3>1" },
	       { 2, "up0 up1 n1 ! n2 ! n3 ! a0 !", " 1>0 2>1 3>0" },
	       { 1, "up0 n1 n2 ! n3 ! a0 ! a0 !", " 1>0 2>0 3>0" },
	       { 1, "up0 n1 ! p0 n2 ! a0 ! a0 !", " 1>0 2>0" }, /* until the position is there too */
	       { 4, "n1 ! up3 !", " 1>3" },
	       { 2, "up0 up1 n1 ! down0 n2 !", " 1>0 2>1" } });
}

static void a_lane_takes_so_many(void **state)
{
	unsigned lane, on[2] = { 0, 0 };
	struct lanes_item *i;

	(void)state;
	play(2, "up0 up1", "");
	for (unsigned k = 0; k < LANE_QUESTIONS + 3; k++) {
		struct lanes_item *new = new_item(LANES_NEWCOMER, k, k);

		lanes_wait(&l, new, now);
	}
	while ((i = lanes_next(&l, &lane))) {
		lanes_send(&l, i, lane, now);
		on[lane]++;
	}
	assert_int_equal(on[0], LANE_QUESTIONS);
	assert_int_equal(on[1], 3);
	lanes_fini(&l);
}

/* Otherwise a server that is slow for all of them would let each wait for all before it. */
static void a_lane_takes_more_as_long_as_the_server_is_quick(void **state)
{
	(void)state;
	PLAY({ { 2, "cold up0 up1 n1 n2 n3 !", " 1>0 2>1" },
	       { 1, "cold up0 n1 n2 n3 n4 ! p0 a0 ! batch? a0 batch? ! a0 batch? a0 !",
		 " 1>0 batch1 batch2 2>0 3>0 batch2 4>0" },
	       { 1, "cold up0 n1 ! a0 n1 ! a0 n1 ! a0 n1 ! a0 batch? n1 ! a0 batch? n1 ! a0 batch?",
		 " 1>0 1>0 1>0 1>0 batch16 1>0 batch32 1>0 batch32" },
	       /* All of them count, and the position too. */
	       { 1, "cold up0 n1 ! t100 a0 batch? n1 ! t101 a0 batch? n1 ! t101 a0 batch?",
		 " 1>0 batch2 1>0 batch1 1>0 batch1" },
	       { 1, "up0 n1 n2 ! p0 t60 a0 a0 t60 batch? a0 batch?", " 1>0 2>0 batch32 batch16" },
	       { 1, "up0 n1 n2 ! t400 a0 t200 a0 batch?", " 1>0 2>0 batch1" },
	       { 2, "up0 up1 n1 n2 ! t600 batch? late0 batch? n3 n4 !", " 1>0 2>0 batch32 late1 batch1 3>1" },
	       /* Neither a slow pair nor a position alone says how quick the others are; nor does what was lost. */
	       { 2, "up0 up1 n1 ! t600 late0 a0 n2 ! a0 batch? n1 ! a0 batch?", " 1>0 late1 2>0 batch2 1>0 batch2" },
	       { 2, "cold up0 up1 n1 ! t600 late0 a0 n1 ! t600 late0 a0 batch?", " 1>0 late1 1>0 late1 batch1" },
	       { 1, "cold up0 p0 a0 batch? n1 ! down0 up0 batch?", " batch1 1>0 batch1" } });
}

static void one_question_of_a_user_is_with_the_server(void **state)
{
	(void)state;
	PLAY({ { 4, "up0 up1 n7 n7b n8 ! a0 !", " 7>0 8>0 7>1" },
	       { 1, "up0 n7 n7b ! a0 !", " 7>0 7>0" },
	       { 2, "up0 up1 n7 ! c7b ! a0 !", " 7>0 7>0" },
	       { 1, "up0 n7 n7b ! x7 n8 a0 !", " 7>0 8>0" },
	       { 2, "up0 up1 n7 ! n7b b7 !", " 7>0 7>1" } });
}

static void of_four_questions_one_is_a_newcomers(void **state)
{
	(void)state;
	PLAY({ { 1, "up0 n1 n2 c3 c4 c5 c6 c7 c8 c9 !", " 3>0 4>0 5>0 1>0 6>0 7>0 8>0 2>0 9>0" },
	       { 1, "up0 c3 c4 n1 ! a0 a0 a0 c5 n2 c6 !", " 3>0 4>0 1>0 5>0 6>0 2>0" },
	       { 1, "up0 c1 c2 c3 c4 c5 ! a0 a0 a0 a0 a0 c6 n7 !", " 1>0 2>0 3>0 4>0 5>0 6>0 7>0" },
	       /* The one that cannot be sent now does not count. */
	       { 2, "up0 up1 n7 ! n7b c1 c2 c3 c4 c5 !", " 7>0 1>1 2>1 3>1 4>1 5>1" } });
}

/* --- slow ------------------------------------------------------------------------------------------------------------- */

static void slow_pairs_share_one_lane(void **state)
{
	(void)state;
	PLAY({ { 2, "up0 up1 n7 ! t600 a0 n7 n8 !", " 7>0 7>0 8>1" },
	       { 3, "up0 up1 up2 n7 ! n8 ! t600 a0 a1 n7 n8 n9 ! a0 !", " 7>0 8>1 7>0 9>1 8>0" },
	       /* One after the other, and nothing behind it. */
	       { 2, "up0 up1 n7 ! n8 ! t600 a0 a1 n7 n8 ! n9 ! a1 !", " 7>0 8>1 7>0 9>1" },
	       /* What waits when the pair becomes slow goes over too. */
	       { 2, "up0 up1 n7 ! n7 t600 a0 n8 !", " 7>0 7>0 8>1" },
	       /* For so long, and no other stream of the user. */
	       { 2, "up0 up1 n7 ! t600 a0 n9 ! a0 t29000 n7 n8 !", " 7>0 9>0 7>0 8>1" },
	       { 2, "up0 up1 n7 ! t600 a0 n9 ! a0 t31000 n7 n8 !", " 7>0 9>0 7>0 8>0" },
	       { 2, "up0 up1 n7 ! t600 a0 n9 ! a0 n7b n8 !", " 7>0 9>0 7>0 8>0" },
	       { 2, "up0 up1 n7 ! t500 a0 n7 n8 !", " 7>0 7>0 8>0" },
	       /* What waited behind it is not slow. */
	       { 2, "up0 up1 n7 n8 ! t600 a0 a0 n8 n7 !", " 7>0 8>0 7>0 8>1" } });
}

static void with_a_single_lane_the_slow_go_last(void **state)
{
	(void)state;
	PLAY({ { 1, "up0 n7 ! t600 a0 n7 n8 ! n9 a0 ! a0 !", " 7>0 8>0 9>0 7>0" },
	       { 4, "up0 n7 ! t600 a0 n7 n8 ! a0 !", " 7>0 8>0 7>0" } });
}

static void a_lane_that_runs_something_for_long_is_the_slow_one(void **state)
{
	(void)state;
	PLAY({ { 2, "up0 up1 n7 n8 ! t400 late0 t200 late0 late0", " 7>0 8>0 late- late7 late7" },
	       { 3, "up0 up1 up2 n8 ! t600 a0 n7 ! t600 late0 n8 n9 ! a0 !", " 8>0 7>0 late7 9>1 8>0" },
	       { 1, "up0 p0 t600 late0 a0 n1 !", " late- 1>0" },
	       { 1, "up0 n7 ! a0 t600 late0", " 7>0 late-" },
	       /* It runs since the one before was answered; but others have waited behind both. */
	       { 1, "up0 n7 n8 ! t400 a0 late0 t101 late0 t400 late0", " 7>0 8>0 late- long8 late8" },
	       { 2, "up0 up1 n7 n8 ! t400 a0 t200 late0 a0 n9 ! a0 n8 n9 !", " 7>0 8>0 long8 9>0 8>0 9>0" },
	       { 2, "up0 up1 n7 n8 ! b7 t600 late0 a0 late0", " 7>0 8>0 late- long8" } });
}

/* Of more pairs than are known the oldest is forgotten. */
static void so_many_slow_pairs_are_known(void **state)
{
	struct lanes_item *i;
	unsigned lane;

	(void)state;
	play(LANES_MOST, "up0 up1 up2 up3 up4 up5 up6 up7 up8 up9 up10 up11 up12 up13 up14 up15", "");
	for (unsigned k = 0; k <= LANES_SLOW_MOST; k++) {
		n_items = 0;
		lanes_wait(&l, new_item(LANES_NEWCOMER, k, k), now);
		i = lanes_next(&l, &lane);
		lanes_send(&l, i, lane, now);
		lanes_seal(&l, lane);
		l.lane[lane].since = now - 2 * LANES_SLOW_US;
		lanes_done(&l, l.lane[lane].sent, now++);
	}
	n_items = 0;
	assert_false(lanes_wait(&l, new_item(LANES_NEWCOMER, 0, 0), now));
	assert_true(lanes_wait(&l, new_item(LANES_NEWCOMER, 1, 1), now));
	assert_true(lanes_wait(&l, new_item(LANES_NEWCOMER, LANES_SLOW_MOST, LANES_SLOW_MOST), now));
	assert_int_equal(lanes_slow_waiting(&l), 2);
	assert_int_equal(lanes_waiting(&l), 1);
	lanes_fini(&l);
}

/* --- opening, cancelling ------------------------------------------------------------------------------------------------ */

static void a_lane_is_opened_for_what_only_needs_a_lane(void **state)
{
	(void)state;
	PLAY({ { 2, "n1 ! open?", " open0" },
	       { 2, "up0 open? n1 ! open? n2 ! open? up1 ! open?", " open- 1>0 open- open1 2>1 open-" },
	       { 3, "up0 n1 ! n2 ! open? open?", " 1>0 open1 open1" },
	       { 2, "up0 n7 n7b ! open?", " 7>0 open-" },
	       { 3, "up0 up1 n7 ! n8 ! t600 a0 a1 n7 n8 ! open?", " 7>0 8>1 7>0 open-" },
	       { 1, "up0 n1 ! n2 ! open?", " 1>0 open-" } });
}

static void what_is_worth_a_cancel(void **state)
{
	(void)state;
	PLAY({ { 1, "up0 n7 ! run0 t99 run0 t1 run0 b7 run0", " 7>0 run- run- run7 run?" },
	       { 1, "up0 n7 ! t100 k0 run0", " 7>0 run-" },
	       { 1, "up0 t100 run0", " run-" },
	       { 1, "up0 n7 n8 ! b8 t100 a0 run0 t100 run0", " 7>0 8>0 run- run?" },
	       /* After one, those behind it at once, until the lane is idle. */
	       { 1, "up0 n7 n8 n9 ! b8 b9 a0 run0 t100 run0 k0 run0 a0 run0 k0 run0 a0 n1 ! run0",
		 " 7>0 8>0 9>0 run- run? run- run? run- 1>0 run-" } });
}

static void by_which_lane(void **state)
{
	(void)state;
	PLAY({ { 3, "up0 up1 n7 ! n8 ! t600 late0 spare? by? up2 by? spare?", " 7>0 8>1 late7 spare1 by-1 by2 spare2" },
	       { 2, "spare? by?", " spare-1 by-1" } });
}

/* --- whatever happens --------------------------------------------------------------------------------------------------- */

static uint32_t chance;

static unsigned pick(unsigned n)
{
	chance = chance * 1664525 + 1013904223;
	return (chance >> 8) % n;
}

/* Of each user one question is with the server. */
static void judge_sent(uint32_t seed)
{
	const struct lanes_sent *a, *b;

	for (unsigned i = 0; i < l.n; i++) {
		DL_FOREACH(l.lane[i].sent, a) {
			unsigned same = 0;

			for (unsigned k = 0; k < l.n; k++)
				DL_FOREACH(l.lane[k].sent, b)
					same += a->item && b->item && a->item->user == b->item->user;
			if (a->item && same != 1)
				fail_msg("seed %u: %u questions of one user", seed, same);
		}
		assert_true(l.lane[i].n <= LANE_QUESTIONS);
	}
}

static void send_some(uint32_t seed)
{
	unsigned lane;
	struct lanes_item *i;

	while ((i = lanes_next(&l, &lane))) {
		assert_true(l.lane[lane].is_up);
		for (unsigned k = 0; k < l.n; k++)
			assert_false(i->list == LANES_SLOW && l.lane[k].is_slow);
		lanes_send(&l, i, lane, now);
		judge_sent(seed);
	}
	for (lane = 0; lane < l.n; lane++)
		lanes_seal(&l, lane);
}

static void step(uint32_t seed)
{
	unsigned lane = pick(l.n);
	struct lanes_item *i;

	now += pick(80) * MS;
	switch (pick(8)) {
	case 0:
	case 1:
	case 2:
		i = &items[pick(ITEMS)];
		if (i->waits || i->sent)
			return;
		i->kind = pick(3) ? LANES_NEWCOMER : LANES_CHANGE;
		i->user = pick(40);
		i->pair = i->user * 4 + pick(2);
		lanes_wait(&l, i, now);
		return;
	case 3:
		lanes_leave(&l, &items[pick(ITEMS)]);
		return;
	case 4:
		lanes_up(&l, lane, pick(4) > 0, now);
		if (!l.lane[lane].is_up)
			lanes_clear(&l, lane);
		return;
	case 5:
		lanes_late(&l, lane, now);
		return;
	case 6:
		if (l.lane[lane].sent)
			lanes_done(&l, l.lane[lane].sent, now);
		return;
	default:
		send_some(seed);
	}
}

/* In the end everything is answered. */
static void drain(uint32_t seed)
{
	for (unsigned k = 0; k < 3 * ITEMS; k++) {
		lanes_up(&l, 0, true, now);
		send_some(seed);
		for (unsigned lane = 0; lane < l.n; lane++)
			if (l.lane[lane].sent)
				lanes_done(&l, l.lane[lane].sent, now);
	}
	if (lanes_waiting(&l) || lanes_slow_waiting(&l) || lanes_is_busy(&l))
		fail_msg("seed %u: something waits for ever", seed);
}

static void whatever_happens(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 300; seed++) {
		memset(&l, 0, sizeof(l));
		memset(items, 0, sizeof(items));
		now = 1000 * MS;
		chance = seed;
		l.n = 1 + pick(5);
		for (unsigned k = 0; k < 600; k++)
			step(seed);
		drain(seed);
		lanes_fini(&l);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lane_takes_what_is_there_in_one_turn_and_then_no_more),
		cmocka_unit_test(a_lane_takes_so_many),
		cmocka_unit_test(a_lane_takes_more_as_long_as_the_server_is_quick),
		cmocka_unit_test(one_question_of_a_user_is_with_the_server),
		cmocka_unit_test(of_four_questions_one_is_a_newcomers),
		cmocka_unit_test(slow_pairs_share_one_lane),
		cmocka_unit_test(with_a_single_lane_the_slow_go_last),
		cmocka_unit_test(a_lane_that_runs_something_for_long_is_the_slow_one),
		cmocka_unit_test(so_many_slow_pairs_are_known),
		cmocka_unit_test(a_lane_is_opened_for_what_only_needs_a_lane),
		cmocka_unit_test(what_is_worth_a_cancel),
		cmocka_unit_test(by_which_lane),
		cmocka_unit_test(whatever_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
