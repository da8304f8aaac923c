/* Which answer counts, and up to where: changes, questions and answers in every order that matters. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "verdict.h"

#define S 1000000
#define LIMIT (5 * S)
#define ALL LSN_MAX

enum what {
	CHANGE, /* at `lsn`, of everybody */
	OWN,    /* at `lsn`, of its user */
	ASK,    /* at `at` s */
	YES,    /* its position is `lsn` */
	NO,
	ACT, /* what is to be done, at `at` s */
};

struct step {
	enum what what;
	lsn_t lsn;
	int64_t at;
	/* Afterwards. */
	int result; /* CHANGE, OWN: must be stopped; YES, NO: counts; ACT: which */
	lsn_t from;
	int skips; /* YES that counts: HIDES, or whether it skips anything */
};

#define HIDES 2

static int yes(struct verdict *v, const struct step *s)
{
	bool counts = verdict_counts(v, s->lsn);

	if (counts && verdict_skips(v) + verdict_hides(v) != s->skips)
		fail_msg("position %d: skips wrongly", (int)s->lsn);
	if (counts)
		verdict_take(v);
	else
		verdict_drop(v);
	return counts;
}

static int step(struct verdict *v, const struct step *s)
{
	switch (s->what) {
	case CHANGE:
		return verdict_changed(v, s->lsn, false);
	case OWN:
		return verdict_changed(v, s->lsn, true);
	case ASK:
		verdict_asked(v, s->lsn, s->at * S);
		return 0;
	case YES:
		return yes(v, s);
	case NO:
		return verdict_no_counts(v);
	case ACT:
		return (int)verdict_act(v, s->at * S, LIMIT);
	}
	return -1;
}

static void play(struct verdict v, const struct step *all, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int result = step(&v, &all[i]);

		if (result != all[i].result || v.from != all[i].from)
			fail_msg("step %zu: result %d, from %llu", i, result, (unsigned long long)v.from);
	}
}

#define PLAY(...)                                                                                                      \
	play(VERDICT_NONE, (struct step[])__VA_ARGS__, sizeof((struct step[])__VA_ARGS__) / sizeof(struct step))

static void one_change_costs_nothing_but_a_wait(void **state)
{
	(void)state;
	PLAY({ { CHANGE, 10, 0, true, 10, false },
	       { ACT, 0, 1, VERDICT_WAIT, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { YES, 15, 0, true, ALL, false },
	       { ACT, 0, 100, VERDICT_HEARS, ALL, false } });
}

/* The next change is behind the answer's position, whether the log or the position tells first. */
static void an_answer_counts_up_to_the_first_change_behind_it(void **state)
{
	(void)state;
	PLAY({ { CHANGE, 10, 0, true, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { CHANGE, 20, 0, false, 10, false },
	       { CHANGE, 30, 0, false, 10, false },
	       { YES, 15, 0, true, 20, false }, /* what lies between 10 and 20 is heard */
	       { ASK, 0, 6, 0, 20, false },
	       { YES, 35, 0, true, ALL, true } }); /* what lies between 20 and 30 never is */
	PLAY({ { CHANGE, 10, 0, true, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { CHANGE, 20, 0, false, 10, false },
	       { YES, 20, 0, true, 20, false }, /* the position is the change's own: not seen */
	       { ASK, 0, 6, 0, 20, false },
	       { YES, 25, 0, true, ALL, false } }); /* one change in the round: nothing is missed */
}

static void a_change_that_the_answer_may_have_seen_makes_it_void(void **state)
{
	(void)state;
	PLAY({ { CHANGE, 10, 0, true, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { CHANGE, 20, 0, false, 10, false },
	       { YES, 21, 0, false, 10, false },
	       { ACT, 0, 1, VERDICT_WAIT, 10, false },
	       { ASK, 0, 6, 0, 10, false },
	       { YES, 30, 0, true, ALL, true } });
	/* The first one decides, not the last. */
	PLAY({ { CHANGE, 10, 0, true, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { CHANGE, 20, 0, false, 10, false },
	       { CHANGE, 40, 0, false, 10, false },
	       { YES, 30, 0, false, 10, false } });
	/* What was known when it was asked does not. */
	PLAY({ { CHANGE, 10, 0, true, 10, false },
	       { CHANGE, 12, 0, false, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { YES, 30, 0, true, ALL, true } });
}

static void many_changes_of_one_commit_are_one(void **state)
{
	(void)state;
	PLAY({ { OWN, 10, 0, true, 10, false },
	       { CHANGE, 10, 0, false, 10, false },
	       { OWN, 10, 0, false, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { YES, 11, 0, true, ALL, false } });
}

/* Between 10 and 20 the user may have been in a group that neither answer names. */
static void what_was_given_and_taken_is_hidden(void **state)
{
	(void)state;
	PLAY({ { OWN, 10, 0, true, 10, false },
	       { OWN, 20, 0, false, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { YES, 25, 0, true, ALL, HIDES } });
	PLAY({ { CHANGE, 10, 0, true, 10, false },
	       { OWN, 20, 0, false, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { YES, 25, 0, true, ALL, HIDES } });
	PLAY({ { OWN, 10, 0, true, 10, false },
	       { CHANGE, 20, 0, false, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { YES, 25, 0, true, ALL, HIDES } });
	/* The second one came with the question: an answer that may have seen it is void, and the next one is about both. */
	PLAY({ { OWN, 10, 0, true, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { OWN, 20, 0, false, 10, false },
	       { YES, 25, 0, false, 10, false },
	       { ASK, 0, 2, 0, 10, false },
	       { YES, 30, 0, true, ALL, HIDES } });
	/* One that has not is about the first alone. So is each, if there was an answer between them. */
	PLAY({ { OWN, 10, 0, true, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { OWN, 20, 0, false, 10, false },
	       { YES, 15, 0, true, 20, false },
	       { ASK, 0, 2, 0, 20, false },
	       { YES, 25, 0, true, ALL, false } });
	/* Of changes that name nobody everybody would be told. */
	PLAY({ { CHANGE, 10, 0, true, 10, false },
	       { CHANGE, 20, 0, false, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { YES, 25, 0, true, ALL, true } });
	/* Nor does one of before count. */
	PLAY({ { OWN, 10, 0, true, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { YES, 11, 0, true, ALL, false },
	       { CHANGE, 20, 0, true, 20, false },
	       { CHANGE, 30, 0, false, 20, false },
	       { ASK, 0, 6, 0, 20, false },
	       { YES, 35, 0, true, ALL, true } });
}

static void who_is_named_is_asked_at_once(void **state)
{
	(void)state;
	PLAY({ { OWN, 10, 0, true, 10, false }, { ACT, 0, 0, VERDICT_ASK, 10, false } });
	PLAY({ { CHANGE, 10, 0, true, 10, false },
	       { ACT, 0, 0, VERDICT_WAIT, 10, false },
	       { OWN, 20, 0, false, 10, false },
	       { ACT, 0, 0, VERDICT_ASK, 10, false } });
	/* One that was answered does not hurry the next. */
	PLAY({ { OWN, 10, 0, true, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { CHANGE, 20, 0, false, 10, false },
	       { YES, 15, 0, true, 20, false },
	       { ACT, 0, 1, VERDICT_WAIT, 20, false } });
	/* One whose answer is void does. */
	PLAY({ { OWN, 10, 0, true, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { CHANGE, 20, 0, false, 10, false },
	       { YES, 25, 0, false, 10, false },
	       { ACT, 0, 1, VERDICT_ASK, 10, false } });
}

static void a_no_counts_unless_the_user_was_named_since(void **state)
{
	(void)state;
	PLAY({ { CHANGE, 10, 0, true, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { NO, 0, 0, true, 10, false },
	       { CHANGE, 20, 0, false, 10, false },
	       { NO, 0, 0, true, 10, false },
	       { OWN, 30, 0, false, 10, false },
	       { NO, 0, 0, false, 10, false } });
	PLAY({ { OWN, 10, 0, true, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { CHANGE, 20, 0, false, 10, false },
	       { NO, 0, 0, true, 10, false } });
	/* The first change behind the question is the user's own. */
	PLAY({ { CHANGE, 10, 0, true, 10, false },
	       { ASK, 0, 1, 0, 10, false },
	       { OWN, 20, 0, false, 10, false },
	       { NO, 0, 0, false, 10, false } });
}

static void changes_without_end_end_in_patience(void **state)
{
	(void)state;
	PLAY({ { CHANGE, 10, 0, true, 10, false },
	       { ACT, 0, 1000, VERDICT_WAIT, 10, false }, /* it was not asked yet: no time counts */
	       { ASK, 0, 1000, 0, 10, false },
	       { CHANGE, 20, 0, false, 10, false },
	       { YES, 25, 0, false, 10, false },
	       { ACT, 0, 1001, VERDICT_WAIT, 10, false },
	       { ASK, 0, 1020, 0, 10, false }, /* does not begin anew */
	       { CHANGE, 30, 0, false, 10, false },
	       { YES, 35, 0, false, 10, false },
	       { ACT, 0, 1029, VERDICT_WAIT, 10, false },
	       { ACT, 0, 1030, VERDICT_LATE, 10, false } });
	/* One that counts begins it anew. */
	PLAY({ { CHANGE, 10, 0, true, 10, false },
	       { ASK, 0, 1000, 0, 10, false },
	       { CHANGE, 20, 0, false, 10, false },
	       { YES, 15, 0, true, 20, false },
	       { ACT, 0, 1040, VERDICT_WAIT, 20, false },
	       { ASK, 0, 1040, 0, 20, false },
	       { ACT, 0, 1069, VERDICT_WAIT, 20, false } });
}

static void who_is_asked_as_time_passes_hears_on(void **state)
{
	(void)state;
	PLAY({ { ASK, 0, 1, 0, ALL, false }, { YES, 15, 0, true, ALL, false } });
	PLAY({ { ASK, 0, 1, 0, ALL, false }, { CHANGE, 20, 0, true, 20, false }, { YES, 15, 0, true, 20, false } });
	PLAY({ { ASK, 0, 1, 0, ALL, false },
	       { CHANGE, 20, 0, true, 20, false },
	       { YES, 25, 0, false, 20, false },
	       { ASK, 0, 6, 0, 20, false },
	       { YES, 30, 0, true, ALL, false } });
}

static void who_comes_is_placed_at_each_question_anew(void **state)
{
	struct verdict v = VERDICT_NONE;

	(void)state;
	PLAY({ { ASK, 5, 1, 0, ALL, false }, { YES, 15, 0, true, ALL, false } });
	PLAY({ { ASK, 5, 1, 0, ALL, false },
	       { CHANGE, 10, 0, true, 10, false },
	       { YES, 15, 0, false, 10, false },
	       { ASK, 12, 1, 0, ALL, false },
	       { CHANGE, 20, 0, true, 20, false },
	       { YES, 20, 0, true, 20, false } });
	/* Its hello is said, and the log is not there yet: then a change may be one that the answer had seen. */
	verdict_asked(&v, 5, S);
	verdict_held(&v, v.known);
	play(v,
	     (struct step[]){ { CHANGE, 10, 0, false, 5, false },
			      { YES, 15, 0, false, 5, false },
			      { ASK, 0, 2, 0, 5, false },
			      { YES, 20, 0, true, ALL, true } },
	     4);
	play(v, (struct step[]){ { CHANGE, 10, 0, false, 5, false }, { YES, 9, 0, true, 10, false } }, 2);
	play(v, (struct step[]){ { YES, 9, 0, true, ALL, false } }, 1);
}

static void another_history_is_asked_about_whole(void **state)
{
	struct verdict v = VERDICT_NONE;

	(void)state;
	verdict_changed(&v, 100, true);
	verdict_asked(&v, 0, S);
	verdict_anew(&v, 7);
	play(v, (struct step[]){ { ASK, 0, 2, 0, 7, false }, { YES, 9, 0, true, ALL, false } }, 2);
	play(v,
	     (struct step[]){
		     { CHANGE, 8, 0, false, 7, false }, { ASK, 0, 2, 0, 7, false }, { YES, 9, 0, true, ALL, true } },
	     3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_change_costs_nothing_but_a_wait),
		cmocka_unit_test(an_answer_counts_up_to_the_first_change_behind_it),
		cmocka_unit_test(a_change_that_the_answer_may_have_seen_makes_it_void),
		cmocka_unit_test(many_changes_of_one_commit_are_one),
		cmocka_unit_test(what_was_given_and_taken_is_hidden),
		cmocka_unit_test(who_is_named_is_asked_at_once),
		cmocka_unit_test(a_no_counts_unless_the_user_was_named_since),
		cmocka_unit_test(changes_without_end_end_in_patience),
		cmocka_unit_test(who_is_asked_as_time_passes_hears_on),
		cmocka_unit_test(who_comes_is_placed_at_each_question_anew),
		cmocka_unit_test(another_history_is_asked_about_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
