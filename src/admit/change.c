/*
 * change: what a change of membership does, at its place in the stream.
 *
 * Before anything of its transaction is in the logs, every connection of that user is frozen: its hub delivers nothing of that commit or
 * behind it until admit has answered again. A hub reads the position first and its mailbox then, so a hub that sees a position
 * behind the commit has got the mail. An admission that is under way is open in this sense: its answer may be older than the change.
 */
#include <utlist.h>

#include "parts.h"
#include "walpush/base/log.h"

/* --- freezing ----------------------------------------------------------------------------------------------------- */

/* Who waits for its turn may be asked at once now. */
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
		return; /* its position will tell */
	case LISTENER_DENIED:
		return; /* a newer token is asked about */
	case LISTENER_ANSWERED:
		if (l->batch->need != NEED_UNKNOWN) /* and above the commit: who was below it stands by now */
			again_void(l);
		return;
	}
}

/* Nothing of this commit or behind it is delivered before an answer covers it. */
static void freeze(struct listener *l, lsn_t commit, bool own)
{
	if (listener_is_told(l))
		return; /* it is about to end */
	if (verdict_changed(&l->verdict, commit, own) && l->is_open)
		listener_limit(l, commit);
	else if (l->is_open)
		listener_frozen(l, commit);
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
		return; /* nobody listens */
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

/* The hubs deliver nothing since they have learned of it. */
static void begin_anew(struct listener *l, lsn_t floor, const char *reason)
{
	renew_ask_again(l->renewal);
	verdict_anew(&l->verdict, floor);
	l->from = floor;
	if (l->is_open) {
		l->skips = reason;
		l->is_limited = true; /* by each hub itself */
	}
	if ((l->state == LISTENER_WAITING && l->queue != &l->all->awaiting) || listener_is_told(l))
		return;
	listener_forget_answer(l);
	ask_about(l);
}

/* Changes of membership may lie in the hole between the two histories. */
void change_anew(struct admissions *all, lsn_t floor, const char *reason)
{
	struct listener *l, *next;

	member_forget_all(all, floor);
	HASH_ITER(hh, all->listeners, l, next)
		begin_anew(l, floor, reason);
}
