#include "outage.h"

void outage_answered(struct outage *o)
{
	*o = (struct outage){ 0 };
}

static bool has(const struct outage *o, uint64_t user)
{
	for (unsigned i = 0; i < o->n_users; i++)
		if (o->users[i] == user)
			return true;
	return false;
}

/* What failed long ago, before a time in which nobody tried, says nothing of now. */
void outage_failed(struct outage *o, uint64_t user, int64_t now)
{
	if (o->since && now - o->last > OUTAGE_TIME)
		outage_answered(o);
	if (!o->since)
		o->since = now;
	o->last = now;
	if (o->n_users < OUTAGE_USERS && !has(o, user))
		o->users[o->n_users++] = user;
}

bool outage_is(const struct outage *o, int64_t now)
{
	return o->n_users == OUTAGE_USERS && now - o->since >= OUTAGE_TIME && now - o->last <= OUTAGE_TIME;
}
