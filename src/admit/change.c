/*
 * change: a change of membership, in stream order.
 *
 * Before any message of its transaction is in the logs, every connection of the user gets a limit: its hub delivers nothing at or above this
 * commit until admit answers again. A hub reads the position before its mailbox, so a hub that sees a position above the commit has the mail.
 * An admission that is under way is asked again too, because its answer may be older than the change.
 */
#include <utlist.h>

#include "parts.h"
#include "walpush/base/log.h"

/* --- freezing ----------------------------------------------------------------------------------------------------- */

/* A listener that waits for its turn is asked at once if the change names its user. */
static void ask_again(struct listener *l, bool own)
{
	switch (l->state) {
	case LISTENER_STANDING:
		again_ask(l);
		return;
	case LISTENER_WAITING:
		if (own && l->is_open)
			again_ask(l);
		return;
	case LISTENER_ASKED:
		return; /* the answer's position decides whether it is void */
	case LISTENER_DENIED:
		return; /* the renewed token decides */
	case LISTENER_ANSWERED:
		if (l->batch->need !=
		    NEED_UNKNOWN) /* and above the commit, because answer_passed has applied those below it */
			again_void(l);
		return;
	}
}

/* Nothing at or above this commit is delivered before an answer covers it. */
static void freeze(struct listener *l, lsn_t commit, bool own)
{
	if (listener_is_told(l))
		return; /* its hub is closing it */
	if (verdict_changed(&l->verdict, commit, own) && l->is_open)
		listener_limit(l, commit);
	else if (l->is_open)
		listener_note_change(l, commit);
	ask_again(l, own);
	renew_ask_again(l->renewal);
}

static void freeze_all(struct admissions *all, lsn_t commit)
{
	struct listener *l, *next;

	member_all_changed(all, commit);
	HASH_ITER(hh, all->listeners, l, next)
		freeze(l, commit, false);
}

static void freeze_user(struct admissions *all, const char *user, lsn_t commit)
{
	struct member *m = member_changed(all, user, commit);
	struct listener *l, *next;

	if (!m)
		return; /* the user has no connection */
	DL_FOREACH_SAFE2(m->listeners, l, next, next_of_user)
		freeze(l, commit, true);
}

void change_of(struct admissions *all, lsn_t commit, const char *user)
{
	log_debug("permission changes", log_s("user", user ? user : "everybody"), log_lsn("commit", commit));
	answer_passed(all, commit);
	if (user)
		freeze_user(all, user, commit);
	else
		freeze_all(all, commit);
}

/* The hubs deliver nothing since they were told of the new history. */
static void begin_anew(struct listener *l, lsn_t floor, const char *reason)
{
	renew_ask_again(l->renewal);
	verdict_anew(&l->verdict, floor);
	l->from = floor;
	if (l->is_open) {
		l->skips = reason;
		l->is_limited = true; /* each hub does so by itself */
	}
	if ((l->state == LISTENER_WAITING && l->queue != &l->all->awaiting) || listener_is_told(l))
		return;
	listener_forget_answer(l);
	ask_about(l);
}

/* Memberships may have changed between the two histories. */
void change_anew(struct admissions *all, lsn_t floor, const char *reason)
{
	struct listener *l, *next;

	member_forget_all(all, floor);
	HASH_ITER(hh, all->listeners, l, next)
		begin_anew(l, floor, reason);
}
