#include "channel.h"

#include <stdlib.h>
#include <utlist.h>

#include "walpush/base/mem.h"

static struct channel *find(const struct channels *all, struct topic *topic)
{
	struct channel *ch;

	HASH_FIND_PTR(all->all, &topic, ch);
	return ch;
}

static struct channel *make(struct channels *all, struct topic *topic)
{
	struct channel *ch = mem_new(sizeof(*ch));

	ch->topic = topic;
	ch->of = all;
	HASH_ADD_PTR(all->all, topic, ch);
	return ch;
}

static void channel_free(struct channel *ch)
{
	if (ch->dirty)
		LL_DELETE2(ch->of->dirty, ch, next_dirty);
	HASH_DEL(ch->of->all, ch);
	free(ch);
}

void channel_join(struct channels *all, struct sub *s, struct conn *c, const struct seat *seat)
{
	struct channel *ch = find(all, seat->topic);

	if (!ch)
		ch = make(all, seat->topic);
	*s = (struct sub){ .conn = c, .channel = ch, .cursor = seat->cursor };
	DL_APPEND(ch->subs, s);
}

void channel_leave(struct sub *s)
{
	struct channel *ch = s->channel;
	struct channels *all = ch->of;
	struct seat seat = { ch->topic, s->cursor };

	DL_DELETE(ch->subs, s);
	if (!ch->subs)
		channel_free(ch);
	channel_give_back(all, &seat);
}

void channel_give_back(struct channels *all, struct seat *seat)
{
	struct mail left = { .kind = MAIL_LEFT, .hub = all->hub, .topic = seat->topic };

	cursor_release(&seat->cursor);
	mailbox_post(all->to_tap, &left);
}

void channel_mark(struct channels *all, struct topic *topic)
{
	struct channel *ch = find(all, topic);

	if (!ch || ch->dirty)
		return;
	ch->dirty = true;
	LL_PREPEND2(all->dirty, ch, next_dirty);
}

struct channel *channel_take_dirty(struct channels *all)
{
	struct channel *ch = all->dirty;

	if (!ch)
		return NULL;
	all->dirty = ch->next_dirty;
	ch->dirty = false;
	return ch;
}
