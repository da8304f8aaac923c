/* seen: who is connected, as the tap knows it. */
#include <utlist.h>

#include "parts.h"

static const char *state_of(const struct listener *l)
{
	if (l->state == LISTENER_DENIED)
		return "is being closed";
	if (!l->is_open)
		return "asks to listen";
	return l->is_limited ? "held back" : "open";
}

static void see(const struct member *m, void (*one)(void *ctx, const struct admit_seen *c), void *ctx)
{
	const struct listener *l;

	DL_FOREACH2(m->listeners, l, next_of_user) {
		const struct rules_stream *s = listener_stream(l);

		one(ctx, &(struct admit_seen){ m->user, l->ticket, s ? s->conf->name : NULL, state_of(l), l->topics,
					       l->n_topics });
	}
}

void admit_each(const struct admissions *all, const char *user, void (*one)(void *ctx, const struct admit_seen *c),
		void *ctx)
{
	const struct member *m = user ? member_find(all, user) : NULL;

	if (m)
		see(m, one, ctx);
	for (m = user ? NULL : all->members; m; m = m->hh.next)
		see(m, one, ctx);
}
