/* renewal: which token is in force, and which answer counts, in every order in which tokens, answers and changes may come. */
#include <stddef.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "walpush/share/renewal.h"

/* --- the hub's verdict --------------------------------------------------------------------------------------------- */

static void a_token_is_judged_in_this_order(void **state)
{
	static const struct {
		struct renewal_token token;
		enum renewal_verdict verdict;
	} cases[] = {
		/* valid, same user, has claims, same claims, asked */
		{ { false, false, false, false, false }, RENEWAL_NO_TOKEN },
		{ { false, true, true, true, false }, RENEWAL_NO_TOKEN },
		{ { true, false, false, false, false }, RENEWAL_NOT_THEIRS },
		{ { true, false, true, true, false }, RENEWAL_NOT_THEIRS },
		{ { true, true, false, false, false }, RENEWAL_NO_CLAIM },
		{ { true, true, false, true, false }, RENEWAL_NO_CLAIM },
		{ { true, true, true, true, false }, RENEWAL_AT_ONCE },
		{ { true, true, true, false, false }, RENEWAL_ASKED },
		/* Behind a token that is asked about no token may pass it by. */
		{ { true, true, true, true, true }, RENEWAL_ASKED },
		{ { true, true, true, false, true }, RENEWAL_ASKED },
		{ { false, true, true, true, true }, RENEWAL_NO_TOKEN },
		{ { true, false, true, true, true }, RENEWAL_NOT_THEIRS },
		{ { true, true, false, true, true }, RENEWAL_NO_CLAIM },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (renewal_judge(&cases[i].token) != cases[i].verdict)
			fail_msg("case %zu", i);
}

static void an_epoch_is_told_where_nothing_else_tells_it(void **state)
{
	(void)state;
	assert_true(renewal_tells_epoch(false, false));
	assert_false(renewal_tells_epoch(true, false));
	assert_false(renewal_tells_epoch(false, true)); /* resync does */
	assert_false(renewal_tells_epoch(true, true));
}

static void what_is_said_of_another_token_is_void(void **state)
{
	static const struct {
		enum renewal_word word;
		uint32_t number, asked, answered;
		bool is_void;
	} cases[] = {
		{ RENEWAL_SAYS_WHICH, 0, 0, 0, false }, /* of the only token: it is refused */
		{ RENEWAL_SAYS_WHICH, 1, 1, 0, false },
		{ RENEWAL_SAYS_WHICH, 1, 2, 0, true },
		{ RENEWAL_SAYS_WHICH, 0, 1, 0, true }, /* of the one in force, while a newer one is asked about */
		{ RENEWAL_SAYS_ON, 0, 0, 0, false },
		{ RENEWAL_SAYS_ON, 0, 1, 0, false },
		{ RENEWAL_SAYS_ON, 1, 2, 1, false },
		{ RENEWAL_SAYS_ON, 1, 2, 0, true }, /* the tap went by a token that the hub did not take */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (renewal_is_void(cases[i].word, cases[i].number, cases[i].asked, cases[i].answered) !=
		    cases[i].is_void)
			fail_msg("case %zu", i);
}

/* --- every order of events ------------------------------------------------------------------------------------------ */

#define CLAIMS 3
#define MAILS 8
#define DEPTH 7
#define NONE -1

enum kind { IS_TOKEN, IS_IN_FORCE, IS_MOVED, IS_LIMIT, IS_LIFT, IS_REFUSAL };

struct letter {
	enum kind kind;
	int claims;
	unsigned number, holds;
	bool has_seats;
	int seats;      /* what has_seats gives, */
	unsigned from;  /* and from which change on */
	unsigned limit; /* of IS_LIMIT: the first change that is not delivered */
};

struct box {
	struct letter at[MAILS];
	unsigned n;
};

struct question {
	bool is_open;
	int claims;
	unsigned at; /* the permission's version when it was asked */
};

/* One client, its hub and the tap, with what is on its way between the two. The acts are done as renew.c, change.c and conn_message do
 * them; which is done when, renewal.h says. */
struct world {
	struct { /* the tap's listener */
		bool is_open, is_limited, is_denied, is_renewing, is_apart;
		int in_force, newest;      /* claims */
		int seats;                 /* the groups that it believes the hub to have */
		struct question old, next; /* about the token in force, and about the newest */
		unsigned version;          /* of the user's permission, as the log has it */
		unsigned first, last;      /* changes that it was held back by, since it heard all; 0: none */
		unsigned number, next_number, questions;
	} tap;
	struct {
		bool is_open, has_ended;
		int in_force, seats; /* claims, and groups */
		lsn_t limit;         /* the first change that it does not deliver; LSN_MAX: it delivers all */
		unsigned done;       /* the last change behind which it has delivered */
		unsigned asked, answered;
	} hub;
	int said; /* the claims of the client's newest token */
	struct box to_tap, to_hub;
	bool is_dear; /* it said other claims than at first, or permission changed */
};

enum happening {
	TOKEN,
	CHANGE = TOKEN + CLAIMS,
	YES,
	NO,
	YES_TO_THE_NEWEST,
	NO_TO_THE_NEWEST,
	TAP_TAKES,
	HUB_TAKES,
	HAPPENINGS
};

/* Two claims have the same groups. Some changes leave them as they are, and some give back what another one took. */
static int groups_of(int claims, unsigned version)
{
	static const int groups[] = { 0, 2, 0, 0, 2, 4, 4, 0, 6 };

	assert_true(version < sizeof(groups) / sizeof(*groups));
	return groups[version] + (claims == CLAIMS - 1);
}

static void post(struct box *b, struct letter letter)
{
	assert_true(b->n < MAILS);
	b->at[b->n++] = letter;
}

static struct letter take(struct box *b)
{
	struct letter first = b->at[0];

	memmove(b->at, b->at + 1, --b->n * sizeof(*b->at));
	return first;
}

static void ask(struct world *w, struct question *q, int claims)
{
	*q = (struct question){ true, claims, w->tap.version };
	w->tap.questions++;
}

/* The promise: what counts was asked with the claims that it is counted for, and not before the last change. */
static void count_answer(const struct world *w, struct question *q, int claims)
{
	assert_true(q->is_open);
	assert_int_equal(q->claims, claims);
	assert_int_equal(q->at, w->tap.version);
	q->is_open = false;
}

static enum renewal_state state_of(const struct world *w)
{
	if (w->tap.is_denied || w->tap.is_apart)
		return RENEWAL_DENIED;
	if (!w->tap.is_open)
		return RENEWAL_COMING;
	return w->tap.is_renewing ? RENEWAL_OPEN : RENEWAL_NONE;
}

static enum renewal_claims claims_of(const struct world *w, int claims)
{
	if (w->tap.is_renewing && claims == w->tap.newest)
		return RENEWAL_OF_THE_ASKED;
	return claims == w->tap.in_force ? RENEWAL_IN_FORCE : RENEWAL_OTHERS;
}

/* Seats come with the connection, with other claims, and where the hub lacks those of these. */
static void put_in_force(struct world *w, int claims, unsigned number, bool has_seats)
{
	w->tap.in_force = claims;
	w->tap.number = number;
	w->tap.is_renewing = false;
	w->tap.next.is_open = false;
	if (has_seats)
		w->tap.seats = groups_of(claims, w->tap.version);
	post(&w->to_hub, (struct letter){ .kind = IS_IN_FORCE,
					  .claims = claims,
					  .number = number,
					  .has_seats = has_seats,
					  .seats = w->tap.seats,
					  .from = w->tap.version });
}

static void limit(struct world *w, bool is_limited)
{
	if (w->tap.is_limited != is_limited)
		post(&w->to_hub, (struct letter){ .kind = is_limited ? IS_LIMIT : IS_LIFT,
						  .number = w->tap.number,
						  .limit = w->tap.version });
	w->tap.is_limited = is_limited;
}

static void wait_with(struct world *w, const struct letter *token)
{
	if (!w->tap.is_open) {
		w->tap.in_force = token->claims;
		w->tap.number = token->number;
		w->tap.is_denied = false;
		return;
	}
	w->tap.is_renewing = true;
	w->tap.newest = token->claims;
	w->tap.next_number = token->number;
}

static void tap_takes(struct world *w)
{
	struct letter token = take(&w->to_tap);
	enum renewal_act act;

	if (w->tap.is_open && w->tap.number != token.holds)
		w->tap.is_apart = true;
	act = renewal_act(state_of(w), claims_of(w, token.claims));
	if (act == RENEWAL_TAKE) {
		assert_int_equal(w->tap.in_force, token.claims);
		put_in_force(w, token.claims, token.number, false);
		return;
	}
	wait_with(w, &token);
	if (act == RENEWAL_ASK)
		ask(w, w->tap.is_open ? &w->tap.next : &w->tap.old, token.claims);
}

static bool is_told(const struct world *w)
{
	return w->tap.is_denied && !w->tap.is_renewing;
}

/* Of a connection that was refused, and is about to end, nobody notes it. */
static void permission_changes(struct world *w)
{
	w->is_dear = true;
	w->tap.version++;
	if (is_told(w))
		return;
	w->tap.last = w->tap.version;
	if (!w->tap.first)
		w->tap.first = w->tap.last;
	if (w->tap.is_open)
		limit(w, true);
	if (!w->tap.is_denied)
		ask(w, &w->tap.old, w->tap.in_force);
	if (w->tap.is_renewing)
		ask(w, &w->tap.next, w->tap.newest);
}

/* Is it to get new seats, because others are right, or because something is skipped? */
static bool must_move(struct world *w, int claims, bool was_denied)
{
	bool skips = was_denied || w->tap.first < w->tap.last;

	w->tap.first = w->tap.last = 0;
	return skips || w->tap.is_apart || w->tap.seats != groups_of(claims, w->tap.version);
}

/* That the hub goes by an older token is over with the newest one's seats alone: these are of the token that it did not take. */
static void move(struct world *w)
{
	w->tap.seats = groups_of(w->tap.in_force, w->tap.version);
	w->tap.is_limited = false;
	post(&w->to_hub, (struct letter){ .kind = IS_MOVED,
					  .claims = w->tap.in_force,
					  .number = w->tap.number,
					  .has_seats = true,
					  .seats = w->tap.seats,
					  .from = w->tap.version });
}

static void answer_is_yes(struct world *w)
{
	bool moves = must_move(w, w->tap.in_force, false);

	count_answer(w, &w->tap.old, w->tap.in_force);
	if (!w->tap.is_open)
		put_in_force(w, w->tap.in_force, w->tap.number, true);
	else if (moves)
		move(w);
	w->tap.is_open = true;
	limit(w, false);
}

static void answer_is_no(struct world *w)
{
	count_answer(w, &w->tap.old, w->tap.in_force);
	w->tap.is_denied = true;
	if (!w->tap.is_renewing)
		post(&w->to_hub,
		     (struct letter){ .kind = IS_REFUSAL, .claims = w->tap.in_force, .number = w->tap.number });
}

static void newest_is_let_in(struct world *w)
{
	bool has_seats = must_move(w, w->tap.newest, w->tap.is_denied);

	count_answer(w, &w->tap.next, w->tap.newest);
	w->tap.is_denied = w->tap.is_apart = false;
	w->tap.old.is_open = false;
	put_in_force(w, w->tap.newest, w->tap.next_number, has_seats);
	if (has_seats)
		w->tap.is_limited = false;
	limit(w, false);
}

static void newest_is_refused(struct world *w)
{
	count_answer(w, &w->tap.next, w->tap.newest);
	w->tap.is_renewing = false;
	post(&w->to_hub, (struct letter){ .kind = IS_REFUSAL, .claims = w->tap.newest, .number = w->tap.next_number });
}

static bool is_void(const struct world *w, const struct letter *mail)
{
	if (mail->kind == IS_LIFT || mail->kind == IS_MOVED)
		return renewal_is_void(RENEWAL_SAYS_ON, mail->number, w->hub.asked, w->hub.answered);
	if (mail->kind == IS_REFUSAL || (mail->kind == IS_IN_FORCE && w->hub.is_open))
		return renewal_is_void(RENEWAL_SAYS_WHICH, mail->number, w->hub.asked, w->hub.answered);
	return false;
}

static void hub_is_told(struct world *w, const struct letter *mail)
{
	if (mail->has_seats) {
		w->hub.seats = mail->seats;
		w->hub.done = mail->from;
		w->hub.limit = LSN_MAX;
		assert_int_equal(mail->seats, groups_of(mail->claims, mail->from));
	}
	w->hub.is_open = true;
	w->hub.in_force = mail->claims;
	w->hub.answered = mail->number;
}

static void hub_is_limited(struct world *w, const struct letter *mail)
{
	bool is_void = renewal_is_void(RENEWAL_SAYS_ON, mail->number, w->hub.asked, w->hub.answered);

	w->hub.limit = renewal_limit(is_void, w->hub.limit, mail->kind == IS_LIFT ? LSN_MAX : mail->limit);
}

static void hub_takes(struct world *w)
{
	struct letter mail = take(&w->to_hub);

	if (is_void(w, &mail))
		return;
	if (mail.kind == IS_IN_FORCE || mail.kind == IS_MOVED) {
		hub_is_told(w, &mail);
	} else if (mail.kind == IS_REFUSAL) { /* it ends, and not for a token that was replaced */
		w->hub.has_ended = true;
		assert_int_equal(mail.claims, w->said);
	} else {
		hub_is_limited(w, &mail);
	}
}

static void client_says(struct world *w, int claims)
{
	struct renewal_token token = { true, true, true, claims == w->hub.in_force, w->hub.asked != w->hub.answered };

	w->said = claims;
	w->is_dear = w->is_dear || claims != 0;
	if (renewal_judge(&token) == RENEWAL_ASKED) {
		w->hub.asked++;
		post(&w->to_tap,
		     (struct letter){
			     .kind = IS_TOKEN, .claims = claims, .number = w->hub.asked, .holds = w->hub.answered });
		return;
	}
	/* What the tap is not told of must be what it goes by. */
	assert_false(w->tap.is_renewing);
	assert_int_equal(w->tap.in_force, claims);
}

static bool can_happen(const struct world *w, int what)
{
	bool has_room = w->to_hub.n < MAILS - 1;

	if (w->hub.has_ended)
		return false;
	switch (what) {
	case YES:
		return w->tap.old.is_open && has_room;
	case NO:
		return w->tap.old.is_open && has_room;
	case YES_TO_THE_NEWEST:
	case NO_TO_THE_NEWEST:
		return w->tap.next.is_open && has_room;
	case TAP_TAKES:
		return w->to_tap.n > 0 && has_room;
	case HUB_TAKES:
		return w->to_hub.n > 0;
	case CHANGE:
		return has_room;
	default:
		return w->to_tap.n < MAILS;
	}
}

/* What it delivers is of groups that its token had there. */
static void hub_delivers(struct world *w)
{
	unsigned upto = w->hub.limit == LSN_MAX ? w->tap.version : (unsigned)w->hub.limit - 1;

	if (w->to_hub.n || !w->hub.is_open || w->hub.has_ended)
		return;
	for (; w->hub.done < upto; w->hub.done++)
		assert_int_equal(w->hub.seats, groups_of(w->hub.in_force, w->hub.done + 1));
}

static void happens(struct world *w, int what)
{
	static void (*const acts[HAPPENINGS])(struct world *) = {
		[CHANGE] = permission_changes,
		[YES] = answer_is_yes,
		[NO] = answer_is_no,
		[YES_TO_THE_NEWEST] = newest_is_let_in,
		[NO_TO_THE_NEWEST] = newest_is_refused,
		[TAP_TAKES] = tap_takes,
		[HUB_TAKES] = hub_takes,
	};

	if (acts[what])
		acts[what](w);
	else
		client_says(w, what - TOKEN);
	/* Who hears nothing, or not all, waits for an answer; so does each token that is not in force; and nobody else. */
	assert_int_equal(w->tap.next.is_open, w->tap.is_renewing);
	assert_int_equal(w->tap.old.is_open, (!w->tap.is_open || w->tap.is_limited) && !w->tap.is_denied);
	/* Whom the tap holds back the hub holds back, or is about to learn of it. */
	if (w->to_hub.n == 0 && w->tap.is_limited && !w->hub.has_ended)
		assert_true(w->hub.limit != LSN_MAX);
	hub_delivers(w);
}

/* Nothing more is said: then the newest token is in force everywhere, and nobody waits. */
static void comes_to_rest(struct world w)
{
	static const int order[] = { TAP_TAKES, HUB_TAKES, YES_TO_THE_NEWEST, YES };

	for (unsigned i = 0, n = 0; i < 4; i++, n++) {
		assert_true(n < 16 * MAILS);
		if (order[i] == YES && w.tap.is_denied)
			continue;
		if (can_happen(&w, order[i])) {
			happens(&w, order[i]);
			i = UINT32_MAX; /* from the first again */
		}
	}
	if (w.hub.has_ended)
		return;
	assert_true(w.hub.is_open && w.hub.limit == LSN_MAX && !w.tap.is_limited);
	assert_int_equal(w.hub.in_force, w.said);
	assert_int_equal(w.tap.in_force, w.said);
	assert_int_equal(w.hub.answered, w.hub.asked);
	if (!w.is_dear)
		assert_int_equal(w.tap.questions, 1); /* that of the admission */
}

static unsigned long try_all(const struct world *w, unsigned depth)
{
	unsigned long n = 1;

	comes_to_rest(*w);
	for (int what = 0; depth > 0 && what < HAPPENINGS; what++) {
		struct world next = *w;

		if (!can_happen(&next, what))
			continue;
		happens(&next, what);
		n += try_all(&next, depth - 1);
	}
	return n;
}

static struct world coming(void)
{
	struct world w = { .hub.limit = LSN_MAX };

	ask(&w, &w.tap.old, 0);
	return w;
}

static struct world standing(void)
{
	struct world w = coming();

	happens(&w, YES);
	happens(&w, HUB_TAKES);
	return w;
}

static void whatever_comes_the_newest_token_decides(void **state)
{
	struct world new = coming(), old = standing();

	(void)state;
	assert_true(try_all(&new, DEPTH) > 10000);
	assert_true(try_all(&old, DEPTH) > 10000);
}

/* --- the orders that somebody thought of ------------------------------------------------------------------------------ */

#define A TOKEN
#define B (TOKEN + 1)
#define C (TOKEN + 2)

/* The mails of a token go to the tap at once: `happens` with the tap's taking of it. */
static void says(struct world *w, int token)
{
	happens(w, token);
	if (w->to_tap.n)
		happens(w, TAP_TAKES);
}

struct story {
	const char *name;
	int events[6];
	unsigned n;
	unsigned questions; /* asked of the database since it stood */
	int in_force;       /* at the tap */
	bool hears;         /* nothing is withheld */
};

#define NEW YES_TO_THE_NEWEST

static void orders_and_what_they_cost(void **state)
{
	static const struct story stories[] = {
		{ "the same claims", { A, A, A }, 3, 0, A, true },
		{ "others, not answered", { B }, 1, 1, A, true },
		{ "others, answered", { B, NEW }, 2, 1, B, true },
		{ "others twice: one question", { B, B }, 2, 1, A, true },
		{ "others, then others: the first answer is void", { B, C, NEW }, 3, 2, C, true },
		{ "others, and back: nothing to ask", { B, A }, 2, 1, A, true },
		{ "a change meanwhile: both are asked about", { B, CHANGE }, 2, 3, A, false },
		{ "and the one in force is answered", { B, CHANGE, YES }, 3, 3, A, true },
		{ "and the newest is answered", { B, CHANGE, NEW }, 3, 3, B, true },
		{ "and the one in force is denied", { B, CHANGE, NO }, 3, 3, A, false },
		{ "but not the newest", { B, CHANGE, NO, NEW }, 4, 3, B, true },
		{ "denied, and back: it must be asked about", { B, CHANGE, NO, A }, 4, 4, A, false },
		{ "denied, and permission changes again", { B, CHANGE, NO, CHANGE, NEW }, 5, 4, B, true },
		{ "a change, then others", { CHANGE, B }, 2, 2, A, false },
		{ "a change, then the same: its question is open", { CHANGE, A }, 2, 1, A, false },
		{ "a change, others, and back", { CHANGE, B, A }, 3, 2, A, false },
		{ "a change, others, back, answered", { CHANGE, B, A, YES }, 4, 2, A, true },
		{ "two changes", { B, CHANGE, CHANGE, NEW }, 4, 5, B, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(stories) / sizeof(*stories); i++) {
		const struct story *s = &stories[i];
		struct world w = standing();

		for (unsigned e = 0; e < s->n; e++)
			if (s->events[e] < CHANGE)
				says(&w, s->events[e]);
			else
				happens(&w, s->events[e]);
		if (w.tap.questions - 1 != s->questions || w.tap.in_force != s->in_force ||
		    w.tap.is_limited == s->hears)
			fail_msg("%s: %u questions, %d in force, %s", s->name, w.tap.questions - 1, w.tap.in_force,
				 w.tap.is_limited ? "held" : "not held");
	}
}

/* The tap let B in, and asks about it again, while the hub has read C: it goes by A, and no answer about B is one about A. */
static void an_answer_about_what_the_hub_did_not_take_lifts_nothing(void **state)
{
	static const int order[] = { B, TAP_TAKES, NEW, C, CHANGE, YES, HUB_TAKES, HUB_TAKES, HUB_TAKES };
	struct world w = standing();

	(void)state;
	for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
		assert_true(can_happen(&w, order[i]));
		happens(&w, order[i]);
	}
	assert_int_equal(w.hub.in_force, A);
	assert_true(w.hub.limit != LSN_MAX);
	comes_to_rest(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_token_is_judged_in_this_order),
		cmocka_unit_test(an_epoch_is_told_where_nothing_else_tells_it),
		cmocka_unit_test(what_is_said_of_another_token_is_void),
		cmocka_unit_test(orders_and_what_they_cost),
		cmocka_unit_test(an_answer_about_what_the_hub_did_not_take_lifts_nothing),
		cmocka_unit_test(whatever_comes_the_newest_token_decides),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
