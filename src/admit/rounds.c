#include "rounds.h"

#include <assert.h>

#include "verdict.h"

bool rounds_may_begin(const struct rounds *r, int64_t now)
{
	return !r->left && (!r->n || now - r->begun >= ROUNDS_APART);
}

void rounds_begin(struct rounds *r, size_t waiting, int64_t now)
{
	assert(waiting && rounds_may_begin(r, now));
	r->n++;
	r->begun = now;
	r->left = waiting;
}

void rounds_left(struct rounds *r)
{
	assert(r->left);
	r->left--;
}

struct round_tries rounds_tried(const struct rounds *r)
{
	return (struct round_tries){ (uint32_t)r->n, 1 };
}

bool rounds_again(struct rounds *r, struct round_tries *tries)
{
	if (!tries->n || tries->n >= ROUND_TRIES || tries->round != (uint32_t)r->n)
		return false;
	tries->n++;
	r->left++;
	return true;
}

size_t rounds_share_room(const struct share *s, size_t others)
{
	if (s->left || others >= SHARE_BEHIND)
		return 0;
	return s->size ? s->size : SHARE_QUERIES;
}

void rounds_share_sent(struct share *s, size_t n, int64_t now)
{
	s->left = n;
	s->sent = now;
}

bool rounds_share_answered(struct share *s, int64_t now)
{
	s->moved = now;
	return rounds_share_left(s, now);
}

bool rounds_share_left(struct share *s, int64_t now)
{
	unsigned size = s->size ? s->size : SHARE_QUERIES;

	assert(s->left);
	if (--s->left)
		return false;
	if (now - s->sent > SHARE_US)
		s->size = size > 1 ? size / 2 : 1;
	else
		s->size = size < SHARE_QUERIES ? size * 2 : SHARE_QUERIES;
	return true;
}

bool rounds_share_stands(const struct share *s, int64_t now, int64_t limit)
{
	return now - s->moved >= VERDICT_PATIENCE * limit;
}

size_t rounds_recheck_due(struct recheck *r, size_t n, int64_t interval, int64_t now)
{
	int64_t passed = r->at ? now - r->at : 0;
	size_t due;

	r->at = now;
	r->credit += (int64_t)n * passed;
	due = (size_t)(r->credit / interval);
	r->credit -= (int64_t)due * interval;
	return due < n ? due : n;
}
