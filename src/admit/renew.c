/*
 * renew: renewed tokens with other claims. renewal.h decides what a token does.
 *
 * A renewal is a listener like that of a new connection: it waits, its query runs, and it waits for the logs. It has no place among the changes and
 * no seats, and it belongs to the user of its connection. A change of permission asks again about both, by a query each. A newer token leaves
 * the question of the token before it, so a late answer finds no listener.
 */
#include "parts.h"
#include "walpush/share/renewal.h"

void renew_ask_again(struct listener *renewal)
{
	if (!renewal || renewal->state == LISTENER_WAITING)
		return;
	renewal->verdict = VERDICT_NONE;
	listener_forget_answer(renewal);
	ask_about(renewal);
}

static enum renewal_state state_of(const struct listener *l)
{
	if (l->state == LISTENER_DENIED || l->is_apart)
		return RENEWAL_DENIED;
	if (!l->is_open)
		return RENEWAL_COMING;
	return l->renewal ? RENEWAL_OPEN : RENEWAL_NONE;
}

static enum renewal_claims claims_of(const struct listener *l, const struct ticket *next)
{
	if (l->renewal && ticket_same_claims(l->renewal->ticket, next))
		return RENEWAL_OF_THE_ASKED;
	return ticket_same_claims(l->ticket, next) ? RENEWAL_IN_FORCE : RENEWAL_OTHERS;
}

static void bear(struct listener *l, const struct mail *mail)
{
	ticket_unref(l->ticket);
	l->ticket = mail->asked.ticket;
	l->number = mail->number;
}

static void drop_renewal(struct listener *l)
{
	listener_free_renewal(l->renewal);
	l->renewal = NULL;
}

/* Before the connection is open no token is in force, so the newest token replaces the one before. */
static struct listener *newest(struct listener *l)
{
	if (!l->is_open)
		return l;
	if (!l->renewal)
		l->renewal = listener_new_renewal(l);
	return l->renewal;
}

static void act(struct listener *l, const struct mail *mail)
{
	switch (renewal_act(state_of(l), claims_of(l, mail->asked.ticket))) {
	case RENEWAL_TAKE:
		drop_renewal(l);
		bear(l, mail);
		seat_renewed(l);
		return;
	case RENEWAL_JOIN:
		bear(newest(l), mail);
		return;
	case RENEWAL_ASK:
		l = newest(l);
		bear(l, mail);
		listener_forget_answer(l);
		ask_about(l);
		return;
	case RENEWAL_NEVER:
		return; /* renewal_act does not return it */
	}
}

void renew_by(struct admissions *all, struct mail *mail)
{
	struct listener *l = listener_find(all, mail);

	if (!l) {
		ticket_unref(mail->asked.ticket);
		return;
	}
	/* The hub has this token already, so it ignores mails about the tokens before. */
	if (l->is_open && l->number != mail->asked.holds)
		l->is_apart = true;
	act(l, mail);
}
