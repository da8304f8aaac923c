/*
 * tap_member: what a change of membership does, at its place in the stream.
 *
 * Before anything of its transaction is in the logs, every connection of that user is frozen: its hub delivers nothing of that commit or
 * behind it until admit has answered again. A hub reads the position first and its mailbox then, so a hub that sees a position
 * behind the commit has got the mail. An admission that is under way is open in this sense: its answer may be older than the change.
 *
 * Bounds: a user is known while somebody listens; of the others the last MEMBERS_REMEMBERED changes are. What was changed before those
 * counts as changed for everybody, so that a client which comes back with an older `since` refetches.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "admit_impl.h"
#include "walpush/base/log.h"
#include "walpush/base/mem.h"
#include "walpush/text/user_key.h"

/* --- users -------------------------------------------------------------------------------------------------------- */

static void member_free(struct admissions *all, struct member *m)
{
	assert(all->members);
	HASH_DEL(all->members, m);
	free(m);
}

static void recall(struct admissions *all, struct member *m)
{
	DL_DELETE(all->remembered, m);
	all->n_remembered--;
}

static void remember(struct admissions *all, struct member *m)
{
	struct member *oldest = all->remembered;

	DL_APPEND(all->remembered, m);
	if (++all->n_remembered <= MEMBERS_REMEMBERED)
		return;
	if (oldest->changed > all->everybody_changed)
		all->everybody_changed = oldest->changed;
	recall(all, oldest);
	member_free(all, oldest);
}

static struct member *member_new(struct admissions *all, struct slice key)
{
	struct member *m = mem_new(sizeof(*m) + key.len + 1);

	memcpy(m->user, key.at, key.len);
	HASH_ADD_KEYPTR(hh, all->members, m->user, key.len, m);
	return m;
}

struct member *member_of(struct admissions *all, const char *user)
{
	struct buf key = { 0 };
	struct member *m;

	user_key(user, &key);
	HASH_FIND(hh, all->members, buf_slice(&key).at, key.len, m);
	if (!m)
		m = member_new(all, buf_slice(&key));
	buf_fini(&key);
	return m;
}

void member_join(struct member *m, struct listener *l)
{
	if (m->n++ == 0 && m->changed)
		recall(l->all, m);
	l->member = m;
	DL_APPEND2(m->listeners, l, prev_of_user, next_of_user);
}

void member_leave(struct listener *l)
{
	struct member *m = l->member;

	DL_DELETE2(m->listeners, l, prev_of_user, next_of_user);
	l->member = NULL;
	if (--m->n > 0)
		return;
	if (m->changed)
		remember(l->all, m);
	else
		member_free(l->all, m);
}

lsn_t member_unchanged_since(const struct listener *l)
{
	lsn_t everybody = l->all->everybody_changed;

	return l->member->changed > everybody ? l->member->changed : everybody;
}

void member_lost(const struct listener *l)
{
	lsn_t published = topiclog_published(l->all->tap->log);

	if (l->member->changed < published)
		l->member->changed = published;
}

static void forget_remembered(struct admissions *all)
{
	struct member *m, *next;

	DL_FOREACH_SAFE(all->remembered, m, next) {
		recall(all, m);
		member_free(all, m);
	}
}

void member_fini(struct admissions *all)
{
	forget_remembered(all);
}

/* --- freezing ----------------------------------------------------------------------------------------------------- */

/* Who waits for its turn may be asked at once now. */
static void ask_again(struct listener *l, bool own)
{
	switch (l->state) {
	case LISTENER_STANDING:
		listener_again(l);
		return;
	case LISTENER_WAITING:
		if (own && l->is_open)
			listener_again(l);
		return;
	case LISTENER_ASKED:
		return; /* its position will tell */
	case LISTENER_DENIED:
		return; /* a newer token is asked about */
	case LISTENER_ANSWERED:
		if (l->batch->need != NEED_UNKNOWN) /* and above the commit: who was below it stands by now */
			ask_void(l);
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
	renewal_ask_again(l->renewal);
}

static void freeze_all(struct admissions *all, lsn_t commit)
{
	struct listener *l, *next;

	HASH_ITER(hh, all->listeners, l, next)
		freeze(l, commit, false);
}

static void freeze_user(struct admissions *all, const char *user, lsn_t commit)
{
	struct member *m = member_of(all, user);
	struct listener *l, *next;

	if (m->n == 0) {
		if (m->changed)
			recall(all, m);
		m->changed = commit;
		remember(all, m);
		return;
	}
	m->changed = commit;
	DL_FOREACH_SAFE2(m->listeners, l, next, next_of_user)
		freeze(l, commit, true);
}

void tap_member_changed(struct tap *t, lsn_t commit, const char *user)
{
	struct admissions *all = t->admissions;

	log_debug("permission changes", log_s("user", user ? user : "everybody"), log_lsn("commit", commit));
	ask_passed(all, commit);
	if (user) {
		freeze_user(all, user, commit);
		return;
	}
	all->everybody_changed = commit;
	forget_remembered(all);
	freeze_all(all, commit);
}

/* Changes of membership may lie in the hole between the two histories. The hubs deliver nothing since they have learned of it. */
void tap_member_anew(struct tap *t, lsn_t floor, const char *reason)
{
	struct admissions *all = t->admissions;
	struct member *m, *next_member;
	struct listener *l, *next;

	forget_remembered(all);
	HASH_ITER(hh, all->members, m, next_member)
		m->changed = 0;
	all->everybody_changed = floor;
	HASH_ITER(hh, all->listeners, l, next) {
		renewal_ask_again(l->renewal);
		verdict_anew(&l->verdict, floor);
		l->from = floor;
		if (l->is_open) {
			l->skips = reason;
			l->is_limited = true; /* by each hub itself */
		}
		if ((l->state == LISTENER_WAITING && l->queue != &all->awaiting) || listener_is_told(l))
			continue;
		listener_forget_answer(l);
		listener_ask(l);
	}
}
