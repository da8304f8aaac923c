/*
 * member: users, and the last change of their memberships.
 *
 * Bounds: users with a connection are known; of the others the last MEMBERS_REMEMBERED changes are remembered. Before the oldest of those every
 * user counts as changed, so a client that comes back with an older `since` refetches.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "parts.h"
#include "walpush/base/hash.h"
#include "walpush/base/mem.h"
#include "walpush/text/user_key.h"

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
	m->id = hash_mix_64(HASH_START_64, key.at, key.len);
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

const struct member *member_find(const struct admissions *all, const char *user)
{
	struct buf key = { 0 };
	struct member *m;

	user_key(user, &key);
	HASH_FIND(hh, all->members, buf_slice(&key).at, key.len, m);
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
	lsn_t published = topiclog_published(l->all->present->log);

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

struct member *member_changed(struct admissions *all, const char *user, lsn_t commit)
{
	struct member *m = member_of(all, user);

	if (m->n == 0 && m->changed)
		recall(all, m);
	m->changed = commit;
	if (m->n > 0)
		return m;
	remember(all, m);
	return NULL;
}

void member_all_changed(struct admissions *all, lsn_t commit)
{
	all->everybody_changed = commit;
	forget_remembered(all);
}

void member_forget_all(struct admissions *all, lsn_t floor)
{
	struct member *m, *next;

	forget_remembered(all);
	HASH_ITER(hh, all->members, m, next)
		m->changed = 0;
	all->everybody_changed = floor;
}

/* After the listeners are freed. */
void member_fini(struct admissions *all)
{
	forget_remembered(all);
}
